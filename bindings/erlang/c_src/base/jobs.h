/* Threads for work that may wait. No NIF waits, also not on a dirty scheduler: those are few, and the file I/O of the whole VM needs them.
 *
 * An idle thread is kept for some seconds for the next job, and holds no resource meanwhile. It blocks all asynchronous signals. */
#ifndef CAPTURE_NIF_JOBS_H
#define CAPTURE_NIF_JOBS_H

#include <stdbool.h>

struct job {
    struct job *next;           /* for the queue */
    void (*run)(struct job *);  /* runs on a thread of its own, and owns the job from then on */
};

/* Runs the job on a thread that runs nothing else meanwhile. Never waits. False: no thread can be started. */
bool job_start(struct job *job);

#endif
