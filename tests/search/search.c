// SPDX-License-Identifier: Apache-2.0
// Looks for byte strings wherever this process can read: in every file below a directory, and where that
// leads through /proc, in the memory, the open files and behind the root of each process there.
//
//   gcc -O1 -static -o search search.c
//   search DIRECTORY PIDS NEEDLE...
//
// A needle is given backwards, so that looking for it does not put it anywhere. PIDS is a list with commas of
// the processes to look into, or "all". It prints
//   found NUMBER PATH     the needle with this number stands there
//   closed PATH           the memory or the root of a process, which it may not read
//   open PATH             the same, which it may
//   read FILES BYTES      at the end

#define _GNU_SOURCE
#include <ctype.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 20, OVERLAP = 256, NEEDLES = 8, KERNEL_LIMIT = 8 << 20 };

static char needles[NEEDLES][OVERLAP];
static int count;
static const char *pids;
static long files;
static unsigned long long bytes;
static char piece[OVERLAP + PIECE];

static void look(const char *path, size_t length, unsigned *seen) {
    for (int n = 0; n < count; n++) {
        if (!(*seen & 1u << n) && memmem(piece, length, needles[n], strlen(needles[n]))) {
            *seen |= 1u << n;
            printf("found %d %s\n", n, path);
        }
    }
}

// From `from` on, at most `limit` bytes; the end of one piece is looked at again with the next.
static void scan(int fd, const char *path, unsigned long long from, unsigned long long limit, unsigned *seen) {
    size_t kept = 0;
    while (limit > 0) {
        size_t wanted = limit < PIECE ? limit : PIECE;
        ssize_t got = pread(fd, piece + kept, wanted, (off_t)from);
        if (got <= 0)
            return;
        bytes += (unsigned long long)got;
        from += (unsigned long long)got;
        limit -= (unsigned long long)got;
        size_t length = kept + (size_t)got;
        look(path, length, seen);
        kept = length < OVERLAP ? length : OVERLAP;
        memmove(piece, piece + length - kept, kept);
    }
}

static void regular(const char *path, unsigned long long limit) {
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat stat;
    if (fd < 0)
        return;
    if (fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode)) {
        unsigned seen = 0;
        files++;
        scan(fd, path, 0, limit, &seen);
    }
    close(fd);
}

static void memory(int pid) {
    char path[64], maps_path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    snprintf(maps_path, sizeof maps_path, "/proc/%d/maps", pid);
    FILE *maps = fopen(maps_path, "re");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    printf("%s %s\n", maps && fd >= 0 ? "open" : "closed", path);
    unsigned seen = 0;
    while (maps && fd >= 0 && fgets(line, sizeof line, maps)) {
        unsigned long long from, to;
        char right;
        if (sscanf(line, "%llx-%llx %c", &from, &to, &right) == 3 && right == 'r')
            scan(fd, path, from, to - from, &seen);
    }
    if (maps)
        fclose(maps);
    if (fd >= 0)
        close(fd);
}

static void root_of(int pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/root", pid);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    printf("%s %s\n", fd >= 0 ? "open" : "closed", path);
    if (fd >= 0)
        close(fd);
}

// The process whose directory in /proc the path leads through, or 0.
static int process_of(const char *path) {
    return strncmp(path, "/proc/", 6) == 0 && isdigit((unsigned char)path[6]) ? atoi(path + 6) : 0;
}

static int is_wanted(int pid) {
    if (pid == getpid())
        return 0;
    if (strcmp(pids, "all") == 0)
        return 1;
    for (const char *at = pids; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (atoi(at) == pid)
            return 1;
    return 0;
}

static int visit(const char *path, const struct stat *stat, int kind, struct FTW *at) {
    (void)stat;
    int pid = process_of(path);
    if (pid && !is_wanted(pid))
        return FTW_SKIP_SUBTREE;
    if (pid && kind == FTW_D && strspn(path + 6, "0123456789") == strlen(path + 6)) {
        memory(pid);
        root_of(pid);
    }
    int is_kernel = strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0;
    // Memory is read by its maps.
    if (kind == FTW_F && !(pid && strcmp(path + at->base, "mem") == 0))
        regular(path, is_kernel ? KERNEL_LIMIT : ~0ull);
    // What a process has open, by whatever name.
    if (kind == FTW_SL && pid && strstr(path, "/fd/"))
        regular(path, KERNEL_LIMIT);
    return FTW_CONTINUE;
}

int main(int argc, char **argv) {
    if (argc < 4 || argc - 3 > NEEDLES) {
        fprintf(stderr, "usage: search DIRECTORY PIDS NEEDLE...\n");
        return 2;
    }
    pids = argv[2];
    for (int n = 3; n < argc; n++, count++) {
        size_t length = strlen(argv[n]);
        if (length == 0 || length >= OVERLAP)
            return 2;
        for (size_t i = 0; i < length; i++)
            needles[count][i] = argv[n][length - 1 - i];
    }
    if (nftw(argv[1], visit, 16, FTW_PHYS | FTW_ACTIONRETVAL) != 0) {
        perror(argv[1]);
        return 1;
    }
    printf("read %ld %llu\n", files, bytes);
    return 0;
}
