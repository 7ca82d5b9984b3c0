// SPDX-License-Identifier: Apache-2.0
// What target.c calls in a library that it opens at run time.

#ifdef __cplusplus
extern "C" {
#endif
// Calls `then` at the bottom of `depth` calls; in C++, from a handler of an exception.
void descend(void (*then)(int), int depth);
// Throws below `depth` calls and catches it above them; nothing in C.
void stumble(int depth);
#ifdef __cplusplus
}
#endif
