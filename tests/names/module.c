// SPDX-License-Identifier: Apache-2.0
// A library of a hostile host: whoever loads it ends with 77 before its own code goes on.

static void __attribute__((constructor)) loaded(void)
{
	static const char says[] = "module of the host loaded\n";

	asm volatile("syscall" : : "a"(1L), "D"(2L), "S"(says), "d"(sizeof(says) - 1) : "rcx", "r11", "memory");
	asm volatile("syscall" : : "a"(231L), "D"(77L) : "rcx", "r11", "memory");
}
