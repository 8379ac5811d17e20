/* Events with PIPELINE_EVENT_PRIORITY: they have room of their own, are stored first, and leave every eighth call to the others. A place in flight and a
 * writer are kept for them. Each form of capture takes them. */
#include "../recorder.h"

#include <signal.h>

enum { PRIORITY = PIPELINE_EVENT_PRIORITY, KIND = 3 };

static recorder_t *rec;

static int32_t capture_on(pipeline_t *p, pipeline_producer_t *r, uint64_t number, uint32_t flags)
{
    pipeline_event_t e = event_of(KIND, &number, sizeof number);
    e.flags = flags;
    return r != NULL ? pipeline_producer_capture_event(r, &e) : pipeline_capture_event(p, &e);
}

static int32_t capture(pipeline_t *p, uint64_t number, uint32_t flags)
{
    return capture_on(p, NULL, number, flags);
}

static pipeline_config_t small(uint32_t writers)
{
    pipeline_config_t c = config_defaults();
    c.writers = writers;
    c.batch_size = 1;
    return c;
}

static pipeline_t *begin(const pipeline_config_t *c, uint32_t storage_flags)
{
    pipeline_storage_t s;
    rec = recorder_new();
    s = recorder_storage(rec);
    s.flags = storage_flags;
    return start_pipeline(c, &s);
}

static void end(pipeline_t *p)
{
    END(p);
    recorder_free(rec);
}

static uint64_t fill(pipeline_t *p, uint32_t flags)
{
    uint64_t n = 0;
    while (n < 100000 && capture(p, n, flags) == PIPELINE_OK)
        n++;
    return n;
}

static void room_of_their_own(void)
{
    pipeline_config_t c = small(0);
    pipeline_metrics_t m;
    pipeline_t *p;
    uint64_t others, priority, i;
    uint64_t rings[2] = {0, 0}, next[2] = {0, 0};
    c.batch_size = 512;
    c.priority_ring_bytes = 4096;
    p = begin(&c, 0);
    others = fill(p, 0);
    CHECK_U64(others, 1048576 / 56);
    priority = fill(p, PRIORITY);
    CHECK_U64(priority, 4096 / 56);
    CHECK_STATUS(capture(p, 0, 0), PIPELINE_ERR_FULL);
    m = metrics_of(p);
    CHECK_U64(m.captured, others + priority);
    CHECK_U64(m.captured_priority, priority);
    CHECK_U64(m.dropped_full, 3);
    CHECK_U64(m.dropped_full_priority, 1);
    CHECK_U64(m.offered_priority, priority + 1);
    CHECK_U64(m.buffered_priority, priority);
    CHECK_U64(m.rings, 1);
    CHECK_U64(pipeline_pressure(p), 100);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.stored, others + priority);
    CHECK_U64(m.stored_priority, priority);
    /* Later ones count from behind the event that was dropped. */
    CHECK_STATUS(capture(p, priority, PRIORITY), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(rec->stored.at[rec->stored.count - 1].sequence, priority + 1);
    rec->stored.count--;
    CHECK(rec->stored.at[0].flags == PRIORITY);
    for (i = 0; i < rec->stored.count; i++) {
        const recorded_t *e = &rec->stored.at[i];
        size_t which = e->flags == PRIORITY;
        if (next[which] == 0)
            rings[which] = e->ring_id;
        if (e->ring_id != rings[which] || e->sequence != next[which] || e->value != next[which])
            CHECK_OR_STOP(false);
        next[which]++;
    }
    CHECK(rings[0] != rings[1]);
    end(p);
}

static void every_eighth_call_is_an_ordinary_one(void)
{
    pipeline_config_t c = small(0);
    pipeline_t *p = begin(&c, 0);
    uint64_t n;
    for (n = 0; n < 70; n++) {
        CHECK_STATUS(capture(p, n, 0), PIPELINE_OK);
        CHECK_STATUS(capture(p, n, PRIORITY), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(rec->store_calls, 140);
    for (n = 0; n < 80; n++)
        CHECK_U64(rec->seen.at[n].flags, n % 8 == 7 ? 0 : PRIORITY);
    for (; n < 140; n++)
        CHECK_U64(rec->seen.at[n].flags, 0);
    end(p);
}

/* The first attempts with ordinary events fail, and their batches wait. */
static int32_t ordinary_retry(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    return PIPELINE_BATCH_EVENT(batch, 0)->flags == 0 && batch->attempt < 3 ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

static void retries_come_after_them(void)
{
    pipeline_config_t c = small(0);
    pipeline_t *p;
    uint64_t n, priority = 0;
    c.retry_initial_us = 0;
    c.breaker_failures = 0;
    p = begin(&c, 0);
    rec->answer = ordinary_retry;
    for (n = 0; n < 20; n++) {
        CHECK_STATUS(capture(p, n, 0), PIPELINE_OK);
        CHECK_STATUS(capture(p, n, PRIORITY), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    for (n = 0; n < rec->seen.count && priority < 20; n++) {
        CHECK_U64(rec->seen.at[n].flags, n % 8 == 7 ? 0 : PRIORITY);
        priority += rec->seen.at[n].flags == PRIORITY;
    }
    CHECK_U64(rec->seen.count, 20 + 3 * 20);
    end(p);
}

static int32_t ordinary_pending(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    return PIPELINE_BATCH_EVENT(batch, 0)->flags == 0 ? PIPELINE_STORE_PENDING : PIPELINE_STORE_OK;
}

static size_t seen_of(uint32_t flags)
{
    size_t i, n = 0;
    pthread_mutex_lock(&rec->mutex);
    for (i = 0; i < rec->seen.count; i++)
        n += rec->seen.at[i].flags == flags;
    pthread_mutex_unlock(&rec->mutex);
    return n;
}

/* Answers all that is pending, until everything is settled. */
static void answer_all(pipeline_t *p)
{
    size_t answered = 0;
    while (metrics_of(p).stored < metrics_of(p).captured && checks_failed == 0) {
        uint64_t token = 0;
        pthread_mutex_lock(&rec->mutex);
        if (answered < rec->seen.count) {
            token = rec->seen.at[answered].flags == 0 ? rec->seen.at[answered].token : 0;
            answered++;
        }
        pthread_mutex_unlock(&rec->mutex);
        if (token != 0)
            CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_OK);
        else
            pause_a_little();
    }
}

static void a_place_in_flight_is_kept(void)
{
    pipeline_config_t c = small(1);
    pipeline_t *p;
    uint64_t n;
    c.max_in_flight = 4;
    p = begin(&c, 0);
    rec->answer = ordinary_pending;
    CHECK_STATUS(capture(p, 0, PRIORITY), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    for (n = 0; n < 10; n++)
        CHECK_STATUS(capture(p, n, 0), PIPELINE_OK);
    WAIT_FOR(seen_of(0) == 3);
    for (n = 1; n < 50; n++) {
        CHECK_STATUS(capture(p, n, PRIORITY), PIPELINE_OK);
        WAIT_FOR(seen_of(PRIORITY) == n + 1);
    }
    CHECK_U64(seen_of(0), 3);
    CHECK_U64(metrics_of(p).in_flight, 3);
    answer_all(p);
    end(p);
}

/* Nothing can be kept where there is one place: what comes next is theirs. */
static void with_one_place_the_next_batch_is_theirs(void)
{
    pipeline_config_t c = small(1);
    pipeline_t *p;
    uint64_t token;
    c.max_in_flight = 1;
    p = begin(&c, 0);
    rec->answer = ordinary_pending;
    CHECK_STATUS(capture(p, 0, 0), PIPELINE_OK);
    WAIT_FOR(seen_of(0) == 1);
    CHECK_STATUS(capture(p, 1, 0), PIPELINE_OK);
    CHECK_STATUS(capture(p, 0, PRIORITY), PIPELINE_OK);
    pthread_mutex_lock(&rec->mutex);
    token = rec->seen.at[0].token;
    pthread_mutex_unlock(&rec->mutex);
    CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_OK);
    WAIT_FOR(seen_of(0) == 2);
    CHECK_U64(rec->seen.at[1].flags, PRIORITY);
    rec->answer = NULL;
    CHECK_STATUS(pipeline_batch_complete(rec->seen.at[2].token, PIPELINE_STORE_OK), PIPELINE_OK);
    end(p);
}

static void a_writer_is_kept(void)
{
    pipeline_config_t c = small(3);
    pipeline_t *p = begin(&c, PIPELINE_STORAGE_CONCURRENT);
    uint64_t n;
    CHECK_STATUS(capture(p, 0, PRIORITY), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    pthread_mutex_lock(&rec->mutex);
    rec->hold = true;
    pthread_mutex_unlock(&rec->mutex);
    for (n = 0; n < 5; n++)
        CHECK_STATUS(capture(p, n, 0), PIPELINE_OK);
    WAIT_FOR(seen_of(0) == 2);
    CHECK_STATUS(capture(p, 1, PRIORITY), PIPELINE_OK);
    WAIT_FOR(seen_of(PRIORITY) == 2);
    CHECK_U64(seen_of(0), 2);
    recorder_let_go(rec);
    end(p);
}

/* Without events with priority, nothing is kept. */
static void nothing_is_kept_without_them(void)
{
    pipeline_config_t c = small(3);
    pipeline_t *p = begin(&c, PIPELINE_STORAGE_CONCURRENT);
    uint64_t n;
    rec->hold = true;
    for (n = 0; n < 5; n++)
        CHECK_STATUS(capture(p, n, 0), PIPELINE_OK);
    WAIT_FOR(seen_of(0) == 3);
    recorder_let_go(rec);
    end(p);
}

static void reservations(void)
{
    pipeline_config_t c = small(1);
    pipeline_t *p = begin(&c, 0);
    pipeline_producer_t *r;
    pipeline_event_t head = event_of(KIND, NULL, 0);
    uint64_t number = 77;
    void *room;
    CHECK_STATUS(pipeline_producer_open(p, &r), PIPELINE_OK);
    head.flags = PRIORITY;
    CHECK_STATUS(pipeline_producer_reserve(r, &head, 100, &room), PIPELINE_OK);
    /* One reservation per producer. */
    CHECK_STATUS(pipeline_producer_reserve(r, NULL, 8, &room), PIPELINE_ERR_BUSY);
    CHECK_STATUS(capture_on(p, r, 1, 0), PIPELINE_ERR_BUSY);
    CHECK_STATUS(capture_on(p, r, 1, PRIORITY), PIPELINE_ERR_BUSY);
    CHECK_STATUS(pipeline_producer_commit(r, 101), PIPELINE_ERR_INVALID);
    memcpy(room, &number, sizeof number);
    CHECK_STATUS(pipeline_producer_commit(r, sizeof number), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_commit(r, 0), PIPELINE_ERR_STATE);
    CHECK_STATUS(pipeline_producer_reserve(r, &head, 100, &room), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_abort(r), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_abort(r), PIPELINE_ERR_STATE);
    /* The other ring buffer is free while an event without priority is reserved. */
    CHECK_STATUS(pipeline_producer_reserve(r, NULL, 8, &room), PIPELINE_OK);
    CHECK_STATUS(capture_on(p, r, 78, PRIORITY), PIPELINE_OK);
    memcpy(room, &number, sizeof number);
    CHECK_STATUS(pipeline_producer_commit(r, sizeof number), PIPELINE_OK);
    /* Closed over a reservation with priority: aborted. */
    CHECK_STATUS(pipeline_producer_reserve(r, &head, 8, &room), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 3);
    CHECK_U64(metrics_of(p).stored_priority, 2);
    CHECK_U64(metrics_of(p).refused_busy, 3);
    CHECK_U64(metrics_of(p).refused_priority, 1);
    CHECK_U64(seen_of(PRIORITY), 2);
    end(p);
}

static void what_is_too_large_goes_with_the_others(void)
{
    static char payload[16384];
    pipeline_config_t c = small(1);
    pipeline_event_t e = event_of(KIND, payload, 16384 - 64);
    pipeline_t *p = begin(&c, 0);
    e.flags = PRIORITY;
    CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK);
    e.len++;
    CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 2);
    CHECK_U64(metrics_of(p).stored_priority, 1);
    CHECK_U64(seen_of(PRIORITY), 2);
    end(p);
}

static void without_priority_rings_they_are_like_all_others(void)
{
    pipeline_config_t c = small(0);
    pipeline_t *p;
    uint64_t n;
    c.priority_ring_bytes = 0;
    p = begin(&c, 0);
    for (n = 0; n < 10; n++)
        CHECK_STATUS(capture(p, n, n % 2 ? PRIORITY : 0), PIPELINE_OK);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    for (n = 0; n < 10; n++) {
        CHECK_U64(rec->seen.at[n].value, n);
        CHECK_U64(rec->seen.at[n].sequence, n);
    }
    CHECK_U64(metrics_of(p).offered_priority, 0);
    end(p);
}

/* They do not wait for a batch to fill. */
static void they_do_not_linger(void)
{
    pipeline_config_t c = small(1);
    pipeline_t *p;
    c.batch_size = 512;
    c.linger_us = 60000000;
    p = begin(&c, 0);
    CHECK_STATUS(capture(p, 0, 0), PIPELINE_OK);
    CHECK_STATUS(capture(p, 0, PRIORITY), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).stored_priority == 1);
    CHECK_U64(metrics_of(p).stored, 1);
    end(p);
}

static pipeline_t *interrupted;
static int32_t in_handler[2];

static void handler(int signal)
{
    (void)signal;
    in_handler[0] = capture(interrupted, 1, 0);
    in_handler[1] = capture(interrupted, 1, PRIORITY);
}

/* The thread's ring buffer for them is there since its first capture, and has a busy word of its own. */
static void the_first_may_come_from_a_signal_handler(void)
{
    pipeline_config_t c = small(1);
    pipeline_t *p = interrupted = begin(&c, 0);
    CHECK_STATUS(capture(p, 0, 0), PIPELINE_OK);
    CHECK(signal(SIGUSR1, handler) != SIG_ERR);
    CHECK(raise(SIGUSR1) == 0);
    CHECK_STATUS(in_handler[0], PIPELINE_OK);
    CHECK_STATUS(in_handler[1], PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored_priority, 1);
    end(p);
}

int main(void)
{
    room_of_their_own();
    every_eighth_call_is_an_ordinary_one();
    retries_come_after_them();
    a_place_in_flight_is_kept();
    with_one_place_the_next_batch_is_theirs();
    a_writer_is_kept();
    nothing_is_kept_without_them();
    reservations();
    what_is_too_large_goes_with_the_others();
    without_priority_rings_they_are_like_all_others();
    they_do_not_linger();
    the_first_may_come_from_a_signal_handler();
    return SUMMARY();
}
