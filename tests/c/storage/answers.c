/* Results of store: OK, RETRY, REJECT, and values that are none of these; a stored prefix, rejected events; the dead letter and its own
 * results; the retry limits. Checked are counts, ids, attempts and contents. */
#include "../recorder.h"

static pipeline_config_t quick(void)
{
    pipeline_config_t c = config_defaults();
    c.retry_initial_us = 10;
    c.retry_max_us = 1000;
    return c;
}

/* Numbers 0 to n-1 in one batch. */
static void one_batch(pipeline_t *p, uint64_t n)
{
    capture_together(p, 0, n);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
}

/* ---- a retry: the same batch, the same id, another token, the attempt counted ---- */

static int32_t third_time(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    return batch->attempt < 3 ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

static int32_t third_time_by_nonsense(recorder_t *r, const pipeline_batch_t *batch)
{
    static const int32_t nonsense[] = {-1, 4, INT32_MIN, INT32_MAX, 99};
    (void)r;
    return batch->attempt < 3 ? nonsense[(batch->batch_id + batch->attempt) % 5] : PIPELINE_STORE_OK;
}

static void retry(recorder_t *rec, int32_t (*answer)(recorder_t *, const pipeline_batch_t *), uint64_t bad)
{
    pipeline_storage_t s = recorder_storage(rec);
    pipeline_config_t c = quick();
    pipeline_t *p = start_pipeline(&c, &s);
    pipeline_metrics_t m;
    size_t i;
    rec->answer = answer;
    one_batch(p, 100);
    m = metrics_of(p);
    CHECK_U64(m.stored, 100);
    CHECK_U64(m.retries, 2);
    CHECK_U64(m.batches, 1);
    CHECK_U64(m.bad_results, bad);
    CHECK_U64(rec->seen.count, 300);
    CHECK_U64(rec->store_calls, 3);
    for (i = 0; i < rec->seen.count && i < 300; i++) {
        const recorded_t *e = &rec->seen.at[i], *first = &rec->seen.at[i % 100];
        CHECK_U64(e->attempt, i / 100 + 1);
        CHECK_U64(e->value, i % 100);
        CHECK_U64(e->batch_id, first->batch_id);
        CHECK(e->ring_id == first->ring_id && e->sequence == first->sequence);
        CHECK(i < 100 || e->token != first->token);
    }
    END(p);
    CHECK_VALUES(&rec->stored, 0, 100);
}

/* ---- a prefix: the retry starts behind it, ends at the same event, keeps the id ---- */

static int32_t ten_at_a_time(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    if (batch->count <= 10)
        return PIPELINE_STORE_OK;
    CHECK_FAILS(pipeline_batch_set_stored(batch, batch->count + 1), PIPELINE_ERR_INVALID, "");
    CHECK_STATUS(pipeline_batch_set_stored(batch, 10), PIPELINE_OK);
    return PIPELINE_STORE_RETRY;
}

static void prefixes(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = quick();
    pipeline_t *p = start_pipeline(&c, &s);
    size_t i = 0;
    uint32_t attempt;
    rec.answer = ten_at_a_time;
    one_batch(p, 95);
    CHECK_U64(rec.store_calls, 10);
    for (attempt = 1; attempt <= 10; attempt++) {
        size_t j, count = 95 - (attempt - 1) * 10;
        for (j = 0; j < count && i < rec.seen.count; j++, i++) {
            CHECK_U64(rec.seen.at[i].value, 95 - count + j);
            CHECK_U64(rec.seen.at[i].attempt, attempt);
            CHECK_U64(rec.seen.at[i].batch_id, rec.seen.at[0].batch_id);
        }
    }
    CHECK_U64(i, rec.seen.count);
    CHECK_U64(metrics_of(p).stored, 95);
    CHECK_U64(metrics_of(p).batches, 1);
    CHECK_U64(metrics_of(p).retries, 9);
    END(p);
}

/* A stored prefix and then OK: the prefix changes nothing. A stored prefix and then REJECT: the prefix stays stored. */
static int32_t prefix_then(recorder_t *r, const pipeline_batch_t *batch)
{
    CHECK_STATUS(pipeline_batch_set_stored(batch, 7), PIPELINE_OK);
    return *(int32_t *)r->extra;
}

static void prefix_and_answer(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = quick();
    pipeline_t *p;
    int32_t answer = PIPELINE_STORE_OK;
    s.dead_letter = recorder_dead_letter;
    rec.answer = prefix_then;
    rec.extra = &answer;
    p = start_pipeline(&c, &s);
    one_batch(p, 20);
    CHECK_U64(metrics_of(p).stored, 20);
    answer = PIPELINE_STORE_REJECT;
    one_batch(p, 20);
    CHECK_U64(metrics_of(p).stored, 27);
    CHECK_U64(metrics_of(p).dead_lettered, 13);
    CHECK_VALUES(&rec.dead, 7, 20);
    CHECK_U64(rec.dead.at[0].reason, PIPELINE_REASON_REJECTED);
    END(p);
}

/* ---- rejected events: those alone go to the dead letter ---- */

static int32_t odd_are_rejected(recorder_t *r, const pipeline_batch_t *batch)
{
    size_t i;
    CHECK_FAILS(pipeline_batch_set_rejected(batch, batch->count), PIPELINE_ERR_INVALID, "");
    for (i = 0; i < batch->count; i++) {
        uint64_t n;
        memcpy(&n, PIPELINE_BATCH_EVENT(batch, i)->data, 8);
        if (n % 2 == 1) {
            CHECK_STATUS(pipeline_batch_set_rejected(batch, i), PIPELINE_OK);
            CHECK_STATUS(pipeline_batch_set_rejected(batch, i), PIPELINE_OK); /* a second call has no effect */
        }
    }
    return batch->attempt == 1 && r->extra != NULL ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

static void rejects(recorder_t *rec, void *retry_first)
{
    pipeline_storage_t s = recorder_storage(rec);
    pipeline_config_t c = quick();
    pipeline_t *p;
    size_t i;
    s.dead_letter = recorder_dead_letter;
    rec->answer = odd_are_rejected;
    rec->extra = retry_first;
    p = start_pipeline(&c, &s);
    one_batch(p, 100);
    CHECK_U64(metrics_of(p).stored, 50);
    CHECK_U64(metrics_of(p).dead_lettered, 50);
    CHECK_U64(metrics_of(p).batches, 1);
    CHECK_U64(rec->dead.count, 50);
    for (i = 0; i < rec->dead.count; i++) {
        CHECK_U64(rec->dead.at[i].value, 2 * i + 1);
        CHECK_U64(rec->dead.at[i].reason, PIPELINE_REASON_REJECTED);
    }
    CHECK_U64(rec->seen.count, retry_first ? 150 : 100);
    END(p);
}

static int32_t reject(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    return PIPELINE_STORE_REJECT;
}

static void rejected_without_a_dead_letter(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = start_pipeline(NULL, &s);
    rec.answer = reject;
    one_batch(p, 100);
    CHECK_U64(metrics_of(p).discarded, 100);
    CHECK_U64(metrics_of(p).stored, 0);
    CHECK_U64(rec.store_calls, 1);
    END(p);
}

/* ---- the retry limits ---- */

static int32_t never(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    return PIPELINE_STORE_RETRY;
}

static void retry_limit(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = quick();
    pipeline_t *p;
    c.retry_limit = 4;
    s.dead_letter = recorder_dead_letter;
    rec.answer = never;
    p = start_pipeline(&c, &s);
    one_batch(p, 30);
    CHECK_U64(rec.store_calls, 4);
    CHECK_U64(metrics_of(p).dead_lettered, 30);
    CHECK_U64(metrics_of(p).retries, 3);
    CHECK_U64(rec.dead.at[0].reason, PIPELINE_REASON_RETRY_LIMIT);
    CHECK_VALUES(&rec.dead, 0, 30);
    END(p);
}

static void retry_age(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = quick();
    pipeline_t *p;
    c.retry_limit = UINT32_MAX;
    c.retry_max_age_ms = 30;
    s.dead_letter = recorder_dead_letter;
    rec.answer = never;
    p = start_pipeline(&c, &s);
    one_batch(p, 30);
    CHECK(rec.store_calls >= 2);
    CHECK_U64(metrics_of(p).dead_lettered, 30);
    CHECK_U64(rec.dead.at[0].reason, PIPELINE_REASON_RETRY_AGE);
    END(p);
}

/* ---- the dead letter's own answers ---- */

static int32_t dead_refuses(recorder_t *r, const pipeline_batch_t *batch, int32_t reason)
{
    (void)r;
    (void)batch;
    CHECK_U64(reason, PIPELINE_REASON_REJECTED);
    return PIPELINE_STORE_REJECT;
}

static int32_t dead_third_time(recorder_t *r, const pipeline_batch_t *batch, int32_t reason)
{
    (void)r;
    (void)reason;
    return batch->attempt < 3 ? -5 : 0;
}

static int32_t dead_never(recorder_t *r, const pipeline_batch_t *batch, int32_t reason)
{
    (void)r;
    (void)batch;
    (void)reason;
    return PIPELINE_STORE_RETRY;
}

static void dead_letter_answers(recorder_t *rec, int32_t (*answer)(recorder_t *, const pipeline_batch_t *, int32_t),
                                uint64_t calls, uint64_t kept)
{
    pipeline_storage_t s = recorder_storage(rec);
    pipeline_config_t c = quick();
    pipeline_t *p;
    c.retry_limit = 5;
    s.dead_letter = recorder_dead_letter;
    rec->answer = reject;
    rec->dead_answer = answer;
    p = start_pipeline(&c, &s);
    one_batch(p, 10);
    CHECK_U64(rec->dead_calls, calls);
    CHECK_U64(metrics_of(p).dead_lettered, kept);
    CHECK_U64(metrics_of(p).discarded, 10 - kept);
    END(p);
}

/* ---- what closes a batch: a number of events, a number of bytes ---- */

static int32_t count_limits(recorder_t *r, const pipeline_batch_t *batch)
{
    size_t i, bytes = 0;
    (void)r;
    CHECK(batch->count >= 1 && batch->count <= 64);
    for (i = 0; i < batch->count; i++)
        bytes += PIPELINE_BATCH_EVENT(batch, i)->len;
    CHECK(bytes <= 1000 || batch->count == 1);
    CHECK(batch->struct_size >= sizeof(pipeline_batch_t));
    CHECK(batch->writer_data == NULL);
    CHECK(batch->processed_at_ns >= PIPELINE_BATCH_EVENT(batch, 0)->timestamp_ns);
    return PIPELINE_STORE_OK;
}

static void limits(void)
{
    static recorder_t rec = RECORDER_INIT;
    static char big[2000];
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = quick();
    pipeline_t *p;
    size_t i;
    c.batch_size = 64;
    c.batch_bytes = 1000;
    rec.answer = count_limits;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    for (i = 0; i < 1000; i++)
        CHECK_STATUS(pipeline_capture(p, 1, big, i % 3 == 0 ? 0 : i % 50 == 1 ? sizeof big : 8), PIPELINE_OK);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(rec.stored.count, 1000);
    CHECK_DISTINCT(&rec.stored);
    END(p);
}

/* A timestamp plus the batch's realtime_offset_ns is wall time. */
static int32_t look_at_the_clock(recorder_t *r, const pipeline_batch_t *batch)
{
    struct timespec t;
    int64_t wall, now;
    (void)r;
    clock_gettime(CLOCK_REALTIME, &t);
    now = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    wall = (int64_t)PIPELINE_BATCH_EVENT(batch, 0)->timestamp_ns + batch->realtime_offset_ns;
    /* An hour of tolerance is enough to tell the clocks apart. */
    CHECK(wall > now - INT64_C(3600000000000) && wall < now + INT64_C(3600000000000));
    return PIPELINE_STORE_OK;
}

static void clocks(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = start_pipeline(NULL, &s);
    rec.answer = look_at_the_clock;
    capture_numbers(p, 0, 1);
    END(p);
}

int main(void)
{
    static recorder_t a = RECORDER_INIT, b = RECORDER_INIT, d = RECORDER_INIT, e = RECORDER_INIT, f = RECORDER_INIT,
                      g = RECORDER_INIT, h = RECORDER_INIT;
    retry(&a, third_time, 0);
    retry(&b, third_time_by_nonsense, 2);
    prefixes();
    prefix_and_answer();
    rejects(&d, NULL);
    rejects(&e, &e);
    rejected_without_a_dead_letter();
    retry_limit();
    retry_age();
    dead_letter_answers(&f, dead_refuses, 1, 0);
    dead_letter_answers(&g, dead_third_time, 3, 10);
    dead_letter_answers(&h, dead_never, 5, 0);
    limits();
    clocks();
    return SUMMARY();
}
