/* The ring buffers of the program's threads.
 *
 * A thread gives its ring buffer back in the last round of the destructors of thread-specific data, so that the program's own destructors
 * still capture into it. What the thread frees after that goes to the ring buffer that threads share.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "producers.h"

#include "ledger.h"
#include "stacks.h"
#include "this_thread.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

static pthread_key_t end_of_thread;
static bool has_key;
/* The value of the key in the nth round points to the nth of these. */
static char rounds[PTHREAD_DESTRUCTOR_ITERATIONS + 1];
/* The open handles: a forked child frees those of its parent. */
static _Atomic(pipeline_producer_t *) open_producers[RINGS];

static void leave(void) {
    pipeline_producer_t *mine = this_thread.producer;
    if (mine == NULL) return;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    this_thread.producer = NULL;
    this_thread.fast = NULL;
    bool was_in_tracer = this_thread.in_tracer;
    this_thread.in_tracer = true;
    for (unsigned at = 0; at < RINGS; at++) {
        pipeline_producer_t *expected = mine;
        if (atomic_compare_exchange_strong(&open_producers[at], &expected, NULL)) break;
    }
    pipeline_producer_close(mine);
    this_thread.in_tracer = was_in_tracer;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void round_of_destructors(void *value) {
    char *next = (char *)value + 1;
    if (next < rounds + PTHREAD_DESTRUCTOR_ITERATIONS && pthread_setspecific(end_of_thread, next) == 0) return;
    leave();
}

void producers_set_up(void) {
    has_key = pthread_key_create(&end_of_thread, round_of_destructors) == 0;
}

static void join(void) {
    pipeline_t *p = atomic_load_explicit(&trace_pipeline, memory_order_relaxed);
    pipeline_producer_t *mine;
    /* Without the destructor the ring buffer would never be given back. */
    if (!has_key || pthread_setspecific(end_of_thread, rounds) != 0 || pipeline_producer_open(p, &mine) != PIPELINE_OK) return;
    for (unsigned at = 0; at < RINGS; at++) {
        pipeline_producer_t *none = NULL;
        if (atomic_compare_exchange_strong(&open_producers[at], &none, mine)) break;
    }
    this_thread.fast = pipeline_fast_of(mine);
    this_thread.producer = mine;
}

/* Making a ring buffer takes some kilobytes of stack. A signal handler may run on a stack that has not that much: its thread gets a ring buffer
 * later. */
enum { JOIN_STACK_BYTES = 12 * 1024 };

static bool is_on_small_signal_stack(void) {
    stack_t signal_stack;
    if (sigaltstack(NULL, &signal_stack) != 0 || (signal_stack.ss_flags & SS_ONSTACK) == 0) return false;
    return (uintptr_t)__builtin_frame_address(0) - (uintptr_t)signal_stack.ss_sp < JOIN_STACK_BYTES;
}

/* libc may allocate for it: these calls are the tracer's. Signals are blocked, so that no call of a signal handler is counted as the
 * tracer's. */
void capture_first(struct call_event *event, const struct stack *stack) {
    if (is_on_small_signal_stack()) {
        atomic_fetch_add(&ledger->early_lost, 1);
        return;
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    this_thread.in_tracer = true;
    join();
    capture_with_number(event, stack);
    this_thread.in_tracer = false;
    this_thread.captured_before = true;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void producers_after_fork(void) {
    this_thread.producer = NULL;
    this_thread.fast = NULL;
}

void producers_free_inherited(void) {
    for (unsigned at = 0; at < RINGS; at++) {
        pipeline_producer_t *theirs = atomic_exchange(&open_producers[at], NULL);
        if (theirs != NULL) pipeline_producer_close(theirs);
    }
}
