/* Calls into the library from inside its own callbacks. Calls that would wait for the callback return PIPELINE_ERR_WOULD_DEADLOCK at
 * once; all others work. */
#include "../recorder.h"

static recorder_t rec = RECORDER_INIT, other_rec = RECORDER_INIT;
static pipeline_t *p, *other;
static atomic_int rounds;
static atomic_int captured_inside;

static void calls(const char *where)
{
    pipeline_config_t c;
    pipeline_writer_metrics_t w;
    pipeline_producer_t *r = NULL;
    int failed = checks_failed;
    uint64_t n = 1000000;
    memset(&c, 0, sizeof c);
    memset(&w, 0, sizeof w);
    c.struct_size = sizeof c;
    w.struct_size = sizeof w;
    CHECK_FAILS(pipeline_flush(p, -1), PIPELINE_ERR_WOULD_DEADLOCK, "flush");
    CHECK_FAILS(pipeline_flush(p, 0), PIPELINE_ERR_WOULD_DEADLOCK, "flush");
    CHECK_FAILS(pipeline_close(p, -1), PIPELINE_ERR_WOULD_DEADLOCK, "close");
    CHECK_FAILS(pipeline_close(p, 0), PIPELINE_ERR_WOULD_DEADLOCK, "close");
    CHECK_FAILS(pipeline_destroy(p), PIPELINE_ERR_WOULD_DEADLOCK, "destroy");
    metrics_of(p);
    health_of(p);
    CHECK_STATUS(pipeline_writer_metrics(p, 0, &w), PIPELINE_OK);
    CHECK_U64(w.state, PIPELINE_WRITER_IN_CALL);
    CHECK_STATUS(pipeline_config_read(p, &c), PIPELINE_OK);
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_kind_name(p, 3, "three"), PIPELINE_OK);
    CHECK_STATUS(define_kind(p, 4, "four"), PIPELINE_OK);
    if (captured_inside < 10) {
        CHECK_STATUS(pipeline_capture(p, 2, &n, sizeof n), PIPELINE_OK);
        CHECK_STATUS(pipeline_producer_open(p, &r), PIPELINE_OK);
        if (r != NULL) {
            CHECK_STATUS(pipeline_producer_capture(r, 2, &n, sizeof n), PIPELINE_OK);
            CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
        }
        /* Set last: a thread that sees it flushes the events that it counts. */
        captured_inside += 2;
    }
    /* Another pipeline is not affected. */
    CHECK_STATUS(capture_number(other, n), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(other, PATIENCE_MS), PIPELINE_OK);
    if (checks_failed != failed)
        fprintf(stderr, "  from inside %s\n", where);
    rounds++;
}

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    calls("store");
    CHECK_STATUS(pipeline_batch_set_stored(batch, batch->count), PIPELINE_OK);
    CHECK_STATUS(pipeline_batch_set_stored(batch, 0), PIPELINE_OK);
    return PIPELINE_STORE_REJECT;
}

static int32_t dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    (void)user_data;
    (void)batch;
    (void)reason;
    calls("dead_letter");
    return 0;
}

static int32_t flush(void *user_data, int64_t timeout_ms)
{
    (void)user_data;
    CHECK(timeout_ms <= PATIENCE_MS);
    calls("flush");
    return 0;
}

static void release(void *user_data, const pipeline_event_view_t *event)
{
    static atomic_int once;
    (void)user_data;
    (void)event;
    if (!atomic_exchange(&once, 1))
        calls("release");
}

/* A start, and an end, inside a callback. */
static recorder_t inner_rec = RECORDER_INIT;
static int32_t start_another(recorder_t *r, const pipeline_batch_t *batch)
{
    pipeline_storage_t s = recorder_storage(&inner_rec);
    pipeline_t *inner = start_pipeline(NULL, &s);
    (void)r;
    (void)batch;
    capture_numbers(inner, 0, 100);
    END(inner);
    return PIPELINE_STORE_OK;
}

/* Abandon from inside its own callback: the storage's destroy comes after. */
static recorder_t own_rec = RECORDER_INIT;
static _Atomic(pipeline_t *) own;
static int32_t abandon_itself(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)batch;
    CHECK_STATUS(pipeline_abandon(atomic_load(&own)), PIPELINE_OK);
    CHECK_U64(RECORDED(r, destroy_calls), 0);
    return PIPELINE_STORE_OK;
}

int main(void)
{
    pipeline_storage_t s = recorder_storage(&rec), o = recorder_storage(&other_rec);
    other = start_pipeline(NULL, &o);
    s.store = store;
    s.dead_letter = dead_letter;
    s.flush = flush;
    s.release = release;
    p = start_pipeline(NULL, &s);
    capture_numbers(p, 0, 5);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    WAIT_FOR(captured_inside >= 10 || rounds > 100);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK(rounds >= 4);
    CHECK_LEDGER(p);
    CHECK_U64(metrics_of(p).dead_lettered, 5 + captured_inside);
    /* During the last close captures and changes by callbacks are refused, so the callbacks make none from here on. */
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    DESTROY_SOON(p);

    other_rec.answer = start_another;
    CHECK_STATUS(capture_number(other, 1), PIPELINE_OK);
    END(other);
    CHECK_U64(inner_rec.destroy_calls, 1);

    s = recorder_storage(&own_rec);
    own_rec.answer = abandon_itself;
    {
        pipeline_t *mine = start_pipeline(NULL, &s);
        atomic_store(&own, mine);
        CHECK_STATUS(capture_number(mine, 1), PIPELINE_OK);
    }
    WAIT_FOR(RECORDED(&own_rec, destroy_calls) == 1);
    return SUMMARY();
}
