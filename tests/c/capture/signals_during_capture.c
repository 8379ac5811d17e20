/* Captures from signal handlers that interrupt captures. Each is captured or refused as busy; none is torn, and none is lost without
 * being counted. Writers block asynchronous signals. */
#include "timer_storm.h"

#define KIND_MAIN 1
#define KIND_HANDLER 2

static pipeline_t *p;
static pthread_t main_thread;
static volatile sig_atomic_t elsewhere;

static int32_t capture_by_main(uint64_t n)
{
    return pipeline_capture(p, KIND_MAIN, &n, sizeof n);
}

static int32_t capture_by_handler(uint64_t n)
{
    if (!pthread_equal(pthread_self(), main_thread))
        elsewhere = 1;
    return pipeline_capture(p, KIND_HANDLER, &n, sizeof n);
}

/* `shared`: on the shared ring, where a handler must not wait for the thread that it interrupted. */
static void storm(uint32_t overflow, bool shared)
{
    pipeline_producer_t *only = NULL;
    recorder_t *rec = recorder_new();
    pipeline_storage_t s;
    pipeline_config_t c = config_defaults();
    pipeline_metrics_t m;
    storm_t got;
    s = recorder_storage(rec);
    storm_forget();
    c.overflow = overflow;
    c.ring_bytes = overflow == PIPELINE_OVERFLOW_DROP_NEWEST ? UINT64_C(1) << 24 : 65536;
    c.block_timeout_us = PATIENCE_MS * 1000;
    if (shared)
        c.max_rings = 1;
    p = start_pipeline(&c, &s);
    if (shared)
        CHECK_STATUS(pipeline_producer_open(p, &only), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p, KIND_MAIN + 2, "first", 5), PIPELINE_OK);
    got = storm_pass(capture_by_main, capture_by_handler);
    CHECK_U64(elsewhere, 0);
    if (overflow == PIPELINE_OVERFLOW_BLOCK)
        CHECK_U64(other_in_handler, 0);
    if (shared)
        CHECK_STATUS(pipeline_producer_close(only), PIPELINE_OK);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.offered, got.ok + got.full + got.busy + in_handler + 1);
    CHECK_U64(m.captured, got.ok + ok_in_handler + 1);
    CHECK_U64(m.refused_busy, got.busy + busy_in_handler);
    CHECK_U64(m.dropped_full, got.full + other_in_handler);
    CHECK_U64(m.stored + m.overwritten, m.captured);
    CHECK_U64(rec->stored.count, m.stored);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_DISTINCT(&rec->stored);
    {
        size_t i;
        uint64_t next = 0, broken = 0;
        /* Sorted by identity: one ring, so in the order of capture. */
        for (i = 0; i < rec->stored.count; i++) {
            const recorded_t *e = &rec->stored.at[i];
            if (e->kind == KIND_MAIN) {
                broken += overflow == PIPELINE_OVERFLOW_DROP_OLDEST ? e->value < next : e->value != next;
                next = e->value + 1;
            }
            broken += e->kind != KIND_MAIN + 2 && e->len != 8;
        }
        CHECK_U64(broken, 0);
    }
    recorder_free(rec);
}

/* Every thread of the library blocks asynchronous signals, and does not block faults. */
static sigset_t writers_mask;
static int32_t look_at_the_mask(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    pthread_sigmask(SIG_BLOCK, NULL, &writers_mask);
    return PIPELINE_STORE_OK;
}

static void the_writers_mask(void)
{
    static recorder_t rec = RECORDER_INIT;
    static const int blocked[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD, SIGPROF, SIGPIPE};
    static const int open[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    pipeline_storage_t s = recorder_storage(&rec);
    struct sigaction before[65], after;
    sigset_t mask_before, mask_after;
    size_t i;
    int n;
    for (n = 1; n < 65; n++)
        sigaction(n, NULL, &before[n]);
    pthread_sigmask(SIG_BLOCK, NULL, &mask_before);
    rec.answer = look_at_the_mask;
    p = start_pipeline(NULL, &s);
    capture_numbers(p, 0, 1);
    END(p);
    for (i = 0; i < sizeof blocked / sizeof *blocked; i++)
        CHECK(sigismember(&writers_mask, blocked[i]) == 1);
    for (i = 0; i < sizeof open / sizeof *open; i++)
        CHECK(sigismember(&writers_mask, open[i]) == 0);
    /* The host's own dispositions and mask are as they were. */
    pthread_sigmask(SIG_BLOCK, NULL, &mask_after);
    for (n = 1; n < 65; n++) {
        if (sigaction(n, NULL, &after) != 0)
            continue;
        CHECK(after.sa_handler == before[n].sa_handler && after.sa_flags == before[n].sa_flags);
        CHECK(sigismember(&mask_before, n) == sigismember(&mask_after, n));
    }
}

int main(void)
{
    main_thread = pthread_self();
    the_writers_mask();
    storm(PIPELINE_OVERFLOW_DROP_NEWEST, false);
    storm(PIPELINE_OVERFLOW_DROP_NEWEST, true);
    storm(PIPELINE_OVERFLOW_DROP_OLDEST, false);
    storm(PIPELINE_OVERFLOW_DROP_OLDEST, true);
    storm(PIPELINE_OVERFLOW_BLOCK, false);
    storm(PIPELINE_OVERFLOW_BLOCK, true);
    return SUMMARY();
}
