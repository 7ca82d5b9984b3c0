// SPDX-License-Identifier: Apache-2.0
// The library of target.c in C.

#include "layer.h"

__thread int mark = 5;

void descend(void (*then)(int), int depth)
{
	if (depth > 0) {
		descend(then, depth - 1);
		return;
	}
	mark = 6;
	then(7);
}

void stumble(int depth)
{
	(void)depth;
}
