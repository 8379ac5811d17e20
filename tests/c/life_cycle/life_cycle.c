/* The life of a pipeline: every call after close, a second close, destroy, abandon, scale past the limit, timeouts of 0, and handles
 * that outlive the pipeline. */
#include "../recorder.h"

static recorder_t rec = RECORDER_INIT;

static void everything_after_close(pipeline_t *p, pipeline_producer_t *r)
{
    pipeline_config_t c = config_defaults();
    pipeline_writer_metrics_t w;
    pipeline_producer_t *another = NULL;
    pipeline_metrics_t before = metrics_of(p), after;
    pipeline_event_t e = event_of(1, "x", 1);
    void *payload = NULL;
    memset(&w, 0, sizeof w);
    w.struct_size = sizeof w;
    CHECK_STATUS(pipeline_capture(p, 1, "x", 1), PIPELINE_ERR_CLOSED);
    CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_ERR_CLOSED);
    CHECK_STATUS(pipeline_producer_capture(r, 1, "x", 1), PIPELINE_ERR_CLOSED);
    CHECK_STATUS(pipeline_producer_capture_event(r, &e), PIPELINE_ERR_CLOSED);
    CHECK_STATUS(pipeline_producer_reserve(r, NULL, 1, &payload), PIPELINE_ERR_CLOSED);
    CHECK(payload == NULL);
    after = metrics_of(p);
    CHECK_U64(after.refused_closed - before.refused_closed, 5);
    CHECK_U64(after.captured, before.captured);
    CHECK_FAILS(pipeline_producer_open(p, &another), PIPELINE_ERR_CLOSED, "closed");
    CHECK(another == NULL);
    CHECK_FAILS(pipeline_flush(p, 0), PIPELINE_ERR_CLOSED, "closed");
    CHECK_FAILS(pipeline_flush(p, -1), PIPELINE_ERR_CLOSED, "closed");
    CHECK_FAILS(pipeline_scale(p, 2), PIPELINE_ERR_CLOSED, "closed");
    CHECK_FAILS(pipeline_pause(p), PIPELINE_ERR_CLOSED, "closed");
    CHECK_FAILS(pipeline_resume(p), PIPELINE_ERR_CLOSED, "closed");
    CHECK_FAILS(pipeline_kind_name(p, 1, "one"), PIPELINE_ERR_CLOSED, "closed");
    CHECK_FAILS(define_kind(p, 1, "one"), PIPELINE_ERR_CLOSED, "closed");
    CHECK_FAILS(pipeline_update(p, &c), PIPELINE_ERR_CLOSED, "closed");
    CHECK_FAILS(pipeline_close(p, 0), PIPELINE_ERR_CLOSED, "closed");
    CHECK_FAILS(pipeline_close(p, -1), PIPELINE_ERR_CLOSED, "closed");
    /* Metrics and health can still be read. */
    CHECK_STATUS(pipeline_config_read(p, &c), PIPELINE_OK);
    CHECK_U64(health_of(p).reasons & PIPELINE_HEALTH_CLOSED, PIPELINE_HEALTH_CLOSED);
    CHECK_FAILS(pipeline_writer_metrics(p, 0, &w), PIPELINE_ERR_NOT_FOUND, "");
    CHECK_LEDGER(p);
}

static void closed_then_destroyed(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = start_pipeline(NULL, &s);
    pipeline_producer_t *r = NULL;
    pipeline_metrics_t m;
    uint64_t n;
    CHECK_STATUS(pipeline_producer_open(p, &r), PIPELINE_OK);
    capture_numbers(p, 0, 1000);
    for (n = 1000; n < 2000; n++)
        CHECK_STATUS(pipeline_producer_capture(r, 1, &n, sizeof n), PIPELINE_OK);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.stored, 2000);
    CHECK_U64(m.left, 0);
    CHECK_U64(m.writers_live, 0);
    CHECK_U64(rec.destroy_calls, 0);
    everything_after_close(p, r);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_U64(rec.destroy_calls, 1);
    CHECK_VALUES(&rec.stored, 0, 2000);
    /* The producer handle is still valid. */
    CHECK_STATUS(pipeline_producer_capture(r, 1, "x", 1), PIPELINE_ERR_CLOSED);
    CHECK_FAILS(pipeline_producer_commit(r, 1), PIPELINE_ERR_STATE, "");
    CHECK_FAILS(pipeline_producer_abort(r), PIPELINE_ERR_STATE, "");
    CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
}

static void scale_limits(void)
{
    static recorder_t own = RECORDER_INIT;
    static const uint32_t beyond[] = {257, 1000, 65536, 0x7FFFFFFF, UINT32_MAX};
    pipeline_storage_t s = recorder_storage(&own);
    pipeline_t *p;
    size_t i;
    char value[16];
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    p = start_pipeline(NULL, &s);
    capture_numbers(p, 0, 10);
    for (i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        CHECK_FAILS(pipeline_scale(p, beyond[i]), PIPELINE_ERR_LIMIT, "256");
        snprintf(value, sizeof value, "%u", beyond[i]);
        CHECK_HAS(pipeline_last_error(), value);
        CHECK_U64(metrics_of(p).writers_target, 1);
    }
    CHECK_STATUS(pipeline_scale(p, 256), PIPELINE_OK);
    CHECK_U64(metrics_of(p).writers_target, 256);
    WAIT_FOR(metrics_of(p).writers_live == 256);
    capture_numbers(p, 10, 1000);
    CHECK_STATUS(pipeline_scale(p, 2), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).writers_live == 2);
    capture_numbers(p, 1000, 2000);
    END(p);
    CHECK_VALUES(&own.stored, 0, 2000);
}

static void without_a_close(void)
{
    static recorder_t own = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&own);
    pipeline_t *p = start_pipeline(NULL, &s);
    DESTROY_SOON(p);
    CHECK_U64(own.destroy_calls, 1);
    p = start_pipeline(NULL, &s);
    CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
    WAIT_FOR(RECORDED(&own, destroy_calls) == 2);
    /* Destroy stops what was not closed: the events that the ring still holds are neither stored nor reported. */
    p = start_pipeline(NULL, &s);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 0, 100);
    DESTROY_SOON(p);
    CHECK_U64(own.destroy_calls, 3);
    CHECK_U64(own.seen.count, 0);
}

static void no_time_at_all(void)
{
    static recorder_t own = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&own);
    pipeline_t *p = start_pipeline(NULL, &s);
    pipeline_metrics_t m;
    CHECK_STATUS(pipeline_flush(p, 0), PIPELINE_OK); /* nothing was captured: all is settled */
    recorder_hold(&own);
    capture_number(p, 0);
    WAIT_FOR(RECORDED(&own, waiting) == 1);
    CHECK_FAILS(pipeline_flush(p, 0), PIPELINE_ERR_TIMEOUT, "");
    CHECK_FAILS(pipeline_close(p, 0), PIPELINE_ERR_TIMEOUT, "");
    m = metrics_of(p);
    CHECK_U64(m.in_flight, 1);
    CHECK_LEDGER(p);
    CHECK_STATUS(capture_number(p, 1), PIPELINE_ERR_CLOSED);
    recorder_let_go(&own);
    CHECK_STATUS(pipeline_close(p, -1), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 1);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
}

static void close_lifts_a_pause_and_finds_a_writer(void)
{
    static recorder_t own = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&own);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    c.writers = 0;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 0, 500);
    CHECK_U64(metrics_of(p).buffered, 500);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 500);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_VALUES(&own.stored, 0, 500);
}

static void a_flush_that_fails(void)
{
    static recorder_t own = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&own);
    pipeline_t *p;
    s.flush = recorder_flush;
    own.flush_answer = -1234;
    p = start_pipeline(NULL, &s);
    capture_numbers(p, 0, 10);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), -1234);
    CHECK_U64(metrics_of(p).stored, 10);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), -1234);
    CHECK_U64(metrics_of(p).stored, 10);
    CHECK_LEDGER(p);
    DESTROY_SOON(p);
    CHECK_U64(own.destroy_calls, 1);
}

/* ---- a capture that outlasts the close ---- */

static atomic_int held, let_go;

static _Thread_local bool captures;

/* Called by the capture that overwrites an event. */
static void hold(void *user_data, const pipeline_event_view_t *event)
{
    (void)user_data;
    (void)event;
    while (captures && !let_go) {
        held = 1;
        pause_a_little();
    }
}

static void *capture_until_held(void *p)
{
    static const char payload[900];
    captures = true;
    while (!held)
        CHECK_STATUS(pipeline_capture((pipeline_t *)p, 1, payload, sizeof payload), PIPELINE_OK);
    return NULL;
}

/* A capture that began before the close is published after the close's timeout. The close has not drained then and says so; the next one
 * stores the event. */
static void a_capture_that_outlasts_its_close(int64_t timeout_ms, int tries)
{
    static recorder_t own = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&own);
    pipeline_config_t c = config_defaults();
    pthread_t capturing;
    pipeline_t *p;
    int again;
    held = let_go = 0;
    s.release = hold;
    s.flags |= PIPELINE_STORAGE_RELEASE_ANYWHERE;
    c.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;
    c.ring_bytes = 4096;
    c.writers = 0;
    p = start_pipeline(&c, &s);
    CHECK_U64(pthread_create(&capturing, NULL, capture_until_held, p), 0);
    WAIT_FOR(held);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).stored == metrics_of(p).captured - 1);
    for (again = 0; again < tries; again++)
        if (!CHECK_STATUS(pipeline_close(p, timeout_ms), PIPELINE_ERR_TIMEOUT))
            break;
    let_go = 1;
    pthread_join(capturing, NULL);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).left, 0);
    CHECK_U64(metrics_of(p).stored, metrics_of(p).captured - 1);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
}

int main(void)
{
    closed_then_destroyed();
    scale_limits();
    without_a_close();
    no_time_at_all();
    close_lifts_a_pause_and_finds_a_writer();
    a_flush_that_fails();
    a_capture_that_outlasts_its_close(0, 3000);
    a_capture_that_outlasts_its_close(1, 100);
    return SUMMARY();
}
