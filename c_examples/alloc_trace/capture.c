/* A call becomes an event: all but the usual case.
 *
 * Licence: MIT OR Apache-2.0. */
#include "capture.h"

#include "ledger.h"
#include "stacks.h"

static void deliver_call(struct call_event *event, const struct stack *stack) {
    if (this_thread.in_tracer) {
        atomic_fetch_add_explicit(&ledger->own[event->call], 1, memory_order_relaxed);
        return;
    }
    event->tid = thread_id();
    deliver(event, stack);
}

void capture_otherwise(int32_t status, struct call_event *event) {
    int saved_errno = errno;
    if (status == PIPELINE_ERR_FULL) {
        event_was_dropped();
    } else if (status == PIPELINE_ERR_STATE || status == PIPELINE_ERR_FORKED) { /* any other is counted by the pipeline */
        check_for_fork();
        deliver_call(event, NULL);
    }
    errno = saved_errno;
}

void capture_with_stack(struct call_event *event, const struct caller *caller) {
    int saved_errno = errno;
    struct stack stack;
    stack.count = 0;
    check_for_fork();
    bool wanted = !this_thread.in_tracer && atomic_load_explicit(&capture_state.phase, memory_order_relaxed) <= PHASE_RUNNING;
    if (wanted) stack.count = unwind(caller, stack.addresses, capture_state.frames, &stack.end);
    deliver_call(event, &stack);
    errno = saved_errno;
}
