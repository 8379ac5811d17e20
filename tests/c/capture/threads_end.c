/* Threads that come and go. Each gets a ring and gives it back; threads past max_rings share one ring, and a producer handle past
 * max_rings is refused with PIPELINE_ERR_LIMIT. Also: threads that end with an open reservation, destructors of thread-specific
 * data that capture after the library's own destructor has run, and threads that had only a producer handle. */
#include "../recorder.h"

static pipeline_t *p;

static void *ten_captures(void *from)
{
    uint64_t first = (uint64_t)(uintptr_t)from;
    capture_numbers(p, first, first + 10);
    return NULL;
}

static void many_threads_few_rings(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    uint64_t i;
    size_t same_ring_twice = 0, k;
    c.max_rings = 2;
    p = start_pipeline(&c, &s);
    for (i = 0; i < 500; i++) {
        pthread_t t = start_thread(ten_captures, (void *)(uintptr_t)(i * 10));
        pthread_join(t, NULL);
        CHECK(metrics_of(p).rings <= 2);
    }
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).rings == 0);
    END(p);
    CHECK_U64(rec.stored.count, 5000);
    CHECK_DISTINCT(&rec.stored);
    /* Sorted by identity: the ten events of a thread have one ring id, unless it used the shared ring. */
    for (k = 0; k + 1 < rec.stored.count; k++)
        same_ring_twice += rec.stored.at[k].ring_id == rec.stored.at[k + 1].ring_id;
    CHECK(same_ring_twice >= 500);
    CHECK_VALUES(&rec.stored, 0, 5000);
}

/* More threads at once than rings: the others use the shared ring; every lost event is counted. */
static pthread_barrier_t barrier;
static atomic_uint_fast64_t accepted, busy;
#define EACH 20000
static void *together(void *from)
{
    uint64_t first = (uint64_t)(uintptr_t)from, n;
    pthread_barrier_wait(&barrier);
    for (n = first; n < first + EACH; n++) {
        int32_t status = capture_number(p, n);
        if (status == PIPELINE_OK)
            accepted++;
        else if (CHECK_STATUS(status, PIPELINE_ERR_BUSY))
            busy++;
    }
    pthread_barrier_wait(&barrier); /* all threads live until all have captured, so that no ring is reused */
    return NULL;
}

/* Under the policy `block` they also wait for each other, so that none is refused. */
static void more_threads_than_rings(uint32_t overflow)
{
    static recorder_t recs[] = {RECORDER_INIT, RECORDER_INIT};
    recorder_t *rec = &recs[overflow == PIPELINE_OVERFLOW_BLOCK];
    pipeline_storage_t s = recorder_storage(rec);
    pipeline_config_t c = config_defaults();
    pipeline_producer_t *handle = NULL, *beyond = (pipeline_producer_t *)&c;
    pthread_t threads[12];
    pipeline_metrics_t m;
    size_t i, j, rings = 0;
    c.max_rings = 3;
    c.ring_bytes = UINT64_C(1) << 24;
    c.overflow = overflow;
    c.block_timeout_us = PATIENCE_MS * 1000;
    accepted = busy = 0;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_producer_open(p, &handle), PIPELINE_OK);
    pthread_barrier_init(&barrier, NULL, 12);
    for (i = 0; i < 12; i++)
        threads[i] = start_thread(together, (void *)(uintptr_t)(i * EACH));
    for (i = 0; i < 12; i++)
        pthread_join(threads[i], NULL);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.captured, accepted);
    CHECK_U64(m.refused_busy, busy);
    if (overflow == PIPELINE_OVERFLOW_BLOCK)
        CHECK_U64(busy, 0);
    CHECK_U64(m.offered, 12 * EACH);
    CHECK_LEDGER(p);
    CHECK_U64(rec->stored.count, accepted);
    CHECK_DISTINCT(&rec->stored);
    for (i = 0; i < rec->stored.count; i = j, rings++)
        for (j = i; j < rec->stored.count && rec->stored.at[j].ring_id == rec->stored.at[i].ring_id; j++)
            ;
    CHECK_U64(rings, 3); /* two of threads, one shared; the handle captured nothing */

    /* Handles: three at most at any time. */
    {
        pipeline_producer_t *second = NULL, *third = NULL;
        CHECK_STATUS(pipeline_producer_open(p, &second), PIPELINE_OK);
        CHECK_STATUS(pipeline_producer_open(p, &third), PIPELINE_OK);
        CHECK_FAILS(pipeline_producer_open(p, &beyond), PIPELINE_ERR_LIMIT, "max_rings");
        CHECK_HAS(pipeline_last_error(), "3");
        CHECK(beyond == (pipeline_producer_t *)&c);
        CHECK_STATUS(pipeline_producer_close(second), PIPELINE_OK);
        CHECK_STATUS(pipeline_producer_open(p, &second), PIPELINE_OK);
        CHECK_STATUS(pipeline_producer_close(second), PIPELINE_OK);
        CHECK_STATUS(pipeline_producer_close(third), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_producer_close(handle), PIPELINE_OK);
    END(p);
}

/* A handle that another thread left with a reservation open can still be closed. */
static pipeline_producer_t *left_behind;
static void *ends_with_a_reservation(void *unused)
{
    void *payload = NULL;
    (void)unused;
    CHECK_STATUS(pipeline_producer_open(p, &left_behind), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_capture(left_behind, 1, "12345678", 8), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_reserve(left_behind, NULL, 100, &payload), PIPELINE_OK);
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    return NULL;
}

static void reservations_of_ended_threads(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_metrics_t m;
    uint64_t i;
    p = start_pipeline(NULL, &s);
    for (i = 0; i < 20; i++) {
        pthread_join(start_thread(ends_with_a_reservation, NULL), NULL);
        if (i % 2 == 0)
            CHECK_STATUS(pipeline_producer_abort(left_behind), PIPELINE_OK);
        CHECK_STATUS(pipeline_producer_close(left_behind), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.offered, 40);
    CHECK_U64(m.stored, 40);
    CHECK_LEDGER(p);
    WAIT_FOR(metrics_of(p).rings == 0);
    END(p);
}

/* Captures in destructors of thread-specific data, in every round of them. */
static pthread_key_t key;
static void captures_late(void *round)
{
    uintptr_t left = (uintptr_t)round;
    CHECK_STATUS(capture_number(p, 500 + left), PIPELINE_OK);
    if (left > 1)
        pthread_setspecific(key, (void *)(left - 1));
}

static void *ends_late(void *first)
{
    pthread_setspecific(key, (void *)(uintptr_t)3);
    if (first != NULL)
        CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    return NULL;
}

static void captures_of_ended_threads(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    uint64_t i;
    pthread_key_create(&key, captures_late);
    p = start_pipeline(NULL, &s);
    for (i = 0; i < 200; i++)
        pthread_join(start_thread(ends_late, i % 2 ? &s : NULL), NULL);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 200 * 3 + 100);
    CHECK_U64(metrics_of(p).refused_busy, 0);
    WAIT_FOR(metrics_of(p).rings == 0);
    END(p);
    CHECK_DISTINCT(&rec.stored);
    pthread_key_delete(key);
}

/* A thread that captured only through a producer: what it captures after its end takes no ring that would never be given back. */
static void closes_and_captures(void *round)
{
    uintptr_t left = (uintptr_t)round;
    if (left > 1) {
        pthread_setspecific(key, (void *)(left - 1));
    } else {
        CHECK_STATUS(pipeline_producer_close(left_behind), PIPELINE_OK);
        CHECK_STATUS(capture_number(p, 2), PIPELINE_OK); /* no round of destructors follows */
    }
}

CHECK_UNUSED static void *has_only_a_producer(void *unused)
{
    (void)unused;
    pthread_setspecific(key, (void *)(uintptr_t)4); /* PTHREAD_DESTRUCTOR_ITERATIONS */
    CHECK_STATUS(pipeline_producer_open(p, &left_behind), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_capture(left_behind, 1, "12345678", 8), PIPELINE_OK);
    return NULL;
}

CHECK_UNUSED static void ended_threads_that_had_a_producer(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    int i;
    pthread_key_create(&key, closes_and_captures);
    p = start_pipeline(NULL, &s);
    for (i = 0; i < 20; i++)
        pthread_join(start_thread(has_only_a_producer, NULL), NULL);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 40);
    WAIT_FOR(metrics_of(p).rings == 0);
    END(p);
    pthread_key_delete(key);
}

/* A thread that outlives several pipelines captures into each under its own identity, and none into the wrong one. */
static void one_thread_many_pipelines(void)
{
    recorder_t *recs[12];
    pipeline_t *ps[12];
    uint64_t i, n;
    for (i = 0; i < 12; i++) {
        pipeline_storage_t s;
        recs[i] = recorder_new();
        s = recorder_storage(recs[i]);
        ps[i] = start_pipeline(NULL, &s);
    }
    for (n = 0; n < 200; n++)
        for (i = 0; i < 12; i++)
            CHECK_STATUS(capture_number(ps[i], i * 1000 + n), PIPELINE_OK);
    for (i = 0; i < 12; i += 2)
        END(ps[i]);
    for (i = 1; i < 12; i += 2) {
        capture_numbers(ps[i], i * 1000 + 200, i * 1000 + 300);
        CHECK_U64(metrics_of(ps[i]).rings, 1);
        END(ps[i]);
    }
    for (i = 0; i < 12; i++) {
        CHECK_VALUES(&recs[i]->stored, i * 1000, i * 1000 + (i % 2 ? 300 : 200));
        recorder_free(recs[i]);
    }
}

int main(void)
{
    many_threads_few_rings();
    more_threads_than_rings(PIPELINE_OVERFLOW_DROP_NEWEST);
    more_threads_than_rings(PIPELINE_OVERFLOW_BLOCK);
    reservations_of_ended_threads();
    captures_of_ended_threads();
    /* (ThreadSanitizer knows nothing of a thread any more in the last round of its destructors.) */
#ifndef UNDER_THREAD_SANITIZER
    ended_threads_that_had_a_producer();
#endif
    one_thread_many_pipelines();
    return SUMMARY();
}
