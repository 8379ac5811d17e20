/* The end of a process whose main thread has called pthread_exit.
 *
 * libc calls exit(0) when the last thread of such a process ends. The threads of the tracer would keep the process alive for
 * ever. Therefore the helper checks from time to time which threads are left once the main thread has ended. If only threads
 * of the tracer are left, it has exit(0) called.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "last_thread.h"

#include "platform.h"
#include "this_thread.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The tracer has a handful of threads. If one had no entry, the process would only stay alive. */
enum { MAX_THREADS = 64 };
static _Atomic uint32_t tracer_threads[MAX_THREADS];
static _Atomic bool main_ended;
static sigset_t main_signals;

void tracer_thread_begins(void *unused) {
    (void)unused;
    this_thread.in_tracer = true; /* never reset: what the thread frees while it ends counts as well */
    uint32_t tid = (uint32_t)syscall(SYS_gettid);
    for (unsigned at = 0; at < MAX_THREADS; at++) {
        uint32_t none = 0;
        if (atomic_compare_exchange_strong(&tracer_threads[at], &none, tid)) return;
    }
}

void tracer_thread_ends(void *unused) {
    (void)unused;
    uint32_t tid = (uint32_t)syscall(SYS_gettid);
    for (unsigned at = 0; at < MAX_THREADS; at++) {
        uint32_t mine = tid;
        atomic_compare_exchange_strong(&tracer_threads[at], &mine, 0);
    }
}

void tracer_threads_after_fork(void) {
    for (unsigned at = 0; at < MAX_THREADS; at++) atomic_store(&tracer_threads[at], 0);
    atomic_store(&main_ended, false);
}

void main_thread_ends(void) {
    pthread_sigmask(SIG_SETMASK, NULL, &main_signals);
    atomic_store(&main_ended, true);
}

bool main_thread_has_ended(void) {
    return atomic_load(&main_ended);
}

static bool is_tracer_thread(uint32_t tid) {
    for (unsigned at = 0; at < MAX_THREADS; at++)
        if (atomic_load(&tracer_threads[at]) == tid) return true;
    return false;
}

/* A main thread that has ended stays a zombie while other threads run: "PID (NAME) Z ...". */
static bool is_zombie(uint32_t tid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%u/stat", tid);
    int fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) return false;
    text[length] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end != NULL && name_end[1] == ' ' && name_end[2] == 'Z';
}

/* false also if /proc cannot be read: the process then stays alive. */
static bool only_tracer_threads_left(void) {
    int tasks = openat(AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tasks < 0) return false;
    _Alignas(struct dirent64) char block[4096];
    bool others = false;
    long length;
    while (!others && (length = syscall(SYS_getdents64, tasks, block, sizeof block)) > 0) {
        for (long at = 0; at < length;) {
            const struct dirent64 *entry = (const struct dirent64 *)(block + at);
            at += entry->d_reclen;
            if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
            uint32_t tid = (uint32_t)strtoul(entry->d_name, NULL, 10);
            if (!is_tracer_thread(tid) && !is_zombie(tid)) others = true;
        }
    }
    close(tasks);
    return !others && length == 0;
}

static void *end_process(void *unused) {
    (void)unused;
    exit(0);
}

void end_after_last_thread(void) {
    if (!only_tracer_threads_left()) return;
    /* On a new thread, because the program's exit handlers run on it and their allocations are the program's. */
    if (start_thread(end_process, NULL, &main_signals) == 0) atomic_store(&main_ended, false);
}
