// SPDX-License-Identifier: Apache-2.0
// Prints the monotonic clock, in nanoseconds: when a program begins to run.
#include <stdio.h>
#include <time.h>

int main(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return printf("%lld\n", now.tv_sec * 1000000000LL + now.tv_nsec) < 0;
}
