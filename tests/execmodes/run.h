// SPDX-License-Identifier: Apache-2.0
// One run of one mode: what it must leave in a record, the files it makes, and how a child gives up.
// Included by execmodes.c only.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef AT_EXECVE_CHECK
#define AT_EXECVE_CHECK 0x10000
#endif
#define ARGS_MAX 70000
#define EXPECT_MAX 4
#define BASE64_LIMIT 4096
#define BINFMT_MAGIC "PRSRTEST"
#define CHILD_GAVE_UP 125
#define NOBODY 65534

// What one executed (or refused, or forbidden to appear) program must look like.
struct expect {
    const char *action; // "exec", "exec_failed" or "none"
    char **args;
    size_t count;
    char executable[256]; // "" = not said
    const char *error;    // errno name of exec_failed
    int exits;            // an exit must follow, with code or signal
    int exit_code;
    const char *signal;
    char env[320];
};

// One run of one mode. `plan` fills it before the fork, `act` performs it in the child.
struct run {
    const char *tag;
    char path[256]; // the file the mode made for itself
    int fd;
    struct expect expect[EXPECT_MAX];
    size_t expects;
    int same_pid; // the expected programs must share one process id
    char unsupported[256];
};

static char self[256];
static int say_fd = -1; // the child tells why it gave up; closed by a successful exec
static char *no_env[] = {NULL};

// ---- small tools -------------------------------------------------------------------------------------------

static void give_up(const char *what) {
    dprintf(say_fd, "%s: %s", what, strerror(errno));
    _exit(CHILD_GAVE_UP);
}

static void plan_failed(struct run *r, const char *what) {
    snprintf(r->unsupported, sizeof r->unsupported, "%s: %s", what, strerror(errno));
}

static char *text(const char *format, ...) {
    char *out = NULL;
    va_list list;
    va_start(list, format);
    if (vasprintf(&out, format, list) < 0) abort();
    va_end(list);
    return out;
}

static int write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n <= 0) return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static int write_file(const char *path, const char *content, mode_t mode) {
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return -1;
    int failed = write_all(fd, content, strlen(content)) || fchmod(fd, mode);
    return close(fd) || failed ? -1 : 0;
}

static int copy_self_to(int to) {
    char buffer[65536];
    int from = open(self, O_RDONLY | O_CLOEXEC);
    if (from < 0) return -1;
    ssize_t n;
    while ((n = read(from, buffer, sizeof buffer)) > 0)
        if (write_all(to, buffer, (size_t)n)) break;
    close(from);
    return n == 0 ? 0 : -1;
}

static int copy_self(const char *path, mode_t mode) {
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return -1;
    int failed = copy_self_to(fd) || fchmod(fd, mode);
    return close(fd) || failed ? -1 : 0;
}

static struct expect *add_expect(struct run *r, const char *action) {
    struct expect *e = &r->expect[r->expects++];
    e->action = action;
    e->args = calloc(ARGS_MAX + 1, sizeof *e->args);
    if (!e->args) abort();
    e->exits = strcmp(action, "exec") == 0;
    return e;
}

static void push(struct expect *e, const char *arg) {
    if (e->count >= ARGS_MAX) abort();
    e->args[e->count++] = strdup(arg);
}

static struct expect *expect_target(struct run *r, const char *arg0, const char *behaviour) {
    struct expect *e = add_expect(r, "exec");
    push(e, arg0);
    push(e, "target");
    push(e, r->tag);
    if (behaviour) push(e, behaviour);
    return e;
}

static void own_path(struct run *r, const char *suffix) {
    snprintf(r->path, sizeof r->path, "/tmp/%s%s", r->tag, suffix);
}

static void relay(pid_t pid, const char *what) {
    int status;
    if (pid < 0) give_up(what);
    while (waitpid(pid, &status, __WALL) < 0)
        if (errno != EINTR) give_up("waitpid");
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : CHILD_GAVE_UP - 1);
}

static int sys_execveat(int dir, const char *path, char **args, char **env, int flags) {
    return (int)syscall(SYS_execveat, dir, path, args, env, flags);
}
