// SPDX-License-Identifier: Apache-2.0
// Tries every way to write to what is behind a read-only mount, and to the files that other processes run and hold.
//   writer DIR FILE [PID]   DIR is where something is mounted, FILE a file in it; PID's mount namespace is entered first
//   writer control          the same for a plain read-only mount made here, which must not resist
//   writer processes        programs, mapped files and descriptors of all other processes
// Prints "WROTE way" for each that goes, and at the end "TRIED n".
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
enum { CLONE_TREE = 1, EMPTY_PATH = 0x1000, MOVE_EMPTY = 4, RDONLY = 1, SET_FLAG = 0, RECONFIGURE = 7 };
struct attributes {
    uint64_t set, clear, propagation, userns;
};

static int tried;

// Whether anything can be changed below `dir`.
static void look(const char *way, int dir, const char *file) {
    tried++;
    int fd = openat(dir, file, O_WRONLY | O_APPEND | O_CLOEXEC);
    int opened = fd >= 0 && write(fd, "x", 1) == 1;
    int made = mkdirat(dir, "made", 0700) == 0;
    int touched = utimensat(dir, file, NULL, 0) == 0;
    if (opened || made || touched)
        printf("WROTE %s\n", way);
    if (fd >= 0)
        close(fd);
}

static void look_at(const char *way, const char *path, const char *file) {
    int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return;
    look(way, dir, file);
    close(dir);
}

static int writable(int at, const char *path, int flags) {
    struct attributes attributes = {.clear = RDONLY};
    return syscall(SYS_mount_setattr, at, path, flags, &attributes, sizeof attributes);
}

static void ways(const char *path, const char *file) {
    look_at("as it is", path, file);
    mount(NULL, path, NULL, MS_REMOUNT, NULL);
    look_at("remount", path, file);
    mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL);
    look_at("remount,bind", path, file);
    writable(AT_FDCWD, path, 0);
    look_at("mount_setattr", path, file);
    int dir = open(path, O_PATH | O_DIRECTORY);
    writable(dir, "", EMPTY_PATH);
    look("mount_setattr of a descriptor", dir, file);
    int context = syscall(SYS_fspick, AT_FDCWD, path, 0);
    if (context >= 0) {
        syscall(SYS_fsconfig, context, SET_FLAG, "rw", NULL, 0);
        syscall(SYS_fsconfig, context, RECONFIGURE, NULL, NULL, 0);
    }
    look_at("fspick", path, file);

    mkdir("/tmp/bound", 0700);
    mkdir("/tmp/moved", 0700);
    if (mount(path, "/tmp/bound", NULL, MS_BIND, NULL) == 0) {
        mount(NULL, "/tmp/bound", NULL, MS_REMOUNT | MS_BIND, NULL);
        look_at("a new bind", "/tmp/bound", file);
        mount(NULL, "/tmp/bound", NULL, MS_REMOUNT, NULL);
        look_at("a new bind, remounted", "/tmp/bound", file);
    }
    int tree = syscall(SYS_open_tree, AT_FDCWD, path, CLONE_TREE);
    if (tree >= 0) {
        writable(tree, "", EMPTY_PATH);
        look("open_tree", tree, file);
        if (syscall(SYS_move_mount, tree, "", AT_FDCWD, "/tmp/moved", MOVE_EMPTY) == 0) {
            mount(NULL, "/tmp/moved", NULL, MS_REMOUNT | MS_BIND, NULL);
            look_at("open_tree, move_mount", "/tmp/moved", file);
        }
    }
    char room[sizeof(struct file_handle) + 128];
    struct file_handle *handle = (void *)room;
    handle->handle_bytes = 128;
    int id;
    if (name_to_handle_at(dir, file, handle, &id, 0) == 0) {
        tried++;
        int fd = open_by_handle_at(dir, handle, O_WRONLY);
        if (fd >= 0)
            printf("WROTE open_by_handle_at\n");
    }
    if (mount("none", "/tmp/bound", "overlay", 0, "lowerdir=/tmp/moved:/tmp/bound") == 0)
        look_at("an overlay of it", "/tmp/bound", file);
    umount2(path, MNT_DETACH);
    look_at("what is below", path, file);
}

// In a copy of the mounts, so that what is done here changes nothing for others, with a place to work.
static void own_mounts(void) {
    if (unshare(CLONE_NEWNS) == 0) {
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
        mount("none", "/tmp", "tmpfs", 0, NULL);
    }
}

static void control(void) {
    mkdir("/tmp/dir", 0700);
    close(open("/tmp/dir/file", O_CREAT | O_WRONLY, 0600));
    mount("/tmp/dir", "/tmp/dir", NULL, MS_BIND, NULL);
    mount(NULL, "/tmp/dir", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
    ways("/tmp/dir", "file");
}

// A file of another process by a link in /proc, which leads through that process's mount.
static void touch(const char *link, const char *path) {
    struct stat stat_;
    if (stat(path, &stat_) != 0 || !S_ISREG(stat_.st_mode))
        return;
    tried++;
    // A file that is being executed cannot be opened for writing anyhow, its mode can be changed.
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd >= 0 || chmod(path, stat_.st_mode & 07777) == 0) {
        char name[PATH_MAX] = "";
        readlink(path, name, sizeof name - 1);
        printf("WROTE %s %s (%s) %llu\n", link, path, name, (unsigned long long)stat_.st_ino);
    }
    if (fd >= 0)
        close(fd);
}

static void each(const char *pid, const char *what) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "/proc/%s/%s", pid, what);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "/proc/%s/%s/%s", pid, what, entry->d_name);
        touch(what, path);
    }
    if (dir)
        closedir(dir);
}

static void processes(void) {
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && (entry = readdir(proc));) {
        char path[PATH_MAX];
        if (atoi(entry->d_name) <= 0 || atoi(entry->d_name) == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/%s/exe", entry->d_name);
        touch("exe", path);
        each(entry->d_name, "map_files");
        each(entry->d_name, "fd");
    }
}

int main(int count, char **words) {
    if (count >= 3) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%s/ns/mnt", count > 3 ? words[3] : "self");
        if (count > 3 && setns(open(path, O_RDONLY), CLONE_NEWNS) != 0)
            printf("setns: %s\n", strerror(errno));
        own_mounts();
        ways(words[1], words[2]);
    } else if (count == 2 && strcmp(words[1], "control") == 0) {
        own_mounts();
        control();
    } else {
        processes();
    }
    printf("TRIED %d\n", tried);
    return 0;
}
