/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * A refused exec, seen when the system call returns: the arguments are read from the caller's
 * memory, which another thread may have changed since. An exec that happens is never read so.
 */
#ifndef PURSER_FAILED_H
#define PURSER_FAILED_H

#define FAILED_ARG 4096

struct call {
	unsigned long filename;
	unsigned long argv;
	unsigned long flags;
};

/* The arguments of execve(path, argv, envp) or execveat(fd, path, argv, envp, flags). */
static __always_inline bool read_call(struct task_struct *task, int number, struct call *call)
{
	void *registers = (void *)bpf_task_pt_regs(task);
#if defined(__TARGET_ARCH_x86)
	struct pt_regs___x86 *x86 = registers;

	call->flags = 0;
	if (number == 59) {
		call->filename = BPF_CORE_READ(x86, di);
		call->argv = BPF_CORE_READ(x86, si);
		return 1;
	}
	call->filename = BPF_CORE_READ(x86, si);
	call->argv = BPF_CORE_READ(x86, dx);
	call->flags = BPF_CORE_READ(x86, r8);
	return 1;
#elif defined(__TARGET_ARCH_arm64)
	struct user_pt_regs___arm64 *arm = registers;
	int first = number == 221 ? 0 : 1;

	call->filename = BPF_CORE_READ(arm, regs[first]);
	call->argv = BPF_CORE_READ(arm, regs[first + 1]);
	call->flags = first ? BPF_CORE_READ(arm, regs[4]) : 0;
	return 1;
#else
	return 0;
#endif
}

static __always_inline __u32 put_failed_args(struct scratch *scratch, __u32 at, unsigned long argv)
{
	char *data = (char *)scratch + OFF_FAILED_DATA;
	unsigned long pointer;
	long length;
	int count;

	for (count = 0; count < FAILED_ARGS; count++) {
		if (bpf_probe_read_user(&pointer, sizeof(pointer),
					(void *)(argv + count * sizeof(pointer))) || !pointer)
			break;
		if (at >= SCRATCH_DATA)
			break;
		length = bpf_probe_read_user_str(data + WITHIN(at), FAILED_ARG, (void *)pointer);
		if (length <= 0)
			break;
		at += length;
	}
	scratch->failed.argc = count;
	if (count == FAILED_ARGS)
		if (!bpf_probe_read_user(&pointer, sizeof(pointer),
					 (void *)(argv + count * sizeof(pointer))) && pointer)
			scratch->failed.argc = 0xffff;
	return at;
}

SEC("tracepoint/syscalls/sys_exit_execve")
int capture_failed(struct trace_event_raw_sys_exit *context)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct scratch *scratch;
	struct settings *set_by;
	struct rule_query query = {};
	struct cgroup_state *cgroup;
	struct process_key itself;
	struct process *process;
	struct call call;
	long error = context->ret;
	enum verdict verdict;
	long length;
	__u64 key;
	__u32 at;

	scratch = scratch_for(SCRATCH_FAILED);
	set_by = settings_now();
	if (!scratch || !set_by || !set_by->failed)
		return 0;
	cgroup = cgroup_state(task, set_by, &key);
	if (cgroup && cgroup->scope == SCOPE_OUT)
		return 0;
	/* The kernel fills only the lower half of the number; the rest is what lay there. */
	if (!read_call(task, (int)context->id, &call) || call.flags & AT_EXECVE_CHECK)
		return 0;
	itself = key_of(task);
	process = bpf_map_lookup_elem(&processes, &itself);
	start_record(scratch, KIND_EXEC_FAILED, task, key, process ? &process->started_by : 0);
	query.cgroup = key;
	query.uid = scratch->head.euid;
	query.parent = itself;
	verdict = judge(&query);
	if (cgroup && verdict != VERDICT_IGNORE)
		__sync_fetch_and_add(&cgroup->failed, 1);
	if (verdict != VERDICT_RECORD) {
		if (cgroup)
			__sync_fetch_and_add(&cgroup->suppressed, 1);
		return 0;
	}
	scratch->failed.error = -error;
	length = bpf_probe_read_user_str((char *)scratch + OFF_FAILED_DATA, PATH_BYTES,
					 (void *)call.filename);
	at = length > 0 ? length - 1 : 0;
	scratch->failed.filename_length = at;
	length = put_failed_args(scratch, at, call.argv);
	scratch->failed.args_length = length - at;
	scratch->failed.pad = 0;
	send(scratch, sizeof(struct failed_head) + length, next_sequence(), cgroup);
	return 0;
}

#endif
