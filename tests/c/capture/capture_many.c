/* pipeline_capture_many: the events arrive in order, as if captured one by one. The first event that cannot be captured ends the call;
 * the tests check what is counted then. */
#include "../recorder.h"

#include <signal.h>

enum { MANY = 100 };

static recorder_t rec = RECORDER_INIT;
static uint64_t numbers[MANY];
static pipeline_event_t events[MANY];
static pipeline_t *p;
static pipeline_producer_t *r;

/* Offers `count` of them through the producer, or through the thread's ring buffer. */
static int32_t offer(bool through_producer, const pipeline_event_t *from, size_t count, size_t *captured)
{
    *captured = 12345;
    return through_producer ? pipeline_producer_capture_many(r, from, count, captured)
                            : pipeline_capture_many(p, from, count, captured);
}

static void number_from(uint64_t first)
{
    size_t i;
    for (i = 0; i < MANY; i++) {
        numbers[i] = first + i;
        events[i] = event_of(7, &numbers[i], sizeof numbers[i]);
        events[i].correlation_id = first + i + 1000;
        events[i].node_id = i;
    }
}

static void start(uint32_t overflow, uint64_t ring_bytes)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    c.overflow = overflow;
    /* All in one ring buffer, so that their order is that of the offers. */
    c.priority_ring_bytes = 0;
    /* With writers, a capture that waits gets its space. */
    c.block_timeout_us = ring_bytes ? 1000 : 60000000;
    if (ring_bytes)
        c.ring_bytes = ring_bytes;
    if (ring_bytes)
        c.writers = 0;
    rec.stored.count = rec.seen.count = 0;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_producer_open(p, &r), PIPELINE_OK);
    number_from(0);
}

static void end(void)
{
    CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
    if (metrics_of(p).buffered)
        CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    END(p);
}

static void all_in_order(bool through_producer)
{
    pipeline_metrics_t m;
    size_t captured, i, call;
    uint64_t last = 0;
    start(PIPELINE_OVERFLOW_BLOCK, 0);
    for (call = 0; call < 300; call++) {
        number_from(call * MANY);
        events[3].flags = PIPELINE_EVENT_OWN_TIME;
        events[3].timestamp_ns = 5;
        events[4].flags = PIPELINE_EVENT_PRIORITY;
        events[5].data = NULL;
        events[5].len = 0;
        CHECK_STATUS(offer(through_producer, events, MANY, &captured), PIPELINE_OK);
        CHECK_U64(captured, MANY);
    }
    CHECK_STATUS(offer(through_producer, NULL, 0, &captured), PIPELINE_OK);
    CHECK_U64(captured, 0);
    CHECK_STATUS(pipeline_capture_many(p, events, 2, NULL), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.offered, 300 * MANY + 2);
    CHECK_U64(m.captured, 300 * MANY + 2);
    CHECK_U64(m.bytes_captured, (300 * (MANY - 1) + 2) * sizeof numbers[0]);
    end();
    CHECK_DISTINCT(&rec.stored);
    CHECK_OR_STOP(rec.stored.count == 300 * MANY + 2);
    for (i = 0; i < 300 * MANY; i++) {
        const recorded_t *e = &rec.stored.at[i];
        if (e->node_id == 3)
            CHECK_U64(e->timestamp_ns, 5);
        else
            CHECK(e->timestamp_ns >= last);
        if (e->node_id != 3)
            last = e->timestamp_ns;
        if (e->sequence != i || e->correlation_id != i + 1000 || e->node_id != i % MANY || e->kind != 7 ||
            e->len != (i % MANY == 5 ? 0 : 8) || e->value != (i % MANY == 5 ? 0 : i))
            CHECK_OR_STOP(false);
        CHECK_U64(e->flags, i % MANY == 3 ? PIPELINE_EVENT_OWN_TIME : i % MANY == 4 ? PIPELINE_EVENT_PRIORITY : 0);
    }
}

static void stops_at_what_is_refused(bool through_producer)
{
    static unsigned char too_much[1];
    size_t captured, bad;
    start(PIPELINE_OVERFLOW_DROP_NEWEST, 0);
    for (bad = 0; bad < 6; bad++) {
        static const int32_t status[] = {PIPELINE_ERR_INVALID, PIPELINE_ERR_INVALID, PIPELINE_ERR_INVALID, PIPELINE_ERR_TOO_LARGE,
                                         PIPELINE_ERR_VERSION, PIPELINE_ERR_INVALID};
        static const char *const field[] = {"kind", "flags", "data", "len", "event 40", "reserved"};
        pipeline_metrics_t before = metrics_of(p), after;
        number_from(0);
        switch (bad) {
        case 0: events[40].kind = PIPELINE_KIND_RESERVED; break;
        case 1: events[40].flags = 1 << 20; break;
        case 2: events[40].data = NULL; break;
        case 3: events[40].data = too_much; events[40].len = (size_t)1 << 40; break;
        case 4: events[40].struct_size = sizeof events[0] + 8; break;
        default: events[40].reserved = 1; break;
        }
        CHECK_FAILS(offer(through_producer, events, MANY, &captured), status[bad], field[bad]);
        CHECK_U64(captured, 40);
        after = metrics_of(p);
        CHECK_U64(after.offered - before.offered, 41);
        CHECK_U64(after.captured - before.captured, 40);
        CHECK_U64(after.refused_invalid + after.refused_too_large - before.refused_invalid - before.refused_too_large, 1);
        /* The events behind it may be offered again. */
        CHECK_STATUS(offer(through_producer, events + 41, MANY - 41, &captured), PIPELINE_OK);
        CHECK_U64(captured, MANY - 41);
    }
    CHECK_FAILS(offer(through_producer, NULL, 3, &captured), PIPELINE_ERR_NULL, "event");
    CHECK_U64(captured, 0);
    events[0].struct_size = 4;
    CHECK_FAILS(offer(through_producer, events, 3, &captured), PIPELINE_ERR_VERSION, "struct_size");
    CHECK_U64(captured, 0);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    end();
}

/* Callers that were compiled with a larger struct. */
static void larger_structs(bool through_producer)
{
    struct { pipeline_event_t event; uint64_t more; } larger[10];
    size_t captured, i;
    start(PIPELINE_OVERFLOW_DROP_NEWEST, 0);
    memset(larger, 0, sizeof larger);
    for (i = 0; i < 10; i++) {
        larger[i].event = events[i];
        larger[i].event.struct_size = sizeof larger[i];
    }
    CHECK_STATUS(offer(through_producer, &larger[0].event, 10, &captured), PIPELINE_OK);
    CHECK_U64(captured, 10);
    larger[6].more = 1;
    CHECK_FAILS(offer(through_producer, &larger[0].event, 10, &captured), PIPELINE_ERR_VERSION, "zero");
    CHECK_U64(captured, 6);
    larger[4].event.struct_size = sizeof events[0];
    CHECK_FAILS(offer(through_producer, &larger[0].event, 10, &captured), PIPELINE_ERR_VERSION, "event 4");
    CHECK_U64(captured, 4);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 20);
    CHECK_U64(metrics_of(p).refused_invalid, 2);
    end();
}

static void where_the_ring_is_full(bool through_producer, uint32_t overflow)
{
    pipeline_metrics_t m;
    size_t captured;
    start(overflow, 4096);
    /* 56 bytes each: 73 fit. */
    if (overflow == PIPELINE_OVERFLOW_DROP_OLDEST) {
        CHECK_STATUS(offer(through_producer, events, MANY, &captured), PIPELINE_OK);
        CHECK_U64(captured, MANY);
        CHECK_U64(metrics_of(p).overwritten, MANY - 73);
    } else {
        CHECK_STATUS(offer(through_producer, events, MANY, &captured), PIPELINE_ERR_FULL);
        CHECK_U64(captured, 73);
        m = metrics_of(p);
        CHECK_U64(m.offered, 74);
        CHECK_U64(m.dropped_full, 1);
    }
    CHECK_LEDGER(p);
    end();
}

static void interrupt(int number)
{
    size_t captured = 7;
    (void)number;
    CHECK_STATUS(pipeline_producer_capture_many(r, events, 5, &captured), PIPELINE_ERR_BUSY);
    CHECK_U64(captured, 0);
}

static void while_it_is_in_use(void)
{
    void *room;
    size_t captured;
    start(PIPELINE_OVERFLOW_DROP_NEWEST, 0);
    CHECK_STATUS(pipeline_producer_reserve(r, NULL, 8, &room), PIPELINE_OK);
    signal(SIGUSR1, interrupt);
    raise(SIGUSR1);
    memset(room, 0, 8);
    CHECK_STATUS(pipeline_producer_commit(r, 8), PIPELINE_OK);
    CHECK_U64(metrics_of(p).refused_busy, 1);
    CHECK_U64(metrics_of(p).offered, 2);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(offer(true, events, MANY, &captured), PIPELINE_ERR_CLOSED);
    CHECK_U64(captured, 0);
    CHECK_STATUS(offer(false, events, MANY, &captured), PIPELINE_ERR_CLOSED);
    CHECK_U64(captured, 0);
    CHECK_U64(metrics_of(p).refused_closed, 2);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
}

int main(void)
{
    static const uint32_t policies[] = {PIPELINE_OVERFLOW_DROP_NEWEST, PIPELINE_OVERFLOW_DROP_OLDEST, PIPELINE_OVERFLOW_BLOCK};
    int way, policy;
    for (way = 0; way < 2; way++) {
        all_in_order(way);
        stops_at_what_is_refused(way);
        larger_structs(way);
        for (policy = 0; policy < 3; policy++)
            where_the_ring_is_full(way, policies[policy]);
    }
    while_it_is_in_use();
    return SUMMARY();
}
