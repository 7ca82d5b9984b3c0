/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * A started program: what stands in its new address space and in the file behind it.
 */
#ifndef PURSER_EXEC_H
#define PURSER_EXEC_H

#define ENV_VARIABLES 4096
#define ENV_BYTES 8192
#define ENV_VALUE 4096
#define BULK_PARTS 1024

struct bulk_walk {
	unsigned long from;
	__u32 left;
	__u32 parts;
	__u32 failed;
	__u32 pad;
	__u64 sequence;
};

static long send_part(__u64 index, void *context)
{
	struct bulk_walk *walk = context;
	__u32 zero = 0;
	struct bulk_scratch *part = bpf_map_lookup_elem(&bulk_scratches, &zero);
	__u32 size = walk->left;

	if (!part || size == 0)
		return 1;
	if (size > BULK_BYTES)
		size = BULK_BYTES;
	part->head.kind = KIND_BULK;
	part->head.version = WIRE_VERSION;
	part->head.cpu = bpf_get_smp_processor_id();
	part->head.length = sizeof(part->head) + size;
	part->head.sequence = walk->sequence;
	part->head.part = index;
	if (bpf_probe_read_user(part->data, size, (void *)walk->from) ||
	    bpf_ringbuf_output(&bulk, part, sizeof(part->head) + size, 1 /* no wake-up */)) {
		walk->failed = 1;
		return 1;
	}
	walk->from += size;
	walk->left -= size;
	walk->parts++;
	return walk->left == 0;
}

/* The arguments: the first bytes into the record, the rest into lane B. */
__noinline __u32 put_args(struct scratch *scratch, __u32 at, __u64 mm_address, __u64 sequence)
{
	struct mm_struct *mm = (void *)mm_address;
	unsigned long start = BPF_CORE_READ(mm, arg_start);
	__u32 total = BPF_CORE_READ(mm, arg_end) - start;
	__u32 first = total > INLINE_ARGS ? INLINE_ARGS : total;
	struct bulk_walk walk = { .sequence = sequence };

	if (!scratch)
		return at;
	scratch->exec.args_bytes = total;
	scratch->exec.args_length = 0;
	scratch->exec.bulk_parts = 0;
	if (at >= SCRATCH_DATA)
		return at;
	if (first && bpf_probe_read_user(scratch->data + WITHIN(at), first, (void *)start)) {
		scratch->head.flags |= FLAG_ARGS_CUT;
		return at;
	}
	scratch->exec.args_length = first;
	if (total > first) {
		walk.from = start + first;
		walk.left = total - first;
		bpf_loop(BULK_PARTS, send_part, &walk, 0);
		scratch->exec.bulk_parts = walk.parts;
		if (walk.left) {
			struct lane_state *counters = lane();

			scratch->head.flags |= FLAG_ARGS_CUT;
			if (counters)
				__sync_fetch_and_add(&counters->bulk_lost, 1);
		}
	}
	return at + first;
}

struct env_walk {
	struct settings *settings;
	char *data;
	unsigned long from;
	unsigned long end;
	__u32 at;
	__u32 limit;
	__u32 inside;	/* the last read ended within a variable */
	__u32 cut;
};

static long read_variable(__u64 index, void *context)
{
	struct env_walk *walk = context;
	__u32 at = walk->at;
	__u32 inside = walk->inside;
	__u64 word;
	long length;

	if (walk->from >= walk->end)
		return 1;
	if (at >= walk->limit || at >= SCRATCH_DATA) {
		walk->cut = 1;
		return 1;
	}
	length = bpf_probe_read_user_str(walk->data + WITHIN(at), ENV_VALUE, (void *)walk->from);
	if (length <= 0) {
		walk->cut = 1;
		return 1;
	}
	walk->inside = length == ENV_VALUE;
	walk->from += walk->inside ? length - 1 : length;
	if (inside)
		return 0;
	if (bpf_probe_read_kernel(&word, sizeof(word), walk->data + WITHIN(at)))
		return 1;
	for (int name = 0; name < ENV_NAMES; name++) {
		if (name >= walk->settings->env_count)
			break;
		if ((word & walk->settings->env_mask[name]) == walk->settings->env_prefix[name]) {
			walk->at = at + length;
			walk->cut |= walk->inside;
			break;
		}
	}
	return 0;
}

/* The variables whose names may be wanted; user space compares the whole names. */
__noinline __u32 put_env(struct scratch *scratch, __u32 at, __u64 mm_address)
{
	struct mm_struct *mm = (void *)mm_address;
	__u32 zero = 0;
	struct settings *set_by = bpf_map_lookup_elem(&settings, &zero);
	struct env_walk walk = {
		.settings = set_by,
		.from = BPF_CORE_READ(mm, env_start),
		.end = BPF_CORE_READ(mm, env_end),
		.at = at,
		.limit = at + ENV_BYTES,
	};

	if (!scratch || !set_by || set_by->env_count == 0)
		return at;
	walk.data = scratch->data;
	if (bpf_loop(ENV_VARIABLES, read_variable, &walk, 0) >= ENV_VARIABLES &&
	    walk.from < walk.end)
		walk.cut = 1;
	if (walk.cut)
		scratch->head.flags |= FLAG_ENV_CUT;
	return walk.at;
}

/* What kind of file it is that runs. */
__noinline __u32 file_flags(__u64 file_address)
{
	struct file *file = (void *)file_address;
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);
	unsigned long magic = BPF_CORE_READ(inode, i_sb, s_magic);
	bool alone = BPF_CORE_READ(dentry, d_parent) == dentry;
	__u32 flags = 0;

	if (magic == TMPFS_MAGIC && alone)
		flags |= FLAG_MEMFD;
	else if (BPF_CORE_READ(inode, i_nlink) == 0 || !BPF_CORE_READ(dentry, d_hash.pprev))
		flags |= FLAG_DELETED;
	if (magic == OVERLAYFS_MAGIC && bpf_core_field_exists(struct ovl_inode, __upperdentry)) {
		struct ovl_inode *overlay = (void *)inode -
			bpf_core_field_offset(struct ovl_inode, vfs_inode);

		if (BPF_CORE_READ(overlay, __upperdentry))
			flags |= FLAG_UPPER_LAYER;
	}
	return flags;
}

static __always_inline __u32 task_flags(struct task_struct *task)
{
#ifdef __TARGET_ARCH_x86
	if (BPF_CORE_READ(task, thread_info.flags) & (1ul << TIF_ADDR32))
		return FLAG_COMPAT;
#endif
	return 0;
}

/* Executable and directory as the process itself would name them. */
static __always_inline __u32 put_places(struct scratch *scratch, struct task_struct *task,
					struct file *file)
{
	struct fs_struct *fs = BPF_CORE_READ(task, fs);
	__u32 at, next;

	at = put_path(scratch, 0, (__u64)BPF_CORE_READ(file, f_path.mnt),
		      (__u64)BPF_CORE_READ(file, f_path.dentry), (__u64)fs);
	scratch->exec.executable_length = at;
	next = put_path(scratch, at, (__u64)BPF_CORE_READ(fs, pwd.mnt),
			(__u64)BPF_CORE_READ(fs, pwd.dentry), (__u64)fs);
	scratch->exec.directory_length = next - at;
	return next;
}

#endif
