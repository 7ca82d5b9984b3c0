// SPDX-License-Identifier: Apache-2.0
// The cheapest program there is: no libc, one system call. The load generator executes it by the thousand.
//
//   gcc -O1 -static -nostdlib -o load-target target.c

void _start(void) {
    __asm__ volatile("xor %%edi, %%edi\n\tmov $231, %%eax\n\tsyscall" ::: "rdi", "rax", "rcx", "r11", "memory"); // exit_group(0)
    __builtin_unreachable();
}
