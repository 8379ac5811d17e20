/* Health names calls that break the rules of the storage interface, writers that cannot open, and writers that die. */
#include "health.h"

static atomic_int open_answer, die_first;

static int32_t open_writer(void *user_data, uint32_t writer_id, void **writer_data)
{
    (void)user_data;
    (void)writer_id;
    (void)writer_data;
    if (open_answer == 1)
        pthread_exit(NULL);
    if (atomic_fetch_sub(&die_first, 1) > 0)
        pthread_exit(NULL);
    return open_answer;
}

static void writers_that_cannot_open(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p;
    s.open_writer = open_writer;
    open_answer = -42;
    p = start_pipeline(&c, &s);
    WAIT_FOR(reasons(p) == PIPELINE_HEALTH_WRITER_OPEN);
    AILS(p, PIPELINE_HEALTH_WRITER_OPEN, PIPELINE_FAILING, "writer 0 cannot open (answered -42, ");
    open_answer = 0;
    HEALTHY(p);
    END(p);
    /* Each writer ends its thread in open_writer. */
    open_answer = 1;
    s = storage_of_tests(0);
    s.open_writer = open_writer;
    p = start_pipeline(&c, &s);
    WAIT_FOR(health_of(p).status == PIPELINE_FAILING);
    WAIT_FOR(metrics_of(p).writer_restarts >= 4);
    AILS(p, PIPELINE_HEALTH_WRITER_OPEN | PIPELINE_HEALTH_FAULT, PIPELINE_FAILING, "writer 0 cannot open; the storage ended the thread of writer 0, ");
    open_answer = 0;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    HEALTHY(p);
    END(p);
}

/* The very first writers are ended at once, perhaps before pipeline_start has returned: they are replaced like any other. */
static void writers_that_die_first(void)
{
    pipeline_config_t c = config_of_tests();
    int i;
    c.writers = 16;
    for (i = 0; i < 100; i++) {
        pipeline_storage_t s = storage_of_tests(0);
        pipeline_t *p;
        s.open_writer = open_writer;
        die_first = 16;
        p = start_pipeline(&c, &s);
        CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
        WAIT_FOR(metrics_of(p).writer_restarts == 16);
        END(p);
        if (checks_failed)
            break;
    }
}

static pipeline_writer_metrics_t writer_of(const pipeline_t *p, uint32_t index)
{
    pipeline_writer_metrics_t w;
    memset(&w, 0, sizeof w);
    w.struct_size = sizeof w;
    CHECK_STATUS(pipeline_writer_metrics(p, index, &w), PIPELINE_OK);
    return w;
}

/* Calls that break the rules: health names the writer, the batch, the fault and the count. */
static void faults(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p = start_pipeline(&c, &s);
    pipeline_health_t h = health_of(p);
    pipeline_metrics_t m;
    char words[100];
    CHECK_U64(h.fault, PIPELINE_FAULT_NONE);
    CHECK_U64(h.faults, 0);
    act = TALKS_NONSENSE;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(health_of(p).faults >= 3);
    h = health_of(p);
    CHECK_U64(h.reasons & PIPELINE_HEALTH_FAULT, PIPELINE_HEALTH_FAULT);
    CHECK_U64(h.status, PIPELINE_DEGRADED);
    CHECK_HAS(h.message, "the storage returned 99 to writer 0 with batch 1 (allowed: 0 to 3; from dead_letter: 0 to 2), ");
    snprintf(words, sizeof words, "(%" PRIu64 " such calls in a row, %" PRIu64 " in all)", h.faults, h.faults);
    CHECK_HAS(h.message, words);
    CHECK_U64(h.fault, PIPELINE_FAULT_ANSWER);
    CHECK_U64(h.fault_answer, 99);
    CHECK_U64(h.fault_writer, 0);
    CHECK_U64(h.fault_batch, 1);
    act = WORKS;
    HEALTHY(p);
    h = health_of(p);
    m = metrics_of(p);
    CHECK_U64(h.faults, m.bad_results);
    CHECK_U64(h.fault, PIPELINE_FAULT_ANSWER); /* the last one is remembered */
    CHECK(h.fault_age_ns > 0);
    CHECK_U64(writer_of(p, 0).bad_results, m.bad_results);
    CHECK_U64(writer_of(p, 0).restarts, 0);

    act = DIES;
    CHECK_STATUS(capture_number(p, 2), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).writer_restarts >= 2);
    h = health_of(p);
    CHECK_U64(h.reasons & PIPELINE_HEALTH_FAULT, PIPELINE_HEALTH_FAULT);
    CHECK_HAS(h.message, "the storage ended the thread of writer 0 with batch 2, ");
    CHECK_U64(h.fault, PIPELINE_FAULT_ENDED);
    CHECK_U64(h.fault_batch, 2);
    CHECK_U64(h.fault_answer, 0);
    act = WORKS;
    HEALTHY(p);
    h = health_of(p);
    m = metrics_of(p);
    CHECK_U64(h.faults, m.bad_results + m.writer_restarts);
    CHECK_U64(writer_of(p, 0).restarts, m.writer_restarts);
    CHECK_U64(writer_of(p, 0).bad_results, m.bad_results); /* counted for the writer id, across restarts */
    CHECK_U64(m.panics, 0);
    END(p);
}

/* The metrics of a writer that died stay with its id. */
static void faults_by_writer(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p;
    uint32_t i;
    uint64_t restarts = 0;
    c.writers = 3;
    p = start_pipeline(&c, &s);
    WAIT_FOR(metrics_of(p).writers_live == 3);
    act = DIES;
    CHECK_STATUS(capture_number(p, 2), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).writer_restarts >= 3);
    act = WORKS;
    HEALTHY(p);
    WAIT_FOR(metrics_of(p).writers_live == 3);
    for (i = 0; i < 3; i++)
        restarts += writer_of(p, i).restarts;
    CHECK_U64(restarts, metrics_of(p).writer_restarts);
    END(p);
}

int main(void)
{
    writers_that_cannot_open();
    writers_that_die_first();
    faults();
    faults_by_writer();
    return SUMMARY();
}
