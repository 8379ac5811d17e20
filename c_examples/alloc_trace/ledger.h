/* The ledger: the tracer's counters, on a page that is shared with the file PID-N.ledger.
 *
 * From the start of the pipeline on they are in the file, so they are exact up to the last instruction, however the process
 * ends. Before that, and in a process whose pipeline never starts, they are in ordinary memory. */
#ifndef ALLOC_TRACE_LEDGER_H
#define ALLOC_TRACE_LEDGER_H

#include "calls.h"

#include <capture_pipeline.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ledger_state {
    LEDGER_RUNNING = 1, /* the process runs, or was killed (SIGKILL, abort) */
    LEDGER_CLOSED = 2,  /* closed at its exit */
    LEDGER_EXEC = 3     /* flushed, and replaced by exec */
};

enum { LEDGER_FIGURES = 40 };

struct ledger {
    char magic[8]; /* "ATLEDG05" */
    uint32_t size, state;
    uint32_t pid, parent;
    uint32_t drop_mode;
    uint32_t frames;               /* return addresses of a stack at most; 0: no stacks */
    uint32_t image;                /* N */
    int32_t close_status;          /* the status of the last pipeline_close or pipeline_flush */
    uint64_t started_realtime_ns;
    _Atomic uint64_t own[CALL_COUNTERS];    /* calls that libc made on behalf of the tracer, by call */
    _Atomic uint64_t nested[CALL_COUNTERS]; /* calls made by an operator new or delete; the event is the operator's */
    _Atomic uint64_t early_lost;   /* events lost because the early buffer was full, or a thread's first capture had too little stack */
    _Atomic uint64_t early_kept;   /* events passed from the early buffer to the pipeline */
    _Atomic uint64_t held;         /* events that are in the early buffer now */
    _Atomic uint64_t late;         /* calls after the close */
    _Atomic uint64_t gave_up;      /* 1: switched to drop mode, because blocked captures timed out */
    _Atomic uint64_t records;      /* events of the tracer itself, which are offered beside those of the calls */
    _Atomic uint64_t stacks_lost;  /* allocations without their stack, because its event was dropped */
    uint64_t main_cpu_ns;          /* CPU time of the program's main thread */
    uint64_t figures_at_ns;        /* monotonic time of the figures below */
    uint64_t figures[LEDGER_FIGURES];
    char comm[32];
    char storage[256];             /* the name of the database, or of the journal, in the directory of the ledger */
    char command[512];             /* the command line; words end with NUL */
};

extern struct ledger *_Atomic ledger;

/* Creates the files of the process and maps the page. false: problem holds the reason. */
bool ledger_open(bool may_create_folder, char *problem, size_t problem_size);
void ledger_discard(void);    /* after a failed start: removes the files */
void ledger_after_fork(void); /* counts from zero, in memory */
void ledger_publish(const pipeline_t *p, enum ledger_state state); /* writes the pipeline's metrics and the state */

#endif
