// SPDX-License-Identifier: Apache-2.0
// A static program with glibc's own look-up. What happens to it shows that the trap is set.

#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

int main(int count, char **words)
{
	struct addrinfo *found;

	if (count == 3 && !strcmp(words[1], "host"))
		return getaddrinfo(words[2], "80", NULL, &found) != 0;
	if (count == 3 && !strcmp(words[1], "user"))
		return getpwnam(words[2]) == NULL;
	return 2;
}
