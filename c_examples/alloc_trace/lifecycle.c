/* The life cycle of the tracer in a process image.
 *
 *   new process image     the constructor of this library starts the pipeline. It runs after the constructors of the program's
 *                         libraries; their allocations wait in the early buffer. If that is half full, the start comes sooner
 *   exit                  an exit handler closes the pipeline. It was registered before all others, so it runs after them and
 *                         after every destructor
 *   fork                  the child gets a pipeline and a database of its own, but not at once, because most children exec after
 *                         a few allocations. Its events wait in the early buffer until there are CHILD_EVENTS, or one arrives
 *                         CHILD_DELAY_NS after the fork, or the child ends or execs
 *   vfork, posix_spawn    the child runs in the memory of its parent: its allocations count as the parent's, and its exec or
 *                         _exit passes untouched
 *
 * The start happens on the helper thread. The constructor waits for it. A forked child does not wait: its events go to the
 * early buffer meanwhile.
 *
 * Start, fork and end are one file because they register and call each other.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "lifecycle.h"

#include "descriptors.h"
#include "early.h"
#include "helper.h"
#include "last_thread.h"
#include "ledger.h"
#include "platform.h"
#include "producers.h"
#include "real_functions.h"
#include "settings.h"
#include "stacks.h"
#include "this_thread.h"
#include "trace_pipeline.h"
#include "unwind.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    EARLY_START_EVENTS = 4096,
    CHILD_EVENTS = 256,
    CHILD_DELAY_NS = 20000000,
    START_WAIT_MS = 1000,       /* the longest that a fork or a full early buffer waits for a start in progress */
    IMAGE_START_WAIT_MS = 60000 /* the longest that the constructor waits: the disk may be slow */
};

_Alignas(64) struct capture_state capture_state = {.phase = PHASE_EARLY};
volatile uint32_t *fork_detector;

enum { NOT_STARTED, STARTING, START_DONE };
static _Atomic uint32_t start_state;
static _Atomic bool start_is_stuck; /* a wait for the start has timed out */
static _Atomic pid_t traced_pid;
static _Atomic bool suspended;      /* an exec is in progress */
static bool is_child;               /* forked, and not started yet */
static uint64_t forked_at_ns;
static pipeline_t *inherited;       /* the parent's pipeline, in a child that has not started yet */

/* --- Set-up -------------------------------------------------------------------------------------------------------- */

int __cxa_atexit(void (*handler)(void *), void *argument, void *object);
int __cxa_at_quick_exit(void (*handler)(void *), void *object);

static void before_fork(void);
static void after_fork_in_child(void);

static void at_exit(void *unused) {
    (void)unused;
    close_for_exit();
}

static void map_fork_detector(void) {
    long bytes = sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;
    *(uint32_t *)page = 1;
    madvise(page, (size_t)bytes, MADV_WIPEONFORK); /* if an old kernel refuses it, pthread_atfork has to suffice */
    fork_detector = page;
}

/* Once in a process image; by the constructor, or by a start that comes before it. */
static void set_up(void) {
    static bool done;
    if (done) return;
    done = true;
    real_functions();
    settings_read();
    if (settings.frames != 0) unwind_use(real_functions()->find_object);
    capture_state.frames = settings.frames;
    producers_set_up();
    atomic_store(&traced_pid, getpid());
    map_fork_detector();
    /* These handlers belong to no object (NULL). So they run last: after the program's handlers, which are registered later,
     * and after the destructors of every library. */
    __cxa_atexit(at_exit, NULL, NULL);
    __cxa_at_quick_exit(at_exit, NULL);
    pthread_atfork(before_fork, NULL, after_fork_in_child);
}

/* --- Start --------------------------------------------------------------------------------------------------------- */

static bool is_pending_for_process(int number) {
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, number) == 1;
}

/* The kernel sends SIGXFSZ to a thread that writes past the file size limit. It is blocked, and consumed, so that it does not end the process. */
static bool consume_file_size_signal(void) {
    sigset_t one;
    const struct timespec now = {0, 0};
    sigemptyset(&one);
    sigaddset(&one, SIGXFSZ);
    return sigtimedwait(&one, NULL, &now) == SIGXFSZ;
}

/* On the helper thread, which has all asynchronous signals blocked. */
static bool begin_on_helper(bool loud) {
    char problem[512] = "";
    bool pending = is_pending_for_process(SIGXFSZ);
    if (inherited != NULL) {
        producers_free_inherited();
        pipeline_destroy(inherited); /* in a child this only unmaps memory */
    }
    inherited = NULL;
    bool may_create_folder = !is_child;
    is_child = false;
    bool started = ledger_open(may_create_folder, problem, sizeof problem);
    if (started && !trace_pipeline_start(tracer_thread_begins, tracer_thread_ends, problem, sizeof problem)) {
        ledger_discard();
        started = false;
    }
    if (!pending && consume_file_size_signal() && !started) file_size_problem(problem, sizeof problem);
    if (started) {
        atomic_store(&capture_state.phase, PHASE_RUNNING);
        early_drain();
    } else {
        if (loud) write_untraced_message(settings.directory, problem);
        atomic_store(&capture_state.phase, PHASE_OFF);
    }
    atomic_store(&start_state, START_DONE);
    futex_wake(&start_state);
    return started;
}

/* Waits for a start in progress. false: timed out. */
static bool wait_for_start(uint64_t timeout_ms) {
    uint64_t deadline = monotonic_ns() + timeout_ms * 1000000;
    while (atomic_load(&start_state) == STARTING) {
        uint64_t now = monotonic_ns();
        if (now >= deadline) return false;
        futex_wait(&start_state, STARTING, (int64_t)(deadline - now));
    }
    return true;
}

/* What the kernel does in microseconds while the process has one thread. With several it first waits until each processor has passed a certain
 * point, which takes some ten milliseconds: a larger table of descriptors, and membarrier(2), for which the library registers. */
static void prepare_process(void) {
    descriptors_make_room();
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
}

/* Begins the start, once, and does not wait for it. Only a loud start may write to stderr: after main has begun, descriptor 2
 * may be a file of the program's. */
static void start(bool loud) {
    uint32_t not_started = NOT_STARTED;
    if (!atomic_compare_exchange_strong(&start_state, &not_started, STARTING)) return;
    int saved_errno = errno, cancel_state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    bool was_in_tracer = this_thread.in_tracer;
    this_thread.in_tracer = true; /* libc allocates for the new thread */
    set_up();
    char problem[256] = "";
    bool suffices = memory_suffices(problem, sizeof problem);
    if (suffices && loud) prepare_process();
    int failed = suffices ? helper_start(begin_on_helper, loud) : ENOMEM;
    if (failed != 0) {
        if (suffices) snprintf(problem, sizeof problem, "no thread can be started: %s", strerror(failed));
        if (loud) write_untraced_message(settings.directory, problem);
        atomic_store(&capture_state.phase, PHASE_OFF);
        atomic_store(&start_state, START_DONE);
        futex_wake(&start_state);
    }
    this_thread.in_tracer = was_in_tracer;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_setcancelstate(cancel_state, NULL);
    errno = saved_errno;
}

__attribute__((constructor)) static void start_image(void) {
    if (atomic_load(&capture_state.phase) == PHASE_EARLY) start(true);
    if (!wait_for_start(IMAGE_START_WAIT_MS)) atomic_store(&start_is_stuck, true);
}

/* --- Delivery: the slow path of a capture -------------------------------------------------------------------------- */

static void start_if_due(uint32_t count, uint64_t now_ns) {
    if (atomic_load(&suspended)) return;
    bool due = is_child ? count >= CHILD_EVENTS || now_ns - forked_at_ns >= CHILD_DELAY_NS : count >= EARLY_START_EVENTS;
    /* Not in a vfork child: the threads would be the child's and end with it. */
    if (due && atomic_load(&start_state) == NOT_STARTED && !this_thread.in_allocator &&
        (fork_detector == NULL || is_traced_process()))
        start(false);
}

/* The early buffer is full. true: look at the phase again. The wait has a limit and is not repeated, because this thread may
 * hold a lock that the start needs. */
static bool wait_while_starting(void) {
    if (settings.drop || this_thread.in_allocator || this_thread.in_tracer || atomic_load(&start_is_stuck)) return false;
    if (atomic_load(&start_state) != STARTING) return atomic_load(&capture_state.phase) != PHASE_EARLY;
    if (wait_for_start(settings.block_ms < START_WAIT_MS ? settings.block_ms : START_WAIT_MS)) return true;
    atomic_store(&start_is_stuck, true);
    return false;
}

/* false: look at the phase again. */
static bool deliver_early(const struct call_event *event, const struct stack *stack) {
    uint32_t count;
    uint64_t now_ns;
    switch (early_append(event, stack, &count, &now_ns)) {
    case EARLY_APPENDED:
        start_if_due(count, now_ns);
        return true;
    case EARLY_FULL:
        if (wait_while_starting()) return false;
        atomic_fetch_add(&ledger->early_lost, 1);
        return true;
    default:
        return false;
    }
}

void deliver(struct call_event *event, const struct stack *stack) {
    for (;;) {
        switch (atomic_load_explicit(&capture_state.phase, memory_order_acquire)) {
        case PHASE_RUNNING:
            if (this_thread.captured_before)
                capture_with_number(event, stack);
            else
                capture_first(event, stack);
            return;
        case PHASE_EARLY:
            if (deliver_early(event, stack)) return;
            break;
        case PHASE_CLOSED:
            atomic_fetch_add_explicit(&ledger->late, 1, memory_order_relaxed);
            return;
        default:
            return;
        }
    }
}

/* C has no handlers for exceptions: one passes through our frame without a trace. An operator delete was captured when it
 * began; an operator new has failed. */
void capture_unfinished_operator(void) {
    struct operator_call left = this_thread.operator_call;
    if (left.call == 0) return;
    this_thread.operator_call.call = 0;
    if (left.address != 0) return;
    int saved_errno = errno;
    check_for_fork();
    if (this_thread.in_tracer) {
        atomic_fetch_add_explicit(&ledger->own[left.call], 1, memory_order_relaxed);
    } else {
        struct call_event event = {.call = left.call, .tid = thread_id(), .size = left.size, .site = left.site};
        deliver(&event, NULL);
    }
    errno = saved_errno;
}

/* --- Fork ---------------------------------------------------------------------------------------------------------- */

void reset_after_fork(void) {
    *fork_detector = 1;
    atomic_store(&traced_pid, getpid());
    this_thread.tid = 0;
    this_thread.captured_before = false;
    this_thread.in_tracer = false;
    producers_after_fork();
    this_thread.operator_call.call = 0;
    int was = atomic_load(&capture_state.phase);
    pipeline_t *parents = atomic_exchange(&trace_pipeline, NULL);
    if (parents != NULL) inherited = parents;
    atomic_store(&start_state, NOT_STARTED);
    atomic_store(&start_is_stuck, false);
    atomic_store(&suspended, false);
    helper_after_fork();
    tracer_threads_after_fork();
    ledger_after_fork();
    descriptors_after_fork();
    events_after_fork();
    stacks_after_fork();
    unwind_after_fork();
    early_reopen();
    is_child = true;
    forked_at_ns = monotonic_ns();
    if (was != PHASE_OFF) atomic_store(&capture_state.phase, PHASE_EARLY);
}

bool is_traced_process(void) {
    check_for_fork();
    return atomic_load(&traced_pid) == getpid();
}

/* A child must not inherit locks that a start in progress holds. The wait has a limit, because this thread may hold a lock that
 * the start needs. */
static void before_fork(void) {
    int saved_errno = errno;
    if (atomic_load(&start_state) == STARTING && !this_thread.in_tracer && is_traced_process()) wait_for_start(START_WAIT_MS);
    errno = saved_errno;
}

/* The fork handlers of SQLite and malloc keep these usable in the child. The pipeline's state is reached by one pointer, which
 * the child replaces. */
static void after_fork_in_child(void) {
    int saved_errno = errno;
    reset_after_fork();
    errno = saved_errno;
}

/* --- End ----------------------------------------------------------------------------------------------------------- */

/* Whether there is a running pipeline. If events are waiting for one, it is started now. */
static bool ensure_started(void) {
    if (!is_traced_process()) return false;
    if (atomic_load(&capture_state.phase) == PHASE_EARLY && atomic_load(&start_state) == NOT_STARTED) {
        bool events_wait = early_count() > 0 || atomic_load(&ledger->early_lost) > 0;
        if (!events_wait || this_thread.in_allocator) return false;
        start(false);
    }
    if (!wait_for_start(settings.exit_ms)) return false;
    return atomic_load(&trace_pipeline) != NULL;
}

void close_for_exit(void) {
    int saved_errno = errno;
    if (IN_OPERATOR) capture_unfinished_operator();
    if (ensure_started()) {
        int running = PHASE_RUNNING;
        if (atomic_load(&capture_state.phase) == PHASE_EARLY) resume_capture(); /* another thread is in exec, but this one ends the process */
        if (atomic_compare_exchange_strong(&capture_state.phase, &running, PHASE_CLOSED))
            helper_request(REQUEST_CLOSE);
        else
            helper_wait_until_idle(); /* another thread closes it already */
    }
    errno = saved_errno;
}

void flush_for_exit(void) {
    if (this_thread.in_tracer) return; /* a thread of the tracer aborts: nobody could serve the request */
    int saved_errno = errno;
    if (IN_OPERATOR) capture_unfinished_operator();
    if (ensure_started() && atomic_load(&capture_state.phase) == PHASE_RUNNING) helper_request(REQUEST_FLUSH);
    errno = saved_errno;
}

static bool suspend_for(enum request request) {
    int saved_errno = errno;
    bool suspended_here = false;
    if (ensure_started() && atomic_load(&capture_state.phase) == PHASE_RUNNING && !atomic_exchange(&suspended, true)) {
        /* From now on events wait. If the exec fails they are captured; if not, they are counted as held. */
        early_reopen();
        atomic_store(&capture_state.phase, PHASE_EARLY);
        helper_request(request);
        suspended_here = true;
    } else if (atomic_load(&suspended) && is_traced_process()) {
        helper_wait_until_idle(); /* another thread is in exec: its flush has to finish */
    }
    errno = saved_errno;
    return suspended_here;
}

bool suspend_for_exec(void) {
    return suspend_for(REQUEST_EXEC);
}

bool suspend_for_daemon(void) {
    return suspend_for(REQUEST_DAEMON);
}

void resume_capture(void) {
    int saved_errno = errno;
    if (atomic_exchange(&suspended, false)) {
        atomic_store(&capture_state.phase, PHASE_RUNNING);
        early_drain();
        ledger->state = LEDGER_RUNNING;
    }
    errno = saved_errno;
}
