// SPDX-License-Identifier: Apache-2.0
// Has the kernel tell every change in the file systems that the paths given are on: fanotify tells what is written,
// whoever does it by whichever mount; inotify on each directory tells what is created, removed, moved, or gets other
// attributes, which fanotify does not on overlays. Prints a line when it begins, one for each change, and ends with
// its input.
#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <unistd.h>

static int names;

static int add(const char *path, const struct stat *stat, int kind, struct FTW *place) {
    (void)stat, (void)place;
    unsigned mask = IN_CREATE | IN_DELETE | IN_MOVE | IN_ATTRIB | IN_MODIFY | IN_DELETE_SELF | IN_ONLYDIR;
    if (kind == FTW_D && inotify_add_watch(names, path, mask) < 0) {
        perror(path);
        exit(1);
    }
    return 0;
}

static void tell_writes(int writes) {
    static char buffer[1 << 16] __attribute__((aligned(8)));
    ssize_t length = read(writes, buffer, sizeof buffer);
    struct fanotify_event_metadata *event = (void *)buffer;
    for (; FAN_EVENT_OK(event, length); event = FAN_EVENT_NEXT(event, length)) {
        printf("write %llx by %d\n", (unsigned long long)event->mask, event->pid);
        if (event->fd >= 0)
            close(event->fd);
    }
}

static void tell_names(void) {
    static char buffer[1 << 16] __attribute__((aligned(8)));
    ssize_t length = read(names, buffer, sizeof buffer);
    for (char *at = buffer; at < buffer + length;) {
        struct inotify_event *event = (void *)at;
        printf("name %x %s\n", event->mask, event->len ? event->name : "");
        at += sizeof *event + event->len;
    }
}

int main(int count, char **paths) {
    int writes = fanotify_init(FAN_CLOEXEC | FAN_CLASS_NOTIF | FAN_UNLIMITED_QUEUE, O_RDONLY | O_CLOEXEC);
    names = inotify_init1(IN_CLOEXEC);
    if (writes < 0 || names < 0) {
        perror("fanotify_init, inotify_init");
        return 1;
    }
    for (int at = 1; at < count; at++) {
        unsigned how = FAN_MARK_ADD | FAN_MARK_FILESYSTEM;
        if (fanotify_mark(writes, how, FAN_MODIFY | FAN_CLOSE_WRITE, AT_FDCWD, paths[at]) != 0 ||
            nftw(paths[at], add, 16, FTW_PHYS | FTW_MOUNT) != 0) {
            perror(paths[at]);
            return 1;
        }
    }
    puts("watching");
    fflush(stdout);
    struct pollfd polled[] = {
        {.fd = writes, .events = POLLIN}, {.fd = names, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
    for (;;) {
        if (poll(polled, 3, -1) < 0)
            return 1;
        if (polled[0].revents)
            tell_writes(writes);
        else if (polled[1].revents)
            tell_names();
        else if (polled[2].revents)
            return 0;
        fflush(stdout);
    }
}
