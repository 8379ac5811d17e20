/* The events of a trace: what a call becomes, and what the tracer itself captures. */
#ifndef ALLOC_TRACE_EVENTS_H
#define ALLOC_TRACE_EVENTS_H

#include "calls.h"
#include "platform.h"
#include "this_thread.h"
#include "unwind.h"

#include <stdatomic.h>
#include <stdint.h>

/* One call of a captured function. */
struct call_event {
    uint32_t call, tid;
    uint64_t timestamp_ns;  /* 0: now */
    uint64_t size;
    uint64_t address;       /* the address that the call returned; for a release, the one it was given */
    uint64_t old, took_ns; /* a call that resizes: the address it was given, and how long it took */
    uint64_t site;          /* the return address */
    uint32_t stack;         /* the number of its stack; 0: none */
};

/* The return addresses of a call, the innermost first. */
struct stack {
    uint32_t count;
    enum unwind_end end;
    uintptr_t addresses[MAX_FRAMES];
};

/* Kinds of the tracer's own events, beside those of the calls. They are stored: never change one. */
enum { KIND_STACK = 100, KIND_IMAGE = 101 };

/* The payloads. The address of a call is the event's correlation id, its call site the event's node id. */
struct release_payload {
    uint32_t thread;
};
struct allocation_payload {
    uint64_t size;
    uint32_t thread, stack;
};
struct resize_payload {
    uint64_t size;
    uint32_t thread, stack;
    uint64_t old, took_ns;
};
struct stack_payload {
    uint32_t number;
    uint16_t frames, ended; /* enum unwind_end */
    uint64_t addresses[MAX_FRAMES];
};
struct image_payload {
    uint32_t pid, parent, number, frames;
    uint64_t started_realtime_ns;
    char name[32];
};

extern pipeline_t *_Atomic trace_pipeline; /* the pipeline of this process image; NULL: not started */

/* Tells the pipeline what the payloads consist of. */
int32_t events_define(pipeline_t *p);
/* A capture found its ring buffer full. Switches to drop mode if blocked captures keep timing out. */
SELDOM void event_was_dropped(void);
void events_after_fork(void);

/* Captures on the calling thread, by the shared ring buffer if it has none of its own. Return the pipeline's status. */
int32_t event_offer(const pipeline_event_t *offered);
int32_t event_capture(const struct call_event *event);
int32_t event_capture_stack(uint32_t number, const struct stack *stack, uint64_t timestamp_ns);
/* The event that tells a reader which process image this is. */
int32_t event_capture_image(const struct image_payload *image);

/* The payload of a call. `call` should be a constant: the rest is then chosen by the compiler. */
#define EVENT_PAYLOAD(payload, call, size, thread, stack, old, took_ns)                                                  \
    const struct release_payload payload##_release = {thread};                                                           \
    const struct allocation_payload payload##_allocation = {size, thread, stack};                                        \
    const struct resize_payload payload##_resize = {size, thread, stack, old, took_ns};                                  \
    const void *payload = call_releases(call)  ? (const void *)&payload##_release                                        \
                          : call_resizes(call) ? (const void *)&payload##_resize                                         \
                                               : (const void *)&payload##_allocation;                                    \
    const size_t payload##_length = call_releases(call)  ? sizeof payload##_release                                      \
                                    : call_resizes(call) ? sizeof payload##_resize                                       \
                                                         : sizeof payload##_allocation

#endif
