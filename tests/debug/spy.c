// SPDX-License-Identifier: Apache-2.0
// Waits for a process that somebody puts into this pid namespace, stops it at once, and looks whether its root
// is another one than ours. Prints a line for each: OURS or HOST, and its effective capabilities.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { AHEAD = 6, SECONDS = 20 };

static void look(pid_t pid) {
    char path[64], line[256];
    struct stat ours, theirs;
    snprintf(path, sizeof path, "/proc/%d/root/", pid);
    int known = stat("/", &ours) == 0 && stat(path, &theirs) == 0;
    const char *whose = !known ? "SHUT" : ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino ? "OURS" : "HOST";
    unsigned long long capabilities = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *status = fopen(path, "r");
    while (status && fgets(line, sizeof line, status))
        sscanf(line, "CapEff: %llx", &capabilities);
    if (status)
        fclose(status);
    printf("%s %016llx\n", whose, capabilities);
    fflush(stdout);
}

int main(void) {
    time_t end = time(NULL) + SECONDS;
    while (time(NULL) < end) {
        pid_t last = fork();
        if (last == 0)
            _exit(0);
        waitpid(last, NULL, 0);
        for (long round = 0; round < 2000000; round++) {
            pid_t pid = last + 1 + round % AHEAD;
            if (kill(pid, SIGSTOP) == 0) {
                look(pid);
                kill(pid, SIGCONT);
                break;
            }
        }
    }
    return 0;
}
