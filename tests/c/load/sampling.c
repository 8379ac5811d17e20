/* Adaptive sampling: while a ring buffer is filled beyond the watermark, traces are kept or sampled out as a whole, kept events have weights
 * that estimate what was offered, and the ledger counts every event. */
#include "../recorder.h"

#include <capture_pipeline_fast.h>

enum { RING = 1 << 16, MOST = 1024 };

static recorder_t rec = RECORDER_INIT;

static pipeline_config_t sampling_config(void)
{
    pipeline_config_t c = config_defaults();
    c.writers = 0;
    c.ring_bytes = RING;
    c.sampling_max_weight = MOST;
    c.sampling_hold_ms = 3600000;
    return c;
}

static pipeline_t *start(const pipeline_config_t *c)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = NULL;
    rec.seen.count = rec.stored.count = 0;
    CHECK_STATUS(pipeline_start(c, &s, &p), PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    return p;
}

static int32_t capture(pipeline_t *p, uint64_t trace, uint64_t value, uint32_t flags)
{
    pipeline_event_t e = event_of(1, &value, sizeof value);
    e.correlation_id = trace;
    e.flags = flags;
    return pipeline_capture_event(p, &e);
}

/* Captures events without a trace until the ring buffer of this thread is filled so far beyond the watermark that the weight does not fall. */
static void begin_sampling(pipeline_t *p)
{
    int n;
    CHECK_U64(metrics_of(p).sampling_weight, 1);
    for (n = 0; n < 100000 && metrics_of(p).sampling_weight < 16; n++)
        capture(p, 0, 0, 0);
    CHECK(metrics_of(p).sampling_weight >= 16);
}

/* The weights that the storage saw, and the variance of their sum where each event had a fate of its own. */
static double weights(double *variance)
{
    double sum = 0;
    size_t i;
    *variance = 0;
    for (i = 0; i < rec.stored.count; i++) {
        double w = rec.stored.at[i].weight;
        uint32_t whole = (uint32_t)w;
        CHECK(w == whole && whole >= 1 && whole <= MOST && (whole & (whole - 1)) == 0);
        sum += w;
        *variance += w * (w - 1);
    }
    return sum;
}

/* Whether an estimate is within six standard deviations of the truth. */
static bool is_near(double estimate, double truth, double variance)
{
    return (estimate - truth) * (estimate - truth) <= 36 * variance;
}

static void below_the_watermark_everything_is_kept(void)
{
    pipeline_config_t c = sampling_config();
    pipeline_t *p = start(&c);
    uint64_t n;
    double variance;
    for (n = 0; n < RING * 74 / 100 / 56; n++)
        CHECK_STATUS(capture(p, n + 1, n, 0), PIPELINE_OK);
    CHECK_U64(metrics_of(p).sampling_weight, 1);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK(weights(&variance) == (double)n);
    CHECK_U64(metrics_of(p).weight_captured, n);
    CHECK_U64(metrics_of(p).dropped_sampled, 0);
    END(p);
}

static void beyond_it_events_are_sampled_and_counted_by_weight(void)
{
    pipeline_config_t c = sampling_config();
    pipeline_t *p = start(&c);
    uint64_t statuses[3] = {0, 0, 0}, n, sequence = 0;
    pipeline_metrics_t m;
    double sum, variance;
    for (n = 0; n < 20000; n++) {
        int32_t status = capture(p, 0, n, 0);
        CHECK_OR_STOP(status == PIPELINE_OK || status == PIPELINE_SAMPLED || status == PIPELINE_ERR_FULL);
        statuses[status == PIPELINE_ERR_FULL ? 2 : status]++;
    }
    m = metrics_of(p);
    CHECK_U64(m.offered, n);
    CHECK_U64(m.captured, statuses[0]);
    CHECK_U64(m.dropped_sampled, statuses[1]);
    CHECK_U64(m.dropped_full, statuses[2]);
    CHECK(statuses[1] > n / 2);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    sum = weights(&variance);
    CHECK((double)metrics_of(p).weight_captured == sum);
    if (!CHECK(is_near(sum, (double)(m.captured + m.dropped_sampled), variance)))
        fprintf(stderr, "estimate %.0f, variance %.0f, true count %" PRIu64 "\n", sum, variance, m.captured + m.dropped_sampled);
    /* Each event that was offered took a sequence number, so the gaps are what was not captured. */
    for (n = 0; n < rec.stored.count; n++) {
        CHECK(rec.stored.at[n].sequence == rec.stored.at[n].value);
        CHECK(n == 0 || rec.stored.at[n].sequence > sequence);
        sequence = rec.stored.at[n].sequence;
    }
    END(p);
}

/* ---- traces -------------------------------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, TRACES = 3000, EVENTS = 8, OPEN = 50 };

static unsigned char fates[THREADS * TRACES][EVENTS]; /* status + 8 of each event */
static unsigned char partial[THREADS * TRACES][EVENTS]; /* whether the storage saw it flagged */

static int32_t slow(recorder_t *r, const pipeline_batch_t *batch)
{
    size_t n;
    (void)r;
    for (n = 0; n < batch->count; n += 8)
        sched_yield();
    return PIPELINE_STORE_OK;
}

typedef struct {
    pipeline_t *p;
    uint64_t number;
} worker_t;

/* Traces that begin one after the other, OPEN of them at a time. */
static void *capture_traces(void *argument)
{
    const worker_t *w = (const worker_t *)argument;
    uint64_t step, event, trace;
    for (step = 0; step < TRACES + OPEN; step += OPEN)
        for (event = 0; event < EVENTS; event++)
            for (trace = step; trace < step + OPEN && trace < TRACES; trace++) {
                uint64_t n = w->number * TRACES + trace;
                fates[n][event] = (unsigned char)(capture(w->p, n + 1, n * EVENTS + event, 0) + 8);
            }
    return NULL;
}

static void no_trace_is_split(void)
{
    pipeline_config_t c = sampling_config();
    pthread_t threads[THREADS];
    worker_t workers[THREADS];
    pipeline_metrics_t m;
    pipeline_t *p;
    uint64_t whole = 0, out = 0, split = 0, flagged = 0, statuses[16] = {0}, n;
    double sum = 0, variance = 0;
    size_t i;
    c.writers = 2;
    c.sampling_traces = 1 << 16;
    rec.answer = slow;
    p = start(&c);
    for (i = 0; i < THREADS; i++) {
        workers[i].p = p;
        workers[i].number = i;
        CHECK_OR_STOP(pthread_create(&threads[i], NULL, capture_traces, &workers[i]) == 0);
    }
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK(m.dropped_sampled > 0);
    for (i = 0; i < rec.stored.count; i++)
        ((unsigned char *)partial)[rec.stored.at[i].value] = (rec.stored.at[i].flags & PIPELINE_EVENT_PARTIAL) != 0;
    for (n = 0; n < THREADS * TRACES; n++) {
        uint64_t kept = 0, sampled = 0, full = 0;
        for (i = 0; i < EVENTS; i++) {
            statuses[fates[n][i]]++;
            kept += fates[n][i] == PIPELINE_OK + 8;
            sampled += fates[n][i] == PIPELINE_SAMPLED + 8;
            full += fates[n][i] == PIPELINE_ERR_FULL + 8;
        }
        CHECK(kept + sampled + full == EVENTS);
        /* A trace that began before there was pressure is kept or sampled out from then on. One that was sampled out stays so, but for a thread that lost its
         * processor while it added a trace to the table: then what is kept is flagged. */
        for (i = 1; i < EVENTS; i++)
            CHECK(fates[n][i - 1] != PIPELINE_SAMPLED + 8 || fates[n][i] != PIPELINE_OK + 8 || partial[n][i]);
        split += sampled != 0 && fates[n][EVENTS - 1] == PIPELINE_OK + 8;
        whole += kept == EVENTS;
        out += sampled == EVENTS;
    }
    CHECK(whole > 0 && out > 0);
    CHECK(split <= m.traces_untracked);
    CHECK_U64(m.captured, statuses[8]);
    CHECK_U64(m.dropped_sampled, statuses[9]);
    CHECK_U64(m.dropped_full, statuses[4]);
    CHECK_U64(rec.stored.count, m.captured);
    for (i = 0; i < rec.stored.count; i++) {
        double w = rec.stored.at[i].weight;
        flagged += (rec.stored.at[i].flags & PIPELINE_EVENT_PARTIAL) != 0;
        sum += w;
        /* At most EVENTS events share a fate. */
        variance += EVENTS * w * (w - 1);
    }
    CHECK(sum == (double)m.weight_captured);
    if (!CHECK(is_near(sum, (double)(m.captured + m.dropped_sampled), variance)))
        fprintf(stderr, "estimate %.0f, variance %.0f, true count %" PRIu64 "\n", sum, variance, m.captured + m.dropped_sampled);
    printf("traces whole %" PRIu64 ", sampled out %" PRIu64 "; events flagged %" PRIu64 ", full %" PRIu64 "\n", whole, out, flagged,
           m.dropped_full);
    rec.answer = NULL;
    END(p);
}

/* ---- the ways of capture ------------------------------------------------------------------------------------------------------------ */

static void urgent_events_are_kept(void)
{
    pipeline_config_t c = sampling_config();
    pipeline_t *p = start(&c);
    uint64_t n, captured = 0;
    begin_sampling(p);
    for (n = 0; n < 1000; n++) {
        int32_t status = capture(p, n + 1, n, PIPELINE_EVENT_PRIORITY);
        CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_FULL);
        captured += status == PIPELINE_OK;
    }
    CHECK(captured > 0);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    for (n = 0; n < rec.stored.count; n++)
        if (rec.stored.at[n].flags & PIPELINE_EVENT_PRIORITY) {
            CHECK(rec.stored.at[n].weight == 1);
            captured--;
        }
    CHECK_U64(captured, 0);
    END(p);
}

static void every_way_of_capture_is_sampled(void)
{
    pipeline_config_t c = sampling_config();
    pipeline_t *p = start(&c);
    pipeline_producer_t *r = NULL;
    pipeline_fast_t *fast;
    pipeline_event_t events[200];
    uint64_t n, kept = 0, out = 0;
    size_t captured = 0;
    void *payload = NULL;
    CHECK_STATUS(pipeline_producer_open(p, &r), PIPELINE_OK);
    fast = pipeline_fast_of(r);
    begin_sampling(p);
    for (n = 0; n < 200; n++) {
        int32_t status = pipeline_fast_capture(r, fast, 1, &n, sizeof n);
        kept += status == PIPELINE_OK;
        out += status == PIPELINE_SAMPLED;
        status = pipeline_producer_reserve(r, NULL, 64, &payload);
        CHECK_STATUS(status, PIPELINE_OK);
        memset(payload, 7, 64);
        status = pipeline_producer_commit(r, 8);
        kept += status == PIPELINE_OK;
        out += status == PIPELINE_SAMPLED;
        events[n] = event_of(1, &n, sizeof n);
    }
    CHECK_U64(kept + out, 400);
    CHECK(kept > 0 && out > 0);
    n = metrics_of(p).captured;
    /* Those that are sampled out do not stop it. */
    CHECK_STATUS(pipeline_producer_capture_many(r, events, 200, &captured), PIPELINE_OK);
    CHECK_U64(captured, 200);
    CHECK(metrics_of(p).captured - n > 0 && metrics_of(p).captured - n < 200);
    CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    END(p);
}

static void it_ends_when_it_has_dropped_nothing_for_the_time(void)
{
    pipeline_config_t c = sampling_config();
    pipeline_t *p;
    uint64_t n, before, out;
    c.sampling_hold_ms = 50;
    p = start(&c);
    CHECK_U64(metrics_of(p).sampling, 0);
    begin_sampling(p);
    CHECK_U64(metrics_of(p).sampling, 1);
    for (n = 1000; capture(p, n, n, 0) != PIPELINE_SAMPLED; n++)
        ;
    out = n;
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).sampling == 0);
    CHECK_U64(metrics_of(p).sampling_weight, 1);
    /* A trace that was sampled out is kept again. */
    CHECK_STATUS(capture(p, out, out, 0), PIPELINE_OK);
    before = metrics_of(p).dropped_sampled;
    for (n = 0; n < 100; n++)
        CHECK_STATUS(capture(p, 1000 + n, n, 0), PIPELINE_OK);
    CHECK_U64(metrics_of(p).dropped_sampled, before);
    END(p);
}

static void what_is_allowed_can_change_while_it_runs(void)
{
    pipeline_config_t c = sampling_config();
    pipeline_t *p;
    uint64_t n, full = 0;
    c.sampling_max_weight = 0;
    p = start(&c);
    for (n = 0; n < 5000; n++)
        full += capture(p, 0, n, 0) == PIPELINE_ERR_FULL;
    CHECK(full > 0);
    CHECK_U64(metrics_of(p).dropped_sampled, 0);
    c.sampling_max_weight = 2;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    for (n = 0; n < 1000; n++)
        capture(p, 0, n, 0);
    CHECK_U64(metrics_of(p).sampling_weight, 2);
    CHECK(metrics_of(p).dropped_sampled > 0);
    c.sampling_max_weight = 0;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).sampling_weight == 1);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    END(p);
}

static void a_ring_that_overwrites_is_full_for_no_reason_to_sample(void)
{
    pipeline_config_t c = sampling_config();
    pipeline_t *p;
    uint64_t n;
    c.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;
    p = start(&c);
    for (n = 0; n < 5000; n++)
        CHECK_STATUS(capture(p, 0, n, 0), PIPELINE_OK);
    CHECK(metrics_of(p).overwritten > 0);
    CHECK_U64(metrics_of(p).dropped_sampled, 0);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    END(p);
}

static void values_out_of_range_are_named(void)
{
    pipeline_config_t c = sampling_config();
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = NULL;
    c.sampling_max_weight = 3;
    CHECK_FAILS(pipeline_start(&c, &s, &p), PIPELINE_ERR_INVALID, "sampling_max_weight: 0, or a power of two allowed, 3 given");
    c.sampling_max_weight = 1 << 21;
    s = recorder_storage(&rec);
    CHECK_FAILS(pipeline_start(&c, &s, &p), PIPELINE_ERR_INVALID, "sampling_max_weight: 0 to 1048576 allowed, 2097152 given");
    c.sampling_max_weight = 2;
    c.sampling_traces = 63;
    s = recorder_storage(&rec);
    CHECK_FAILS(pipeline_start(&c, &s, &p), PIPELINE_ERR_INVALID, "sampling_traces: 64 to 1048576 allowed, 63 given");
}

int main(void)
{
    below_the_watermark_everything_is_kept();
    beyond_it_events_are_sampled_and_counted_by_weight();
    no_trace_is_split();
    urgent_events_are_kept();
    every_way_of_capture_is_sampled();
    it_ends_when_it_has_dropped_nothing_for_the_time();
    what_is_allowed_can_change_while_it_runs();
    a_ring_that_overwrites_is_full_for_no_reason_to_sample();
    values_out_of_range_are_named();
    return SUMMARY();
}
