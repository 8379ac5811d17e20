/* The helper thread.
 *
 * The pipeline is not started or closed on a thread of the program, for two reasons. A start happens inside an allocation, and
 * the allocating thread may have a stack of 16 KiB or hold a lock of libc. The end of a process may begin anywhere, also in a
 * signal handler that has interrupted the allocator. Therefore threads of the program leave a request here and wait on a
 * futex, with a time limit.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "helper.h"

#include "events.h"
#include "files.h"
#include "last_thread.h"
#include "ledger.h"
#include "platform.h"
#include "settings.h"
#include "trace_pipeline.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>

enum {
    LIVE_MS = 200,
    LAST_THREAD_MS = 20, /* how often it checks whether the program's last thread has ended */
    SLACK_MS = 500       /* a requester waits longer than the flush by this */
};

static _Atomic uint32_t pending = REQUEST_NONE;
static _Atomic bool thread_exists;
static bool (*begin_on_helper)(bool loud);

static void serve(uint32_t request) {
    pipeline_t *p = atomic_load(&trace_pipeline);
    ledger->close_status = request == REQUEST_CLOSE ? trace_pipeline_close(p) : trace_pipeline_flush(p);
    files_save_maps();
    ledger_publish(p, request == REQUEST_FLUSH ? LEDGER_RUNNING : request == REQUEST_EXEC ? LEDGER_EXEC : LEDGER_CLOSED);
}

static int64_t idle_timeout_ns(void) {
    if (main_thread_has_ended()) return LAST_THREAD_MS * INT64_C(1000000);
    return settings.live || settings.last_bytes != 0 ? LIVE_MS * INT64_C(1000000) : -1;
}

static void *helper(void *loud) {
    tracer_thread_begins(NULL);
    prctl(PR_SET_NAME, "alloc_trace");
    if (!begin_on_helper(loud != NULL)) {
        tracer_thread_ends(NULL);
        return NULL;
    }
    files_save_maps(); /* in case the process is killed; the program does not wait for it */
    if (settings.last_bytes != 0) files_snapshot_wanted(); /* what was asked for before was for other processes */
    for (;;) {
        uint32_t request = atomic_load(&pending);
        if (request == REQUEST_NONE) {
            futex_wait(&pending, REQUEST_NONE, idle_timeout_ns());
            if (atomic_load(&pending) != REQUEST_NONE) continue;
            if (settings.live && ledger->state == LEDGER_RUNNING)
                ledger_publish(atomic_load(&trace_pipeline), LEDGER_RUNNING);
            if (settings.last_bytes != 0 && files_snapshot_wanted()) {
                trace_pipeline_snapshot(atomic_load(&trace_pipeline));
                files_save_maps();
            }
            if (main_thread_has_ended()) end_after_last_thread();
            continue;
        }
        serve(request);
        atomic_store(&pending, REQUEST_NONE);
        futex_wake(&pending);
    }
    return NULL;
}

int helper_start(bool (*begin)(bool loud), bool loud) {
    static char yes;
    sigset_t signals;
    begin_on_helper = begin;
    sigfillset(&signals);
    sigdelset(&signals, SIGSEGV); /* the program's crash handler must run for these */
    sigdelset(&signals, SIGBUS);
    sigdelset(&signals, SIGFPE);
    sigdelset(&signals, SIGILL);
    sigdelset(&signals, SIGTRAP);
    sigdelset(&signals, SIGSYS);
    sigdelset(&signals, SIGABRT);
    int failed = start_thread(helper, loud ? &yes : NULL, &signals);
    atomic_store(&thread_exists, failed == 0);
    return failed;
}

void helper_after_fork(void) {
    atomic_store(&thread_exists, false);
    atomic_store(&pending, REQUEST_NONE);
}

static bool wait_until_idle(uint64_t deadline) {
    uint32_t request;
    while ((request = atomic_load(&pending)) != REQUEST_NONE) {
        uint64_t now = monotonic_ns();
        if (now >= deadline) return false;
        futex_wait(&pending, request, (int64_t)(deadline - now));
    }
    return true;
}

static uint64_t deadline_from_now(void) {
    return monotonic_ns() + (settings.exit_ms + SLACK_MS) * UINT64_C(1000000);
}

void helper_wait_until_idle(void) {
    wait_until_idle(deadline_from_now());
}

void helper_request(enum request request) {
    if (!atomic_load(&thread_exists)) return;
    uint64_t deadline = deadline_from_now();
    for (;;) {
        uint32_t idle = REQUEST_NONE;
        if (atomic_compare_exchange_strong(&pending, &idle, request)) break;
        if (!wait_until_idle(deadline)) return;
    }
    futex_wake(&pending);
    wait_until_idle(deadline);
}
