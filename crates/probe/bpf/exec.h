/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * A started program: what stands in its new address space and in the file behind it.
 */
#ifndef PURSER_EXEC_H
#define PURSER_EXEC_H

#define ENV_CHUNKS 1024	/* of ENV_CHUNK bytes: more than the kernel accepts */
#define ENV_WORDS 4
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
static __noinline __u32 put_args(struct scratch *scratch, __u32 at, __u64 mm_address, __u64 sequence)
{
	struct mm_struct *mm = (void *)mm_address;
	unsigned long start = READ(mm, arg_start);
	__u32 total = READ(mm, arg_end) - start;
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
	struct env_scratch *chunk;
	char *data;
	unsigned long from;	/* user address of the chunk */
	unsigned long end;
	__u32 size;		/* bytes of the chunk that are there */
	__u32 offset;		/* where in it to go on */
	__u32 at;
	__u32 limit;
	__u32 cut;
};

/* Whether the variable that starts `offset` bytes into the chunk may be wanted. Global, so that
 * it is verified once. */
__noinline int is_wanted(__u32 offset)
{
	__u32 zero = 0;
	struct settings *set_by = bpf_map_lookup_elem(&settings, &zero);
	struct env_scratch *chunk = bpf_map_lookup_elem(&env_scratches, &zero);
	__u64 word;

	if (!set_by || !chunk)
		return 0;
	word = *(__u64 *)(chunk->bytes + (offset & (2 * ENV_CHUNK - 1)));
	for (int name = 0; name < ENV_NAMES; name++) {
		if (name >= set_by->env_count)
			break;
		if ((word & set_by->env_mask[name]) == set_by->env_prefix[name])
			return 1;
	}
	return 0;
}

static __noinline long take_variable(struct env_walk *walk, __u32 offset)
{
	__u32 at = walk->at;
	long length;

	if (at >= walk->limit || at >= SCRATCH_DATA) {
		walk->cut = 1;
		return 1;
	}
	length = bpf_probe_read_user_str(walk->data + WITHIN(at), ENV_VALUE,
					 (void *)(walk->from + offset));
	if (length <= 0) {
		walk->cut = 1;
		return 1;
	}
	walk->at = at + length;
	if (length == ENV_VALUE)
		walk->cut = 1;
	return 0;
}

/* The bytes of a word that are 0, as their highest bits. */
static __always_inline __u64 zeros_in(__u64 word)
{
	const __u64 low = 0x7f7f7f7f7f7f7f7full;

	return ~(((word & low) + low) | word | low);
}

/* Looks for the next end of a variable: behind it starts another one. */
static long scan_chunk(__u64 index, void *context)
{
	struct env_walk *walk = context;
	__u64 offset = HELD(walk->offset);
	__u64 zeros = 0;
	char *bytes;

	if (offset >= ENV_CHUNK || offset >= walk->size)
		return 1;
	bytes = walk->chunk->bytes + offset;
	for (int word = 0; word < ENV_WORDS; word++) {
		zeros = zeros_in(*(__u64 *)(bytes + word * sizeof(zeros)));
		if (zeros)
			break;
		offset += sizeof(zeros);
	}
	if (zeros)
		offset += (place_of(zeros & -zeros) >> 3) + 1;
	walk->offset = offset;
	/* What starts behind the first byte of the next piece is found there. */
	if (!zeros || offset > ENV_CHUNK || offset >= walk->size || !is_wanted(offset))
		return 0;
	return take_variable(walk, offset);
}

/* Copies the next piece of the environment, with the first bytes of the piece behind it. */
static long read_chunk(__u64 index, void *context)
{
	struct env_walk *walk = context;
	__u64 size;

	if (walk->from >= walk->end || walk->cut)
		return 1;
	size = HELD(walk->end - walk->from);
	if (size > ENV_CHUNK + sizeof(__u64))
		size = ENV_CHUNK + sizeof(__u64);
	if (bpf_probe_read_user(walk->chunk->bytes, size, (void *)walk->from)) {
		walk->cut = 1;
		return 1;
	}
	walk->size = size;
	walk->offset = 0;
	if (index == 0 && is_wanted(0) && take_variable(walk, 0))
		return 1;
	bpf_loop(ENV_CHUNK, scan_chunk, walk, 0);
	walk->from += ENV_CHUNK;
	return 0;
}

/* The variables whose names may be wanted; user space compares the whole names. */
static __noinline __u32 put_env(struct scratch *scratch, __u32 at, __u64 mm_address)
{
	struct mm_struct *mm = (void *)mm_address;
	__u32 zero = 0;
	struct settings *set_by = bpf_map_lookup_elem(&settings, &zero);
	struct env_walk walk = {
		.chunk = bpf_map_lookup_elem(&env_scratches, &zero),
		.from = READ(mm, env_start),
		.end = READ(mm, env_end),
		.at = at,
		.limit = at + ENV_BYTES,
	};

	if (!scratch || !set_by || !walk.chunk || set_by->env_count == 0)
		return at;
	walk.data = scratch->data;
	bpf_loop(ENV_CHUNKS, read_chunk, &walk, 0);
	if (walk.from < walk.end && !walk.cut)
		walk.cut = 1;
	if (walk.cut)
		scratch->head.flags |= FLAG_ENV_CUT;
	return walk.at;
}

/* What kind of file it is that runs. */
static __noinline __u32 file_flags(__u64 file_address)
{
	struct file *file = (void *)file_address;
	struct dentry *dentry = READ(file, f_path.dentry);
	struct inode *inode = READ(dentry, d_inode);
	unsigned long magic = READ(inode, i_sb, s_magic);
	bool alone = READ(dentry, d_parent) == dentry;
	__u32 flags = 0;

	if (magic == TMPFS_MAGIC && alone)
		flags |= FLAG_MEMFD;
	else if (READ(inode, i_nlink) == 0 || !READ(dentry, d_hash.pprev))
		flags |= FLAG_DELETED;
	if (magic == OVERLAYFS_MAGIC && bpf_core_field_exists(struct ovl_inode, __upperdentry)) {
		__u64 overlay = (__u64)inode - bpf_core_field_offset(struct ovl_inode, vfs_inode);

		if (READ_WORD(overlay + bpf_core_field_offset(struct ovl_inode, __upperdentry)))
			flags |= FLAG_UPPER_LAYER;
	}
	return flags;
}

static __always_inline __u32 task_flags(struct task_struct *task)
{
#ifdef __TARGET_ARCH_x86
	if (READ(task, thread_info.flags) & (1ul << TIF_ADDR32))
		return FLAG_COMPAT;
#endif
	return 0;
}

/* Executable and directory as the process itself would name them. */
static __always_inline __u32 put_places(struct scratch *scratch, struct task_struct *task,
					struct file *file)
{
	struct fs_struct *fs = READ(task, fs);
	__u32 at, next;

	at = put_path(scratch, 0, (__u64)READ(file, f_path.mnt),
		      (__u64)READ(file, f_path.dentry), (__u64)fs);
	scratch->exec.executable_length = at;
	next = put_path(scratch, at, (__u64)READ(fs, pwd.mnt),
			(__u64)READ(fs, pwd.dentry), (__u64)fs);
	scratch->exec.directory_length = next - at;
	return next;
}

#endif
