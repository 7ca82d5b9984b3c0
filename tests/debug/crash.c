// SPDX-License-Identifier: Apache-2.0
// Dies of a wrong access.

int main(void)
{
	*(volatile int *)8 = 1;
	return 0;
}
