// SPDX-License-Identifier: Apache-2.0
// Executes a tiny program again and again with numbered arguments, so that a record of them can be checked for
// numbers that are missing and numbers that are there twice.
//
//   gcc -O1 -static -o load load.c          (target.c beside it becomes load-target in the same directory)
//   load exec COUNT RATE TAG [UID] [-p WORKERS] [-e]
//
// Executes `TAG N` for N = 0..COUNT at RATE per second in all (0 = flat out) from WORKERS processes (default 1);
// worker K takes N = K, K + WORKERS, ... and runs as UID if that is given. With -e they get the environment of
// this program, otherwise an empty one. SIGTERM or SIGINT end it early.
// Prints one line: {"tag","count","done","failed","elapsed_us","workers":[done by each, in the order of its numbers]}.
// Exit code 0 when every execution succeeded (also when ended early), 1 when one failed.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 64
#define BILLION 1000000000ll

struct plan {
    long count, rate, uid, workers;
    const char *tag;
    char **env;
    char target[512];
};

struct tally {
    long done, failed;
};

static volatile sig_atomic_t stopping;
static pid_t workers[WORKERS_MAX];
static sigset_t stop_signals;

// In a container only the first process gets the signal, so it hands it on.
static void stop(int signal) {
    stopping = 1;
    for (size_t i = 0; i < WORKERS_MAX && workers[i] > 0; i++) kill(workers[i], signal);
}

static long long now_nanos(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * BILLION + t.tv_nsec;
}

// Waits for the moment of execution N by the clock of the start, so that a late one does not shift the rest.
static void pace(const struct plan *plan, long long start, long n) {
    if (plan->rate == 0) return;
    long long at = start + n * BILLION / plan->rate;
    struct timespec until = {at / BILLION, at % BILLION};
    while (!stopping && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {}
}

static int execute(const struct plan *plan, long n) {
    char number[24];
    char *args[] = {(char *)plan->tag, number, NULL};
    int status;
    snprintf(number, sizeof number, "%ld", n);
    pid_t pid = vfork();
    if (pid < 0) return -1;
    if (pid == 0) {
        execve(plan->target, args, plan->env);
        _exit(127);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int work(const struct plan *plan, long worker, long long start, struct tally *tally) {
    if (plan->uid >= 0 && (setgid((gid_t)plan->uid) || setuid((uid_t)plan->uid))) {
        perror("load: change the user");
        return 1;
    }
    for (long n = worker; n < plan->count; n += plan->workers) {
        pace(plan, start, n);
        if (stopping) break;
        if (execute(plan, n)) tally->failed++;
        else tally->done++;
    }
    return tally->failed > 0;
}

static int run(const struct plan *plan) {
    struct tally *tallies =
        mmap(NULL, WORKERS_MAX * sizeof *tallies, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tallies == MAP_FAILED) return 1;
    long long start = now_nanos();
    sigprocmask(SIG_BLOCK, &stop_signals, NULL); // none may come between a fork and the note of its id
    for (long i = 0; i < plan->workers; i++) {
        pid_t pid = fork();
        if (pid < 0) return 1;
        if (pid == 0) {
            memset(workers, 0, sizeof workers);
            setpgid(0, 0); // a signal to the whole group must not end a program that was just executed
            sigprocmask(SIG_UNBLOCK, &stop_signals, NULL);
            _exit(work(plan, i, start, &tallies[i]));
        }
        workers[i] = pid;
    }
    sigprocmask(SIG_UNBLOCK, &stop_signals, NULL);
    int worst = 0;
    struct tally sum = {0, 0};
    for (long i = 0; i < plan->workers; i++) {
        int status;
        while (waitpid(workers[i], &status, 0) < 0)
            if (errno != EINTR) return 1;
        worst |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        sum.done += tallies[i].done;
        sum.failed += tallies[i].failed;
    }
    printf("{\"tag\":\"%s\",\"count\":%ld,\"done\":%ld,\"failed\":%ld,\"elapsed_us\":%lld,\"workers\":[", plan->tag, plan->count,
           sum.done, sum.failed, (now_nanos() - start) / 1000);
    for (long i = 0; i < plan->workers; i++) printf("%s%ld", i ? "," : "", tallies[i].done);
    printf("]}\n");
    return worst;
}

static int usage(void) {
    fprintf(stderr, "usage: load exec COUNT RATE TAG [UID] [-p WORKERS] [-e]\n");
    return 2;
}

static int number(const char *from, long min, long max, long *into) {
    char *end;
    *into = strtol(from, &end, 10);
    return *from && !*end && *into >= min && *into <= max;
}

int main(int argc, char **argv) {
    static char *no_env[] = {NULL};
    struct plan plan = {.uid = -1, .workers = 1, .env = no_env};
    int option;
    while ((option = getopt(argc, argv, "ep:")) != -1) {
        if (option == 'e') plan.env = environ;
        else if (option != 'p' || !number(optarg, 1, WORKERS_MAX, &plan.workers)) return usage();
    }
    int left = argc - optind;
    char **rest = argv + optind;
    if (left < 4 || left > 5 || strcmp(rest[0], "exec") != 0) return usage();
    if (!number(rest[1], 0, 1000000000, &plan.count) || !number(rest[2], 0, 1000000, &plan.rate)) return usage();
    if (left == 5 && !number(rest[4], 0, 4294967294, &plan.uid)) return usage();
    plan.tag = rest[3];
    ssize_t size = readlink("/proc/self/exe", plan.target, sizeof plan.target - 16);
    if (size < 0) {
        perror("load: needs /proc");
        return 1;
    }
    plan.target[size] = 0;
    strcat(plan.target, "-target");
    struct sigaction on_stop = {.sa_handler = stop};
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGTERM);
    sigaddset(&stop_signals, SIGINT);
    sigaction(SIGTERM, &on_stop, NULL);
    sigaction(SIGINT, &on_stop, NULL);
    return run(&plan);
}
