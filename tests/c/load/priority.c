/* Events with PIPELINE_EVENT_PRIORITY: they have room of their own, are stored first, and leave every eighth call to the others. Each
 * form of capture takes them. */
#include "priority.h"

#include <signal.h>

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
    reservations();
    what_is_too_large_goes_with_the_others();
    without_priority_rings_they_are_like_all_others();
    they_do_not_linger();
    the_first_may_come_from_a_signal_handler();
    return SUMMARY();
}
