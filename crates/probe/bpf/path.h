/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * Paths of dentries, name by name towards the root of the process, across mounts.
 * bpf_d_path is closed to tracepoint programs, so the walk is made here.
 */
#ifndef PURSER_PATH_H
#define PURSER_PATH_H

#define PATH_NAMES 512
#define NAME_BYTES 256
#define SHORT_NAME 40
#define PATH_BYTES 4096

struct walk {
	struct dentry *dentry;
	struct mount *mount;
	struct dentry *root_dentry;
	struct vfsmount *root_mount;
	char *data;
	__u32 at;
	__u32 limit;
	__u32 done;
};

/* Where a dentry keeps a name that is short, which most are. */
static __always_inline __u64 short_name(struct dentry *dentry)
{
	if (bpf_core_field_exists(dentry->d_shortname))
		return (__u64)dentry + bpf_core_field_offset(struct dentry, d_shortname);
	return (__u64)dentry + bpf_core_field_offset(struct dentry___before_6_14, d_iname);
}

/* Copies a name with its NUL to data[at], returns its length with that; 0 if it cannot. */
static __always_inline long put_name(char *data, __u32 at, struct dentry *dentry)
{
	__u64 name = (__u64)READ(dentry, d_name.name);
	__u64 length;

	if (!bpf_ksym_exists(bpf_rdonly_cast) || name != short_name(dentry))
		goto any;
	length = HELD(READ(dentry, d_name.len));
	if (length >= SHORT_NAME)
		goto any;
	for (int byte = 0; byte < SHORT_NAME; byte += sizeof(__u64)) {
		*(__u64 *)(data + WITHIN(at) + byte) = READ_WORD(name + byte);
		if (length < byte + sizeof(__u64))
			break;
	}
	*(data + WITHIN(at) + length) = 0;
	return length + 1;
any:
	length = bpf_probe_read_kernel_str(data + WITHIN(at), NAME_BYTES, (void *)name);
	return length;
}

static long walk_name(__u64 index, void *context)
{
	struct walk *walk = context;
	struct dentry *dentry = walk->dentry;
	struct mount *here = walk->mount;
	struct vfsmount *mount = (void *)here + bpf_core_field_offset(struct mount, mnt);
	struct dentry *parent;
	__u32 at = walk->at;
	long length;

	if (dentry == walk->root_dentry && mount == walk->root_mount)
		goto done;
	parent = READ(dentry, d_parent);
	if (dentry == READ(mount, mnt_root)) {
		struct mount *above = READ(here, mnt_parent);

		if (above == here)
			goto done;
		walk->dentry = READ(here, mnt_mountpoint);
		walk->mount = above;
		return 0;
	}
	if (at >= walk->limit || at >= SCRATCH_DATA)
		return 1;
	length = put_name(walk->data, at, dentry);
	if (length <= 0)
		return 1;
	walk->at = at + length;
	if (parent == dentry)	/* a file without a directory, such as a memfd */
		goto done;
	walk->dentry = parent;
	return 0;
done:
	walk->done = 1;
	return 1;
}

/* Appends the path's names at `at`, returns where they end. Sets FLAG_PATH_CUT if need be.
 * Global functions are verified once, for any arguments; kernel pointers pass as numbers. */
static __noinline __u32 put_path(struct scratch *scratch, __u32 at, __u64 mount, __u64 dentry, __u64 fs)
{
	struct path *root = &((struct fs_struct *)fs)->root;
	struct walk walk = {
		.dentry = (struct dentry *)dentry,
		.root_dentry = READ(root, dentry),
		.root_mount = READ(root, mnt),
		.at = at,
		.limit = at + PATH_BYTES,
	};

	if (!scratch)
		return at;
	walk.data = scratch->data;
	walk.mount = (void *)mount - bpf_core_field_offset(struct mount, mnt);
	bpf_loop(PATH_NAMES, walk_name, &walk, 0);
	if (!walk.done)
		scratch->head.flags |= FLAG_PATH_CUT;
	return walk.at;
}

/* Appends a kernel string of at most PATH_BYTES, without its NUL. */
static __noinline __u32 put_string(struct scratch *scratch, __u32 at, __u64 text)
{
	long length;

	if (!scratch || at >= SCRATCH_DATA)
		return at;
	length = bpf_probe_read_kernel_str(scratch->data + WITHIN(at), PATH_BYTES, (void *)text);
	return length > 0 ? at + length - 1 : at;
}

#endif
