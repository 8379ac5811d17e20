/* Input of a capture: kinds, flags, and sizes from 0 to past the limit, and what the storage then receives. Every way to capture (the
 * call, an event struct, a producer, a reservation) refuses the same events and counts them the same. */
#include "../recorder.h"

#define LIMIT 1000

static recorder_t rec = RECORDER_INIT;
static unsigned char big[LIMIT + 16];

enum way { PLAIN, EVENT, PRODUCER, PRODUCER_EVENT, RESERVE, WAYS };
static const char *const way_names[WAYS] = {"pipeline_capture", "pipeline_capture_event", "pipeline_producer_capture",
                                            "pipeline_producer_capture_event", "pipeline_producer_reserve"};

static pipeline_t *p;
static pipeline_producer_t *r;

static int32_t offer(enum way way, uint32_t kind, uint32_t flags, const void *data, size_t len)
{
    pipeline_event_t e = event_of(kind, data, len);
    void *payload = NULL;
    int32_t status;
    e.flags = flags;
    e.correlation_id = 5;
    e.node_id = 6;
    e.timestamp_ns = 77;
    switch (way) {
    case PLAIN:
        return pipeline_capture(p, kind, data, len);
    case EVENT:
        return pipeline_capture_event(p, &e);
    case PRODUCER:
        return pipeline_producer_capture(r, kind, data, len);
    case PRODUCER_EVENT:
        return pipeline_producer_capture_event(r, &e);
    default:
        e.data = NULL;
        e.len = 0;
        status = pipeline_producer_reserve(r, &e, len, &payload);
        if (status != PIPELINE_OK) {
            CHECK(payload == NULL);
            return status;
        }
        CHECK_U64((uintptr_t)payload % 8, 0);
        if (len != 0)
            memcpy(payload, data, len);
        return pipeline_producer_commit(r, len);
    }
}

static void refusals(enum way way)
{
    static const size_t too_large[] = {LIMIT + 1, 65536, (size_t)1 << 32, SIZE_MAX / 2, SIZE_MAX - 7, SIZE_MAX};
    static const uint32_t kinds[] = {PIPELINE_KIND_RESERVED, PIPELINE_KIND_KIND_NAME, PIPELINE_KIND_THREAD, PIPELINE_KIND_CLOCK,
                                     UINT32_MAX};
    pipeline_metrics_t before = metrics_of(p), after;
    char value[32];
    size_t i;
    for (i = 0; i < sizeof too_large / sizeof *too_large; i++) {
        CHECK_FAILS(offer(way, 1, 0, big, too_large[i]), PIPELINE_ERR_TOO_LARGE, "max_event_bytes");
        CHECK_HAS(pipeline_last_error(), "1000");
        snprintf(value, sizeof value, "%zu", too_large[i]);
        CHECK_HAS(pipeline_last_error(), value);
    }
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++)
        CHECK_FAILS(offer(way, kinds[i], 0, big, 4), PIPELINE_ERR_INVALID, "kind");
    after = metrics_of(p);
    if (!CHECK_U64(after.refused_too_large - before.refused_too_large, 6) ||
        !CHECK_U64(after.refused_invalid - before.refused_invalid, 5))
        fprintf(stderr, "  by %s\n", way_names[way]);
    CHECK_U64(after.offered - before.offered, 11);
    CHECK_U64(after.captured, before.captured);
    if (way == EVENT || way == PRODUCER_EVENT || way == RESERVE) {
        static const uint32_t flags[] = {16, 0x40000000u, 0x80000000u, UINT32_MAX};
        for (i = 0; i < sizeof flags / sizeof *flags; i++)
            CHECK_FAILS(offer(way, 1, flags[i], big, 4), PIPELINE_ERR_INVALID, "flags");
        CHECK_U64(metrics_of(p).refused_invalid - after.refused_invalid, 4);
        CHECK_U64(metrics_of(p).offered - after.offered, 4);
    }
    CHECK_LEDGER(p);
}

static void reserved_field(void)
{
    pipeline_event_t e = event_of(1, big, 4);
    void *payload = NULL;
    pipeline_metrics_t before = metrics_of(p), after;
    e.reserved = 9;
    CHECK_FAILS(pipeline_capture_event(p, &e), PIPELINE_ERR_INVALID, "reserved");
    CHECK_HAS(pipeline_last_error(), "9");
    CHECK_FAILS(pipeline_producer_capture_event(r, &e), PIPELINE_ERR_INVALID, "reserved");
    CHECK_FAILS(pipeline_producer_reserve(r, &e, 4, &payload), PIPELINE_ERR_INVALID, "reserved");
    CHECK(payload == NULL);
    after = metrics_of(p);
    CHECK_U64(after.refused_invalid - before.refused_invalid, 3);
    CHECK_LEDGER(p);
}

/* Every length from 0 on, and the limit; every byte arrives as it was. */
static int32_t compare_bytes(recorder_t *rr, const pipeline_batch_t *batch)
{
    size_t i;
    (void)rr;
    CHECK(batch->event_stride >= sizeof(pipeline_event_view_t));
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        CHECK(e->data != NULL);
        CHECK_U64((uintptr_t)e->data % 8, 0);
        CHECK(memcmp(e->data, big, e->len) == 0);
        CHECK(e->weight == 1.0);
    }
    return PIPELINE_STORE_OK;
}

static void sizes(enum way way)
{
    size_t len, i, seen = 0, from = rec.stored.count;
    rec.answer = compare_bytes;
    for (len = 0; len <= LIMIT; len = len < 40 ? len + 1 : len == 40 ? LIMIT - 9 : len + 1) {
        CHECK_STATUS(offer(way, 2, 0, big, len), PIPELINE_OK);
        seen++;
    }
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(rec.stored.count - from, seen);
    for (i = from; i < rec.stored.count; i++) {
        const recorded_t *e = &rec.stored.at[i];
        size_t expected = i - from <= 40 ? i - from : LIMIT - 9 + (i - from - 41);
        CHECK_U64(e->len, expected);
        CHECK_U64(e->kind, 2);
        CHECK_U64(e->flags, 0);
        CHECK_U64(e->correlation_id, way == PLAIN || way == PRODUCER ? 0 : 5);
        CHECK_U64(e->node_id, way == PLAIN || way == PRODUCER ? 0 : 6);
        CHECK(e->timestamp_ns != 77);
        CHECK(i == from || e->sequence == rec.stored.at[i - 1].sequence + 1);
        CHECK(i == from || e->timestamp_ns >= rec.stored.at[i - 1].timestamp_ns);
    }
    rec.answer = NULL;
    CHECK_LEDGER(p);
}

static void flags_and_times(void)
{
    enum way ways[] = {EVENT, PRODUCER_EVENT, RESERVE};
    size_t w;
    for (w = 0; w < 3; w++) {
        size_t from = rec.stored.count;
        CHECK_STATUS(offer(ways[w], PIPELINE_KIND_RESERVED - 1, PIPELINE_EVENT_OWN_TIME, big, 8), PIPELINE_OK);
        CHECK_STATUS(offer(ways[w], 0, PIPELINE_EVENT_PRIORITY, big, 8), PIPELINE_OK);
        CHECK_STATUS(offer(ways[w], 7, PIPELINE_EVENT_PRIORITY | PIPELINE_EVENT_OWN_TIME, big, 8), PIPELINE_OK);
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
        CHECK_U64(rec.stored.count - from, 3);
        for (; from < rec.stored.count; from++) {
            const recorded_t *e = &rec.stored.at[from];
            bool own = (e->flags & PIPELINE_EVENT_OWN_TIME) != 0;
            CHECK(own == (e->timestamp_ns == 77));
            CHECK_U64(e->flags, e->kind == 0   ? PIPELINE_EVENT_PRIORITY
                                : e->kind == 7 ? PIPELINE_EVENT_PRIORITY | PIPELINE_EVENT_OWN_TIME
                                               : PIPELINE_EVENT_OWN_TIME);
        }
    }
}

int main(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    size_t i;
    enum way way;
    for (i = 0; i < sizeof big; i++)
        big[i] = (unsigned char)(i * 31 + 7);
    c.max_event_bytes = LIMIT;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_producer_open(p, &r), PIPELINE_OK);
    for (way = PLAIN; way < WAYS; way++) {
        refusals(way);
        sizes(way);
    }
    reserved_field();
    flags_and_times();
    CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
    END(p);
    CHECK_DISTINCT(&rec.stored);
    return SUMMARY();
}
