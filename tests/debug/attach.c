// SPDX-License-Identifier: Apache-2.0
// Attaches to the process given as a debugger does, says so, and waits to be killed.

#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <unistd.h>

int main(int count, char **words)
{
	if (count != 2 || ptrace(PTRACE_ATTACH, atoi(words[1]), 0, 0) != 0) {
		perror("attaching");
		return 1;
	}
	// Nobody waits for the stop: this is the moment at which a debugger that dies leaves its target stopped.
	puts("attached");
	fflush(stdout);
	pause();
	return 0;
}
