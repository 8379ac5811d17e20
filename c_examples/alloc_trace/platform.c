/* The clock, futexes, threads, stderr.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { STACK_BYTES = 512 * 1024, MAX_STACK_BYTES = 64 * 1024 * 1024 };

uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t timeout_ns) {
    struct timespec timeout = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout_ns < 0 ? NULL : &timeout, NULL, 0);
}

void futex_wake(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* libc places the program's thread-local variables on the stack. If they do not fit, pthread_create returns EINVAL and a
 * larger stack is tried. */
int start_thread(void *(*run)(void *), void *argument, const sigset_t *signals) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t before;
    int failed = pthread_attr_init(&attributes);
    if (failed != 0) return failed;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, signals, &before);
    for (size_t bytes = STACK_BYTES; bytes <= MAX_STACK_BYTES; bytes *= 4) {
        pthread_attr_setstacksize(&attributes, bytes);
        failed = pthread_create(&thread, &attributes, run, argument);
        if (failed != EINVAL) break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return failed;
}

void file_size_problem(char *problem, size_t problem_size) {
    struct rlimit limit = {0, 0};
    getrlimit(RLIMIT_FSIZE, &limit);
    snprintf(problem, problem_size, "the file size limit of %llu bytes (RLIMIT_FSIZE, ulimit -f) is too low for a trace",
             (unsigned long long)limit.rlim_cur);
}

/* What the tracer takes at most, and as much again or more for the program. libc reserves 64 MiB of addresses for each thread that allocates, of the
 * tracer's as well. */
static const struct {
    int resource;
    unsigned statm_word; /* in /proc/self/statm: what counts towards the limit, in pages */
    unsigned mebibytes;
    const char *name;
} memory_limits[] = {
    {RLIMIT_AS, 0, 1024, "address space (RLIMIT_AS, ulimit -v)"},
    {RLIMIT_DATA, 5, 256, "data (RLIMIT_DATA, ulimit -d)"},
};

/* A number of /proc/self/statm; 0 if it cannot be read. */
static uint64_t used_bytes(unsigned word) {
    char text[256];
    int fd = openat(AT_FDCWD, "/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) return 0;
    text[length] = '\0';
    char *at = text;
    uint64_t pages = strtoull(at, &at, 10);
    for (; word > 0; word--) pages = strtoull(at, &at, 10);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

bool memory_suffices(char *problem, size_t problem_size) {
    for (size_t at = 0; at < sizeof memory_limits / sizeof *memory_limits; at++) {
        struct rlimit limit;
        if (getrlimit(memory_limits[at].resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) continue;
        uint64_t used = used_bytes(memory_limits[at].statm_word), left = limit.rlim_cur > used ? limit.rlim_cur - used : 0;
        if (left >= (uint64_t)memory_limits[at].mebibytes << 20) continue;
        snprintf(problem, problem_size, "the limit of %llu bytes on %s leaves less than the %u MiB that a trace and the program may need",
                 (unsigned long long)limit.rlim_cur, memory_limits[at].name, memory_limits[at].mebibytes);
        return false;
    }
    return true;
}

void write_untraced_message(const char *subject, const char *reason) {
    char line[600];
    int length = snprintf(line, sizeof line, "alloc_trace: %s: %s; the program runs untraced", subject, reason);
    if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
    for (int at = 0; at < length; at++) /* a path may contain escape sequences */
        if ((unsigned char)line[at] < ' ' || line[at] == 127) line[at] = '?';
    line[length++] = '\n';
    if (write(2, line, (size_t)length) < 0) return; /* stderr is closed */
}
