/* The early buffer: a fixed array for events that arrive while there is no running pipeline (before the start, in a new child,
 * during an exec). Any thread and any signal handler may append without a lock. */
#ifndef ALLOC_TRACE_EARLY_H
#define ALLOC_TRACE_EARLY_H

#include "events.h"

enum early_result {
    EARLY_APPENDED,
    EARLY_FULL,
    EARLY_CLOSED /* drained meanwhile: look at the phase again */
};

/* Appends the event with the current time, and its stack if that is not NULL. *count is the number of events up to and including this
 * one. */
enum early_result early_append(const struct call_event *event, const struct stack *stack, uint32_t *count, uint64_t *now_ns);
uint32_t early_count(void);
/* Empties the buffer and opens it. */
void early_reopen(void);
/* Closes the buffer and captures its events. */
void early_drain(void);

#endif
