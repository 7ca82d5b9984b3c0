/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * Paths of dentries, name by name towards the root of the process, across mounts.
 * bpf_d_path is closed to tracepoint programs, so the walk is made here.
 */
#ifndef PURSER_PATH_H
#define PURSER_PATH_H

#define PATH_NAMES 512
#define NAME_BYTES 256
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

static long walk_name(__u64 index, void *context)
{
	struct walk *walk = context;
	struct dentry *dentry = walk->dentry;
	struct mount *here = walk->mount;
	struct vfsmount *mount = (void *)here + bpf_core_field_offset(struct mount, mnt);
	struct dentry *parent;
	const unsigned char *name;
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
	name = READ(dentry, d_name.name);
	length = bpf_probe_read_kernel_str(walk->data + WITHIN(at), NAME_BYTES, name);
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
