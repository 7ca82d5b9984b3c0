// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/*
 * The programs: an entry for each attach point, which only calls the program in its slot,
 * and the programs behind them. The kernel side keeps what a record needs that is gone
 * later: who forked whom, what a process runs, the names of a cgroup.
 */
#include "core.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "wire.h"
#include "maps.h"
#include "read.h"
#include "path.h"
#include "process.h"
#include "rules.h"
#include "exec.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ENTRY(name, section, slot)                              \
	SEC(section)                                            \
	int name(void *context)                                 \
	{                                                       \
		struct lane_state *counters;                    \
		bpf_tail_call(context, &slot, 0);               \
		counters = lane();                              \
		if (counters)                                   \
			__sync_fetch_and_add(&counters->missed, 1); \
		return 0;                                       \
	}

ENTRY(on_exec, "tp_btf/sched_process_exec", exec_slot)
ENTRY(on_fork, "tp_btf/sched_process_fork", fork_slot)
ENTRY(on_exit, "tp_btf/sched_process_exit", exit_slot)
ENTRY(on_rmdir, "tp_btf/cgroup_rmdir", rmdir_slot)
ENTRY(on_execve_return, "tracepoint/syscalls/sys_exit_execve", failed_slot)
ENTRY(on_execveat_return, "tracepoint/syscalls/sys_exit_execveat", failed_slot)

static __always_inline struct settings *settings_now(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

static __always_inline struct scratch *scratch_for(__u32 program)
{
	return bpf_map_lookup_elem(&scratches, &program);
}

/* From now on children and rules know what this process runs. */
static __always_inline void remember(struct process *process, struct scratch *scratch, __u32 state)
{
	__u64 length = HELD(scratch->exec.executable_length);

	if (!process)
		return;
	process->state = state;
	process->exec_boot_ns = scratch->head.boot_ns;
	process->ancestor_pid = scratch->head.pid;
	process->ancestor_start = scratch->head.start;
	if (length > RULE_TEXT - 1)
		length = RULE_TEXT - 1;
	process->path_length = length;
	bpf_probe_read_kernel(process->path, length, scratch->data);
}

/* A runtime enters the container's cgroup before the container has its namespaces: what was
 * decided about the cgroup until then is open again. */
static __always_inline void note_namespace(struct cgroup_state *cgroup, struct task_struct *task)
{
	if (cgroup->hints & HINT_PID_NS || READ(task, thread_pid, level) == 0)
		return;
	cgroup->hints |= HINT_PID_NS;
	if (cgroup->scope == SCOPE_OUT)
		cgroup->scope = SCOPE_UNKNOWN;
}

/* Asked before the event has a number: a suppressed one leaves no hole in the sequence. */
static __always_inline enum verdict judge_exec(struct scratch *scratch,
					       struct task_struct *task, __u64 cgroup)
{
	char argv0[128];
	struct task_struct *parent = task->real_parent->group_leader;
	struct mm_struct *mm = READ(task, mm);
	long length = bpf_probe_read_user_str(argv0, sizeof(argv0),
					      (void *)READ(mm, arg_start));
	struct rule_query query = {
		.cgroup = cgroup,
		.uid = scratch->head.euid,
		.executable = scratch->data,
		.executable_length = scratch->exec.executable_length,
		.argv0 = argv0,
		.argv0_length = length > 0 ? length - 1 : 0,
		.parent = bpf_task_storage_get(&processes, parent, 0, 0),
	};

	return judge(&query);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(capture_exec, struct task_struct *task, int old_pid, struct linux_binprm *binprm)
{
	struct scratch *scratch = scratch_for(SCRATCH_EXEC);
	struct settings *set_by = settings_now();
	struct cgroup_state *cgroup;
	struct process *process;
	enum verdict verdict;
	__u64 key, sequence;
	__u32 at, args_at;

	if (!scratch || !set_by)
		return 0;
	cgroup = cgroup_state(task, set_by, &key);
	if (cgroup)
		note_namespace(cgroup, task);
	if (cgroup && cgroup->scope == SCOPE_OUT)
		return 0;
	process = bpf_task_storage_get(&processes, task->group_leader, 0,
				       BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!process)
		no_state();
	start_record(scratch, KIND_EXEC, task, key, process);
	fill_namespaces(scratch, address_of(task));
	scratch->head.flags |= file_flags((__u64)READ(binprm, file)) | task_flags(task);
	if (BPF_CORE_READ_BITFIELD_PROBED(binprm, secureexec))
		scratch->head.flags |= FLAG_RAISED;
	if (old_pid != task->pid)
		scratch->head.flags |= FLAG_FROM_THREAD;
	scratch->exec.argc = binprm->argc;
	at = put_places(scratch, task, binprm->file);
	args_at = put_string(scratch, at, (__u64)READ(binprm, filename));
	scratch->exec.filename_length = args_at - at;
	at = args_at;
	if (binprm->interp != binprm->filename)
		at = put_string(scratch, at, (__u64)READ(binprm, interp));
	scratch->exec.interpreter_length = at - args_at;

	verdict = judge_exec(scratch, task, key);
	if (cgroup && verdict != VERDICT_IGNORE)
		__sync_fetch_and_add(&cgroup->execs, 1);
	if (verdict != VERDICT_RECORD) {
		if (cgroup)
			__sync_fetch_and_add(&cgroup->suppressed, 1);
		remember(process, scratch, PROCESS_SUPPRESSED);
		return 0;
	}
	sequence = next_sequence();
	at = put_args(scratch, at, (__u64)READ(task, mm), sequence);
	args_at = at;
	at = put_env(scratch, at, (__u64)READ(task, mm));
	scratch->exec.env_length = at - args_at;
	send(scratch, sizeof(struct exec_head) + at, sequence, cgroup);
	remember(process, scratch, PROCESS_RECORDED);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(capture_fork, struct task_struct *parent, struct task_struct *child)
{
	struct settings *set_by = settings_now();
	struct process *mine, *its;
	struct cgroup_state *cgroup;
	__u64 key;

	if (child->pid != child->tgid || !set_by)
		return 0;
	cgroup = cgroup_state(parent, set_by, &key);
	if (cgroup && cgroup->scope == SCOPE_OUT)
		return 0;
	if (cgroup)
		__sync_fetch_and_add(&cgroup->forks, 1);
	mine = bpf_task_storage_get(&processes, parent->group_leader, 0, 0);
	if (!mine)
		return 0;
	its = bpf_task_storage_get(&processes, child, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!its) {
		no_state();
		return 0;
	}
	its->state = PROCESS_FORKED;
	its->ancestor_pid = mine->ancestor_pid;
	its->ancestor_start = mine->ancestor_start;
	its->path_length = mine->path_length;
	__builtin_memcpy(its->path, mine->path, sizeof(its->path));
	return 0;
}

/* As wait(2) would tell it: of the whole group when it was told to exit, else the leader's. */
static __always_inline __u32 exit_status(struct task_struct *task)
{
	struct signal_struct *signal = task->signal;

	if (signal->flags & SIGNAL_GROUP_EXIT)
		return signal->group_exit_code;
	return task->group_leader->exit_code;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(capture_exit, struct task_struct *task)
{
	struct scratch *scratch = scratch_for(SCRATCH_EXIT);
	struct settings *set_by = settings_now();
	struct cgroup_state *cgroup;
	struct process *process;
	__u32 state;
	__u64 key, length;

	/* The last thread tells the end of the process. */
	if (task->signal->live.counter != 0 || !scratch || !set_by)
		return 0;
	process = bpf_task_storage_get(&processes, task->group_leader, 0, 0);
	if (!process)
		return 0;
	/* Two last threads may both see that nobody else lives: one of them tells. */
	state = __sync_lock_test_and_set(&process->state, PROCESS_ENDED);
	if (state != PROCESS_RECORDED)
		return 0;
	cgroup = cgroup_state(task, set_by, &key);
	if (cgroup && cgroup->scope == SCOPE_OUT)
		return 0;
	if (cgroup)
		__sync_fetch_and_add(&cgroup->exits, 1);
	start_record(scratch, KIND_EXIT, task, key, process);
	scratch->exit.status = exit_status(task);
	scratch->exit.exec_boot_ns = process->exec_boot_ns;
	scratch->exit.cpu_ns = task->signal->sum_sched_runtime + task->se.sum_exec_runtime;
	scratch->exit.peak_rss = task->signal->maxrss * PAGE_BYTES;
	length = HELD(process->path_length);
	if (length > RULE_TEXT - 1)
		length = RULE_TEXT - 1;
	scratch->exit.executable_length = length;
	bpf_probe_read_kernel((char *)scratch + OFF_EXIT_DATA, length, process->path);
	send(scratch, sizeof(struct exit_head) + length, next_sequence(), cgroup);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(capture_rmdir, struct cgroup *cgroup)
{
	__u64 key = cgroup_key(cgroup);
	struct cgroup_state *state = bpf_map_lookup_elem(&cgroups, &key);

	if (state)
		state->gone_ns = bpf_ktime_get_boot_ns();
	return 0;
}

/* Run by user space: the scope changes in place, beside counters that move. */
struct scope_call {
	__u64 cgroup;
	__u64 scope;
};

SEC("syscall")
int set_scope(struct scope_call *call)
{
	__u64 key = call->cgroup;
	struct cgroup_state *state = bpf_map_lookup_elem(&cgroups, &key);

	if (state)
		state->scope = call->scope;
	return 0;
}

#include "failed.h"
#include "snapshot.h"
