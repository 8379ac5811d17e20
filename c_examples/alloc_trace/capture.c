/* A call becomes an event. Its columns: kind = which call, correlation_id = the address that it returned (for free: was
 * given), node_id = the call site. Its payload is text, because SQL can take text apart and cannot take binary apart:
 *
 *   SIZE THREAD             "48 7012"; free has size 0
 *   SIZE THREAD OLD BEGAN   realloc: the address it was given, and CLOCK_MONOTONIC nanoseconds from before the call
 *
 * so that CAST(payload AS INTEGER) is the size.
 *
 * Where there is no pipeline yet (before the start, in a fresh child, during an exec), events wait in the early buffer,
 * a fixed array that any thread and any signal handler may append to without a lock.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "trace.h"

#include <capture_pipeline.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Atomic int phase = PHASE_EARLY;

uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t thread_id(void) {
    if (__builtin_expect(this_thread.tid == 0, 0)) {
        uint32_t tid = (uint32_t)syscall(SYS_gettid);
        char digits[sizeof this_thread.tid_text];
        unsigned length = 0;
        for (uint32_t rest = tid; rest != 0; rest /= 10) digits[length++] = (char)('0' + rest % 10);
        for (unsigned at = 0; at < length; at++) this_thread.tid_text[at] = digits[length - 1 - at];
        this_thread.tid_length = length;
        this_thread.tid = tid;
    }
    return this_thread.tid;
}

/* --- One event ----------------------------------------------------------------------------------------------------- */

struct early_event {
    _Atomic uint32_t ready;
    uint32_t call, tid;
    uint64_t timestamp_ns, size, address, old, began_ns, site;
};

static inline char *put_number(char *to, uint64_t number) {
    char digits[20];
    unsigned count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    while (count > 0) *to++ = digits[--count];
    return to;
}

enum { PAYLOAD_BYTES = 4 * 21 };

static inline size_t write_payload(char *payload, const struct early_event *event) {
    char *to = put_number(payload, event->size);
    *to++ = ' ';
    if (event->tid == this_thread.tid) {
        /* Nearly always; written once. */
        memcpy(to, this_thread.tid_text, sizeof this_thread.tid_text);
        to += this_thread.tid_length;
    } else {
        to = put_number(to, event->tid);
    }
    if (event->old != 0) {
        *to++ = ' ';
        to = put_number(to, event->old);
        *to++ = ' ';
        to = put_number(to, event->began_ns);
    }
    return (size_t)(to - payload);
}

static inline void offer(pipeline_t *p, const struct early_event *event, bool own_time) {
    char payload[PAYLOAD_BYTES];
    pipeline_event_t offered = {
        .struct_size = sizeof offered,
        .kind = event->call,
        .timestamp_ns = own_time ? event->timestamp_ns : 0,
        .correlation_id = event->address,
        .node_id = event->site,
        .flags = own_time ? PIPELINE_EVENT_OWN_TIME : 0,
        .data = payload,
        .len = write_payload(payload, event),
    };
    int32_t status = pipeline_capture_event(p, &offered);
    if (__builtin_expect(status == PIPELINE_ERR_FULL && !drop_mode, 0)) blocking_failed();
}

/* A thread's first capture makes its ring buffer, for which libc may allocate; those calls are the tool's own. With
 * signals blocked, nothing else can come through here meanwhile, so what is marked own is own. */
__attribute__((noinline, cold)) static void offer_first(pipeline_t *p, const struct early_event *event) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    this_thread.own = true;
    offer(p, event, false);
    this_thread.own = false;
    this_thread.ready = true;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* --- The early buffer ---------------------------------------------------------------------------------------------- */

enum { EARLY_EVENTS = 8192, EARLY_SHUT = 0x40000000 };
static struct early_event early[EARLY_EVENTS];
static _Atomic uint32_t early_next;

void early_reopen(void) {
    uint32_t used = atomic_load(&early_next);
    for (uint32_t at = 0; at < used && at < EARLY_EVENTS; at++) atomic_store(&early[at].ready, 0);
    atomic_store(&ledger->held, 0);
    atomic_store(&early_next, 0);
}

uint32_t early_count(void) {
    uint32_t used = atomic_load(&early_next);
    return used < EARLY_EVENTS ? used : EARLY_EVENTS;
}

/* false: the buffer was shut meanwhile; look at the phase again. */
static bool append_early(const struct early_event *event) {
    uint32_t at = atomic_fetch_add(&early_next, 1);
    if (at >= EARLY_SHUT) return false;
    if (at >= EARLY_EVENTS) {
        atomic_fetch_add(&ledger->early_lost, 1);
    } else {
        struct early_event *slot = &early[at];
        uint64_t now = monotonic_ns();
        slot->call = event->call;
        slot->tid = event->tid;
        slot->timestamp_ns = now;
        slot->size = event->size;
        slot->address = event->address;
        slot->old = event->old;
        slot->began_ns = event->began_ns;
        slot->site = event->site;
        atomic_fetch_add(&ledger->held, 1);
        atomic_store_explicit(&slot->ready, 1, memory_order_release);
        early_event_came(at + 1, now);
    }
    return true;
}

/* An append that has its slot but is not done belongs to another running thread, or to one that this very thread has
 * interrupted (a signal handler that ends the process): wait, but not for ever. */
static bool wait_ready(const struct early_event *slot) {
    for (unsigned turn = 0; turn < 10000; turn++) {
        if (atomic_load_explicit(&slot->ready, memory_order_acquire)) return true;
        sched_yield();
    }
    return false;
}

void early_drain(void) {
    pipeline_t *p = atomic_load(&pipeline);
    uint32_t used = atomic_exchange(&early_next, EARLY_SHUT);
    if (used >= EARLY_SHUT) return; /* drained already */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    bool was_own = this_thread.own;
    this_thread.own = true; /* as in offer_first */
    for (uint32_t at = 0; at < used && at < EARLY_EVENTS; at++) {
        if (wait_ready(&early[at])) {
            offer(p, &early[at], true);
            atomic_fetch_add(&ledger->early_kept, 1);
        } else {
            atomic_fetch_add(&ledger->early_lost, 1);
        }
        atomic_fetch_sub(&ledger->held, 1);
    }
    this_thread.own = was_own;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* --- The way of a call --------------------------------------------------------------------------------------------- */

void capture_call(unsigned call, uint64_t size, const void *address, const void *old, uint64_t began_ns, const void *site) {
    int saved_errno = errno;
    if (__builtin_expect(fork_word != NULL && *fork_word == 0, 0)) noticed_fork();
    if (this_thread.own) {
        atomic_fetch_add_explicit(&ledger->own[call], 1, memory_order_relaxed);
        errno = saved_errno;
        return;
    }
    struct early_event event; /* its time is set where it is needed */
    event.call = call;
    event.tid = thread_id();
    event.size = size;
    event.address = (uintptr_t)address;
    event.old = (uintptr_t)old;
    event.began_ns = began_ns;
    event.site = (uintptr_t)site;
    for (;;) {
        int now = atomic_load_explicit(&phase, memory_order_acquire);
        if (__builtin_expect(now == PHASE_RUNNING, 1)) {
            pipeline_t *p = atomic_load_explicit(&pipeline, memory_order_relaxed);
            if (__builtin_expect(this_thread.ready, 1))
                offer(p, &event, false);
            else
                offer_first(p, &event);
            break;
        }
        if (now == PHASE_EARLY) {
            if (append_early(&event)) break;
        } else {
            if (now == PHASE_CLOSED) atomic_fetch_add_explicit(&ledger->late, 1, memory_order_relaxed);
            break;
        }
    }
    errno = saved_errno;
}
