/* A shell's `ulimit -f`: the system ends a process that writes past the limit with SIGXFSZ. A write of the library never does that: events wait until there
 * is space, a close says what it could not do, and no signal is left pending. */
#include "journal.h"

#include <signal.h>
#include <sys/resource.h>

static void limit_to(rlim_t bytes)
{
    struct rlimit limit;
    CHECK_OR_STOP(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes;
    CHECK_OR_STOP(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static bool pending(void)
{
    sigset_t set;
    CHECK_OR_STOP(sigpending(&set) == 0);
    return sigismember(&set, SIGXFSZ) == 1;
}

static char last_log[1024];

static void hear(void *user_data, int32_t level, const char *message)
{
    (void)user_data, (void)level;
    snprintf(last_log, sizeof last_log, "%s", message);
}

static void at_the_start(void)
{
    static const rlim_t limits[] = {0, 1, 100, 300};
    char name[64];
    size_t i;
    for (i = 0; i < sizeof limits / sizeof *limits; i++) {
        pipeline_t *p;
        unsigned n = 1;
        snprintf(name, sizeof name, "limited.%zu", i);
        limit_to(limits[i]);
        p = start_journal(name);
        CHECK_STATUS(pipeline_capture(p, 1, &n, sizeof n), PIPELINE_OK);
        WAIT_FOR(metrics_of(p).retries > 2);
        CHECK(!pending());
        limit_to(RLIM_INFINITY);
        END(p);
        CHECK_EVENTS(name, 1);
    }
}

/* The limit comes while it runs, and goes. */
static void in_the_middle(void)
{
    pipeline_t *p = start_journal("middle");
    unsigned i, many = 2000;
    JOURNAL_EVENTS(p, 100);
    CHECK_STATUS(pipeline_log_callback(hear, NULL, PIPELINE_LOG_ERROR), PIPELINE_OK);
    limit_to(20000);
    for (i = 0; i < many; i++)
        CHECK_STATUS(pipeline_capture(p, 1, &i, sizeof i), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).retries > 2);
    CHECK_STATUS(pipeline_log_callback(NULL, NULL, 0), PIPELINE_OK);
    CHECK_HAS(last_log, "RLIMIT_FSIZE");
    CHECK_HAS(last_log, "20000");
    CHECK_U64(count_events("middle", NULL), metrics_of(p).stored);
    limit_to(RLIM_INFINITY);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 100 + many);
    END(p);
    CHECK(!pending());
    CHECK_EVENTS("middle", 100 + many);
}

static void count_copy(void *with, const journal_event_t *event)
{
    (void)event;
    ++*(uint64_t *)with;
}

static uint64_t copies(const char *directory)
{
    uint64_t count = 0;
    read_journal(directory, count_copy, &count);
    return count;
}

/* A batch has blocks of several rings, and there is space for some of them. These stay and are acknowledged: a reader may have given their events already. The
 * others follow when there is space, and nothing is there twice. */
static void for_a_part_of_a_batch(const char *name, uint32_t sync)
{
    enum { RINGS = 8, EACH = 200 };
    static const char payload[100];
    pipeline_producer_t *rings[RINGS];
    pipeline_journal_options_t o = journal_options();
    pipeline_t *p;
    uint64_t before, stored = 0;
    int i, n;
    o.sync = sync;
    p = start_journal_with(name, &o);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK); /* so that there is one batch */
    WAIT_FOR(metrics_of(p).writers_live == 1);
    for (i = 0; i < RINGS; i++) {
        CHECK_STATUS(pipeline_producer_open(p, &rings[i]), PIPELINE_OK);
        CHECK_STATUS(pipeline_producer_capture(rings[i], 1, payload, sizeof payload), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    for (i = 0; i < RINGS; i++)
        for (n = 0; n < EACH; n++)
            CHECK_STATUS(pipeline_producer_capture(rings[i], 2, payload, sizeof payload), PIPELINE_OK);
    before = metrics_of(p).retries;
    limit_to((rlim_t)(read_journal(name, count_copy, &stored).bytes + RINGS / 2 * EACH * 152));
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).retries > before + 2);
    stored = metrics_of(p).stored;
    CHECK_U64(stored, RINGS + (RINGS / 2 - 1) * EACH); /* with their headers, one less than half fit */
    CHECK_U64(copies(name), stored);
    limit_to(RLIM_INFINITY);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, RINGS + RINGS * EACH);
    for (i = 0; i < RINGS; i++)
        CHECK_STATUS(pipeline_producer_close(rings[i]), PIPELINE_OK);
    END(p);
    CHECK_EVENTS(name, RINGS + RINGS * EACH);
    CHECK_U64(copies(name), RINGS + RINGS * EACH);
}

/* There is no space for the seal. */
static void at_the_close(void)
{
    pipeline_t *p = start_journal("close");
    JOURNAL_EVENTS(p, 100);
    limit_to(1000);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_ERR_STORAGE);
    CHECK(!pending());
    CHECK_U64(metrics_of(p).stored, 100);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    limit_to(RLIM_INFINITY);
    CHECK_EVENTS("close", 100);
}

/* A storage that is given up without a pipeline, and a pipeline that is destroyed without a close. */
static void at_the_end(void)
{
    pipeline_storage_t s;
    pipeline_t *p = start_journal("end");
    JOURNAL_EVENTS(p, 100);
    CHECK_STATUS(pipeline_storage_journal("end", NULL, sizeof s, &s), PIPELINE_OK);
    limit_to(0);
    s.destroy(s.user_data);
    DESTROY_SOON(p);
    CHECK(!pending());
    limit_to(RLIM_INFINITY);
    CHECK_EVENTS("end", 100);
}

int main(void)
{
    CHECK(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    at_the_start();
    in_the_middle();
    for_a_part_of_a_batch("part", PIPELINE_JOURNAL_SYNC_NEVER);
    for_a_part_of_a_batch("part-synced", PIPELINE_JOURNAL_SYNC_BATCH);
    at_the_close();
    at_the_end();
    return SUMMARY();
}
