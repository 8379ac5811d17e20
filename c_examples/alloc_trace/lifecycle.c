/* When the pipeline starts and ends, and what a fork does.
 *
 *   a new process image   starts it in this library's constructor, which runs after those of the program's libraries;
 *                         their allocations wait in the early buffer, and if that is half full, the start comes sooner
 *   exit                  closes it in an exit handler that was registered before all others, so that it runs after them
 *                         and after every destructor
 *   fork                  the child starts afresh, with its own database, but not at once: most children exec within a
 *                         few allocations. Its events wait in the early buffer until there are CHILD_EVENTS, or one
 *                         comes CHILD_DELAY after the fork, or the child ends or execs
 *   vfork, posix_spawn    the child runs in its parent's memory; its allocations are its parent's, its exec and _exit
 *                         are not our business
 *
 * Environment: ALLOC_TRACE_MODE=block|drop, ALLOC_TRACE_BLOCK_MS, ALLOC_TRACE_EXIT_MS, ALLOC_TRACE_DIR, ALLOC_TRACE_LIVE.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "trace.h"

#include <capture_pipeline.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    RINGS = 24,                 /* with RING_BYTES, the bound on what the tool adds to a process */
    RING_BYTES = 1 << 20,
    BATCH_EVENTS = 4096,
    BLOCK_MS = 1000,
    GIVE_UP_AFTER = 3,          /* blocked captures in a row that reached their deadline */
    EXIT_MS = 10000,
    EARLY_START_EVENTS = 4096,
    CHILD_EVENTS = 256,
    CHILD_DELAY_NS = 20000000
};

pipeline_t *_Atomic pipeline;
bool drop_mode;
unsigned exit_bound_ms = EXIT_MS;
volatile uint32_t *fork_word;

static _Atomic pid_t owner;
static _Atomic bool starting;
static _Atomic bool holding;        /* an exec is under way */
static _Atomic uint32_t deadlines_missed;
static bool is_child;               /* forked, and not started yet */
static uint64_t forked_at_ns;
static pipeline_t *inherited;        /* the parent's, in a child that has not started yet */

const char *call_name(unsigned call) {
    static const char *const names[CALL_END] = {
        [CALL_MALLOC] = "malloc",
        [CALL_CALLOC] = "calloc",
        [CALL_REALLOC] = "realloc",
        [CALL_FREE] = "free",
        [CALL_POSIX_MEMALIGN] = "posix_memalign",
        [CALL_ALIGNED_ALLOC] = "aligned_alloc",
        [CALL_MEMALIGN] = "memalign",
        [CALL_VALLOC] = "valloc",
        [CALL_PVALLOC] = "pvalloc",
        [CALL_REALLOCARRAY] = "reallocarray",
    };
    return names[call];
}

/* --- Set-up -------------------------------------------------------------------------------------------------------- */

int __cxa_atexit(void (*handler)(void *), void *argument, void *object);
int __cxa_at_quick_exit(void (*handler)(void *), void *object);

static void after_fork_in_child(void);

static void at_exit(void *unused) {
    (void)unused;
    finish_for_exit();
}

static void map_fork_word(void) {
    long bytes = sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;
    *(uint32_t *)page = 1;
    madvise(page, (size_t)bytes, MADV_WIPEONFORK); /* refused by old kernels: pthread_atfork has to do */
    fork_word = page;
}

/* Once in a process image; by the constructor, or by a start that comes before it. */
static void set_up(void) {
    static bool done;
    if (done) return;
    done = true;
    next_functions();
    atomic_store(&owner, getpid());
    map_fork_word();
    /* Belonging to no object (NULL), they run when all else has: after the program's handlers, which are registered
     * later, and after every library's destructors. */
    __cxa_atexit(at_exit, NULL, NULL);
    __cxa_at_quick_exit(at_exit, NULL);
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

/* --- Start --------------------------------------------------------------------------------------------------------- */

static unsigned number_from(const char *name, unsigned otherwise, unsigned most) {
    const char *text = getenv(name);
    if (text == NULL || *text < '0' || *text > '9') return otherwise;
    unsigned long number = strtoul(text, NULL, 10);
    return number > most ? most : (unsigned)number;
}

static void thread_starts(void *unused) {
    (void)unused;
    this_thread.own = true; /* for good: what it frees while it ends is the tool's as well */
}

static bool start_pipeline(bool loud) {
    pipeline_sqlite_options_t options;
    pipeline_storage_t storage;
    pipeline_config_t config;
    pipeline_t *p;
    pipeline_thread_hooks(thread_starts, NULL, NULL);
    int32_t status = pipeline_config_init(&config, sizeof config);
    if (status == PIPELINE_OK) status = pipeline_sqlite_options_init(&options, sizeof options);
    if (status == PIPELINE_OK) {
        options.flags = PIPELINE_SQLITE_NO_INDEXES;       /* not on the host's time */
        options.synchronous = PIPELINE_SQLITE_SYNC_OFF;   /* nor does it wait for the disk: a trace is not worth that */
        status = pipeline_storage_sqlite(ledger_database(), &options, sizeof storage, &storage);
    }
    if (status == PIPELINE_OK) {
        config.name = "trace";
        config.writers = 1;
        config.batch_size = BATCH_EVENTS;
        config.ring_bytes = RING_BYTES;
        config.max_rings = RINGS;
        config.max_event_bytes = 256;
        config.overflow = drop_mode ? PIPELINE_OVERFLOW_DROP_NEWEST : PIPELINE_OVERFLOW_BLOCK;
        config.block_timeout_us = number_from("ALLOC_TRACE_BLOCK_MS", BLOCK_MS, 60000) * UINT64_C(1000);
        status = pipeline_start(&config, &storage, &p);
    }
    if (status != PIPELINE_OK) {
        const char *detail = pipeline_last_error();
        complain(loud, ledger_database(), detail[0] != '\0' ? detail : pipeline_status_message(status));
        return false;
    }
    for (unsigned call = 1; call < CALL_END; call++) pipeline_kind_name(p, call, call_name(call));
    atomic_store(&pipeline, p);
    return true;
}

/* Starts the pipeline and hands it what has waited. false: it runs already, is being started elsewhere, or cannot. */
static bool start(bool loud) {
    if (atomic_exchange(&starting, true)) return false;
    int saved_errno = errno;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    bool was_own = this_thread.own;
    this_thread.own = true;

    set_up();
    if (inherited != NULL) pipeline_destroy(inherited); /* only unmaps its memory */
    inherited = NULL;
    const char *mode = getenv("ALLOC_TRACE_MODE");
    drop_mode = mode != NULL && strcmp(mode, "drop") == 0;
    exit_bound_ms = number_from("ALLOC_TRACE_EXIT_MS", EXIT_MS, 600000);
    is_child = false;
    bool started = ledger_open(loud);
    if (started && !start_pipeline(loud)) {
        ledger_discard();
        started = false;
    }
    if (started) {
        closer_start(getenv("ALLOC_TRACE_LIVE") != NULL);
        atomic_store(&phase, PHASE_RUNNING);
        early_drain();
    } else {
        atomic_store(&phase, PHASE_OFF);
    }

    this_thread.own = was_own;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved_errno;
    return started;
}

void early_event_came(uint32_t count, uint64_t now_ns) {
    if (atomic_load(&holding)) return;
    bool time = is_child ? count >= CHILD_EVENTS || now_ns - forked_at_ns >= CHILD_DELAY_NS : count >= EARLY_START_EVENTS;
    /* Not in a vfork child: the threads would be its own, and end with it. */
    if (time && !this_thread.in_next && (fork_word == NULL || is_own_process())) start(false);
}

void blocking_failed(void) {
    if (atomic_fetch_add(&deadlines_missed, 1) + 1 != GIVE_UP_AFTER) return;
    /* The storage stands still. A program that waits a second for each allocation is as good as dead: lose events
     * instead, and say so. */
    pipeline_config_t config = {.struct_size = sizeof config};
    pipeline_t *p = atomic_load(&pipeline);
    if (pipeline_config_read(p, &config) != PIPELINE_OK) return;
    config.overflow = PIPELINE_OVERFLOW_DROP_NEWEST;
    if (pipeline_update(p, &config) == PIPELINE_OK) atomic_store(&ledger->gave_up, 1);
}

/* --- Whose process is this? ---------------------------------------------------------------------------------------- */

void noticed_fork(void) {
    *fork_word = 1;
    atomic_store(&owner, getpid());
    this_thread.tid = 0;
    this_thread.ready = false;
    this_thread.own = false;
    int was = atomic_load(&phase);
    pipeline_t *parents = atomic_exchange(&pipeline, NULL);
    if (parents != NULL) inherited = parents;
    atomic_store(&starting, false);
    atomic_store(&holding, false);
    atomic_store(&deadlines_missed, 0);
    closer_forget();
    ledger_forget();
    early_reopen();
    is_child = true;
    forked_at_ns = monotonic_ns();
    if (was != PHASE_OFF) atomic_store(&phase, PHASE_EARLY);
}

bool is_own_process(void) {
    if (fork_word != NULL && *fork_word == 0) noticed_fork();
    return atomic_load(&owner) == getpid();
}

/* --- Fork ---------------------------------------------------------------------------------------------------------- */

/* Only the child has anything to do. That SQLite and malloc are usable in it is seen to by their own fork handlers; the
 * pipeline's state hangs off a pointer that the child replaces. */
static void after_fork_in_child(void) {
    int saved_errno = errno;
    noticed_fork();
    errno = saved_errno;
}

/* --- The end ------------------------------------------------------------------------------------------------------- */

/* A pipeline that runs, started now if events are waiting for one. */
static bool have_pipeline(void) {
    if (!is_own_process()) return false;
    if (atomic_load(&phase) == PHASE_EARLY && atomic_load(&pipeline) == NULL) {
        bool waiting = early_count() > 0 || atomic_load(&ledger->early_lost) > 0;
        if (!waiting || this_thread.in_next) return false;
        start(false);
    }
    return atomic_load(&pipeline) != NULL;
}

void finish_for_exit(void) {
    int saved_errno = errno;
    if (have_pipeline()) {
        int running = PHASE_RUNNING;
        if (atomic_load(&phase) == PHASE_EARLY) exec_failed(); /* another thread is in exec; this one ends it all */
        if (atomic_compare_exchange_strong(&phase, &running, PHASE_CLOSED))
            closer_ask(REQUEST_CLOSE);
        else
            closer_settle(); /* another thread was first: let it finish */
    }
    errno = saved_errno;
}

void flush_for_exit(void) {
    int saved_errno = errno;
    if (have_pipeline() && atomic_load(&phase) == PHASE_RUNNING) closer_ask(REQUEST_FLUSH);
    errno = saved_errno;
}

bool hold_for_exec(void) {
    int saved_errno = errno;
    bool held = false;
    if (have_pipeline() && atomic_load(&phase) == PHASE_RUNNING && !atomic_exchange(&holding, true)) {
        /* From here on events wait: they are captured if the exec fails, and counted as held if it does not. */
        early_reopen();
        atomic_store(&phase, PHASE_EARLY);
        closer_ask(REQUEST_EXEC);
        held = true;
    } else if (atomic_load(&holding) && is_own_process()) {
        closer_settle(); /* another thread is in exec: let its flush finish */
    }
    errno = saved_errno;
    return held;
}

void exec_failed(void) {
    int saved_errno = errno;
    if (atomic_exchange(&holding, false)) {
        atomic_store(&phase, PHASE_RUNNING);
        early_drain();
        ledger->state = LEDGER_RUNNING;
    }
    errno = saved_errno;
}

/* --- The beginning ------------------------------------------------------------------------------------------------- */

__attribute__((constructor)) static void begin(void) {
    if (atomic_load(&phase) == PHASE_EARLY) start(true);
}
