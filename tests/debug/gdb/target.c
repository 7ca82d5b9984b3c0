// SPDX-License-Identifier: Apache-2.0
// What the debugger is tried on. Three threads: the first one is parked below a library that was opened at run time,
// "counting" counts in a variable of its own, "throwing" has the library throw again and again. With STATIC all is one
// file.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>

#include "layer.h"

__thread long counter = 1000;
__thread long untouched = 77;

static void nap(void)
{
	struct timespec time = { 0, 2000000 };

	nanosleep(&time, NULL);
}

static void *count(void *nothing)
{
	for (;;) {
		counter++;
		nap();
	}
	return nothing;
}

static void *throw_on(void *throwing)
{
	for (;;) {
		((void (*)(int))throwing)(2);
		nap();
	}
	return NULL;
}

// Not pause() of the C library: musl's has no table by which a debugger finds who has called it.
static void park(int depth)
{
	for (;;) {
		long result;

		__asm__ volatile("syscall" : "=a"(result) : "a"(SYS_pause) : "rcx", "r11", "memory");
	}
	(void)depth;
}

static void start(const char *name, void *(*run)(void *), void *with)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, with) != 0)
		exit(1);
	pthread_setname_np(thread, name);
}

#ifdef STATIC
static void *find(const char *name)
{
	return name[0] == 'd' ? (void *)descend : (void *)stumble;
}
#else
static void *find(const char *name)
{
	void *library = dlopen("/lib/layer.so", RTLD_NOW);
	void *found = library ? dlsym(library, name) : NULL;

	if (!found) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	return found;
}
#endif

int main(void)
{
	void (*descending)(void (*)(int), int) = find("descend");

	counter = 42;
	start("counting", count, NULL);
	start("throwing", throw_on, find("stumble"));
	descending(park, 2);
	return 0;
}
