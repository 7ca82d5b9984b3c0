/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * The processes that already run: an iterator that user space reads once. Its output is a
 * stream of records, the same as in lane A, without numbers.
 */
#ifndef PURSER_SNAPSHOT_H
#define PURSER_SNAPSHOT_H

#define SNAPSHOT_ARGS 4096

SEC("iter.s/task")
int snapshot(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct scratch *scratch = scratch_for(SCRATCH_SNAPSHOT);
	struct settings *set_by = settings_now();
	struct cgroup_state *cgroup;
	struct process_key itself;
	struct process *process;
	struct mm_struct *mm;
	struct file *file;
	__u64 key, total;
	__u32 at, first;

	if (!task || !scratch || !set_by || task->pid != task->tgid)
		return 0;
	mm = task->mm;
	if (task->flags & PF_KTHREAD || !mm)
		return 0;
	cgroup = cgroup_state(task, set_by, &key);
	if (cgroup && cgroup->scope == SCOPE_OUT)
		return 0;
	itself = key_of(task);
	process = bpf_map_lookup_elem(&processes, &itself);
	/* It executed since the programs were attached: its own record says more. */
	if (process && is_same(&process->started_by, &itself))
		return 0;
	start_record(scratch, KIND_RUNNING, task, key, 0);
	scratch->head.sequence = 0;
	fill_namespaces(scratch, address_of(task));
	file = READ(mm, exe_file);
	scratch->head.flags |= file_flags((__u64)file) | task_flags(task);
	at = put_places(scratch, task, file);
	scratch->exec.filename_length = 0;
	scratch->exec.interpreter_length = 0;
	scratch->exec.argc = ~0u;
	scratch->exec.bulk_parts = 0;
	scratch->exec.env_length = 0;
	total = READ(mm, arg_end) - READ(mm, arg_start);
	scratch->exec.args_bytes = total;
	first = total > SNAPSHOT_ARGS ? SNAPSHOT_ARGS : total;
	if (at >= SCRATCH_DATA)
		return 0;
	if (bpf_copy_from_user_task(scratch->data + WITHIN(at), WITHIN(first),
				    (void *)READ(mm, arg_start), task, 0))
		first = 0;
	scratch->exec.args_length = first;
	if (first < total)
		scratch->head.flags |= FLAG_ARGS_CUT;
	scratch->head.length = sizeof(struct exec_head) + at + first;
	if (scratch->head.length > sizeof(struct scratch))
		return 0;
	if (bpf_seq_write(context->meta->seq, scratch, scratch->head.length))
		return 0;
	remember(process, scratch, &itself, 0);
	return 0;
}

#endif
