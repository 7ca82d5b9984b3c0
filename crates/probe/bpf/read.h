/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/*
 * Fields of kernel structures behind addresses that the verifier takes for numbers.
 * bpf_rdonly_cast (Linux 6.2) makes each read one instruction; without it each is a call of a
 * helper. Either way a bad address reads as 0.
 */
#ifndef PURSER_READ_H
#define PURSER_READ_H

extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym __weak;

/* READ(task, cred, uid.val) is task->cred->uid.val. The pointer's type must not be const. */
#define READ(from, ...)                                                                    \
	({                                                                                 \
		typeof(from) source = (from);                                              \
		typeof(___arrow(source, __VA_ARGS__)) value;                               \
		if (bpf_ksym_exists(bpf_rdonly_cast)) {                                    \
			source = bpf_rdonly_cast(source, bpf_core_type_id_kernel(typeof(*source))); \
			value = ___arrow(source, __VA_ARGS__);                             \
		} else {                                                                   \
			value = BPF_CORE_READ(source, __VA_ARGS__);                        \
		}                                                                          \
		value;                                                                     \
	})

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
/* Stands for 8 bytes anywhere: a kernel type that begins with a plain number. */
struct timespec64 { long long tv_sec; };
#pragma clang attribute pop

#define READ_WORD(address) READ((struct timespec64 *)(address), tv_sec)

#endif
