/* The closer: a thread that waits to be told to flush or close.
 *
 * The end of a process comes from anywhere, also from a signal handler that has interrupted the allocator. Closing the
 * pipeline on that thread could need the very lock that it holds. So the thread that ends the process, or replaces it
 * by exec, only leaves a request here and waits, with a bound, on a futex.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "trace.h"

#include <capture_pipeline.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic uint32_t slot;   /* REQUEST_NONE: idle */
static _Atomic bool here;       /* the thread exists */

enum { LIVE_MS = 200, SLACK_MS = 500, STACK_BYTES = 256 * 1024 };

static void sleep_on(_Atomic uint32_t *word, uint32_t while_it_is, int64_t for_ns) {
    struct timespec span = {.tv_sec = for_ns / 1000000000, .tv_nsec = for_ns % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_it_is, for_ns < 0 ? NULL : &span, NULL, 0);
}

static void wake(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void serve(uint32_t request) {
    pipeline_t *p = atomic_load(&pipeline);
    if (request == REQUEST_CLOSE)
        ledger->close_status = pipeline_close(p, exit_bound_ms);
    else
        ledger->close_status = pipeline_flush(p, exit_bound_ms);
    if (request == REQUEST_FLUSH) {
        ledger_publish(p, LEDGER_RUNNING);
        return;
    }
    ledger_save_maps();
    ledger_publish(p, request == REQUEST_CLOSE ? LEDGER_CLOSED : LEDGER_EXEC);
}

static void *closer(void *live) {
    this_thread.own = true;
    prctl(PR_SET_NAME, "alloc_trace");
    for (;;) {
        uint32_t request = atomic_load(&slot);
        if (request == REQUEST_NONE) {
            sleep_on(&slot, REQUEST_NONE, live != NULL ? LIVE_MS * INT64_C(1000000) : -1);
            if (live != NULL && atomic_load(&slot) == REQUEST_NONE && ledger->state == LEDGER_RUNNING)
                ledger_publish(atomic_load(&pipeline), LEDGER_RUNNING);
            continue;
        }
        serve(request);
        atomic_store(&slot, REQUEST_NONE);
        wake(&slot);
    }
    return NULL;
}

bool closer_start(bool live) {
    static const char yes;
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0) return false;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    sigdelset(&all, SIGSEGV); /* the host's crash handler must see these */
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGTRAP);
    sigdelset(&all, SIGSYS);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, &attributes, closer, live ? (void *)(uintptr_t)&yes : NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    atomic_store(&here, started);
    return started;
}

void closer_forget(void) {
    atomic_store(&here, false);
    atomic_store(&slot, REQUEST_NONE);
}

static bool wait_until_idle(uint64_t deadline) {
    uint32_t seen;
    while ((seen = atomic_load(&slot)) != REQUEST_NONE) {
        uint64_t now = monotonic_ns();
        if (now >= deadline) return false;
        sleep_on(&slot, seen, (int64_t)(deadline - now));
    }
    return true;
}

void closer_settle(void) {
    wait_until_idle(monotonic_ns() + (exit_bound_ms + SLACK_MS) * UINT64_C(1000000));
}

bool closer_ask(enum request request) {
    if (!atomic_load(&here)) {
        /* No thread was to be had. Do it here, unless this thread may hold the allocator's lock. */
        if (this_thread.in_next) return false;
        bool was_own = this_thread.own;
        this_thread.own = true;
        serve(request);
        this_thread.own = was_own;
        return true;
    }
    uint64_t deadline = monotonic_ns() + (exit_bound_ms + SLACK_MS) * UINT64_C(1000000);
    for (;;) {
        uint32_t idle = REQUEST_NONE;
        if (atomic_compare_exchange_strong(&slot, &idle, request)) break;
        if (!wait_until_idle(deadline)) return false;
    }
    wake(&slot);
    return wait_until_idle(deadline);
}
