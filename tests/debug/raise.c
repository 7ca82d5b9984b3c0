// SPDX-License-Identifier: Apache-2.0
// Sends itself the signal given, with the effect that it finds; ends with 1 when it is still there.

#include <signal.h>
#include <stdlib.h>

int main(int count, char **words)
{
	if (count == 2)
		raise(atoi(words[1]));
	return 1;
}
