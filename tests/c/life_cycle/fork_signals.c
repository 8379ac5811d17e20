/* A program forks in a signal handler that has interrupted a call of the library. The child ends in the handler, or comes back from it: then the capture that
 * was interrupted ends, into nobody's memory, every later one is refused, and a call that waited waits no longer. In the parent the call goes on, and every
 * event is stored once. docs/guarantees.md has the table. */
#include "fork.h"
#include "../recorder.h"

enum { FORKS = 30, FILL = 1 << 14 };

static recorder_t rec = RECORDER_INIT;
static pid_t parent;
static pipeline_t *p;
static enum fork_way way;
static volatile bool child_returns;
static volatile pid_t forked; /* the last child; 0: it was waited for */
static volatile int forks;

static void in_handler(int signo)
{
    int saved = errno;
    (void)signo;
    if (forked == 0) {
        pid_t pid = fork_by(way);
        if (pid == 0) {
            begin_child();
            if (!child_returns) {
                everything_is_refused(p, NULL, 1);
                CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
                _exit(checks_failed ? 1 : 0);
            }
            forked = -1;
        } else {
            forked = pid;
            forks++;
        }
    }
    errno = saved;
}

static bool is_child(void)
{
    return forked == -1;
}

/* A child that has come back from the handler ends here. */
static void child_ends(void)
{
    CHECK_STATUS(capture_number(p, 0), PIPELINE_ERR_FORKED);
    CHECK_STATUS(pipeline_flush(p, -1), PIPELINE_ERR_FORKED);
    if (way == WAY_FORK) /* otherwise a thread of the parent's may have held a lock of the allocator */
        childs_own_pipeline(10);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    _exit(checks_failed ? 1 : 0);
}

static void await_forked(void)
{
    int status = -1;
    pid_t got;
    if (is_child())
        child_ends();
    do
        got = waitpid(forked, &status, 0);
    while (got < 0 && errno == EINTR);
    CHECK(got == forked && status == 0);
    forked = 0;
}

/* ---- captures, which a timer interrupts ---- */

static int32_t capture_one(uint64_t n)
{
    int32_t status = capture_number(p, n);
    if (is_child()) {
        CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_FULL || status == PIPELINE_ERR_FORKED);
        child_ends();
    }
    return status;
}

static void interrupted_captures(uint32_t overflow)
{
    struct sigevent event;
    struct itimerspec often = {{0, 200000}, {0, 200000}}, never = {{0, 0}, {0, 0}};
    timer_t timer;
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_metrics_t m;
    uint64_t n = 0, deadline = now_ms() + PATIENCE_MS;
    rec.stored.count = rec.seen.count = 0;
    forks = 0;
    c.overflow = overflow;
    c.block_timeout_us = PATIENCE_MS * 1000;
    c.ring_bytes = 65536;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(capture_one(n++), PIPELINE_OK);
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGUSR2;
    CHECK_OR_STOP(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    timer_settime(timer, 0, &often, NULL);
    while (forks < count_of(FORKS, 2) && now_ms() < deadline) {
        if (capture_one(n) == PIPELINE_OK)
            n++;
        if (forked != 0)
            await_forked();
    }
    timer_settime(timer, 0, &never, NULL);
    timer_delete(timer);
    CHECK(forks >= count_of(FORKS, 2));
    if (forked != 0)
        await_forked();
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    m = metrics_of(p);
    CHECK_U64(m.captured, n);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_DISTINCT(&rec.stored);
    if (overflow == PIPELINE_OVERFLOW_DROP_OLDEST)
        CHECK_U64(rec.stored.count, m.stored);
    else
        CHECK_VALUES(&rec.stored, 0, n);
}

/* ---- calls that wait ---- */

static char block[1024];
static atomic_uint_fast64_t filled;

static int32_t capture_into_the_full_ring(void)
{
    int32_t status = pipeline_capture(p, 2, block, sizeof block);
    filled += status == PIPELINE_OK;
    return status;
}
static int32_t flush_for_ever(void) { return pipeline_flush(p, -1); }
static int32_t close_for_ever(void) { return pipeline_close(p, -1); }

static const struct {
    const char *name;
    int32_t (*call)(void);
    bool shared;
} waits[] = {
    {"a capture that waits for space", capture_into_the_full_ring, false},
    {"a capture that waits for space in the shared ring", capture_into_the_full_ring, true},
    {"flush", flush_for_ever, false},
    {"close", close_for_ever, false},
};

static atomic_int waiting_thread; /* its id */

static void *waits_in_a_call(void *which)
{
    int32_t status;
    if (waits[(uintptr_t)which].call == capture_into_the_full_ring)
        while (filled < FILL / (sizeof block + 48)) /* until the next one does not fit */
            CHECK_STATUS(capture_into_the_full_ring(), PIPELINE_OK);
    waiting_thread = (int)syscall(SYS_gettid);
    status = waits[(uintptr_t)which].call();
    if (is_child()) {
        CHECK_STATUS(status, PIPELINE_ERR_FORKED);
        CHECK_STATUS(waits[(uintptr_t)which].call(), PIPELINE_ERR_FORKED);
        child_ends();
    }
    CHECK_STATUS(status, PIPELINE_OK);
    return NULL;
}

/* Whether a thread sleeps in a system call. */
static bool sleeps(int tid)
{
    char path[64], text[512], *end;
    FILE *file;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    end = fgets(text, sizeof text, file) ? strrchr(text, ')') : NULL;
    fclose(file);
    return end != NULL && end[2] == 'S';
}

static void interrupted_wait(uintptr_t which)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_producer_t *only = NULL;
    pthread_t thread;
    int failed = checks_failed;
    rec.stored.count = rec.seen.count = rec.waiting = 0;
    filled = 0;
    forks = 0;
    waiting_thread = 0;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = PATIENCE_MS * 1000;
    c.ring_bytes = FILL;
    c.max_event_bytes = sizeof block;
    if (waits[which].shared)
        c.max_rings = 1;
    p = start_pipeline(&c, &s);
    if (waits[which].shared)
        CHECK_STATUS(pipeline_producer_open(p, &only), PIPELINE_OK);
    recorder_hold(&rec);
    CHECK_STATUS(capture_number(p, 0), PIPELINE_OK);
    WAIT_FOR(RECORDED(&rec, waiting) == 1);
    thread = start_thread(waits_in_a_call, (void *)which);
    WAIT_FOR(waiting_thread != 0);
    WAIT_FOR(sleeps(waiting_thread));
    pthread_kill(thread, SIGUSR2);
    WAIT_FOR(forks == 1);
    await_forked();
    recorder_let_go(&rec);
    pthread_join(thread, NULL);
    if (waits[which].shared)
        CHECK_STATUS(pipeline_producer_close(only), PIPELINE_OK);
    if (waits[which].call != close_for_ever)
        CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_U64(rec.stored.count, filled + 1);
    if (checks_failed != failed)
        fprintf(stderr, "  in the case: %s, %s\n", fork_ways[way], waits[which].name);
}

int main(void)
{
    struct sigaction act;
    uintptr_t which;
    int returns;
    default_config();
    parent = getpid();
    memset(&act, 0, sizeof act);
    act.sa_handler = in_handler;
    sigaction(SIGUSR2, &act, NULL);
    for (way = WAY_FORK; way < FORK_WAYS; way++)
        for (returns = 0; returns < 2 && has_fork_way(way); returns++) {
            child_returns = returns;
            interrupted_captures(PIPELINE_OVERFLOW_DROP_NEWEST);
            interrupted_captures(PIPELINE_OVERFLOW_BLOCK);
            interrupted_captures(PIPELINE_OVERFLOW_DROP_OLDEST);
        }
    child_returns = true;
    way = WAY_FORK;
    for (which = 0; which < sizeof waits / sizeof *waits; which++)
        interrupted_wait(which);
    return SUMMARY();
}
