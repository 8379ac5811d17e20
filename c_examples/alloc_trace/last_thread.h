/* The threads of the tracer, and the end of a process whose main thread has called pthread_exit. */
#ifndef ALLOC_TRACE_LAST_THREAD_H
#define ALLOC_TRACE_LAST_THREAD_H

#include <stdbool.h>

/* Called on each thread of the tracer; the signature is that of pipeline_thread_hooks. */
void tracer_thread_begins(void *unused);
void tracer_thread_ends(void *unused);
void tracer_threads_after_fork(void);

/* Called by the main thread before pthread_exit. */
void main_thread_ends(void);
bool main_thread_has_ended(void);
/* Once the main thread has ended: ends the process if only threads of the tracer are left. */
void end_after_last_thread(void);

#endif
