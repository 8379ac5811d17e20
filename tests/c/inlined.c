/* Captures that are compiled into the program (capture_pipeline_fast.h) against the calls: the same offers to two pipelines, one
 * through each, are answered alike, counted alike, and stored alike, whatever is the matter with them. And they are
 * not calls, where nothing is the matter and the processor's counter stamps events; where it does not, all are. */
#include "check.h"

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

enum { LONGEST = 180, SIZES = 200, EVENTS = 20000, KEPT = EVENTS * 2 };

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

static int32_t keep(void *user_data, const pipeline_batch_t *batch)
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

static void begin(side_t *side, const pipeline_config_t *config, bool through_calls)
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

static void begin_both(const pipeline_config_t *config)
{
    begin(&inlined, config, false);
    begin(&called, config, true);
}

static void end(side_t *side)
{
    CHECK_STATUS(pipeline_producer_close(side->r), PIPELINE_OK);
    END(side->p);
}

/* Both storages get all that there is. */
static void drain(uint32_t writers)
{
    side_t *sides[] = {&inlined, &called};
    size_t i;
    for (i = 0; i < 2; i++) {
        CHECK_STATUS(pipeline_scale(sides[i]->p, 1), PIPELINE_OK);
        CHECK_STATUS(pipeline_flush(sides[i]->p, PATIENCE_MS), PIPELINE_OK);
        CHECK_STATUS(pipeline_scale(sides[i]->p, writers), PIPELINE_OK);
    }
}

static void compare(void)
{
    pipeline_metrics_t a = metrics_of(inlined.p), b = metrics_of(called.p);
    uint64_t last = 0;
    size_t i;
    CHECK_U64(a.offered, b.offered);
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
            CHECK_OR_STOP(x.timestamp_ns >= last);
            last = x.timestamp_ns;
            y.timestamp_ns = x.timestamp_ns;
        }
        if (memcmp(&x, &y, sizeof x) != 0) {
            fprintf(stderr, "event %zu: sequence %" PRIu64 " and %" PRIu64 ", kind %u and %u, %zu and %zu bytes\n", i, x.sequence, y.sequence,
                    x.kind, y.kind, x.len, y.len);
            CHECK_OR_STOP(false);
        }
    }
}

/* ---- the offers ---- */

static unsigned char bytes[SIZES + 1];

static int32_t plain(side_t *side, uint32_t kind, const void *data, size_t len)
{
    return side->through_calls ? pipeline_producer_capture(side->r, kind, data, len)
                               : pipeline_fast_capture(side->r, side->fast, kind, data, len);
}

static int32_t with_all(side_t *side, const pipeline_event_t *event)
{
    return side->through_calls ? pipeline_producer_capture_event(side->r, event) : pipeline_fast_capture_event(side->r, side->fast, event);
}

/* Of a length that the compiler knows. */
#define KNOWN(len)                                                                                                     \
    case len:                                                                                                          \
        return side->through_calls ? pipeline_producer_capture(side->r, 3, bytes, len)                                 \
                                   : pipeline_fast_capture(side->r, side->fast, 3, bytes, len)

static int32_t of_known_length(side_t *side, unsigned which)
{
    static const unsigned lengths[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 32, 33, 64, 65, 100, 127, 128, 129, 180, 181};
    switch (lengths[which % (sizeof lengths / sizeof *lengths)]) {
        KNOWN(0); KNOWN(1); KNOWN(2); KNOWN(3); KNOWN(7); KNOWN(8); KNOWN(15); KNOWN(16); KNOWN(17); KNOWN(32); KNOWN(33);
        KNOWN(64); KNOWN(65); KNOWN(100); KNOWN(127); KNOWN(128); KNOWN(129); KNOWN(180); KNOWN(181);
    }
    return PIPELINE_ERR_INTERNAL;
}

/* Offer `n` of a sequence in which everything occurs. */
static int32_t offer(side_t *side, unsigned n)
{
    pipeline_event_t e = event_of(n, bytes + n % 2, n * 7 % SIZES);
    memset(bytes, (int)n, sizeof bytes);
    bytes[n % SIZES] ^= 0x55;
    e.correlation_id = n * UINT64_C(0x123456789);
    e.node_id = ~(uint64_t)n;
    switch (n % 19) {
    case 0: return plain(side, PIPELINE_KIND_RESERVED, bytes, 8);
    case 1: return plain(side, PIPELINE_KIND_RESERVED - 1, bytes, 8);
    case 2: return plain(side, n, NULL, 0);
    case 3: return plain(side, n, NULL, 5);
    case 4: return plain(side, n, bytes, (size_t)-(int64_t)n);
    case 5: return with_all(side, NULL);
    case 6: e.flags = PIPELINE_EVENT_OWN_TIME; e.timestamp_ns = n; break;
    case 7: e.flags = PIPELINE_EVENT_PRIORITY | PIPELINE_EVENT_RELEASE; break;
    case 8: e.flags = n % 2 ? 8 : UINT32_C(1) << 30; break;
    case 9: e.reserved = 1; break;
    case 10: e.struct_size = n % 2 ? 4 : 5000; break;
    case 11: e.kind = UINT32_MAX; break;
    case 12: case 13: return of_known_length(side, n);
    case 14: case 15: break;
    default: return plain(side, n, bytes + n % 3, n % SIZES > 2 ? n % SIZES - 2 : 0);
    }
    return with_all(side, &e);
}

static pipeline_config_t small(uint32_t overflow)
{
    pipeline_config_t c = config_defaults();
    c.overflow = overflow;
    c.block_timeout_us = 10;
    c.ring_bytes = 4096;
    c.max_event_bytes = LONGEST;
    c.writers = 0;
    return c;
}

/* A small ring, often at its end, full, drained now and then. */
static void everything_alike(uint32_t overflow)
{
    pipeline_config_t c = small(overflow);
    unsigned n, room = 1;
    const unsigned events = (unsigned)count_of(EVENTS, 3000);
    begin_both(&c);
    for (n = 0; n < events; n++) {
        int32_t a = offer(&inlined, n), b = offer(&called, n);
        if (!CHECK_STATUS(a, b)) {
            fprintf(stderr, "  offer %u\n", n);
            break;
        }
        if (n % 100 == room) {
            drain(0);
            room = (room + 61) % 100;
        }
    }
    drain(0);
    compare();
    CHECK(metrics_of(inlined.p).refused_invalid > 100 && metrics_of(inlined.p).refused_too_large > 100);
    CHECK((overflow == PIPELINE_OVERFLOW_DROP_OLDEST ? metrics_of(inlined.p).overwritten : metrics_of(inlined.p).dropped_full) > events / 200);
    end(&inlined);
    end(&called);
}

/* Where nothing is the matter no call is made, but for the first, where the ring begins again, and for each 16 KiB of its first lap.
 * Without the processor's counter each is one. */
static void no_calls(void)
{
    pipeline_config_t c = config_defaults();
    size_t len, calls_before, steps = 0;
    c.writers = 0;
    begin_both(&c);
    for (len = 0; len < SIZES; len++) {
        pipeline_event_t e = event_of(7, bytes, len);
        e.flags = len % 2 ? PIPELINE_EVENT_OWN_TIME : 0;
        CHECK_STATUS(plain(&inlined, 7, bytes, len), PIPELINE_OK);
        calls_before = calls;
        CHECK_STATUS(plain(&inlined, 7, bytes, len), PIPELINE_OK);
        CHECK_STATUS(with_all(&inlined, &e), PIPELINE_OK);
        calls_before += inlined.fast == NULL || len > 128 ? 2 : 0;
        CHECK(calls == calls_before || (inlined.fast != NULL && calls == calls_before + 1));
        steps += calls - calls_before;
    }
    CHECK(steps <= metrics_of(inlined.p).backlog_bytes / (16 << 10) + 1);
    drain(0);
    CHECK_U64(inlined.count, 3 * SIZES);
    end(&inlined);
    end(&called);
}

static uint32_t gate(void) { return __atomic_load_n(&inlined.fast->signs->gate, __ATOMIC_RELAXED); }

/* A writer that sleeps is woken before the capture answers: the gate, which counts its changes, is no longer as it was. */
static void wakes(void)
{
    pipeline_config_t c = config_defaults();
    uint32_t before;
    unsigned n;
    c.poll_interval_ms = 60000;
    begin(&inlined, &c, false);
    if (inlined.fast == NULL) { /* and no gate to be seen from here */
        end(&inlined);
        return;
    }
    CHECK_STATUS(plain(&inlined, 7, "first", 5), PIPELINE_OK);
    for (n = 0; n < 10; n++) {
        CHECK_STATUS(pipeline_flush(inlined.p, PATIENCE_MS), PIPELINE_OK);
        WAIT_FOR((gate() & 3) != 0);
        before = gate();
        CHECK_STATUS(plain(&inlined, 7, "more", 4), PIPELINE_OK);
        CHECK(gate() != before);
    }
    end(&inlined);
}

/* Time does not go back where the thread comes to a processor whose counter is behind. */
static void counter_behind(void)
{
    pipeline_config_t c = config_defaults();
    c.writers = 0;
    begin_both(&c);
    if (inlined.fast == NULL) { /* and no counter */
        end(&inlined);
        end(&called);
        return;
    }
    CHECK_STATUS(plain(&inlined, 7, "first", 5), PIPELINE_OK);
    inlined.fast->last_ticks += UINT64_C(1) << 32;
    CHECK_STATUS(pipeline_producer_capture(inlined.r, 7, "second", 6), PIPELINE_OK);
    CHECK_STATUS(plain(&inlined, 7, "third", 5), PIPELINE_OK);
    drain(0);
    CHECK_U64(inlined.count, 3);
    CHECK_U64(inlined.kept[2].timestamp_ns, inlined.kept[1].timestamp_ns);
    end(&inlined);
    end(&called);
}

/* ---- what a pipeline, a handle or a process may be in ---- */

static void alike_while(void (*are)(side_t *side), int32_t status)
{
    pipeline_config_t c = small(PIPELINE_OVERFLOW_DROP_NEWEST);
    side_t *sides[] = {&inlined, &called};
    size_t i;
    begin_both(&c);
    for (i = 0; i < 2; i++) {
        pipeline_event_t e = event_of(5, "whole", 5);
        CHECK_STATUS(plain(sides[i], 5, "first", 5), PIPELINE_OK);
        are(sides[i]);
        CHECK_STATUS(plain(sides[i], 5, "second", 6), status);
        CHECK_STATUS(with_all(sides[i], &e), status);
        CHECK_STATUS(plain(sides[i], PIPELINE_KIND_RESERVED, "x", 1), status == PIPELINE_OK ? PIPELINE_ERR_INVALID : status);
        pipeline_producer_abort(sides[i]->r);
        pipeline_resume(sides[i]->p);
    }
    if (status != PIPELINE_ERR_CLOSED)
        drain(0);
    compare();
    for (i = 0; i < 2; i++) {
        CHECK_STATUS(pipeline_close(sides[i]->p, PATIENCE_MS), status == PIPELINE_ERR_CLOSED ? PIPELINE_ERR_CLOSED : PIPELINE_OK);
        CHECK_LEDGER(sides[i]->p);
        CHECK_STATUS(pipeline_destroy(sides[i]->p), PIPELINE_OK);
        /* A handle outlives its pipeline. */
        CHECK_STATUS(plain(sides[i], 5, "late", 4), PIPELINE_ERR_CLOSED);
        CHECK_STATUS(pipeline_producer_close(sides[i]->r), PIPELINE_OK);
    }
}

static void paused(side_t *side) { CHECK_STATUS(pipeline_pause(side->p), PIPELINE_OK); }
static void reserved(side_t *side)
{
    void *room;
    CHECK_STATUS(pipeline_producer_reserve(side->r, NULL, 8, &room), PIPELINE_OK);
}
static void closed(side_t *side)
{
    CHECK_STATUS(pipeline_scale(side->p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_close(side->p, PATIENCE_MS), PIPELINE_OK);
}

static void in_a_child(void)
{
    pipeline_config_t c = config_defaults();
    pid_t child;
    begin(&inlined, &c, false);
    CHECK_STATUS(plain(&inlined, 5, "first", 5), PIPELINE_OK);
    CHECK_STATUS(plain(&inlined, 5, "second", 6), PIPELINE_OK);
    child = fork();
    if (child == 0) {
        pipeline_event_t e = event_of(5, "third", 5);
        pipeline_fast_t *another = NULL;
        begin_child();
        CHECK_STATUS(plain(&inlined, 5, "third", 5), PIPELINE_ERR_FORKED);
        CHECK_STATUS(with_all(&inlined, &e), PIPELINE_ERR_FORKED);
        CHECK_FAILS(pipeline_producer_fast(inlined.r, PIPELINE_FAST_VERSION, &another), PIPELINE_ERR_FORKED, "parent");
        CHECK(another == NULL);
        CHECK_STATUS(pipeline_producer_wake(inlined.r), PIPELINE_ERR_FORKED);
        if (inlined.fast != NULL)
            CHECK_U64(inlined.fast->captured, 2);
        end_child();
    }
    AWAIT_CHILD(child);
    CHECK_STATUS(pipeline_flush(inlined.p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(inlined.p).stored, 2);
    end(&inlined);
}

/* Where the library has no such way to give, there is none, and NULL makes calls. */
static void where_there_is_none(void)
{
    pipeline_config_t c = config_defaults();
    pipeline_fast_t *fast = NULL;
    pipeline_event_t e = event_of(5, "event", 5);
    size_t before = calls;
    c.clock = PIPELINE_CLOCK_MONOTONIC;
    begin(&called, &c, true);
    CHECK_FAILS(pipeline_producer_fast(called.r, PIPELINE_FAST_VERSION, &fast), PIPELINE_ERR_UNSUPPORTED, "clock");
    CHECK_FAILS(pipeline_producer_fast(called.r, PIPELINE_FAST_VERSION + 1, &fast), PIPELINE_ERR_UNSUPPORTED, "version");
    CHECK_FAILS(pipeline_producer_fast(called.r, PIPELINE_FAST_VERSION, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_producer_fast(NULL, PIPELINE_FAST_VERSION, &fast), PIPELINE_ERR_NULL, "producer");
    CHECK_FAILS(pipeline_producer_wake(NULL), PIPELINE_ERR_NULL, "producer");
    CHECK(fast == NULL && pipeline_fast_of(called.r) == NULL);
    CHECK_FAILS(pipeline_fast_capture(NULL, NULL, 5, "x", 1), PIPELINE_ERR_NULL, "producer");
    CHECK_STATUS(pipeline_fast_capture(called.r, fast, 5, "plain", 5), PIPELINE_OK);
    CHECK_STATUS(pipeline_fast_capture_event(called.r, fast, &e), PIPELINE_OK);
    CHECK_U64(calls - before, 3);
    CHECK_STATUS(pipeline_producer_wake(called.r), PIPELINE_OK);
    end(&called);
}

int main(void)
{
    everything_alike(PIPELINE_OVERFLOW_DROP_NEWEST);
    everything_alike(PIPELINE_OVERFLOW_DROP_OLDEST);
    everything_alike(PIPELINE_OVERFLOW_BLOCK);
    no_calls();
    wakes();
    counter_behind();
    alike_while(paused, PIPELINE_OK);
    alike_while(reserved, PIPELINE_ERR_BUSY);
    alike_while(closed, PIPELINE_ERR_CLOSED);
    in_a_child();
    where_there_is_none();
    return SUMMARY();
}
