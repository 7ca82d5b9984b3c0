// SPDX-License-Identifier: Apache-2.0
// Starts a program in every way Linux knows, one way per mode, and says on stdout what a complete
// record must show: one JSON line per mode. It judges nothing about a recorder; the reader of the lines does.
//
//   gcc -O1 -static -o execmodes execmodes.c
//   execmodes list                  the modes
//   execmodes MODE TAG              one mode; the arguments of what is executed carry TAG
//   execmodes all TAGPREFIX         every mode, tag = TAGPREFIX-MODE
//
// A line is {"mode","tag","expect":[...]}, or {"mode","tag","unsupported":"reason"} where this kernel or these
// privileges do not allow the mode, or {"mode","tag","broken":"reason"} where the program itself went wrong.
// Modes that change a setting of the whole host run only with EXECMODES_HOST_CHANGES=1 in the environment.
#include "run.h"

#include "print.h"

// ---- the usual ways ----------------------------------------------------------------------------------------

static void plan_target(struct run *r) {
    struct expect *e = expect_target(r, self, NULL);
    snprintf(e->executable, sizeof e->executable, "%s", self);
}

static void act_execve(struct run *r) {
    execve(self, r->expect[0].args, no_env);
    give_up("execve");
}

static void act_execveat_cwd(struct run *r) {
    sys_execveat(AT_FDCWD, self, r->expect[0].args, no_env, 0);
    give_up("execveat");
}

static void act_execveat_dirfd(struct run *r) {
    char *slash = strrchr(self, '/');
    char *dir = strndup(self, (size_t)(slash - self) + 1);
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) give_up(dir);
    sys_execveat(fd, slash + 1, r->expect[0].args, no_env, 0);
    give_up("execveat");
}

static void act_by_fd(struct run *r, int flags) {
    int fd = open(self, flags | O_CLOEXEC);
    if (fd < 0) give_up(self);
    sys_execveat(fd, "", r->expect[0].args, no_env, AT_EMPTY_PATH);
    give_up("execveat");
}

static void act_execveat_fd(struct run *r) { act_by_fd(r, O_RDONLY); }
static void act_opath_fd(struct run *r) { act_by_fd(r, O_PATH); }

static void plan_memfd(struct run *r) { expect_target(r, self, NULL); }

static void act_memfd(struct run *r) {
    int fd = memfd_create(r->tag, MFD_CLOEXEC);
    if (fd < 0) give_up("memfd_create");
    if (copy_self_to(fd)) give_up("fill memfd");
    sys_execveat(fd, "", r->expect[0].args, no_env, AT_EMPTY_PATH);
    give_up("execveat");
}

static void *exec_in_thread(void *run) {
    act_execve(run);
    return NULL;
}

static void act_thread(struct run *r) {
    pthread_t thread;
    if ((errno = pthread_create(&thread, NULL, exec_in_thread, r))) give_up("pthread_create");
    pthread_join(thread, NULL);
    give_up("exec in a thread");
}

static void act_vfork(struct run *r) {
    char **args = r->expect[0].args;
    pid_t pid = vfork();
    if (pid == 0) {
        execve(self, args, no_env);
        _exit(CHILD_GAVE_UP);
    }
    relay(pid, "vfork");
}

static int exec_on_own_stack(void *run) {
    execve(self, ((struct run *)run)->expect[0].args, no_env);
    return CHILD_GAVE_UP;
}

static void act_clone(struct run *r, int flags) {
    char *stack = malloc(65536);
    if (!stack) give_up("malloc");
    relay(clone(exec_on_own_stack, stack + 65536, flags | SIGCHLD, r), "clone");
}

static void act_clone_vm(struct run *r) { act_clone(r, CLONE_VM); }
static void act_pid_namespace(struct run *r) { act_clone(r, CLONE_NEWPID); }

// The 32-bit entry reads 32-bit pointers, so the path, the strings and the vector must lie below 4 GiB.
static void act_int80(struct run *r) {
#ifdef __x86_64__
    char *low = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (low == MAP_FAILED) give_up("mmap below 4 GiB");
    uint32_t *vector = (uint32_t *)low;
    char *text_at = low + 4096, *path = text_at;
    text_at = stpcpy(text_at, self) + 1;
    size_t i = 0;
    for (; i < r->expect[0].count; i++) {
        vector[i] = (uint32_t)(uintptr_t)text_at;
        text_at = stpcpy(text_at, r->expect[0].args[i]) + 1;
    }
    vector[i] = 0;
    long result = 11; // execve of the 32-bit table
    __asm__ volatile("int $0x80" : "+a"(result) : "b"(path), "c"(vector), "d"(vector + i) : "memory", "r8", "r9", "r10", "r11");
    errno = (int)-result;
    give_up("int 0x80");
#else
    (void)r;
    errno = ENOSYS;
    give_up("int 0x80");
#endif
}

// ---- files of their own ------------------------------------------------------------------------------------

static void plan_copy(struct run *r, const char *suffix, mode_t mode) {
    own_path(r, suffix);
    struct expect *e = expect_target(r, r->path, NULL);
    snprintf(e->executable, sizeof e->executable, "%s", r->path);
    if (copy_self(r->path, mode)) plan_failed(r, "copy the program");
}

static void plan_setuid(struct run *r) { plan_copy(r, "-suid", 04755); }

// A version 2 capability set: CAP_NET_BIND_SERVICE permitted and effective.
static void plan_file_caps(struct run *r) {
    plan_copy(r, "-caps", 0755);
    if (r->unsupported[0]) return;
    struct vfs_cap_data caps = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE};
    caps.data[0].permitted = 1u << CAP_NET_BIND_SERVICE;
    if (setxattr(r->path, "security.capability", &caps, XATTR_CAPS_SZ_2, 0)) plan_failed(r, "setxattr security.capability");
}

static void act_as_nobody(struct run *r) {
    if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY)) give_up("become nobody");
    execve(r->path, r->expect[0].args, no_env);
    give_up("execve");
}

static void plan_deleted(struct run *r) {
    plan_copy(r, "-deleted", 0755);
    r->expect[0].executable[0] = 0;
    r->fd = open(r->path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0 || unlink(r->path)) plan_failed(r, "delete the copy");
}

static void act_deleted(struct run *r) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", r->fd);
    execve(path, r->expect[0].args, no_env);
    give_up(path);
}

// `#!INTERPRETER target` turns SCRIPT TAG into INTERPRETER target SCRIPT TAG.
static void expect_script(struct run *r, const char *script, const char *inner) {
    struct expect *e = add_expect(r, "exec");
    push(e, self);
    push(e, "target");
    if (inner) push(e, inner);
    push(e, script);
    push(e, r->tag);
    snprintf(e->executable, sizeof e->executable, "%s", self);
}

static void plan_shebang(struct run *r) {
    char *script = text("#!%s target\n", self);
    own_path(r, "-script");
    expect_script(r, r->path, NULL);
    if (write_file(r->path, script, 0755)) plan_failed(r, r->path);
}

static void plan_shebang_nested(struct run *r) {
    char *inner = text("/tmp/%s-inner", r->tag);
    own_path(r, "-outer");
    expect_script(r, r->path, inner);
    if (write_file(inner, text("#!%s target\n", self), 0755) || write_file(r->path, text("#!%s\n", inner), 0755))
        plan_failed(r, r->path);
}

static void act_path(struct run *r) {
    char *args[] = {r->path, (char *)r->tag, NULL};
    execve(r->path, args, no_env);
    give_up(r->path);
}

// A script by descriptor is handed to its interpreter as /dev/fd/N.
static void plan_shebang_fd(struct run *r) {
    own_path(r, "-script");
    if (write_file(r->path, text("#!%s target\n", self), 0755) || (r->fd = open(r->path, O_RDONLY)) < 0) plan_failed(r, r->path);
    expect_script(r, text("/dev/fd/%d", r->fd), NULL);
}

static void act_shebang_fd(struct run *r) {
    char *args[] = {r->path, (char *)r->tag, NULL};
    sys_execveat(r->fd, "", args, no_env, AT_EMPTY_PATH);
    give_up("execveat");
}

// ---- what needs the whole host -----------------------------------------------------------------------------

static int host_changes_allowed(void) {
    const char *allowed = getenv("EXECMODES_HOST_CHANGES");
    return allowed && strcmp(allowed, "1") == 0;
}

static int write_setting(const char *path, const char *value) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int failed = write_all(fd, value, strlen(value));
    return close(fd) || failed ? -1 : 0;
}

// Without leave to register, the handler may still be there: whoever owns the host registered the same magic.
static void plan_binfmt(struct run *r) {
    own_path(r, "-binfmt");
    struct expect *e = add_expect(r, "exec");
    push(e, self);
    push(e, r->path);
    push(e, r->tag);
    snprintf(e->executable, sizeof e->executable, "%s", self);
    if (write_file(r->path, BINFMT_MAGIC "\n", 0755)) plan_failed(r, r->path);
    if (host_changes_allowed())
        (void)!write_setting("/proc/sys/fs/binfmt_misc/register", text(":execmodes:M::" BINFMT_MAGIC "::%s:", self));
}

static void act_binfmt(struct run *r) {
    char *args[] = {r->path, (char *)r->tag, NULL};
    execve(r->path, args, no_env);
    give_up("no binfmt_misc handler for the magic " BINFMT_MAGIC);
}

static void after_binfmt(struct run *r) {
    (void)r;
    if (host_changes_allowed()) (void)!write_setting("/proc/sys/fs/binfmt_misc/execmodes", "-1");
}

#define CORE_PATTERN "/proc/sys/kernel/core_pattern"
static char old_core_pattern[256];

static void plan_usermode_helper(struct run *r) {
    plan_target(r);
    if (!host_changes_allowed()) {
        snprintf(r->unsupported, sizeof r->unsupported, "sets " CORE_PATTERN " of the host: only with EXECMODES_HOST_CHANGES=1");
        return;
    }
    int fd = open(CORE_PATTERN, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, old_core_pattern, sizeof old_core_pattern - 1) < 0) plan_failed(r, CORE_PATTERN);
    close(fd);
    if (!r->unsupported[0] && write_setting(CORE_PATTERN, text("|%s target %s", self, r->tag))) plan_failed(r, CORE_PATTERN);
}

// The kernel waits for its helper before the crashed process ends, so the exit of that process is the end of both.
static void act_usermode_helper(struct run *r) {
    (void)r;
    pid_t pid = fork();
    if (pid < 0) give_up("fork");
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        kill(getpid(), SIGABRT);
        _exit(CHILD_GAVE_UP);
    }
    int status;
    if (waitpid(pid, &status, 0) < 0 || !WIFSIGNALED(status)) give_up("crash on purpose");
    if (!WCOREDUMP(status)) {
        errno = ENOTSUP;
        give_up("the kernel started no core helper");
    }
    _exit(0);
}

static void after_usermode_helper(struct run *r) {
    (void)r;
    if (old_core_pattern[0]) (void)!write_setting(CORE_PATTERN, old_core_pattern);
}

// ---- executions that fail, or are only asked about ---------------------------------------------------------

static void expect_failure(struct run *r, const char *suffix, const char *error) {
    own_path(r, suffix);
    struct expect *e = add_expect(r, "exec_failed");
    push(e, r->path);
    push(e, "target");
    push(e, r->tag);
    snprintf(e->executable, sizeof e->executable, "%s", r->path);
    e->error = error;
}

static void plan_enoent(struct run *r) { expect_failure(r, "-missing", "ENOENT"); }

static void plan_eacces(struct run *r) {
    expect_failure(r, "-plain", "EACCES");
    if (write_file(r->path, "no program\n", 0644)) plan_failed(r, r->path);
}

static void plan_enoexec(struct run *r) {
    expect_failure(r, "-garbage", "ENOEXEC");
    if (write_file(r->path, "no program\n", 0755)) plan_failed(r, r->path);
}

static void plan_enotdir(struct run *r) {
    expect_failure(r, "-file/below", "ENOTDIR");
    if (write_file(text("/tmp/%s-file", r->tag), "no directory\n", 0755)) plan_failed(r, r->path);
}

static void plan_eloop(struct run *r) {
    expect_failure(r, "-loop", "ELOOP");
    unlink(r->path);
    if (symlink(r->path, r->path)) plan_failed(r, r->path);
}

static char *filled(size_t size, char with) {
    char *out = malloc(size + 1);
    if (!out) abort();
    memset(out, with, size);
    out[size] = 0;
    return out;
}

// One byte more than the kernel's MAX_ARG_STRLEN lets through.
static void plan_e2big(struct run *r) {
    expect_failure(r, "-toolong", "E2BIG");
    push(&r->expect[0], filled(131072, 'x'));
    if (copy_self(r->path, 0755)) plan_failed(r, r->path);
}

static void act_failing(struct run *r) {
    static const struct { const char *name; int number; } errors[] = {
        {"ENOENT", ENOENT}, {"EACCES", EACCES}, {"ENOEXEC", ENOEXEC}, {"ENOTDIR", ENOTDIR}, {"ELOOP", ELOOP}, {"E2BIG", E2BIG}};
    execve(r->path, r->expect[0].args, no_env);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strcmp(errors[i].name, r->expect[0].error) == 0 && errors[i].number == errno) _exit(0);
    give_up("another error than the mode is about");
}

static void plan_execve_check(struct run *r) {
    struct expect *e = add_expect(r, "none");
    push(e, self);
    push(e, "target");
    push(e, r->tag);
}

static void act_execve_check(struct run *r) {
    if (sys_execveat(AT_FDCWD, self, r->expect[0].args, no_env, AT_EXECVE_CHECK) == 0) _exit(0);
    give_up("execveat with AT_EXECVE_CHECK (Linux 6.14 and later)");
}

// ---- process ids and threads -------------------------------------------------------------------------------

static void plan_pid_reuse(struct run *r) {
    r->same_pid = 1;
    expect_target(r, self, "exit:11")->exit_code = 11;
    expect_target(r, self, "exit:12")->exit_code = 12;
}

static pid_t fork_as(pid_t wanted) {
    struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = wanted ? (uintptr_t)&wanted : 0, .set_tid_size = wanted ? 1 : 0};
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

static pid_t run_as(pid_t wanted, char **args, int exit_code) {
    int status;
    pid_t pid = fork_as(wanted);
    if (pid < 0) give_up("clone3 with a chosen process id (CAP_SYS_ADMIN)");
    if (pid == 0) {
        execve(self, args, no_env);
        _exit(CHILD_GAVE_UP);
    }
    if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != exit_code) give_up("first life of the process id");
    return pid;
}

static void act_pid_reuse(struct run *r) {
    // Asking for a free high number first tells whether it is allowed before anything is executed.
    pid_t probe = fork_as(31999);
    if (probe == 0) _exit(0);
    if (probe < 0 && errno != EEXIST) give_up("clone3 with a chosen process id (CAP_SYS_ADMIN)");
    if (probe > 0) waitpid(probe, NULL, 0);
    pid_t pid = run_as(0, r->expect[0].args, 11);
    run_as(pid, r->expect[1].args, 12);
    _exit(0);
}

static void plan_leader_exits(struct run *r) { expect_target(r, self, "leader-exits")->exit_code = 7; }

// ---- odd arguments and environments ------------------------------------------------------------------------

static void plan_arg_empty(struct run *r) {
    plan_target(r);
    push(&r->expect[0], "");
    push(&r->expect[0], "after");
    push(&r->expect[0], "");
}

static void plan_arg_newline(struct run *r) {
    plan_target(r);
    push(&r->expect[0], "two\nlines\r\n");
}

static void plan_arg_escape(struct run *r) {
    plan_target(r);
    push(&r->expect[0], "tab\there \"quoted\" back\\slash");
    push(&r->expect[0], "\x1b[2J\x1b]0;owned\x07\x1b[31mred\x7f\xc2\x9b");
}

static void plan_arg_bytes(struct run *r) {
    char every[256];
    for (int i = 1; i < 256; i++) every[i - 1] = (char)i;
    every[255] = 0;
    plan_target(r);
    push(&r->expect[0], "\xff\xfe\xc3(\xed\xa0\x80");
    push(&r->expect[0], every);
}

// Nothing carries the tag here but the path. Linux 5.18 and later put one empty argument in.
static void plan_arg_none(struct run *r) {
    struct utsname name;
    int major = 0, minor = 0;
    plan_copy(r, "-argc0", 0755);
    struct expect *e = &r->expect[0];
    e->count = 0;
    memset(e->args, 0, 4 * sizeof *e->args);
    uname(&name);
    sscanf(name.release, "%d.%d", &major, &minor);
    if (major > 5 || (major == 5 && minor >= 18)) push(e, "");
}

static void act_arg_none(struct run *r) {
    syscall(SYS_execve, r->path, NULL, NULL);
    give_up("execve");
}

// Letters which follow from the tag and the place alone, so that a swapped or shifted piece changes the hash.
static char *letters(const char *tag, size_t index, size_t size) {
    uint64_t state = fnv1a(0xcbf29ce484222325ull + index, tag, strlen(tag)) | 1;
    char *out = filled(size, 'a');
    for (size_t i = 0; i < size; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out[i] = (char)('a' + state % 26);
    }
    return out;
}

static void plan_letters(struct run *r, size_t count, size_t size) {
    plan_target(r);
    for (size_t i = 0; i < count; i++) {
        char *arg = letters(r->tag, i, size);
        push(&r->expect[0], arg);
        free(arg);
    }
}

static void plan_arg_longest(struct run *r) { plan_letters(r, 1, 131071); }
static void plan_args_2mb(struct run *r) { plan_letters(r, 1900, 999); }
static void plan_args_many(struct run *r) { plan_letters(r, 60000, 7); }
static void plan_arg_overwritten(struct run *r) { expect_target(r, self, "overwrite"); }

static void plan_ld_preload(struct run *r) {
    plan_target(r);
    snprintf(r->expect[0].env, sizeof r->expect[0].env, "LD_PRELOAD=/nowhere/%s.so", r->tag);
}

static void act_ld_preload(struct run *r) {
    char *env[] = {"HOME=/", r->expect[0].env, "LAST=1", NULL};
    execve(self, r->expect[0].args, env);
    give_up("execve");
}

// ---- ways to end -------------------------------------------------------------------------------------------

static void plan_exit(struct run *r, const char *behaviour, int code) { expect_target(r, self, behaviour)->exit_code = code; }
static void plan_exit_0(struct run *r) { plan_exit(r, "exit:0", 0); }
static void plan_exit_1(struct run *r) { plan_exit(r, "exit:1", 1); }
static void plan_exit_127(struct run *r) { plan_exit(r, "exit:127", 127); }
static void plan_exit_255(struct run *r) { plan_exit(r, "exit:255", 255); }
static void plan_sigkill(struct run *r) { expect_target(r, self, "signal:9")->signal = "SIGKILL"; }
static void plan_sigsegv(struct run *r) { expect_target(r, self, "signal:11")->signal = "SIGSEGV"; }
static void plan_sigterm(struct run *r) { expect_target(r, self, "signal:15")->signal = "SIGTERM"; }

// ---- the table ---------------------------------------------------------------------------------------------

static const struct mode {
    const char *name;
    void (*plan)(struct run *);
    void (*act)(struct run *);
    void (*after)(struct run *);
} modes[] = {
    {"execve", plan_target, act_execve, NULL},
    {"execveat-cwd", plan_target, act_execveat_cwd, NULL},
    {"execveat-dirfd", plan_target, act_execveat_dirfd, NULL},
    {"execveat-fd", plan_target, act_execveat_fd, NULL},
    {"opath-fd", plan_target, act_opath_fd, NULL},
    {"memfd", plan_memfd, act_memfd, NULL},
    {"thread", plan_target, act_thread, NULL},
    {"vfork", plan_target, act_vfork, NULL},
    {"clone-vm", plan_target, act_clone_vm, NULL},
    {"int80", plan_target, act_int80, NULL},
    {"setuid", plan_setuid, act_as_nobody, NULL},
    {"file-caps", plan_file_caps, act_as_nobody, NULL},
    {"deleted", plan_deleted, act_deleted, NULL},
    {"shebang", plan_shebang, act_path, NULL},
    {"shebang-nested", plan_shebang_nested, act_path, NULL},
    {"shebang-fd", plan_shebang_fd, act_shebang_fd, NULL},
    {"binfmt-misc", plan_binfmt, act_binfmt, after_binfmt},
    {"usermode-helper", plan_usermode_helper, act_usermode_helper, after_usermode_helper},
    {"fail-enoent", plan_enoent, act_failing, NULL},
    {"fail-eacces", plan_eacces, act_failing, NULL},
    {"fail-enoexec", plan_enoexec, act_failing, NULL},
    {"fail-enotdir", plan_enotdir, act_failing, NULL},
    {"fail-eloop", plan_eloop, act_failing, NULL},
    {"fail-e2big", plan_e2big, act_failing, NULL},
    {"execve-check", plan_execve_check, act_execve_check, NULL},
    {"pid-reuse", plan_pid_reuse, act_pid_reuse, NULL},
    {"pid-namespace", plan_target, act_pid_namespace, NULL},
    {"leader-exits", plan_leader_exits, act_execve, NULL},
    {"arg-empty", plan_arg_empty, act_execve, NULL},
    {"arg-newline", plan_arg_newline, act_execve, NULL},
    {"arg-escape", plan_arg_escape, act_execve, NULL},
    {"arg-bytes", plan_arg_bytes, act_execve, NULL},
    {"arg-none", plan_arg_none, act_arg_none, NULL},
    {"arg-longest", plan_arg_longest, act_execve, NULL},
    {"args-2mb", plan_args_2mb, act_execve, NULL},
    {"args-many", plan_args_many, act_execve, NULL},
    {"arg-overwritten", plan_arg_overwritten, act_execve, NULL},
    {"ld-preload", plan_ld_preload, act_ld_preload, NULL},
    {"exit-0", plan_exit_0, act_execve, NULL},
    {"exit-1", plan_exit_1, act_execve, NULL},
    {"exit-127", plan_exit_127, act_execve, NULL},
    {"exit-255", plan_exit_255, act_execve, NULL},
    {"sigkill", plan_sigkill, act_execve, NULL},
    {"sigsegv", plan_sigsegv, act_execve, NULL},
    {"sigterm", plan_sigterm, act_execve, NULL},
};
#define MODES (sizeof modes / sizeof *modes)

static void print_run(const struct mode *mode, const struct run *r, const char *broken) {
    printf("{\"mode\":\"%s\",\"tag\":\"%s\"", mode->name, r->tag);
    if (r->unsupported[0]) {
        printf(",\"unsupported\":\"%s\"", r->unsupported);
    } else if (broken) {
        printf(",\"broken\":\"%s\"", broken);
    } else {
        if (r->same_pid) printf(",\"same_pid\":true");
        printf(",\"expect\":[");
        for (size_t i = 0; i < r->expects; i++) {
            if (i) putchar(',');
            print_expect(&r->expect[i]);
        }
        putchar(']');
    }
    printf("}\n");
    fflush(stdout);
}

// ---- running a mode ----------------------------------------------------------------------------------------

// How the child itself must end: as its program does, or with 0 where the child only watches.
static const char *judge(const struct mode *mode, const struct run *r, int status) {
    const struct expect *e = &r->expect[0];
    int executes = mode->act == act_execve && e->exits;
    if (executes && e->signal) return WIFSIGNALED(status) ? NULL : "the program was not ended by its signal";
    if (WIFSIGNALED(status)) return "the child was ended by a signal";
    return WEXITSTATUS(status) == (executes ? e->exit_code : 0) ? NULL : "the child ended with another code than expected";
}

static void release(struct run *r) {
    static const char *left[] = {"-inner", "-file"};
    for (size_t i = 0; i < r->expects; i++) {
        for (size_t j = 0; j < r->expect[i].count; j++) free(r->expect[i].args[j]);
        free(r->expect[i].args);
    }
    if (r->path[0]) unlink(r->path);
    for (size_t i = 0; i < 2; i++) unlink(text("/tmp/%s%s", r->tag, left[i]));
    if (r->fd >= 0) close(r->fd);
}

static void run_mode(const struct mode *mode, const char *tag) {
    struct run r = {.tag = tag, .fd = -1};
    const char *broken = NULL;
    int pipe_fds[2], status = 0;
    mode->plan(&r);
    if (!r.unsupported[0]) {
        if (pipe2(pipe_fds, O_CLOEXEC)) abort();
        say_fd = pipe_fds[1];
        pid_t pid = fork();
        if (pid < 0) abort();
        if (pid == 0) {
            mode->act(&r);
            _exit(CHILD_GAVE_UP);
        }
        close(pipe_fds[1]);
        ssize_t said = read(pipe_fds[0], r.unsupported, sizeof r.unsupported - 1);
        r.unsupported[said > 0 ? said : 0] = 0;
        close(pipe_fds[0]);
        waitpid(pid, &status, 0);
        if (mode->act == act_int80 && WIFSIGNALED(status))
            snprintf(r.unsupported, sizeof r.unsupported, "int 0x80: the kernel has no 32-bit system calls");
        broken = judge(mode, &r, status);
    }
    if (mode->after) mode->after(&r);
    print_run(mode, &r, broken);
    release(&r);
}

// ---- the program that is executed --------------------------------------------------------------------------

static void *outlive_leader(void *unused) {
    (void)unused;
    usleep(50000);
    syscall(SYS_exit_group, 7);
    return NULL;
}

static int target(int argc, char **argv) {
    const char *behaviour = argc > 3 ? argv[3] : "";
    if (strncmp(behaviour, "exit:", 5) == 0) return atoi(behaviour + 5);
    if (strncmp(behaviour, "signal:", 7) == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        kill(getpid(), atoi(behaviour + 7));
        return CHILD_GAVE_UP;
    }
    if (strcmp(behaviour, "overwrite") == 0)
        for (int i = 0; i < argc; i++) memset(argv[i], 'X', strlen(argv[i]));
    if (strcmp(behaviour, "leader-exits") == 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, outlive_leader, NULL)) return CHILD_GAVE_UP;
        pthread_exit(NULL);
    }
    return 0;
}

static int usage(void) {
    fprintf(stderr, "usage: execmodes list | MODE TAG | all TAGPREFIX   (a tag is made of letters, digits, '.', '_' and '-')\n");
    return 2;
}

static int tag_is_plain(const char *tag) {
    size_t size = strlen(tag);
    return size > 0 && size < 100 &&
           strspn(tag, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == size;
}

int main(int argc, char **argv) {
    if (argc < 1 || (argc == 1 && !argv[0][0])) return 0; // the arg-none target
    if (argc >= 2 && strcmp(argv[1], "target") == 0) return target(argc, argv);
    if (argc >= 2 && strncmp(argv[1], "/tmp/", 5) == 0) return 0; // started as an interpreter by binfmt_misc
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (size_t i = 0; i < MODES; i++) puts(modes[i].name);
        return 0;
    }
    if (argc != 3 || !tag_is_plain(argv[2])) return usage();
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0 || (mkdir("/tmp", 01777) && errno != EEXIST)) {
        perror("execmodes: needs /proc and /tmp");
        return 1;
    }
    int all = strcmp(argv[1], "all") == 0, found = 0;
    for (size_t i = 0; i < MODES; i++) {
        if (!all && strcmp(argv[1], modes[i].name) != 0) continue;
        run_mode(&modes[i], all ? text("%s-%s", argv[2], modes[i].name) : argv[2]);
        found = 1;
    }
    return found ? 0 : usage();
}
