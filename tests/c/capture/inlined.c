/* Inlined captures (capture_pipeline_fast.h) against the calls: the same offers, valid and invalid, to two pipelines, one through each,
 * return the same, count the same and store the same. Inlined captures make no call where the fast path can take them; they all do where
 * the processor's counter does not stamp events. */
#include "inlined_sides.h"

enum { SIZES = 200, EVENTS = 20000 };

/* ---- the offers ---- */

static unsigned char bytes[SIZES + 1];

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
    case 8: e.flags = n % 2 ? 16 : UINT32_C(1) << 30; break;
    case 9: e.reserved = 1; break;
    case 10: e.struct_size = n % 2 ? 4 : 5000; break;
    case 11: e.kind = UINT32_MAX; break;
    case 12: case 13: return of_known_length(side, n);
    case 14: case 15: break;
    default: return plain(side, n, bytes + n % 3, n % SIZES > 2 ? n % SIZES - 2 : 0);
    }
    return with_all(side, &e);
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

/* On the fast path no call is made, but for the first capture, where the ring begins again, and for each 16 KiB of its first lap. Without
 * the processor's counter each capture is a call. */
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

static uint32_t doorbell(void) { return __atomic_load_n(&inlined.fast->doorbell->state, __ATOMIC_RELAXED); }

/* A writer that sleeps is woken before the capture answers: the doorbell's state, which counts its changes, is another. */
static void wakes(void)
{
    pipeline_config_t c = config_defaults();
    uint32_t before;
    unsigned n;
    c.poll_interval_ms = 60000;
    begin(&inlined, &c, false);
    if (inlined.fast == NULL) { /* and no doorbell to be seen from here */
        end(&inlined);
        return;
    }
    CHECK_STATUS(plain(&inlined, 7, "first", 5), PIPELINE_OK);
    for (n = 0; n < 10; n++) {
        CHECK_STATUS(pipeline_flush(inlined.p, PATIENCE_MS), PIPELINE_OK);
        WAIT_FOR((doorbell() & 3) != 0);
        before = doorbell();
        CHECK_STATUS(plain(&inlined, 7, "more", 4), PIPELINE_OK);
        CHECK(doorbell() != before);
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

int main(void)
{
    everything_alike(PIPELINE_OVERFLOW_DROP_NEWEST);
    everything_alike(PIPELINE_OVERFLOW_DROP_OLDEST);
    everything_alike(PIPELINE_OVERFLOW_BLOCK);
    no_calls();
    wakes();
    counter_behind();
    return SUMMARY();
}
