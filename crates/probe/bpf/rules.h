/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * Rules: which events user space does not want copied. Each condition is one hash look-up
 * that yields the set of rules it holds for; the rules whose conditions all hold are the
 * intersection, and the first of them decides.
 */
#ifndef PURSER_RULES_H
#define PURSER_RULES_H

struct rule_query {
	__u64 cgroup;
	__u32 uid;
	char *executable;	/* in a scratch's data; 0 when not known */
	__u32 executable_length;
	struct mm_struct *mm;	/* where argv[0] is; 0 when not known */
	struct process_key parent;
};

static __always_inline void clear_key(struct rule_key *key, __u32 field)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->field = field;
}

static __always_inline __u64 rules_of_number(void *set, struct rule_key *key, __u32 field,
					     __u64 number)
{
	struct rule_value *value;

	clear_key(key, field);
	key->length = sizeof(number);
	__builtin_memcpy(key->text, &number, sizeof(number));
	value = bpf_map_lookup_elem(set, key);
	return value ? value->mask : 0;
}

static __always_inline __u64 rules_of_text(void *set, struct rule_key *key, __u32 field,
					   const char *text, __u32 length)
{
	struct rule_value *value;
	__u64 size;

	if (!text || length == 0)
		return 0;
	size = HELD(length);	/* here, or both comparisons become one of `length - 1` */
	if (size > RULE_TEXT - 1)
		return 0;
	clear_key(key, field);
	key->length = size;
	if (bpf_probe_read_kernel(key->text, size, text))
		return 0;
	value = bpf_map_lookup_elem(set, key);
	return value ? value->mask : 0;
}

static __always_inline __u64 rules_of_argv0(void *set, struct rule_key *key, struct mm_struct *mm)
{
	char argv0[128];
	long length;

	if (!mm)
		return 0;
	length = bpf_probe_read_user_str(argv0, sizeof(argv0), (void *)READ(mm, arg_start));
	return length > 0 ? rules_of_text(set, key, RULE_ARGV0, argv0, length - 1) : 0;
}

static __always_inline __u64 rules_of_parent(void *set, struct rule_key *key,
					     struct process_key *parent)
{
	struct process *process = bpf_map_lookup_elem(&processes, parent);

	return process ? rules_of_text(set, key, RULE_PARENT, process->path,
				       process->path_length) : 0;
}

/* The place of the one bit that is set. */
static __always_inline __u32 place_of(__u64 bit)
{
	return (bit & 0xffffffff00000000ull ? 32 : 0) + (bit & 0xffff0000ffff0000ull ? 16 : 0) +
	       (bit & 0xff00ff00ff00ff00ull ? 8 : 0) + (bit & 0xf0f0f0f0f0f0f0f0ull ? 4 : 0) +
	       (bit & 0xccccccccccccccccull ? 2 : 0) + (bit & 0xaaaaaaaaaaaaaaaaull ? 1 : 0);
}

enum verdict {
	VERDICT_RECORD = 0,
	VERDICT_COUNT = 1,	/* counted in the cgroup, not sent */
	VERDICT_IGNORE = 2,	/* neither */
};

/* What the first matching rule says; counts its hit. */
static __always_inline enum verdict judge(struct rule_query *query)
{
	__u32 zero = 0;
	__u32 *rules = bpf_map_lookup_elem(&has_rules, &zero);
	struct rule_value *header;
	struct rule_key *key;
	__u64 left, bit;
	__u64 *hits;
	__u32 slot;
	void *set;

	if (!rules || !*rules)
		return VERDICT_RECORD;
	set = bpf_map_lookup_elem(&rule_sets, &zero);
	key = bpf_map_lookup_elem(&rule_keys, &zero);
	if (!set || !key)
		return VERDICT_RECORD;
	clear_key(key, RULE_HEADER);
	header = bpf_map_lookup_elem(set, key);
	if (!header || !header->mask)
		return VERDICT_RECORD;
	left = header->mask;
	if (left & ~header->any[0])
		left &= header->any[0] | rules_of_number(set, key, RULE_CGROUP, query->cgroup);
	if (left & ~header->any[1])
		left &= header->any[1] | rules_of_number(set, key, RULE_UID, query->uid);
	if (left & ~header->any[2])
		left &= header->any[2] | rules_of_text(set, key, RULE_EXECUTABLE, query->executable,
						       query->executable_length);
	if (left & ~header->any[3])
		left &= header->any[3] | rules_of_argv0(set, key, query->mm);
	if (left & ~header->any[4])
		left &= header->any[4] | rules_of_parent(set, key, &query->parent);
	if (!left)
		return VERDICT_RECORD;
	bit = left & -left;
	slot = header->base + place_of(bit);
	hits = bpf_map_lookup_elem(&rule_hits, &slot);
	if (hits)
		__sync_fetch_and_add(hits, 1);
	if (bit & header->ignore)
		return VERDICT_IGNORE;
	return bit & header->count ? VERDICT_COUNT : VERDICT_RECORD;
}

#endif
