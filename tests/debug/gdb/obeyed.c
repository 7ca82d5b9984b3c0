// SPDX-License-Identifier: Apache-2.0
// A library under names that a careless tool loads, and a program: whoever does so leaves a file in /marker.

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

__attribute__((constructor)) static void mark(void)
{
	char name[32] = "", path[64];
	int comm = open("/proc/self/comm", O_RDONLY);
	ssize_t length = comm < 0 ? 0 : read(comm, name, sizeof(name) - 1);

	name[length > 0 ? length - 1 : 0] = 0;
	// The container's own program may.
	if (strcmp(name, "target") == 0)
		return;
	snprintf(path, sizeof(path), "/marker/%s", name);
	close(open(path, O_CREAT | O_WRONLY, 0644));
}

int main(void)
{
	return 0;
}
