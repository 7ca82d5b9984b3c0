// SPDX-License-Identifier: Apache-2.0
// The library of target.c in C++, with exceptions.

#include "layer.h"

__thread int mark = 5;

namespace {
struct Found {
	int value;
};

void dig(int depth)
{
	if (depth == 0)
		throw Found{ 7 };
	dig(depth - 1);
}
} // namespace

void descend(void (*then)(int), int depth)
{
	if (depth > 0) {
		descend(then, depth - 1);
		return;
	}
	mark = 6;
	try {
		dig(3);
	} catch (const Found &found) {
		then(found.value);
	}
}

void stumble(int depth)
{
	try {
		dig(depth);
	} catch (const Found &) {
	}
}
