/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * The few fields of kernel structures that are read, found at load time by CO-RE.
 * Not a copy of any kernel header: names and types only, in no particular order.
 */
#ifndef PURSER_CORE_H
#define PURSER_CORE_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;

enum bpf_map_type_used {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,
};

#define BPF_ANY 0
#define BPF_NOEXIST 1
#define BPF_F_NO_PREALLOC 1

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct { int counter; } atomic_t;
typedef struct { unsigned int val; } kuid_t;
typedef struct { unsigned int val; } kgid_t;

struct ns_common { unsigned int inum; };
struct pid_namespace { struct ns_common ns; unsigned int level; };
struct mnt_namespace { struct ns_common ns; };
struct net { struct ns_common ns; };
struct uts_namespace { struct ns_common ns; };
struct ipc_namespace { struct ns_common ns; };
struct user_namespace { struct ns_common ns; };
struct cgroup_namespace { struct ns_common ns; };
struct nsproxy {
	struct uts_namespace *uts_ns;
	struct ipc_namespace *ipc_ns;
	struct mnt_namespace *mnt_ns;
	struct net *net_ns;
	struct cgroup_namespace *cgroup_ns;
};

struct upid { int nr; struct pid_namespace *ns; };
struct pid { unsigned int level; struct upid numbers[1]; };

struct qstr { __u32 len; const unsigned char *name; };
struct super_block { unsigned long s_magic; };
struct inode { unsigned int i_nlink; struct super_block *i_sb; };
struct hlist_bl_node { struct hlist_bl_node **pprev; };
union shortname_store { unsigned char string[40]; };
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct hlist_bl_node d_hash;
	union shortname_store d_shortname;
};
struct dentry___before_6_14 { unsigned char d_iname[32]; };
struct vfsmount { struct dentry *mnt_root; };
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};
struct path { struct vfsmount *mnt; struct dentry *dentry; };
struct file { struct path f_path; };
struct fs_struct { struct path root; struct path pwd; };
struct ovl_inode { struct inode vfs_inode; struct dentry *__upperdentry; };

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	unsigned long env_start;
	unsigned long env_end;
	struct file *exe_file;
};

struct linux_binprm {
	struct file *file;
	int argc;
	const char *filename;
	const char *interp;
	unsigned int secureexec : 1;
};

struct kernel_cap { __u64 val; };
struct cred {
	kuid_t uid;
	kgid_t gid;
	kuid_t euid;
	kgid_t egid;
	struct kernel_cap cap_effective;
	struct user_namespace *user_ns;
};

struct tty_driver { int major; int minor_start; };
struct tty_struct { struct tty_driver *driver; int index; };

struct signal_struct {
	atomic_t live;
	int group_exit_code;
	unsigned int flags;
	struct pid *pids[4];
	struct tty_struct *tty;
	unsigned long long sum_sched_runtime;
	unsigned long maxrss;
};

struct kernfs_node { const char *name; __u64 id; };
struct cgroup_root { int hierarchy_id; };
struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};
struct cgroup {
	struct cgroup_subsys_state self;
	int level;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};
struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
};
enum cgroup_subsys_id {
	cpuset_cgrp_id = 0,
	cpu_cgrp_id = 1,
	memory_cgrp_id = 4,
	devices_cgrp_id = 5,
	freezer_cgrp_id = 6,
	pids_cgrp_id = 11,
};

struct thread_info { unsigned long flags; };
struct sched_entity { __u64 sum_exec_runtime; };
struct task_struct {
	struct thread_info thread_info;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	__u64 start_boottime;
	struct cred *cred;
	struct fs_struct *fs;
	struct mm_struct *mm;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	struct css_set *cgroups;
	kuid_t loginuid;
	int exit_code;
	unsigned int flags;
	struct sched_entity se;
};

struct trace_event_raw_sys_exit { long id; long ret; };

struct seq_file { int index; };
struct bpf_iter_meta { struct seq_file *seq; };
struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; };

/* The two architectures' names for the registers that hold system-call arguments. */
struct pt_regs___x86 { unsigned long di, si, dx, r10, r8, orig_ax; };
struct user_pt_regs___arm64 { unsigned long long regs[31]; };
struct pt_regs;

#pragma clang attribute pop

#define PF_KTHREAD 0x00200000
#define SIGNAL_GROUP_EXIT 4
#define TIF_ADDR32 29
#define TMPFS_MAGIC 0x01021994
#define OVERLAYFS_MAGIC 0x794c7630
#define PIDTYPE_SID 3
#define AT_EXECVE_CHECK 0x10000
#define PAGE_BYTES 4096

#endif
