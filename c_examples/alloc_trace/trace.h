/* alloc_trace: what its parts share. A preload library that captures every allocation of a program.
 *
 *   interpose.c   the allocation functions, as the program calls them
 *   next.c        the allocator behind them, and the arena that serves while it is being looked up
 *   capture.c     a call becomes an event: to the pipeline, or to the early buffer while there is none
 *   lifecycle.c   when the pipeline starts and ends; fork
 *   closer.c      the thread that flushes and closes, so that no host thread does
 *   ending.c      _exit, quick_exit and the exec family, as the program calls them
 *   ledger.c      the tool's own counters and the process's files
 *   own.c         what the pipeline and SQLite inside this library call instead of malloc, open and atexit
 *
 * Licence: MIT OR Apache-2.0. */
#ifndef ALLOC_TRACE_H
#define ALLOC_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The calls that are captured; a call is the kind of its event. The numbers are in databases: never change them. */
enum call {
    CALL_MALLOC = 1,
    CALL_CALLOC = 2,
    CALL_REALLOC = 3,
    CALL_FREE = 4,
    CALL_POSIX_MEMALIGN = 5,
    CALL_ALIGNED_ALLOC = 6,
    CALL_MEMALIGN = 7,
    CALL_VALLOC = 8,
    CALL_PVALLOC = 9,
    CALL_REALLOCARRAY = 10,
    CALL_END = 11
};

const char *call_name(unsigned call);

/* --- A thread's own words. Initial-exec, so that reaching them never allocates; without destructors, so that they work
 * until the thread's last free. ------------------------------------------------------------------------------------ */

struct thread_words {
    uint32_t tid;      /* 0: not asked yet */
    uint32_t tid_length;
    char tid_text[16]; /* tid in decimal, as it goes into payloads */
    bool own;          /* works for the tool: the pipeline's threads, the closer, a host thread inside start */
    bool ready;        /* its first capture is done: from now on a capture neither allocates nor locks */
    bool looking_up;   /* inside the look-up of the next allocator */
    bool in_next;      /* inside the next allocator: whatever interrupts now must not allocate */
};

extern __thread struct thread_words this_thread __attribute__((tls_model("initial-exec")));

/* --- The allocator behind us, and the other functions that we stand before. ---------------------------------------- */

struct next {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    void *(*memalign)(size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);

    void (*exit_now)(int);
    void (*exit_now_c)(int);
    void (*quick_exit)(int);
    int (*execve)(const char *, char *const[], char *const[]);
    int (*execv)(const char *, char *const[]);
    int (*execvp)(const char *, char *const[]);
    int (*execvpe)(const char *, char *const[], char *const[]);
    int (*fexecve)(int, char *const[], char *const[]);
    int (*execveat)(int, const char *, char *const[], char *const[], int);
};

const struct next *next_functions(void);
bool in_arena(const void *address);
size_t arena_room(const void *address); /* bytes from address to the arena's end: what a copy may read */

/* --- Capture. ------------------------------------------------------------------------------------------------------ */

/* Captures one call. old and began_ns are realloc's: the address given, and the time before the call. Keeps errno. */
void capture_call(unsigned call, uint64_t size, const void *address, const void *old, uint64_t began_ns, const void *site);
uint64_t monotonic_ns(void);

/* Where events go. */
enum phase {
    PHASE_EARLY,   /* to the early buffer: before the start, in a fresh child, during an exec */
    PHASE_RUNNING, /* to the pipeline */
    PHASE_CLOSED,  /* nowhere; counted as late */
    PHASE_OFF      /* nowhere, not counted: the pipeline could not start */
};
extern _Atomic int phase;

void early_reopen(void);       /* empties the early buffer and opens it; before PHASE_EARLY */
uint32_t early_count(void);    /* events in it */
void early_drain(void);        /* hands them to the pipeline; after PHASE_RUNNING */

/* --- Life. --------------------------------------------------------------------------------------------------------- */

typedef struct pipeline_t pipeline_t;
extern pipeline_t *_Atomic pipeline;
extern bool drop_mode;
extern unsigned exit_bound_ms;
void blocking_failed(void); /* a blocked capture has reached its deadline */

/* Called with each early event: starts the pipeline if it is time. */
void early_event_came(uint32_t count, uint64_t now_ns);
/* Whether this process image is the one that the tool works for: false in a vfork child, whose memory is its parent's.
 * Notices a fork that no handler announced. */
bool is_own_process(void);
void noticed_fork(void);
extern volatile uint32_t *fork_word; /* 1; the kernel wipes it to 0 in a forked child */

/* Everything captured so far is stored, or the bound has passed. Any thread; the caller only waits. */
void finish_for_exit(void);
void flush_for_exit(void);      /* before an end that runs the program's own code first */
bool hold_for_exec(void);       /* true: exec_failed() must be called if exec returns */
void exec_failed(void);

/* --- The closer. --------------------------------------------------------------------------------------------------- */

enum request { REQUEST_NONE, REQUEST_FLUSH, REQUEST_EXEC, REQUEST_CLOSE };
bool closer_start(bool live);
void closer_forget(void);      /* in a forked child: the thread is the parent's */
bool closer_ask(enum request request); /* waits until it is done, for at most the exit bound; false: not done */
void closer_settle(void);              /* waits, as long, until the closer is idle */

/* --- The ledger page: the tool's counters, shared with a file, so that they outlive the process however it ends. ---- */

enum ledger_state {
    LEDGER_RUNNING = 1, /* the process runs, or ended without a word (SIGKILL, abort) */
    LEDGER_CLOSED = 2,  /* closed at its exit */
    LEDGER_EXEC = 3     /* flushed, and replaced by exec */
};

enum { LEDGER_FIGURES = 40 };

struct ledger {
    char magic[8]; /* "ATLEDG03" */
    uint32_t size, state;
    uint32_t pid, parent;
    uint32_t drop_mode;
    int32_t close_status;          /* what pipeline_close or pipeline_flush answered */
    uint64_t started_realtime_ns;
    _Atomic uint64_t own[16];      /* calls that libc made for the tool itself, by call */
    _Atomic uint64_t early_lost;   /* events that found the early buffer full */
    _Atomic uint64_t early_kept;   /* events that the early buffer has handed to the pipeline */
    _Atomic uint64_t held;         /* events that are in the early buffer now */
    _Atomic uint64_t late;         /* calls after the close */
    _Atomic uint64_t gave_up;      /* 1: blocking was given up, because the storage did not keep up within the deadline */
    uint64_t main_cpu_ns;          /* what the program's first thread has used of a processor */
    uint64_t figures_at_ns;        /* monotonic time of the figures below */
    uint64_t figures[LEDGER_FIGURES];
    char comm[32];
    char database[256];            /* file name, in the ledger's own directory */
    char command[512];             /* the command line, its words separated by NUL */
};

extern struct ledger *_Atomic ledger;

bool ledger_open(bool loud);                  /* makes the directory, the page and the names */
void ledger_discard(void);                    /* after a failed start: no file is left behind */
void ledger_forget(void);                     /* in a forked child: starts counting from zero, in memory */
const char *ledger_database(void);            /* full path */
void ledger_publish(const pipeline_t *p, enum ledger_state state); /* writes the pipeline's figures */
void ledger_save_maps(void);                  /* /proc/self/maps, for symbol names */
void complain(bool loud, const char *what, const char *detail);

#endif
