/* A call becomes an event. */
#ifndef ALLOC_TRACE_CAPTURE_H
#define ALLOC_TRACE_CAPTURE_H

#include "events.h"
#include "lifecycle.h"
#include "platform.h"
#include "settings.h"

#include <errno.h>

/* All but the usual case. They keep errno.
 *
 * An inlined capture has returned a status other than OK, or there was none (PIPELINE_ERR_STATE). */
SELDOM void capture_otherwise(int32_t status, struct call_event *event);
/* Captures the caller's stack, if it is new, and the event. */
void capture_with_stack(struct call_event *event, const struct caller *caller);

/* Captures a call; errno stays as it is. Inlined, so that `call` is a constant, and the usual case the header's inlined capture. That keeps
 * errno, and notices a fork. */
INLINED void capture_call(unsigned call, uint64_t size, const void *address, const void *old,
                                                               uint64_t took_ns, struct caller caller) {
    if (IN_OPERATOR && size != 0) {
        this_thread.operator_call.captured = (uintptr_t)address;
        this_thread.operator_call.captured_size = size;
    }
    const bool unwinds = !call_releases(call) && capture_state.frames != 0;
    pipeline_producer_t *producer = this_thread.producer;
    int32_t status = PIPELINE_ERR_STATE;
    if (__builtin_expect(producer != NULL && !this_thread.in_tracer && !unwinds &&
                             atomic_load_explicit(&capture_state.phase, memory_order_acquire) == PHASE_RUNNING, 1)) {
        EVENT_PAYLOAD(payload, call, size, this_thread.tid, 0, (uintptr_t)old, took_ns);
        const pipeline_event_t offered = {
            .struct_size = sizeof offered,
            .kind = call,
            .correlation_id = (uintptr_t)address,
            .node_id = caller.site,
            .data = payload,
            .len = payload_length,
        };
        status = pipeline_fast_capture_event(producer, this_thread.fast, &offered);
        if (__builtin_expect(status == PIPELINE_OK, 1)) return;
    }
    struct call_event event = {.call = call, .size = size, .address = (uintptr_t)address, .old = (uintptr_t)old,
                               .took_ns = took_ns, .site = caller.site};
    if (unwinds)
        capture_with_stack(&event, &caller);
    else
        capture_otherwise(status, &event);
}

#endif
