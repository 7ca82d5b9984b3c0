/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * Every map. All of them are pinned while an agent is expected back.
 */
#ifndef PURSER_MAPS_H
#define PURSER_MAPS_H

#define SCRATCH_DATA 16384
#define SCRATCH_SLACK 4608	/* one more string of the longest kind always fits */

/* `at` in a form the verifier cannot lose sight of; callers have compared it before. */
#define WITHIN(at)                                                  \
	({                                                          \
		__u64 within = (at);                                \
		asm volatile("%0 &= 0x3fff" : "+r"(within));        \
		within;                                             \
	})

/* A length in a register that the compiler may not swap for another: the one compared is then
 * the one used, which the verifiers before 6.2 cannot tell otherwise. */
#define HELD(length)                                                \
	({                                                          \
		__u64 held = (length);                              \
		asm volatile("" : "+r"(held));                      \
		held;                                               \
	})

struct bulk_scratch {
	struct bulk_head head;
	char data[BULK_BYTES];
};

/* A process, told apart from those that had its number before. */
struct process_key {
	__u64 start;		/* boot clock at its fork */
	__u64 pid;
};

/* What a process runs, remembered for as long as it lives. A fork copies it as it is: whoever
 * is not `started_by` itself runs the program of that ancestor. */
struct process {
	struct process_key started_by;
	__u64 exec_boot_ns;
	__u32 suppressed;	/* a rule kept its exec out: so is its exit */
	__u32 path_length;
	char path[RULE_TEXT];	/* of the executable, as in records; cut at the end */
};

struct scratch {
	union {
		struct record_head head;
		struct exec_head exec;
		struct failed_head failed;
		struct exit_head exit;
	};
	char data[SCRATCH_DATA + SCRATCH_SLACK];
	struct process process;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} bulk SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct cgroup_state);
} cgroups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lane_state);
} lanes SEC(".maps");

/* Not task storage: its memory comes back late, and waking the allocator for more costs a fork
 * more than everything else here (measured on 6.18: 1.2 of 1.7 us). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);	/* user space makes it fit the memory of the host */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct process_key);
	__type(value, struct process);
} processes SEC(".maps");

/* One scratch a program: the kernel never runs a program inside itself on the same CPU. */
#define SCRATCH_EXEC 0
#define SCRATCH_EXIT 1
#define SCRATCH_FAILED 2
#define SCRATCH_SNAPSHOT 3

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bulk_scratch);
} bulk_scratches SEC(".maps");

/* A piece of an environment, and room to look a little behind its end. */
#define ENV_CHUNK 4096

struct env_scratch {
	char bytes[2 * ENV_CHUNK + 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct env_scratch);
} env_scratches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cgroup_state);
} new_cgroups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rule_key);
} rule_keys SEC(".maps");

/* Two halves of RULES elements: a new rule set counts in the half the old one does not use. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * RULES);
	__type(key, __u32);
	__type(value, __u64);
} rule_hits SEC(".maps");

/* Sizes instead of types: before 6.2 a set with BTF cannot be replaced by one without. */
struct rule_set {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(struct rule_key));
	__uint(value_size, sizeof(struct rule_value));
} rules_0 SEC(".maps");

/* Whether the rule set has any: asked instead of the set by every event on hosts without rules. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} has_rules SEC(".maps");

/* Replacing the element is the swap: the kernel returns when nobody uses the old set. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct rule_set);
} rule_sets SEC(".maps") = {
	.values = { &rules_0 },
};

/* The programs behind the entries, one array an attach point because the kernel insists:
 * replacing an element replaces the program between two events, never within one. */
#define PROGRAM_SLOT(name)                                 \
	struct {                                           \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY);     \
		__uint(max_entries, 1);                    \
		__type(key, __u32);                        \
		__type(value, __u32);                      \
	} name SEC(".maps")

PROGRAM_SLOT(exec_slot);
PROGRAM_SLOT(fork_slot);
PROGRAM_SLOT(exit_slot);
PROGRAM_SLOT(failed_slot);
PROGRAM_SLOT(rmdir_slot);

#endif
