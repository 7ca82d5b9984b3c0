// SPDX-License-Identifier: Apache-2.0
// A target that is against whoever comes: it polls its pid namespace without a pause, and sends a signal to every
// process but itself. `harass SIGNAL`, and with `fork` in place of one it forks without end.
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "9";
    signal(SIGCHLD, SIG_IGN);
    if (strcmp(what, "fork") == 0) {
        for (;;) {
            pid_t child = fork();
            if (child < 0)
                usleep(1000);
            else if (child == 0)
                for (;;)
                    if (fork() < 0)
                        usleep(1000);
        }
    }
    int number = atoi(what);
    for (;;) {
        for (pid_t pid = 2; pid < 4096; pid++)
            if (pid != getpid())
                kill(pid, number);
    }
}
