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

/* Goes over to the program in the slot for good; one that finds none counts. */
static __always_inline void enter(void *context, void *slot)
{
	struct lane_state *counters;

	bpf_tail_call(context, slot, 0);
	counters = lane();
	if (counters)
		__sync_fetch_and_add(&counters->missed, 1);
}

#define ENTRY(name, section, slot)                              \
	SEC(section)                                            \
	int name(void *context)                                 \
	{                                                       \
		enter(context, &slot);                          \
		return 0;                                       \
	}

/* Comes after every exec; most of them succeed. */
#define RETURN_ENTRY(name, section, slot)                       \
	SEC(section)                                            \
	int name(struct trace_event_raw_sys_exit *context)      \
	{                                                       \
		if (context->ret < 0)                           \
			enter(context, &slot);                  \
		return 0;                                       \
	}

ENTRY(on_exec, "tp_btf/sched_process_exec", exec_slot)
ENTRY(on_fork, "tp_btf/sched_process_fork", fork_slot)
ENTRY(on_exit, "tp_btf/sched_process_exit", exit_slot)
ENTRY(on_rmdir, "tp_btf/cgroup_rmdir", rmdir_slot)
RETURN_ENTRY(on_execve_return, "tracepoint/syscalls/sys_exit_execve", failed_slot)
RETURN_ENTRY(on_execveat_return, "tracepoint/syscalls/sys_exit_execveat", failed_slot)

static __always_inline struct settings *settings_now(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

static __always_inline struct scratch *scratch_for(__u32 program)
{
	return bpf_map_lookup_elem(&scratches, &program);
}

/* From now on children and rules know what this process runs. `process` is what was known of
 * it, if anything. */
static __always_inline void remember(struct process *process, struct scratch *scratch,
				     struct process_key *key, bool suppressed)
{
	__u64 length = HELD(scratch->exec.executable_length);
	bool new = !process;

	if (new)
		process = &scratch->process;
	process->started_by = *key;
	process->exec_boot_ns = scratch->head.boot_ns;
	process->suppressed = suppressed;
	if (length > RULE_TEXT - 1)
		length = RULE_TEXT - 1;
	process->path_length = length;
	bpf_probe_read_kernel(process->path, length, scratch->data);
	if (new && bpf_map_update_elem(&processes, key, process, BPF_ANY))
		no_state();
}

/* A runtime enters the container's cgroup before the container has its namespaces: what was
 * decided about the cgroup until then is open again. */
static __always_inline void note_namespace(struct cgroup_state *cgroup, struct task_struct *task)
{
	if (cgroup->hints & HINT_PID_NS || READ(task, thread_pid, level) == 0)
		return;
	/* Full barriers here and in set_scope: one of both sees what the other wrote. */
	__sync_fetch_and_or(&cgroup->hints, HINT_PID_NS);
	if (cgroup->scope == SCOPE_OUT)
		cgroup->scope = SCOPE_UNKNOWN;
}

/* Asked before the event has a number: a suppressed one leaves no hole in the sequence. */
static __always_inline enum verdict judge_exec(struct scratch *scratch,
					       struct task_struct *task, __u64 cgroup)
{
	struct rule_query query = {
		.cgroup = cgroup,
		.uid = scratch->head.euid,
		.executable = scratch->data,
		.executable_length = scratch->exec.executable_length,
		.mm = READ(task, mm),
		.parent = { scratch->head.parent_start, scratch->head.parent_pid },
	};

	return judge(&query);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(capture_exec, struct task_struct *task, int old_pid, struct linux_binprm *binprm)
{
	struct scratch *scratch = scratch_for(SCRATCH_EXEC);
	struct settings *set_by = settings_now();
	struct cgroup_state *cgroup;
	struct process_key itself;
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
	itself = key_of(task);
	process = bpf_map_lookup_elem(&processes, &itself);
	start_record(scratch, KIND_EXEC, task, key, process ? &process->started_by : 0);
	fill_namespaces(scratch, address_of(task));
	scratch->head.flags |= file_flags((__u64)READ(binprm, file)) | task_flags(task);
	if (BPF_CORE_READ_BITFIELD(binprm, secureexec))
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
		remember(process, scratch, &itself, 1);
		return 0;
	}
	sequence = next_sequence();
	at = put_args(scratch, at, (__u64)READ(task, mm), sequence);
	args_at = at;
	at = put_env(scratch, at, (__u64)READ(task, mm));
	scratch->exec.env_length = at - args_at;
	send(scratch, sizeof(struct exec_head) + at, sequence, cgroup);
	remember(process, scratch, &itself, 0);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(capture_fork, struct task_struct *parent, struct task_struct *child)
{
	struct process_key mine, its;
	struct process *process;

	if (child->pid != child->tgid)
		return 0;
	mine = key_of(parent);
	process = bpf_map_lookup_elem(&processes, &mine);
	if (!process)
		return 0;
	its = key_of(child);
	if (bpf_map_update_elem(&processes, &its, process, BPF_ANY))
		no_state();
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

/* What the record of the end takes from what was remembered. */
static __always_inline void put_ended(struct scratch *scratch, struct process *process)
{
	__u64 length = HELD(process->path_length);

	if (length > RULE_TEXT - 1)
		length = RULE_TEXT - 1;
	scratch->exit.exec_boot_ns = process->exec_boot_ns;
	scratch->exit.executable_length = length;
	bpf_probe_read_kernel((char *)scratch + OFF_EXIT_DATA, length, process->path);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(capture_exit, struct task_struct *task)
{
	struct scratch *scratch = scratch_for(SCRATCH_EXIT);
	struct settings *set_by = settings_now();
	struct process_key itself;
	struct cgroup_state *cgroup;
	struct process *process;
	bool recorded;
	__u64 key;

	/* The last thread tells the end of the process. */
	if (task->signal->live.counter != 0 || !scratch || !set_by)
		return 0;
	itself = key_of(task);
	process = bpf_map_lookup_elem(&processes, &itself);
	if (!process)
		return 0;
	recorded = is_same(&process->started_by, &itself) && !process->suppressed;
	if (recorded)
		put_ended(scratch, process);
	/* Two last threads may both see that nobody else lives: the one that takes the process out
	 * tells, and what it has read until then was the process's own. */
	if (bpf_map_delete_elem(&processes, &itself) || !recorded)
		return 0;
	cgroup = cgroup_state(task, set_by, &key);
	if (cgroup && cgroup->scope == SCOPE_OUT)
		return 0;
	if (cgroup)
		__sync_fetch_and_add(&cgroup->exits, 1);
	start_record(scratch, KIND_EXIT, task, key, &itself);
	scratch->exit.status = exit_status(task);
	scratch->exit.cpu_ns = task->signal->sum_sched_runtime + task->se.sum_exec_runtime;
	scratch->exit.peak_rss = task->signal->maxrss * PAGE_BYTES;
	send(scratch, sizeof(struct exit_head) + scratch->exit.executable_length, next_sequence(),
	     cgroup);
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
	__u32 scope;
	__u32 hints;	/* that the decision knew of */
};

SEC("syscall")
int set_scope(struct scope_call *call)
{
	__u64 key = call->cgroup;
	struct cgroup_state *state = bpf_map_lookup_elem(&cgroups, &key);

	if (!state)
		return 0;
	__sync_lock_test_and_set(&state->scope, call->scope);
	/* What a decision against the cgroup did not know yet leaves it open. */
	if (call->scope == SCOPE_OUT && state->hints & ~call->hints)
		state->scope = SCOPE_UNKNOWN;
	return 0;
}

#include "failed.h"
#include "snapshot.h"
