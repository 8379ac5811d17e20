/* Two sides that are offered the same: a pipeline through inlined captures, and one through the calls. What each storage has seen can be
 * compared, and the calls that the inlined captures make are counted. */
#ifndef CAPTURE_PIPELINE_INLINED_SIDES_H
#define CAPTURE_PIPELINE_INLINED_SIDES_H

#include "../check.h"

/* The calls that the inlined captures make, counted. */
static unsigned calls;

static int32_t counted_capture(pipeline_producer_t *r, uint32_t kind, const void *data, size_t len)
{
    calls++;
    return pipeline_producer_capture(r, kind, data, len);
}

static int32_t counted_capture_event(pipeline_producer_t *r, const pipeline_event_t *event)
{
    calls++;
    return pipeline_producer_capture_event(r, event);
}

#define pipeline_producer_capture counted_capture
#define pipeline_producer_capture_event counted_capture_event
#include <capture_pipeline_fast.h>
#undef pipeline_producer_capture
#undef pipeline_producer_capture_event
#include "inlined.h"

enum { LONGEST = 180, KEPT = 40000 };

/* ---- one side: a pipeline, its handle, and what its storage has seen ---- */

typedef struct {
    uint64_t sequence, correlation_id, node_id, timestamp_ns, hash;
    uint32_t kind, flags;
    float weight;
    size_t len;
} kept_t;

typedef struct {
    pipeline_t *p;
    pipeline_producer_t *r;
    bool through_calls;
    pipeline_fast_t *fast; /* NULL where the clock is not the processor's counter: calls then, too */
    kept_t kept[KEPT];
    size_t count;
} side_t;

static side_t inlined, called;

CHECK_UNUSED static int32_t keep(void *user_data, const pipeline_batch_t *batch)
{
    side_t *side = (side_t *)user_data;
    size_t i, b;
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        kept_t *k = &side->kept[side->count++];
        CHECK_OR_STOP(side->count < KEPT);
        memset(k, 0, sizeof *k);
        k->sequence = e->sequence;
        k->correlation_id = e->correlation_id;
        k->node_id = e->node_id;
        k->timestamp_ns = e->timestamp_ns;
        k->kind = e->kind;
        k->flags = e->flags;
        k->weight = e->weight;
        k->len = e->len;
        k->hash = UINT64_C(14695981039346656037);
        for (b = 0; b < e->len; b++)
            k->hash = (k->hash ^ ((const unsigned char *)e->data)[b]) * UINT64_C(1099511628211);
    }
    return PIPELINE_STORE_OK;
}

CHECK_UNUSED static void begin(side_t *side, const pipeline_config_t *config, bool through_calls)
{
    pipeline_storage_t s;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = keep;
    s.user_data = side;
    side->count = 0;
    CHECK_STATUS(pipeline_start(config, &s, &side->p), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_open(side->p, &side->r), PIPELINE_OK);
    side->through_calls = through_calls;
    side->fast = through_calls ? NULL : fast_by_the_clock(side->p, side->r);
}

CHECK_UNUSED static void begin_both(const pipeline_config_t *config)
{
    begin(&inlined, config, false);
    begin(&called, config, true);
}

CHECK_UNUSED static void end(side_t *side)
{
    CHECK_STATUS(pipeline_producer_close(side->r), PIPELINE_OK);
    END(side->p);
}

/* Both storages get all that there is. */
CHECK_UNUSED static void drain(uint32_t writers)
{
    side_t *sides[] = {&inlined, &called};
    size_t i;
    for (i = 0; i < 2; i++) {
        CHECK_STATUS(pipeline_scale(sides[i]->p, 1), PIPELINE_OK);
        CHECK_STATUS(pipeline_flush(sides[i]->p, PATIENCE_MS), PIPELINE_OK);
        CHECK_STATUS(pipeline_scale(sides[i]->p, writers), PIPELINE_OK);
    }
}

CHECK_UNUSED static void compare(void)
{
    pipeline_metrics_t a = metrics_of(inlined.p), b = metrics_of(called.p);
    uint64_t last[2] = {0, 0};
    size_t i;
    CHECK_U64(a.offered, b.offered);
    CHECK_U64(a.offered_priority, b.offered_priority);
    CHECK_U64(a.captured_priority, b.captured_priority);
    CHECK_U64(a.dropped_full_priority, b.dropped_full_priority);
    CHECK_U64(a.overwritten_priority, b.overwritten_priority);
    CHECK_U64(a.refused_priority, b.refused_priority);
    CHECK_U64(a.captured, b.captured);
    CHECK_U64(a.bytes_captured, b.bytes_captured);
    CHECK_U64(a.dropped_full, b.dropped_full);
    CHECK_U64(a.overwritten, b.overwritten);
    CHECK_U64(a.refused_invalid, b.refused_invalid);
    CHECK_U64(a.refused_too_large, b.refused_too_large);
    CHECK_U64(a.refused_closed, b.refused_closed);
    CHECK_U64(a.refused_busy, b.refused_busy);
    CHECK_U64(inlined.count, called.count);
    for (i = 0; i < inlined.count && i < called.count; i++) {
        kept_t x = inlined.kept[i], y = called.kept[i];
        if (!(x.flags & PIPELINE_EVENT_OWN_TIME)) {
            /* Events with priority have a ring buffer of their own. */
            uint64_t *before = &last[(x.flags & PIPELINE_EVENT_PRIORITY) != 0];
            CHECK_OR_STOP(x.timestamp_ns >= *before);
            *before = x.timestamp_ns;
            y.timestamp_ns = x.timestamp_ns;
        }
        if (memcmp(&x, &y, sizeof x) != 0) {
            fprintf(stderr, "event %zu: sequence %" PRIu64 " and %" PRIu64 ", kind %u and %u, %zu and %zu bytes\n", i, x.sequence, y.sequence,
                    x.kind, y.kind, x.len, y.len);
            CHECK_OR_STOP(false);
        }
    }
}

CHECK_UNUSED static int32_t plain(side_t *side, uint32_t kind, const void *data, size_t len)
{
    return side->through_calls ? pipeline_producer_capture(side->r, kind, data, len)
                               : pipeline_fast_capture(side->r, side->fast, kind, data, len);
}

CHECK_UNUSED static int32_t with_all(side_t *side, const pipeline_event_t *event)
{
    return side->through_calls ? pipeline_producer_capture_event(side->r, event) : pipeline_fast_capture_event(side->r, side->fast, event);
}

CHECK_UNUSED static pipeline_config_t small(uint32_t overflow)
{
    pipeline_config_t c = config_defaults();
    c.overflow = overflow;
    c.block_timeout_us = 10;
    c.ring_bytes = 4096;
    c.max_event_bytes = LONGEST;
    c.writers = 0;
    return c;
}

#endif
