/* The stacks of allocations. Each is captured as an event once, and the events of allocations carry its number. */
#ifndef ALLOC_TRACE_STACKS_H
#define ALLOC_TRACE_STACKS_H

#include "events.h"

#include <stdbool.h>

/* Makes the table. */
bool stacks_open(void);
/* Captures a call. If it has a stack (that is, if that is not NULL), the event carries the stack's number; the event of a new stack is
 * captured first. */
void capture_with_number(struct call_event *event, const struct stack *stack);
/* In a forked child: no stack is known. */
void stacks_after_fork(void);

#endif
