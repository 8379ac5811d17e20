/* The ring buffers of the program's threads. Each thread has one of its own, from its first capture to its end; threads beyond RINGS
 * share one. */
#ifndef ALLOC_TRACE_PRODUCERS_H
#define ALLOC_TRACE_PRODUCERS_H

#include "events.h"

enum { RINGS = 25 }; /* 24 for the program's threads, 1 for early events */

/* Once in a process image. */
void producers_set_up(void);
/* The first capture of the calling thread: gives it a ring buffer, if there is one left. Later ones neither allocate nor lock. */
void capture_first(struct call_event *event, const struct stack *stack);
/* In a forked child: the calling thread has none. */
void producers_after_fork(void);
/* In a forked child: frees the handles of the parent. */
void producers_free_inherited(void);

#endif
