// SPDX-License-Identifier: Apache-2.0
// Tries to get out of the container that this runs in, by whatever a session brings in beside the target's own: its
// processes, its descriptors, and its lack of the target's seccomp filter. Nothing is changed when something goes.
// Prints "OUT way" for each, and at the end "TRIED n". `escape control` is for where files of the kernel can be opened.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static int tried;

static void went(const char *way, int is_out) {
    tried++;
    if (is_out)
        printf("OUT %s\n", way);
}

// Opened for writing, and nothing written.
static void opens(const char *path) {
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    went(path, fd >= 0);
    if (fd >= 0)
        close(fd);
}

static void reads(const char *path) {
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    went(path, fd >= 0 && read(fd, &byte, 1) == 1);
    if (fd >= 0)
        close(fd);
}

static void files_of_the_kernel(void) {
    opens("/proc/sys/kernel/core_pattern");
    opens("/proc/sys/kernel/modprobe");
    opens("/proc/sys/kernel/hotplug");
    opens("/proc/sysrq-trigger");
    opens("/sys/kernel/uevent_helper");
    opens("/sys/fs/cgroup/release_agent");
    opens("/sys/fs/cgroup/cgroup.procs");
    reads("/proc/kcore");
    reads("/dev/mem");
    reads("/dev/kmsg");
}

static void nodes(void) {
    char path[64] = "/dev/.purser/.home/node";
    const unsigned kinds[][3] = {{S_IFBLK, 254, 0}, {S_IFBLK, 8, 0}, {S_IFBLK, 7, 0}, {S_IFCHR, 1, 1}, {S_IFCHR, 1, 11}};
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int made = mknod(path, kinds[i][0] | 0600, makedev(kinds[i][1], kinds[i][2])) == 0;
        int fd = made ? open(path, O_RDONLY | O_NONBLOCK) : -1;
        went("a device node", fd >= 0);
        if (fd >= 0)
            close(fd);
        unlink(path);
    }
}

// A cgroup hierarchy of one's own has a program that the kernel starts on the host.
static void hierarchies(const char *way) {
    mkdir("/dev/.purser/.home/cgroup", 0700);
    const char *options[] = {"memory", "rdma", "name=purser-test", NULL};
    for (int i = 0; options[i]; i++) {
        int mounted = mount("none", "/dev/.purser/.home/cgroup", "cgroup", 0, options[i]) == 0;
        int fd = mounted ? open("/dev/.purser/.home/cgroup/release_agent", O_WRONLY) : -1;
        went(way, fd >= 0);
        if (mounted)
            umount2("/dev/.purser/.home/cgroup", MNT_DETACH);
    }
}

// What a root of an own user namespace may, which the target's seccomp filter would have kept from being made.
static void own_namespaces(void) {
    fflush(stdout);
    int before = tried;
    pid_t child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) {
            unshare(CLONE_NEWCGROUP);
            hierarchies("a cgroup hierarchy in a user namespace");
            opens("/proc/sys/kernel/core_pattern");
            mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL);
            opens("/proc/sys/kernel/core_pattern");
            nodes();
        }
        fflush(stdout);
        _exit(tried - before);
    }
    int status = 0;
    waitpid(child, &status, 0);
    tried += WEXITSTATUS(status);
}

static int is_same(const struct stat *one, const struct stat *other) {
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

static void of_process(const char *pid) {
    char path[512];
    struct stat own, first, theirs;
    int known = stat("/", &own) == 0;
    int other = stat("/proc/1/root/.", &first) == 0;
    snprintf(path, sizeof path, "/proc/%s/root/.", pid);
    int is_theirs = stat(path, &theirs) == 0;
    went("the root of a process", is_theirs && !(known && is_same(&own, &theirs)) && !(other && is_same(&first, &theirs)));
    snprintf(path, sizeof path, "/proc/%s/cwd/../../../../../../../../../..", pid);
    is_theirs = stat(path, &theirs) == 0;
    went("the directory of a process", is_theirs && !(known && is_same(&own, &theirs)) && !(other && is_same(&first, &theirs)));
    FILE *comm = NULL;
    char name[32] = "";
    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    if ((comm = fopen(path, "r"))) {
        if (fgets(name, sizeof name, comm))
            name[strcspn(name, "\n")] = 0;
        fclose(comm);
    }
    // The warden is the one that knows the keeper.
    if (strcmp(name, "purser-warden") == 0 || strcmp(name, "purser-debug") == 0) {
        went("ptrace of the warden", ptrace(PTRACE_SEIZE, atoi(pid), NULL, NULL) == 0);
        snprintf(path, sizeof path, "/proc/%s/mem", pid);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        went("the warden's memory", fd >= 0);
        snprintf(path, sizeof path, "/proc/%s/fd", pid);
        DIR *dir = opendir(path);
        for (struct dirent *entry; dir && (entry = readdir(dir));) {
            char link[PATH_MAX];
            went("the warden's descriptors", entry->d_name[0] != '.' && readlinkat(dirfd(dir), entry->d_name, link, sizeof link) >= 0);
        }
        int pidfd = syscall(SYS_pidfd_open, atoi(pid), 0);
        for (int theirs_ = 0; pidfd >= 0 && theirs_ < 32; theirs_++)
            went("a copy of a descriptor of the warden", syscall(SYS_pidfd_getfd, pidfd, theirs_, 0) >= 0);
    }
}

static void processes(void) {
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && (entry = readdir(proc));)
        if (atoi(entry->d_name) > 0)
            of_process(entry->d_name);
}

// Nothing was handed over but the three streams, and none of them is a directory or a file of the host.
static void descriptors(void) {
    for (int fd = 0; fd < 256; fd++) {
        struct stat what;
        if (fstat(fd, &what) != 0)
            continue;
        went("a descriptor beside the streams", fd > 2);
        went("a stream that is a file", S_ISREG(what.st_mode) || S_ISDIR(what.st_mode) || S_ISBLK(what.st_mode));
        tried++;
        if (ioctl(fd, TIOCSTI, "X") == 0)
            printf("TYPED %d\n", fd);
    }
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    tried++;
    if (tty >= 0 && ioctl(tty, TIOCSTI, "X") == 0)
        printf("TYPED tty\n");
}

static void calls(void) {
    char room[64];
    struct file_handle *handle = (void *)room;
    handle->handle_bytes = 8;
    handle->handle_type = 1;
    const uint32_t root[2] = {2, 0};
    memcpy(handle->f_handle, root, sizeof root);
    int etc = open("/etc/hosts", O_RDONLY);
    int kit = open("/dev/.purser/base", O_RDONLY);
    went("open_by_handle_at by a file of the host", etc >= 0 && open_by_handle_at(etc, handle, O_RDONLY) >= 0);
    went("open_by_handle_at by a kit", kit >= 0 && open_by_handle_at(kit, handle, O_RDONLY) >= 0);
    went("a module", syscall(SYS_init_module, "x", 1, "") != 0 && errno != EPERM && errno != ENOSYS);
    went("setns to the first process", setns(open("/proc/1/ns/mnt", O_RDONLY), CLONE_NEWNS) == 0);
    went("another root", chroot("/proc/1/root") == 0 && access("/dev/.purser", F_OK) == 0 && access("/usr/sbin/dockerd", F_OK) == 0);
}

int main(int count, char **words) {
    if (count > 1 && strcmp(words[1], "control") == 0) {
        files_of_the_kernel();
        printf("TRIED %d\n", tried);
        return 0;
    }
    descriptors();
    files_of_the_kernel();
    nodes();
    hierarchies("a cgroup hierarchy");
    processes();
    own_namespaces();
    calls();
    printf("TRIED %d\n", tried);
    return 0;
}
