/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * What the kernel side hands over: the one definition of every record, setting and counter.
 * C asserts the offsets below, the Rust decoder reads at the same numbers, and a test reads
 * this very file to compare both. All numbers are in the host's byte order.
 *
 * Lane A (map records): one record an event, small. Lane B (map bulk): what did not fit.
 * The bulk of an event is submitted before its record, so whoever holds the record need not
 * wait for anything.
 */
#ifndef PURSER_WIRE_H
#define PURSER_WIRE_H

/* Change it with any change below: a newer purser adopts running programs of its own version. */
#define WIRE_VERSION 2

enum record_kind {
	KIND_EXEC = 1,
	KIND_RUNNING = 2,
	KIND_EXEC_FAILED = 3,
	KIND_EXIT = 4,
	KIND_BULK = 5,
};

/* Every record of lane A begins with this: who and where. */
#define OFF_KIND 0
#define OFF_VERSION 1
#define OFF_CPU 2
#define OFF_LENGTH 4
#define OFF_SEQUENCE 8
#define OFF_BOOT_NS 16
#define OFF_CGROUP 24
#define OFF_PID 32
#define OFF_NAMESPACE_PID 36
#define OFF_START 40
#define OFF_PARENT_PID 48
#define OFF_ANCESTOR_PID 52
#define OFF_PARENT_START 56
#define OFF_ANCESTOR_START 64
#define OFF_UID 72
#define OFF_GID 76
#define OFF_EUID 80
#define OFF_EGID 84
#define OFF_LOGIN_UID 88
#define OFF_SESSION 92
#define OFF_CAPABILITIES 96
#define OFF_TTY 104
#define OFF_FLAGS 108

struct record_head {
	unsigned char kind;
	unsigned char version;
	unsigned short cpu;
	unsigned int length;		/* of the whole record */
	unsigned long long sequence;	/* per CPU, counts the records that were lost too */
	unsigned long long boot_ns;
	unsigned long long cgroup;	/* key of the map cgroups */
	unsigned int pid;
	unsigned int namespace_pid;
	unsigned long long start;	/* boot clock at the fork */
	unsigned int parent_pid;
	unsigned int ancestor_pid;	/* nearest ancestor with a record of its own */
	unsigned long long parent_start;
	unsigned long long ancestor_start;
	unsigned int uid;
	unsigned int gid;
	unsigned int euid;
	unsigned int egid;
	unsigned int login_uid;
	unsigned int session;
	unsigned long long capabilities;
	unsigned int tty;		/* major << 20 | minor, 0 for none */
	unsigned int flags;		/* FLAG_* */
};

/* exec and running; the data are, without gaps: executable, directory, filename,
 * interpreter, arguments, environment. Paths of dentries come name by name, the last name
 * first, each ended by NUL. */
#define OFF_ARGC 112
#define OFF_ARGS_BYTES 116
#define OFF_BULK_PARTS 120
#define OFF_NAMESPACES 124
#define OFF_EXECUTABLE_LENGTH 152
#define OFF_DIRECTORY_LENGTH 154
#define OFF_FILENAME_LENGTH 156
#define OFF_INTERPRETER_LENGTH 158
#define OFF_ARGS_LENGTH 160
#define OFF_ENV_LENGTH 164
#define OFF_EXEC_DATA 168

struct exec_head {
	struct record_head head;
	unsigned int argc;
	unsigned int args_bytes;	/* all of them, wherever they are */
	unsigned int bulk_parts;	/* records of lane B that were submitted for this one */
	unsigned int namespaces[7];	/* mount pid network uts ipc user cgroup */
	unsigned short executable_length;
	unsigned short directory_length;
	unsigned short filename_length;
	unsigned short interpreter_length;
	unsigned int args_length;	/* in this record: the first bytes */
	unsigned int env_length;
};

#define OFF_ERRNO 112
#define OFF_FAILED_FILENAME_LENGTH 116
#define OFF_FAILED_ARGC 118
#define OFF_FAILED_ARGS_LENGTH 120
#define OFF_FAILED_DATA 128

struct failed_head {
	struct record_head head;
	unsigned int error;
	unsigned short filename_length;
	unsigned short argc;		/* what was read, 0xffff for more */
	unsigned int args_length;
	unsigned int pad;
};

#define OFF_STATUS 112
#define OFF_EXIT_EXECUTABLE_LENGTH 116
#define OFF_EXEC_BOOT_NS 120
#define OFF_CPU_NS 128
#define OFF_PEAK_RSS 136
#define OFF_EXIT_DATA 144

struct exit_head {
	struct record_head head;
	unsigned int status;		/* as wait(2) gives it */
	unsigned int executable_length;
	unsigned long long exec_boot_ns; /* of the last exec */
	unsigned long long cpu_ns;
	unsigned long long peak_rss;	/* bytes */
};

#define OFF_PART 16
#define OFF_BULK_DATA 24

struct bulk_head {
	unsigned char kind;
	unsigned char version;
	unsigned short cpu;
	unsigned int length;
	unsigned long long sequence;	/* that the record of lane A has or will have */
	unsigned int part;		/* 0, 1, 2 ... */
	unsigned int pad;
};

/* FLAG_* are the flags of the event, in the same bits. */
#define FLAG_MEMFD (1u << 0)
#define FLAG_DELETED (1u << 1)
#define FLAG_UPPER_LAYER (1u << 2)
#define FLAG_RAISED (1u << 3)
#define FLAG_FROM_THREAD (1u << 4)
#define FLAG_ARGS_CUT (1u << 5)
#define FLAG_ENV_CUT (1u << 6)
#define FLAG_RUNTIME_INIT (1u << 7)
#define FLAG_PATH_CUT (1u << 8)
#define FLAG_COMPAT (1u << 9)

#define INLINE_ARGS 1024
#define BULK_BYTES 16384
#define FAILED_ARGS 32
#define ENV_NAMES 16
#define RULE_TEXT 248
#define RULES 64

/* Element 0 of the map settings: what user space tells the programs. */
#define OFF_SET_V1 0
#define OFF_SET_FAILED 4
#define OFF_SET_ENV_COUNT 8
#define OFF_SET_ENV_PREFIX 16
#define OFF_SET_ENV_MASK 144
#define SETTINGS_SIZE 272

struct settings {
	unsigned int v1;		/* cgroup v1 or hybrid: prefer the v1 controllers */
	unsigned int failed;		/* report refused execs */
	unsigned int env_count;
	unsigned int pad;
	unsigned long long env_prefix[ENV_NAMES]; /* first bytes of "NAME=" */
	unsigned long long env_mask[ENV_NAMES];
};

/* Value of the map cgroups, by cgroup key. */
#define SCOPE_UNKNOWN 0
#define SCOPE_IN 1
#define SCOPE_OUT 2

#define CGROUP_PATH 512
#define OFF_CG_SCOPE 0
#define OFF_CG_HINTS 4
#define OFF_CG_GONE_NS 8
#define OFF_CG_EXECS 16
#define OFF_CG_EXITS 24
#define OFF_CG_FAILED 32
#define OFF_CG_BYTES 40
#define OFF_CG_LOST 48
#define OFF_CG_SUPPRESSED 56
#define OFF_CG_PATH_LENGTH 64
#define OFF_CG_PATH 72
#define CGROUP_SIZE 584

#define HINT_PID_NS 1	/* first seen task was in a pid namespace of its own */

struct cgroup_state {
	unsigned int scope;
	unsigned int hints;
	unsigned long long gone_ns;	/* boot clock when the cgroup was removed */
	unsigned long long execs;
	unsigned long long exits;
	unsigned long long failed;
	unsigned long long bytes;
	unsigned long long lost;
	unsigned long long suppressed;	/* by rules */
	unsigned int path_length;
	unsigned int pad;
	char path[CGROUP_PATH];		/* name by name, the last name first, NUL between */
};

/* Element 0 of the per-CPU map lanes. */
#define OFF_LANE_SEQUENCE 0
#define OFF_LANE_LOST 8
#define OFF_LANE_BULK_LOST 16
#define OFF_LANE_MISSED 24
#define OFF_LANE_NO_STATE 32
#define LANE_SIZE 40

struct lane_state {
	unsigned long long sequence;	/* the last number given out */
	unsigned long long lost;	/* records of lane A */
	unsigned long long bulk_lost;	/* records whose bulk is not whole */
	unsigned long long missed;	/* entries that found no program to call */
	unsigned long long no_state;	/* no memory for a process or a cgroup */
};

/* Keys and values of a rule set. Bit N of a mask is rule N; the first rule wins. */
enum rule_field {
	RULE_HEADER = 0,
	RULE_CGROUP = 1,
	RULE_UID = 2,
	RULE_EXECUTABLE = 3,
	RULE_ARGV0 = 4,
	RULE_PARENT = 5,
};

struct rule_key {
	unsigned int field;
	unsigned int length;
	char text[RULE_TEXT];	/* a number is its 8 bytes */
};

#define OFF_RULE_MASK 0
#define OFF_RULE_ANY 8
#define OFF_RULE_COUNT 48
#define OFF_RULE_IGNORE 56
#define OFF_RULE_BASE 64
#define RULE_KEY_SIZE 256
#define RULE_VALUE_SIZE 72

struct rule_value {
	unsigned long long mask;	/* header: all rules */
	unsigned long long any[5];	/* header: rules without a condition on field 1 .. 5 */
	unsigned long long count;	/* header: rules with action count */
	unsigned long long ignore;	/* header: rules with action ignore */
	unsigned long long base;	/* header: first element of the map rule_hits */
};

/* What is written above in numbers is what the compiler makes of the structures. */
#define AT(name, type, field) _Static_assert(__builtin_offsetof(struct type, field) == OFF_##name, #name)
#define SIZE(number, type) _Static_assert(sizeof(struct type) == number, #type)

AT(KIND, record_head, kind);
AT(VERSION, record_head, version);
AT(CPU, record_head, cpu);
AT(LENGTH, record_head, length);
AT(SEQUENCE, record_head, sequence);
AT(BOOT_NS, record_head, boot_ns);
AT(CGROUP, record_head, cgroup);
AT(PID, record_head, pid);
AT(NAMESPACE_PID, record_head, namespace_pid);
AT(START, record_head, start);
AT(PARENT_PID, record_head, parent_pid);
AT(ANCESTOR_PID, record_head, ancestor_pid);
AT(PARENT_START, record_head, parent_start);
AT(ANCESTOR_START, record_head, ancestor_start);
AT(UID, record_head, uid);
AT(GID, record_head, gid);
AT(EUID, record_head, euid);
AT(EGID, record_head, egid);
AT(LOGIN_UID, record_head, login_uid);
AT(SESSION, record_head, session);
AT(CAPABILITIES, record_head, capabilities);
AT(TTY, record_head, tty);
AT(FLAGS, record_head, flags);
AT(ARGC, exec_head, argc);
AT(ARGS_BYTES, exec_head, args_bytes);
AT(BULK_PARTS, exec_head, bulk_parts);
AT(NAMESPACES, exec_head, namespaces);
AT(EXECUTABLE_LENGTH, exec_head, executable_length);
AT(DIRECTORY_LENGTH, exec_head, directory_length);
AT(FILENAME_LENGTH, exec_head, filename_length);
AT(INTERPRETER_LENGTH, exec_head, interpreter_length);
AT(ARGS_LENGTH, exec_head, args_length);
AT(ENV_LENGTH, exec_head, env_length);
AT(ERRNO, failed_head, error);
AT(FAILED_FILENAME_LENGTH, failed_head, filename_length);
AT(FAILED_ARGC, failed_head, argc);
AT(FAILED_ARGS_LENGTH, failed_head, args_length);
AT(STATUS, exit_head, status);
AT(EXIT_EXECUTABLE_LENGTH, exit_head, executable_length);
AT(EXEC_BOOT_NS, exit_head, exec_boot_ns);
AT(CPU_NS, exit_head, cpu_ns);
AT(PEAK_RSS, exit_head, peak_rss);
AT(PART, bulk_head, part);
AT(SET_V1, settings, v1);
AT(SET_FAILED, settings, failed);
AT(SET_ENV_COUNT, settings, env_count);
AT(SET_ENV_PREFIX, settings, env_prefix);
AT(SET_ENV_MASK, settings, env_mask);
AT(CG_SCOPE, cgroup_state, scope);
AT(CG_HINTS, cgroup_state, hints);
AT(CG_GONE_NS, cgroup_state, gone_ns);
AT(CG_EXECS, cgroup_state, execs);
AT(CG_EXITS, cgroup_state, exits);
AT(CG_FAILED, cgroup_state, failed);
AT(CG_BYTES, cgroup_state, bytes);
AT(CG_LOST, cgroup_state, lost);
AT(CG_SUPPRESSED, cgroup_state, suppressed);
AT(CG_PATH_LENGTH, cgroup_state, path_length);
AT(CG_PATH, cgroup_state, path);
AT(LANE_SEQUENCE, lane_state, sequence);
AT(LANE_LOST, lane_state, lost);
AT(LANE_BULK_LOST, lane_state, bulk_lost);
AT(LANE_MISSED, lane_state, missed);
AT(LANE_NO_STATE, lane_state, no_state);
AT(RULE_MASK, rule_value, mask);
AT(RULE_ANY, rule_value, any);
AT(RULE_COUNT, rule_value, count);
AT(RULE_IGNORE, rule_value, ignore);
AT(RULE_BASE, rule_value, base);
SIZE(OFF_EXEC_DATA, exec_head);
SIZE(OFF_FAILED_DATA, failed_head);
SIZE(OFF_EXIT_DATA, exit_head);
SIZE(OFF_BULK_DATA, bulk_head);
SIZE(SETTINGS_SIZE, settings);
SIZE(CGROUP_SIZE, cgroup_state);
SIZE(LANE_SIZE, lane_state);
SIZE(RULE_KEY_SIZE, rule_key);
SIZE(RULE_VALUE_SIZE, rule_value);

#undef AT
#undef SIZE

#endif
