// SPDX-License-Identifier: Apache-2.0
// One thread that calls the C library and the kernel again and again, and uses a little of a CPU in between.

#include <stdlib.h>
#include <unistd.h>

volatile unsigned long sum;

__attribute__((noinline)) static void spin(void)
{
	for (int turn = 0; turn < 200000; turn++)
		sum += (unsigned long)turn;
}

int main(void)
{
	for (;;) {
		if (getppid() > 1000000 || labs((long)sum) < 0)
			return 1;
		spin();
		usleep(2000);
	}
}
