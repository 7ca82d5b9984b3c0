/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * Who a process is: the head of every record, its cgroup, its namespaces.
 */
#ifndef PURSER_PROCESS_H
#define PURSER_PROCESS_H

/* A task's address as a number, which global functions take where a task they would not. */
static __always_inline __u64 address_of(struct task_struct *task)
{
	return (__u64)READ(task, group_leader);
}

static __always_inline struct lane_state *lane(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&lanes, &zero);
}

static __always_inline void no_state(void)
{
	struct lane_state *counters = lane();

	if (counters)
		__sync_fetch_and_add(&counters->no_state, 1);
}

/* The cgroup that tells containers apart: on v1 and hybrid hosts the runtimes fill the v1
 * controllers, on v2 there is one tree. */
#define TRY_CONTROLLER(id)                                                             \
	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, id)) {                   \
		css = READ(set, subsys[bpf_core_enum_value(enum cgroup_subsys_id, id)]); \
		cgroup = READ(css, cgroup);                                   \
		if (cgroup && READ(cgroup, level) > 0)                        \
			return cgroup;                                                 \
	}

static __always_inline struct cgroup *cgroup_of(struct task_struct *task, struct settings *set_by)
{
	struct css_set *set = READ(task, cgroups);
	struct cgroup_subsys_state *css;
	struct cgroup *cgroup;

	if (set_by->v1) {
		TRY_CONTROLLER(pids_cgrp_id)
		TRY_CONTROLLER(memory_cgrp_id)
		TRY_CONTROLLER(devices_cgrp_id)
		TRY_CONTROLLER(cpu_cgrp_id)
		TRY_CONTROLLER(freezer_cgrp_id)
		TRY_CONTROLLER(cpuset_cgrp_id)
	}
	return READ(set, dfl_cgrp);
}

/* Ids of cgroups are unique within a hierarchy only. */
static __always_inline __u64 cgroup_key(struct cgroup *cgroup)
{
	__u64 hierarchy = READ(cgroup, root, hierarchy_id);

	return READ(cgroup, kn, id) | hierarchy << 56;
}

struct cgroup_walk {
	struct cgroup *cgroup;
	struct cgroup_state *state;
};

static long walk_cgroup(__u64 index, void *context)
{
	struct cgroup_walk *walk = context;
	struct cgroup_state *state = walk->state;
	struct cgroup *cgroup = walk->cgroup;
	struct cgroup_subsys_state *parent;
	__u32 at = state->path_length;
	long length;

	if (READ(cgroup, level) <= 0 || at >= CGROUP_PATH - 1)
		return 1;
	/* A name that does not fit is cut: the innermost names come first and matter most. */
	length = bpf_probe_read_kernel_str(state->path + (at & 255), CGROUP_PATH - 256,
					   READ(cgroup, kn, name));
	if (length <= 0 || at > 255)
		return 1;
	state->path_length = at + length;
	parent = READ(cgroup, self.parent);
	if (!parent)
		return 1;
	walk->cgroup = READ(parent, cgroup);
	return 0;
}

/* The first event of a cgroup: its names are kept for good, so that a container that is gone
 * when user space looks still has its id. */
static __noinline int new_cgroup(__u64 task_address, __u64 cgroup_address, __u64 key)
{
	struct task_struct *task = (void *)task_address;
	__u32 zero = 0;
	struct cgroup_state *state = bpf_map_lookup_elem(&new_cgroups, &zero);
	struct cgroup_walk walk = { .cgroup = (void *)cgroup_address, .state = state };

	if (!state)
		return 0;
	state->path_length = 0;
	state->hints = 0;
	if (READ(task, group_leader, thread_pid, level) > 0)
		state->hints |= HINT_PID_NS;
	bpf_loop(16, walk_cgroup, &walk, 0);
	return bpf_map_update_elem(&cgroups, &key, state, BPF_NOEXIST);
}

static __always_inline struct cgroup_state *cgroup_state(struct task_struct *task,
							 struct settings *set_by, __u64 *key)
{
	struct cgroup *cgroup = cgroup_of(task, set_by);
	struct cgroup_state *state;

	*key = cgroup_key(cgroup);
	state = bpf_map_lookup_elem(&cgroups, key);
	if (state)
		return state;
	new_cgroup(address_of(task), (__u64)cgroup, *key);
	state = bpf_map_lookup_elem(&cgroups, key);
	if (!state)
		no_state();
	return state;
}

/* The number of `pid` in its own namespace. */
static __always_inline __u32 number_inside(struct pid *pid)
{
	struct upid *upid = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
			    READ(pid, level) * bpf_core_type_size(struct upid);

	return READ(upid, nr);
}

static __always_inline struct process_key key_of(struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;

	return (struct process_key){ .start = leader->start_boottime, .pid = leader->pid };
}

static __always_inline bool is_same(struct process_key *one, struct process_key *other)
{
	return one->start == other->start && one->pid == other->pid;
}

static __always_inline __u32 tty_of(struct signal_struct *signal)
{
	struct tty_struct *tty = READ(signal, tty);

	if (!tty)
		return 0;
	return READ(tty, driver, major) << 20 |
	       (READ(tty, driver, minor_start) + READ(tty, index));
}

static __noinline int fill_head(struct scratch *scratch, __u64 task_address, __u64 cgroup)
{
	struct task_struct *task = (void *)task_address;
	struct record_head *head;
	struct task_struct *leader = READ(task, group_leader);
	struct task_struct *parent = READ(task, real_parent);
	struct signal_struct *signal = READ(task, signal);
	struct cred *cred = READ(task, cred);
	struct pid *session = READ(signal, pids[PIDTYPE_SID]);

	if (!scratch)
		return 0;
	head = &scratch->head;
	head->version = WIRE_VERSION;
	head->cpu = bpf_get_smp_processor_id();
	head->boot_ns = bpf_ktime_get_boot_ns();
	head->cgroup = cgroup;
	head->pid = READ(task, tgid);
	head->namespace_pid = number_inside(READ(leader, thread_pid));
	head->start = READ(leader, start_boottime);
	head->parent_pid = READ(parent, tgid);
	head->parent_start = READ(parent, group_leader, start_boottime);
	head->uid = READ(cred, uid.val);
	head->gid = READ(cred, gid.val);
	head->euid = READ(cred, euid.val);
	head->egid = READ(cred, egid.val);
	head->login_uid = bpf_core_field_exists(task->loginuid) ?
			  READ(task, loginuid.val) : ~0u;
	head->session = READ(session, numbers[0].nr);
	head->capabilities = READ_WORD((__u64)cred + bpf_core_field_offset(cred->cap_effective));
	head->tty = tty_of(signal);
	head->flags = 0;
	return 0;
}

static __always_inline void start_record(struct scratch *scratch, __u8 kind,
					 struct task_struct *task, __u64 cgroup,
					 struct process_key *ancestor)
{
	fill_head(scratch, address_of(task), cgroup);
	scratch->head.kind = kind;
	scratch->head.ancestor_pid = ancestor ? ancestor->pid : 0;
	scratch->head.ancestor_start = ancestor ? ancestor->start : 0;
}

static __noinline int fill_namespaces(struct scratch *scratch, __u64 task_address)
{
	struct task_struct *task = (void *)task_address;
	struct nsproxy *spaces = READ(task, nsproxy);
	struct pid *pid = READ(task, thread_pid);
	struct upid *upid = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
			    READ(pid, level) * bpf_core_type_size(struct upid);
	__u32 *inodes;

	if (!scratch)
		return 0;
	inodes = scratch->exec.namespaces;
	inodes[0] = READ(spaces, mnt_ns, ns.inum);
	inodes[1] = READ(upid, ns, ns.inum);
	inodes[2] = READ(spaces, net_ns, ns.inum);
	inodes[3] = READ(spaces, uts_ns, ns.inum);
	inodes[4] = READ(spaces, ipc_ns, ns.inum);
	inodes[5] = READ(task, cred, user_ns, ns.inum);
	inodes[6] = READ(spaces, cgroup_ns, ns.inum);
	return 0;
}

/* Numbers the record and sends it. The number is given out first: one that never arrives is
 * how user space sees the loss. */
static __always_inline bool send(struct scratch *scratch, __u32 length, __u64 sequence,
				 struct cgroup_state *cgroup)
{
	struct lane_state *counters = lane();

	scratch->head.length = length;
	scratch->head.sequence = sequence;
	if (length <= sizeof(struct scratch) && bpf_ringbuf_output(&records, scratch, length, 0) == 0) {
		if (cgroup)
			__sync_fetch_and_add(&cgroup->bytes, length);
		return 1;
	}
	if (counters)
		__sync_fetch_and_add(&counters->lost, 1);
	if (cgroup)
		__sync_fetch_and_add(&cgroup->lost, 1);
	return 0;
}

static __always_inline __u64 next_sequence(void)
{
	struct lane_state *counters = lane();

	return counters ? __sync_fetch_and_add(&counters->sequence, 1) + 1 : 0;
}

#endif
