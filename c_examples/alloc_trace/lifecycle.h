/* The life cycle of the tracer in a process image: start, fork, exec, end. */
#ifndef ALLOC_TRACE_LIFECYCLE_H
#define ALLOC_TRACE_LIFECYCLE_H

#include "events.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Where events go. */
enum phase {
    PHASE_EARLY,   /* to the early buffer: before the start, in a new child, during an exec */
    PHASE_RUNNING, /* to the pipeline */
    PHASE_CLOSED,  /* nowhere; counted as late */
    PHASE_OFF      /* nowhere, not counted: the pipeline could not start */
};
/* What each capture looks at. */
struct capture_state {
    _Atomic int phase;
    unsigned frames; /* return addresses of a stack at most; 0: no stacks */
};
extern struct capture_state capture_state;

/* Delivers an event in any phase, also a thread's first one, with its stack if that is not NULL. Starts the pipeline if it is time. */
void deliver(struct call_event *event, const struct stack *stack);
/* Captures, as failed, an operator new that this thread has left by an exception, if there is one. */
void capture_unfinished_operator(void);

/* 1; the kernel resets it to 0 in a forked child (MADV_WIPEONFORK). NULL: not mapped yet. */
extern volatile uint32_t *fork_detector;
void reset_after_fork(void);
/* To be called before the tracer's state is used: a fork by a bare system call runs no fork handler. */
static inline void check_for_fork(void) {
    if (__builtin_expect(fork_detector != NULL && *fork_detector == 0, 0)) reset_after_fork();
}
/* false in a vfork child, which runs in the memory of its parent: the tracer then leaves everything alone. */
bool is_traced_process(void);

/* Called by a thread of the program before its process ends. They wait until everything captured is stored, for at most
 * ALLOC_TRACE_EXIT_MS, and keep errno. */
void close_for_exit(void);
void flush_for_exit(void);       /* for an end that still runs code of the program: captures go on */
bool suspend_for_exec(void);     /* true: call resume_capture() if exec returns */
bool suspend_for_daemon(void);   /* the same for daemon */
void resume_capture(void);

#endif
