/* The early buffer.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "early.h"

#include "ledger.h"
#include "platform.h"
#include "stacks.h"
#include "this_thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

enum { EARLY_EVENTS = 8192, CLOSED = 0x40000000 };

static struct {
    _Atomic uint32_t ready;
    struct call_event event;
} early[EARLY_EVENTS];
static struct stack stacks[EARLY_EVENTS]; /* count 0: none */
static _Atomic uint32_t next_slot; /* CLOSED and above: the buffer is closed */

void early_reopen(void) {
    uint32_t used = atomic_load(&next_slot);
    for (uint32_t at = 0; at < used && at < EARLY_EVENTS; at++) atomic_store(&early[at].ready, 0);
    atomic_store(&ledger->held, 0);
    atomic_store(&next_slot, 0);
}

uint32_t early_count(void) {
    uint32_t used = atomic_load(&next_slot);
    return used < EARLY_EVENTS ? used : EARLY_EVENTS;
}

static void copy_stack(struct stack *to, const struct stack *from) {
    to->count = from->count;
    to->end = from->end;
    for (uint32_t at = 0; at < from->count; at++) to->addresses[at] = from->addresses[at];
}

static enum early_result append(const struct call_event *event, const struct stack *stack, uint32_t *count, uint64_t *now_ns) {
    uint32_t at = atomic_fetch_add(&next_slot, 1);
    if (at >= CLOSED) return EARLY_CLOSED;
    if (at >= EARLY_EVENTS) return EARLY_FULL;
    *count = at + 1;
    *now_ns = monotonic_ns();
    early[at].event = *event;
    early[at].event.timestamp_ns = *now_ns;
    if (stack != NULL)
        copy_stack(&stacks[at], stack);
    else if (stacks[at].count != 0)
        stacks[at].count = 0; /* not written otherwise: it may be a page that was never used */
    atomic_fetch_add(&ledger->held, 1);
    atomic_store_explicit(&early[at].ready, 1, memory_order_release);
    return EARLY_APPENDED;
}

enum early_result early_append(const struct call_event *event, const struct stack *stack, uint32_t *count, uint64_t *now_ns) {
    bool before = this_thread.in_early;
    this_thread.in_early = true;
    atomic_signal_fence(memory_order_seq_cst);
    enum early_result result = append(event, stack, count, now_ns);
    atomic_signal_fence(memory_order_seq_cst);
    this_thread.in_early = before;
    return result;
}

/* A slot that is taken but not ready belongs to a running thread, which a busy machine may hold up for long, or to this thread if a
 * signal handler that ends the process has interrupted it. So the wait has a limit: with `patience` two seconds, otherwise some
 * milliseconds. */
static bool wait_until_ready(uint32_t at, bool patience) {
    enum { YIELDS = 10000, PAUSES = 2000 };
    for (unsigned turn = 0; turn < YIELDS + (patience ? PAUSES : 0); turn++) {
        if (atomic_load_explicit(&early[at].ready, memory_order_acquire)) return true;
        if (turn < YIELDS)
            sched_yield();
        else
            nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    return false;
}

void early_drain(void) {
    uint32_t used = atomic_exchange(&next_slot, CLOSED);
    if (used >= CLOSED) return; /* drained already */
    /* A capture may allocate if it is the thread's first: these calls are the tracer's. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    bool was_in_tracer = this_thread.in_tracer;
    this_thread.in_tracer = true;
    bool patience = !this_thread.in_early;
    for (uint32_t at = 0; at < used && at < EARLY_EVENTS; at++) {
        if (wait_until_ready(at, patience)) {
            capture_with_number(&early[at].event, stacks[at].count != 0 ? &stacks[at] : NULL);
            atomic_fetch_add(&ledger->early_kept, 1);
        } else {
            atomic_fetch_add(&ledger->early_lost, 1);
            patience = false;
        }
        atomic_fetch_sub(&ledger->held, 1);
    }
    this_thread.in_tracer = was_in_tracer;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
