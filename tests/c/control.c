/* Control of a running pipeline: flush, pause and resume, scale (0 buffers, 1 drains), names of kinds, the figures of
 * pipeline and writers, health; the overflow policies and what each counts; several pipelines in one process. */
#include "recorder.h"

static void flush_waits_for_what_was_captured_before(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p;
    int i;
    s.flush = recorder_flush;
    p = start_pipeline(NULL, &s);
    for (i = 0; i < 200; i++) {
        capture_numbers(p, (uint64_t)i * 5, (uint64_t)i * 5 + 5);
        CHECK_STATUS(pipeline_flush(p, i % 2 ? -1 : PATIENCE_MS), PIPELINE_OK);
        CHECK_U64(RECORDED(&rec, stored.count), (uint64_t)i * 5 + 5);
        CHECK_STATUS(pipeline_flush(p, 0), PIPELINE_OK);
    }
    CHECK(rec.flush_calls >= 200);
    /* A storage's flush may answer any negative status; a positive one is a failure of the storage. */
    rec.flush_answer = PIPELINE_ERR_STORAGE;
    CHECK_FAILS(pipeline_flush(p, PATIENCE_MS), PIPELINE_ERR_STORAGE, "flush");
    rec.flush_answer = 5;
    CHECK_FAILS(pipeline_flush(p, PATIENCE_MS), PIPELINE_ERR_STORAGE, "5");
    rec.flush_answer = -777;
    CHECK_FAILS(pipeline_flush(p, PATIENCE_MS), -777, "-777");
    rec.flush_answer = 0;
    END(p);
}

/* A writer that dies takes only what it carried: the flush in which another one is goes on, and is not called again. */
static atomic_int flush_calls, flush_held, deadly;
static int32_t held_flush(void *user_data, int64_t timeout_ms)
{
    (void)user_data;
    (void)timeout_ms;
    flush_calls++;
    while (flush_held)
        pause_a_little();
    return 0;
}

static int32_t dies_if_told(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    if (atomic_exchange(&deadly, 0))
        pthread_exit(NULL);
    return PIPELINE_STORE_OK;
}

static void *flushes(void *p)
{
    CHECK_STATUS(pipeline_flush((pipeline_t *)p, PATIENCE_MS), PIPELINE_OK);
    return NULL;
}

static void a_death_beside_a_flush(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    pthread_t thread;
    uint64_t n;
    c.writers = 2;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    s.flush = held_flush;
    rec.answer = dies_if_told;
    flush_held = 1;
    p = start_pipeline(&c, &s);
    thread = start_thread(flushes, p);
    WAIT_FOR(flush_calls == 1);
    deadly = 1;
    /* Each of these has a writer look for work once more. */
    for (n = 0; n < 20; n++) {
        capture_numbers(p, n, n + 1);
        WAIT_FOR(metrics_of(p).stored == n + 1);
    }
    CHECK_U64(metrics_of(p).writer_restarts, 1);
    CHECK_U64(flush_calls, 1);
    flush_held = 0;
    pthread_join(thread, NULL);
    END(p);
}

/* Many threads capture and flush at once: whoever flushed sees its own events stored. */
static recorder_t many_rec = RECORDER_INIT;
static pipeline_t *many;
static void *captures_and_flushes(void *kind)
{
    uint32_t k = (uint32_t)(uintptr_t)kind;
    uint64_t n;
    size_t i, mine;
    for (n = 0; n < 300; n++) {
        CHECK_STATUS(pipeline_capture(many, k, &n, sizeof n), PIPELINE_OK);
        if (n % 30 != 29)
            continue;
        CHECK_STATUS(pipeline_flush(many, PATIENCE_MS), PIPELINE_OK);
        pthread_mutex_lock(&many_rec.mutex);
        for (i = mine = 0; i < many_rec.stored.count; i++)
            mine += many_rec.stored.at[i].kind == k;
        pthread_mutex_unlock(&many_rec.mutex);
        CHECK_U64(mine, n + 1);
    }
    return NULL;
}

static void flushes_from_many_threads(void)
{
    pipeline_storage_t s = recorder_storage(&many_rec);
    pthread_t threads[4];
    uintptr_t i;
    many = start_pipeline(NULL, &s);
    for (i = 0; i < 4; i++)
        threads[i] = start_thread(captures_and_flushes, (void *)(i + 1));
    for (i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    END(many);
}

static void pause_and_scale(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = start_pipeline(NULL, &s);
    uint64_t i;
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 0, 100);
    CHECK_U64(health_of(p).reasons & PIPELINE_HEALTH_PAUSED, PIPELINE_HEALTH_PAUSED);
    CHECK_U64(health_of(p).status, PIPELINE_DEGRADED);
    CHECK_HAS(health_of(p).message, "paused");
    CHECK_FAILS(pipeline_flush(p, 20), PIPELINE_ERR_TIMEOUT, "100 events");
    CHECK_U64(metrics_of(p).buffered, 100);
    CHECK_U64(RECORDED(&rec, seen.count), 0);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 100);

    CHECK_STATUS(pipeline_scale(p, 0), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).writers_live == 0);
    capture_numbers(p, 100, 200);
    CHECK_U64(metrics_of(p).buffered, 100);
    CHECK_U64(metrics_of(p).writers_target, 0);
    CHECK_U64(health_of(p).reasons & PIPELINE_HEALTH_NO_WRITERS, PIPELINE_HEALTH_NO_WRITERS);
    CHECK_FAILS(pipeline_flush(p, 20), PIPELINE_ERR_TIMEOUT, "100 events");
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 200);

    /* Up and down at random while events come. */
    for (i = 200; i < 3000; i += 20) {
        CHECK_STATUS(pipeline_scale(p, (uint32_t)(i * 7919 / 20 % 6)), PIPELINE_OK);
        capture_numbers(p, i, i + 20);
        if (i % 400 == 0)
            CHECK_STATUS(i % 800 ? pipeline_pause(p) : pipeline_resume(p), PIPELINE_OK);
    }
    END(p);
    CHECK_VALUES(&rec.stored, 0, 3000);
    CHECK_U64(rec.most_inside, 1);
}

static void figures(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    pipeline_metrics_t m;
    pipeline_writer_metrics_t w;
    uint32_t i;
    uint64_t events = 0, bytes = 0, attempts = 0;
    c.writers = 3;
    c.batch_size = 25;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 1000);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).writers_live == 3);
    m = metrics_of(p);
    CHECK_U64(m.struct_size, sizeof m);
    CHECK_U64(m.reserved, 0);
    CHECK_U64(m.bytes_captured, 8000);
    CHECK_U64(m.bytes_stored, 8000);
    CHECK_U64(m.backlog_bytes, 0);
    CHECK_U64(m.oldest_age_ns, 0);
    CHECK_U64(m.batches, rec.store_calls);
    CHECK_U64(m.rings, 1);
    CHECK(m.latency_p50_ns > 0 && m.latency_p50_ns <= m.latency_p99_ns);
    CHECK(m.latency_p99_ns <= m.latency_p999_ns && m.latency_p999_ns <= m.latency_max_ns);
    CHECK(m.uptime_ns >= m.latency_max_ns);
    CHECK(m.capture_rate > 0 && m.store_rate > 0);
    for (i = 0; i < 3; i++) {
        memset(&w, 0xA5, sizeof w);
        w.struct_size = sizeof w;
        CHECK_STATUS(pipeline_writer_metrics(p, i, &w), PIPELINE_OK);
        CHECK(w.state <= PIPELINE_WRITER_OPENING);
        CHECK(w.thread_id != 0 || w.state == PIPELINE_WRITER_OPENING);
        events += w.events;
        bytes += w.bytes;
        attempts += w.attempts;
    }
    CHECK_U64(events, 1000);
    CHECK_U64(bytes, 8000);
    CHECK_U64(attempts, m.batches);
    CHECK_FAILS(pipeline_writer_metrics(p, 3, &w), PIPELINE_ERR_NOT_FOUND, "3");
    CHECK_FAILS(pipeline_writer_metrics(p, UINT32_MAX, &w), PIPELINE_ERR_NOT_FOUND, "4294967295");
    CHECK_U64(health_of(p).status, PIPELINE_HEALTHY);
    CHECK_U64(health_of(p).reasons & ~(uint32_t)PIPELINE_HEALTH_NO_MEMBARRIER, 0);
    CHECK_U64(health_of(p).writers_live, 3);
    /* What waits is seen. */
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 1000, 1010);
    m = metrics_of(p);
    CHECK(m.backlog_bytes >= 80);
    CHECK(m.oldest_age_ns > 0);
    END(p);
}

/* Names of kinds reach storages that ask for them, in batches of their own, outside of all counts. */
static uint64_t names_seen, threads_seen;
static int32_t names(recorder_t *r, const pipeline_batch_t *batch)
{
    size_t i, meta = 0;
    (void)r;
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        meta += e->kind >= PIPELINE_KIND_RESERVED;
        if (e->kind == PIPELINE_KIND_KIND_NAME) {
            char expected[32];
            snprintf(expected, sizeof expected, "kind number %u", (unsigned)e->node_id);
            CHECK(e->len == strlen(expected) && memcmp(e->data, expected, e->len) == 0);
            names_seen++;
        }
        if (e->kind == PIPELINE_KIND_THREAD) {
            CHECK(e->correlation_id != 0);
            threads_seen++;
        }
    }
    CHECK(meta == 0 || meta == batch->count);
    return PIPELINE_STORE_OK;
}

static void names_of_kinds(uint32_t flags, uint64_t expected)
{
    static char long_name[300];
    recorder_t *rec = (recorder_t *)calloc(1, sizeof *rec);
    pipeline_storage_t s;
    pipeline_t *p;
    uint32_t k;
    char name[32];
    CHECK_OR_STOP(rec != NULL);
    pthread_mutex_init(&rec->mutex, NULL);
    pthread_cond_init(&rec->changed, NULL);
    names_seen = threads_seen = 0;
    s = recorder_storage(rec);
    s.flags = flags;
    s.release = recorder_release;
    rec->answer = names;
    p = start_pipeline(NULL, &s);
    for (k = 0; k < 20; k++) {
        snprintf(name, sizeof name, "kind number %u", k);
        CHECK_STATUS(pipeline_kind_name(p, k, name), PIPELINE_OK);
        CHECK_STATUS(pipeline_capture(p, k, &k, sizeof k), PIPELINE_OK);
    }
    CHECK_FAILS(pipeline_kind_name(p, PIPELINE_KIND_RESERVED, "no"), PIPELINE_ERR_INVALID, "kind");
    CHECK_FAILS(pipeline_kind_name(p, UINT32_MAX, "no"), PIPELINE_ERR_INVALID, "kind");
    memset(long_name, 'x', 256);
    CHECK_FAILS(pipeline_kind_name(p, 1, long_name), PIPELINE_ERR_INVALID, "255");
    CHECK_HAS(pipeline_last_error(), "256");
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    WAIT_FOR(names_seen == expected);
    CHECK_U64(threads_seen, flags ? 1 : 0);
    CHECK_U64(metrics_of(p).offered, 20);
    CHECK_U64(metrics_of(p).stored, 20);
    CHECK_U64(metrics_of(p).bytes_captured, 80);
    END(p);
    CHECK_U64(rec->released.count, 20);
    free(rec->seen.at);
    free(rec->stored.at);
    free(rec->released.at);
    free(rec);
}

/* ---- overflow ---- */

static void overflow(uint32_t policy)
{
    recorder_t *rec = (recorder_t *)calloc(1, sizeof *rec);
    pipeline_storage_t s;
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    pipeline_metrics_t m;
    uint64_t n, ok = 0, first_full = 0;
    size_t i;
    CHECK_OR_STOP(rec != NULL);
    pthread_mutex_init(&rec->mutex, NULL);
    pthread_cond_init(&rec->changed, NULL);
    s = recorder_storage(rec);
    c.ring_bytes = 8192;
    c.overflow = policy;
    c.block_timeout_us = 1000;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    for (n = 0; n < 500; n++) {
        int32_t status = capture_number(p, n);
        CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_FULL);
        if (status == PIPELINE_OK)
            ok++;
        else if (first_full == 0)
            first_full = n;
    }
    m = metrics_of(p);
    CHECK_U64(m.offered, 500);
    CHECK_U64(m.captured, ok);
    CHECK_U64(m.dropped_full, 500 - ok);
    CHECK(m.backlog_bytes <= 8192);
    CHECK_LEDGER(p);
    if (policy == PIPELINE_OVERFLOW_DROP_OLDEST) {
        CHECK_U64(ok, 500);
        CHECK(m.overwritten > 0 && m.overwritten + m.buffered == 500);
    } else {
        CHECK(first_full > 0);
        CHECK_U64(ok, first_full);
        CHECK_U64(m.overwritten, 0);
    }
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    /* There is room again. */
    CHECK_STATUS(capture_number(p, 500), PIPELINE_OK);
    END(p);
    /* The oldest survive under drop_newest and block, the newest under drop_oldest; the gap shows in the sequence. */
    for (i = 0; i + 1 < rec->stored.count; i++) {
        uint64_t expected = policy == PIPELINE_OVERFLOW_DROP_OLDEST ? m.overwritten + i : i;
        CHECK_U64(rec->stored.at[i].value, expected);
        CHECK_U64(rec->stored.at[i].sequence, expected);
    }
    CHECK_U64(rec->stored.at[rec->stored.count - 1].value, 500);
    CHECK_U64(rec->stored.at[rec->stored.count - 1].sequence, 500);
    free(rec->seen.at);
    free(rec->stored.at);
    free(rec);
}

/* ---- several pipelines ---- */

static void independent(void)
{
    static recorder_t recs[8];
    pipeline_t *ps[8];
    size_t i;
    for (i = 0; i < 8; i++) {
        pipeline_storage_t s;
        pthread_mutex_init(&recs[i].mutex, NULL);
        pthread_cond_init(&recs[i].changed, NULL);
        s = recorder_storage(&recs[i]);
        ps[i] = start_pipeline(NULL, &s);
    }
    recorder_hold(&recs[0]); /* one hangs, one is paused, one is closed: the others do not notice */
    capture_numbers(ps[0], 0, 10);
    WAIT_FOR(RECORDED(&recs[0], waiting) == 1);
    CHECK_STATUS(pipeline_pause(ps[1]), PIPELINE_OK);
    capture_numbers(ps[1], 0, 10);
    END(ps[2]);
    for (i = 3; i < 8; i++) {
        capture_numbers(ps[i], i * 100, i * 100 + 50);
        CHECK_STATUS(pipeline_flush(ps[i], PATIENCE_MS), PIPELINE_OK);
        CHECK_VALUES(&recs[i].stored, i * 100, i * 100 + 50);
        END(ps[i]);
        CHECK_U64(recs[i].destroy_calls, 1);
    }
    CHECK_U64(metrics_of(ps[1]).buffered, 10);
    CHECK_U64(RECORDED(&recs[0], stored.count), 0);
    recorder_let_go(&recs[0]);
    END(ps[0]);
    END(ps[1]);
    CHECK_VALUES(&recs[0].stored, 0, 10);
    CHECK_VALUES(&recs[1].stored, 0, 10);
}

int main(void)
{
    flush_waits_for_what_was_captured_before();
    a_death_beside_a_flush();
    flushes_from_many_threads();
    pause_and_scale();
    figures();
    names_of_kinds(PIPELINE_STORAGE_META, 20);
    names_of_kinds(0, 0);
    overflow(PIPELINE_OVERFLOW_DROP_NEWEST);
    overflow(PIPELINE_OVERFLOW_DROP_OLDEST);
    overflow(PIPELINE_OVERFLOW_BLOCK);
    independent();
    return SUMMARY();
}
