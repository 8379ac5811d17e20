/* Ordering and pinned rings. With per_producer a ring has one batch out at a time, in order, while other rings go on. A ring that is
 * pinned past storage_deadline_ms is retired, and its producer continues in a new one. */
#include "../recorder.h"

#define RINGS 4
#define EVENTS 2000

/* For each ring: the next sequence number that may come, and whether a batch of it is being stored. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    uint64_t ring_id, next;
    bool taken, busy;
} rings[RINGS];

static int find(uint64_t ring_id)
{
    int i;
    for (i = 0; i < RINGS; i++)
        if (!rings[i].taken || rings[i].ring_id == ring_id) {
            rings[i].taken = true;
            rings[i].ring_id = ring_id;
            return i;
        }
    CHECK_OR_STOP(false);
    return -1;
}

static int32_t in_order(recorder_t *r, const pipeline_batch_t *batch)
{
    size_t i, stored = batch->count;
    int at;
    int32_t answer = PIPELINE_STORE_OK;
    (void)r;
    pthread_mutex_lock(&mutex);
    at = find(PIPELINE_BATCH_EVENT(batch, 0)->ring_id);
    CHECK(!rings[at].busy);
    rings[at].busy = true;
    pthread_mutex_unlock(&mutex);
    sched_yield();
    if (batch->batch_id % 3 == 0 && batch->attempt < 3) {
        answer = PIPELINE_STORE_RETRY;
        stored = batch->count / 2;
        CHECK_STATUS(pipeline_batch_set_stored(batch, stored), PIPELINE_OK);
    }
    pthread_mutex_lock(&mutex);
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        CHECK_U64(e->ring_id, rings[at].ring_id); /* a batch holds one ring */
        CHECK_U64(e->sequence, rings[at].next + i);
    }
    rings[at].next += stored;
    rings[at].busy = false;
    pthread_mutex_unlock(&mutex);
    return answer;
}

static pipeline_t *p;
static void *producing(void *number)
{
    pipeline_producer_t *producer = NULL;
    uint64_t n;
    (void)number;
    CHECK_STATUS(pipeline_producer_open(p, &producer), PIPELINE_OK);
    for (n = 0; n < EVENTS; n++)
        CHECK_STATUS(pipeline_producer_capture(producer, 1, &n, sizeof n), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_close(producer), PIPELINE_OK);
    return NULL;
}

static void per_producer(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pthread_t threads[RINGS];
    int i;
    c.ordering = PIPELINE_ORDERING_PER_PRODUCER;
    c.writers = 4;
    c.batch_size = 20;
    c.retry_initial_us = 10;
    c.retry_max_us = 50;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    rec.answer = in_order;
    p = start_pipeline(&c, &s);
    for (i = 0; i < RINGS; i++)
        threads[i] = start_thread(producing, NULL);
    for (i = 0; i < RINGS; i++)
        pthread_join(threads[i], NULL);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, RINGS * EVENTS);
    for (i = 0; i < RINGS; i++)
        CHECK_U64(rings[i].next, EVENTS);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
}

/* The first batch is answered when the test says so. */
static atomic_uint_fast64_t held;
static int32_t hold_the_first(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    if (batch->batch_id > 1)
        return PIPELINE_STORE_OK;
    held = batch->token;
    return PIPELINE_STORE_PENDING;
}

static void a_pinned_ring(bool ordered)
{
    recorder_t *rec = recorder_new();
    pipeline_storage_t s;
    pipeline_config_t c = config_defaults();
    pipeline_producer_t *producer = NULL;
    pipeline_metrics_t m;
    uint64_t n = 0, full = 0, captured = 0, deadline;
    size_t i, ids = 0;
    s = recorder_storage(rec);
    s.release = recorder_release;
    held = 0;
    c.ring_bytes = 4096;
    c.storage_deadline_ms = 20;
    c.batch_size = 4;
    c.max_retired_rings = 2;
    c.ordering = ordered ? PIPELINE_ORDERING_PER_PRODUCER : PIPELINE_ORDERING_NONE;
    rec->answer = hold_the_first;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_producer_open(p, &producer), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_capture(producer, 1, &n, sizeof n), PIPELINE_OK);
    captured = 1;
    WAIT_FOR(held != 0);
    WAIT_FOR(metrics_of(p).in_doubt == 1);
    deadline = now_ms() + PATIENCE_MS;
    /* Captures until the ring is replaced, or, if it must not be, until it has been full for long enough. */
    while (captured < 500 && full < (ordered ? 100 : UINT64_MAX) && now_ms() < deadline) {
        int32_t status = pipeline_producer_capture(producer, 1, &captured, sizeof captured);
        if (status == PIPELINE_OK) {
            captured++;
        } else {
            CHECK_STATUS(status, PIPELINE_ERR_FULL);
            full++;
            pause_a_little();
        }
    }
    m = metrics_of(p);
    CHECK_U64(m.captured, captured);
    CHECK_U64(m.dropped_full, full);
    CHECK(full > 0 || !ordered);
    if (ordered) {
        CHECK_U64(m.rings_retired, 0);
        CHECK_U64(m.stored, 0); /* no later event of the pinned ring is stored */
    } else {
        CHECK_U64(captured, 500);
        CHECK(m.rings_retired >= 1 && m.rings_retired <= 2);
        CHECK_U64(health_of(p).reasons & PIPELINE_HEALTH_RETIRED, PIPELINE_HEALTH_RETIRED);
        WAIT_FOR(metrics_of(p).stored == captured - 1);
    }
    CHECK_U64(health_of(p).reasons & PIPELINE_HEALTH_STUCK, PIPELINE_HEALTH_STUCK);
    CHECK_U64(metrics_of(p).in_doubt, 1);
    CHECK_LEDGER(p);
    /* A late answer is honoured, once. */
    CHECK_STATUS(pipeline_batch_complete(held, PIPELINE_STORE_OK), PIPELINE_OK);
    CHECK_STATUS(pipeline_batch_complete(held, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, captured);
    CHECK_U64(metrics_of(p).in_doubt, 0);
    WAIT_FOR(metrics_of(p).rings_retired == 0);
    CHECK_STATUS(pipeline_producer_capture(producer, 1, &captured, sizeof captured), PIPELINE_OK);
    captured++;
    CHECK_STATUS(pipeline_producer_close(producer), PIPELINE_OK);
    END(p);
    CHECK_VALUES(&rec->released, 0, captured);
    CHECK_U64(rec->stored.count, captured - 1); /* and the pending one */
    CHECK_DISTINCT(&rec->stored);
    for (i = 0; i < rec->stored.count; i++)
        ids += i == 0 || rec->stored.at[i].ring_id != rec->stored.at[i - 1].ring_id;
    CHECK(ordered ? ids == 1 : ids >= 2); /* a new ring has an id of its own */
    recorder_free(rec);
}

/* A linger lets a batch fill, and keeps neither a full batch nor a flush nor a close waiting. */
static void linger(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    uint64_t n;
    c.linger_us = 60000000; /* a minute: only a full batch or a flush ends it */
    c.batch_size = 100;
    p = start_pipeline(&c, &s);
    for (n = 0; n < 100; n++)
        CHECK_STATUS(capture_number(p, n), PIPELINE_OK);
    WAIT_FOR(RECORDED(&rec, stored.count) == 100); /* full: at once */
    for (n = 100; n < 130; n++)
        CHECK_STATUS(capture_number(p, n), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK); /* a flush does not wait for the linger */
    CHECK_U64(RECORDED(&rec, stored.count), 130);
    for (n = 130; n < 150; n++)
        CHECK_STATUS(capture_number(p, n), PIPELINE_OK);
    END(p); /* nor does a close */
    CHECK_VALUES(&rec.stored, 0, 150);
}

int main(void)
{
    per_producer();
    a_pinned_ring(false);
    a_pinned_ring(true);
    linger();
    return SUMMARY();
}
