/* The tracer's state of the current thread.
 *
 * The variable is initial-exec, so that an access never allocates, and has no destructor, so that it works until the thread's
 * last free(). */
#ifndef ALLOC_TRACE_THIS_THREAD_H
#define ALLOC_TRACE_THIS_THREAD_H

#include <capture_pipeline_fast.h>
#include <stdbool.h>
#include <stdint.h>

/* The outermost operator new or delete that the thread is executing. */
struct operator_call {
    uint32_t call;        /* 0: none */
    uintptr_t frame;      /* our stack frame; the frames of callers are above it */
    uint64_t size;        /* new: the bytes asked for */
    uintptr_t address;    /* delete: the address that is released */
    uintptr_t captured;   /* new: the last allocation captured since it began, if any */
    uint64_t captured_size;
    uintptr_t site;
    uintptr_t first, end; /* the module of the real operator */
};

struct thread_state {
    pipeline_producer_t *producer; /* its ring buffer; NULL: none yet, none left, or the thread has ended */
    pipeline_fast_t *fast;         /* what inlined captures work on; may be NULL beside a producer */
    uint32_t tid;         /* 0: not known yet */
    bool in_tracer;       /* works for the tracer: its calls are counted as `own` and not captured */
    bool captured_before; /* its first capture is done: later ones neither allocate nor lock */
    bool looking_up;      /* is looking up the real functions */
    bool in_early;        /* is writing to the early buffer: a signal handler must not wait for what it has not finished */
    bool in_allocator;    /* is inside the real allocator: a signal handler must not allocate now */
    struct operator_call operator_call;
};

extern __thread struct thread_state this_thread __attribute__((tls_model("initial-exec")));

uint32_t look_up_thread_id(void);

/* The thread's id. */
static inline uint32_t thread_id(void) {
    return __builtin_expect(this_thread.tid != 0, 1) ? this_thread.tid : look_up_thread_id();
}

#define IN_OPERATOR __builtin_expect(this_thread.operator_call.call != 0, 0)

#endif
