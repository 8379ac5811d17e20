/* The pressure of a pipeline: how full its fullest ring buffer is, or how old its oldest event, with writers that work, sleep, hang or are
 * missing. The callback that tells of crossings may take any time and end its thread, and harms nobody. */
#include "../recorder.h"

#include <capture_pipeline_fast.h>

enum { RING = 1 << 16, RECORD = 48 + 1000 };

static recorder_t rec = RECORDER_INIT;

static pipeline_t *start(uint32_t writers, uint64_t age_ms, uint32_t overflow)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = NULL;
    c.writers = writers;
    c.ring_bytes = RING;
    c.pressure_age_ms = age_ms;
    c.overflow = overflow;
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    return p;
}

/* Captures events until the ring buffer of this thread is filled to that percentage. */
static int fill_to(pipeline_t *p, uint32_t percent)
{
    static const char payload[1000];
    int n;
    for (n = 0; (n + 1) * RECORD * 100 <= RING * (int)percent; n++)
        CHECK_STATUS(pipeline_capture(p, 1, payload, sizeof payload), PIPELINE_OK);
    return n;
}

#define HOUR_MS 3600000

/* ---- the value --------------------------------------------------------------------------------------------------------------------- */

static void fill_is_measured_and_the_watermark_shows_at_once(void)
{
    static const char payload[1000];
    pipeline_t *p = start(0, HOUR_MS, PIPELINE_OVERFLOW_DROP_NEWEST);
    int n;
    CHECK_U64(pipeline_pressure(p), 0);
    CHECK_U64(pipeline_pressure(NULL), 0);
    n = fill_to(p, 50);
    /* The supervisor measures, as there is no writer. */
    WAIT_FOR(pipeline_pressure(p) == (uint32_t)(n * RECORD * 100 / RING));
    CHECK_U64(health_of(p).reasons & PIPELINE_HEALTH_PRESSURE, 0);
    for (; n * RECORD * 100 <= RING * 75; n++)
        CHECK_STATUS(pipeline_capture(p, 1, payload, sizeof payload), PIPELINE_OK);
    CHECK(pipeline_pressure(p) >= 75);
    CHECK(metrics_of(p).pressure >= 75);
    CHECK(health_of(p).reasons & PIPELINE_HEALTH_PRESSURE);
    CHECK_HAS(health_of(p).message, "watermark_percent is 75");
    while (pipeline_capture(p, 1, payload, sizeof payload) == PIPELINE_OK)
        n++;
    /* 100 of the capture that was dropped, or 99 as the supervisor has measured it since. */
    CHECK(pipeline_pressure(p) >= 99);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    WAIT_FOR(pipeline_pressure(p) == 0);
    CHECK_U64(metrics_of(p).stored, n);
    CHECK_U64(health_of(p).reasons & PIPELINE_HEALTH_PRESSURE, 0);
    /* Again, where the memory has been written to before: now only the watermark ends the fast path. */
    CHECK_STATUS(pipeline_scale(p, 0), PIPELINE_OK);
    fill_to(p, 80);
    CHECK(pipeline_pressure(p) >= 75);
    END(p);
}

static void fullest_ring_counts(void)
{
    static const char payload[1000];
    pipeline_t *p = start(0, HOUR_MS, PIPELINE_OVERFLOW_DROP_NEWEST);
    pipeline_producer_t *r[2];
    int i;
    for (i = 0; i < 2; i++)
        CHECK_STATUS(pipeline_producer_open(p, &r[i]), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_capture(r[0], 1, payload, sizeof payload), PIPELINE_OK);
    for (i = 0; i < 20; i++)
        CHECK_STATUS(pipeline_producer_capture(r[1], 1, payload, sizeof payload), PIPELINE_OK);
    WAIT_FOR(pipeline_pressure(p) == 20 * RECORD * 100 / RING);
    for (i = 0; i < 2; i++)
        CHECK_STATUS(pipeline_producer_close(r[i]), PIPELINE_OK);
    END(p);
}

static void age_counts(void)
{
    pipeline_t *p = start(1, 200, PIPELINE_OVERFLOW_DROP_NEWEST);
    pipeline_config_t c = config_of(p);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p, 1, "", 0), PIPELINE_OK);
    WAIT_FOR(pipeline_pressure(p) == 100);
    c.pressure_age_ms = HOUR_MS;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    WAIT_FOR(pipeline_pressure(p) == 0);
    c.pressure_age_ms = 1;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    WAIT_FOR(pipeline_pressure(p) == 100);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    WAIT_FOR(pipeline_pressure(p) == 0);
    END(p);
}

/* The only writer hangs in the storage. */
static void stuck_writer(void)
{
    pipeline_t *p;
    rec.hold = true;
    p = start(1, 200, PIPELINE_OVERFLOW_DROP_NEWEST);
    CHECK_STATUS(pipeline_capture(p, 1, "", 0), PIPELINE_OK);
    WAIT_FOR(pipeline_pressure(p) == 100);
    recorder_let_go(&rec);
    WAIT_FOR(pipeline_pressure(p) == 0);
    END(p);
}

static void inlined_and_after_a_fork(void)
{
    pipeline_t *p = start(0, HOUR_MS, PIPELINE_OVERFLOW_DROP_NEWEST);
    pipeline_producer_t *r;
    pipeline_fast_t *fast;
    pid_t child;
    CHECK_STATUS(pipeline_producer_open(p, &r), PIPELINE_OK);
    fast = pipeline_fast_of(r);
    CHECK_U64(pipeline_fast_pressure(p, fast), 0);
    fill_to(p, 50);
    WAIT_FOR(pipeline_fast_pressure(p, fast) > 40);
    CHECK_U64(pipeline_fast_pressure(p, fast), pipeline_fast_pressure(p, NULL));
    fflush(NULL);
    child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0) {
        begin_child();
        CHECK_U64(pipeline_pressure(p), 0);
        CHECK_U64(pipeline_fast_pressure(p, fast), 0);
        CHECK_STATUS(pipeline_pressure_callback(p, 1, 2, NULL, NULL), PIPELINE_ERR_FORKED);
        end_child();
    }
    AWAIT_CHILD(child);
    CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
    END(p);
}

/* ---- the callback ------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    pipeline_t *p;
    atomic_int calls, inside, highs, wrong, ends_thread, hold, answer;
    atomic_uint last;
} calls_t;

static void told(void *user_data, uint32_t pressure, int32_t is_high)
{
    calls_t *c = (calls_t *)user_data;
    int n = atomic_fetch_add(&c->calls, 1);
    /* By turns, the first one high; never two at once. */
    if (is_high != (n + 1) % 2 || atomic_fetch_add(&c->inside, 1) != 0)
        atomic_fetch_add(&c->wrong, 1);
    if (is_high ? pressure < 75 || pressure > 100 : pressure > 20)
        atomic_fetch_add(&c->wrong, 1);
    atomic_store(&c->last, pressure);
    while (atomic_load(&c->hold))
        pause_a_little();
    atomic_fetch_sub(&c->inside, 1);
    if (atomic_load(&c->ends_thread))
        pthread_exit(NULL);
}

static void crossings_by_turns(void)
{
    static calls_t c;
    pipeline_t *p = start(0, HOUR_MS, PIPELINE_OVERFLOW_DROP_NEWEST);
    int round;
    CHECK_STATUS(pipeline_pressure_callback(p, 20, 75, told, &c), PIPELINE_OK);
    for (round = 1; round <= 5; round++) {
        CHECK_STATUS(pipeline_scale(p, 0), PIPELINE_OK);
        fill_to(p, 95);
        WAIT_FOR(atomic_load(&c.calls) == 2 * round - 1);
        CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
        WAIT_FOR(atomic_load(&c.calls) == 2 * round);
        CHECK_U64(atomic_load(&c.last), 0);
        /* The next round begins with an empty ring buffer. */
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    }
    /* Between the two thresholds nothing is told. */
    CHECK_STATUS(pipeline_scale(p, 0), PIPELINE_OK);
    fill_to(p, 50);
    WAIT_FOR(pipeline_pressure(p) > 40);
    CHECK_U64(atomic_load(&c.calls), 10);
    CHECK_U64(atomic_load(&c.wrong), 0);
    END(p);
}

static void high_at_the_start_and_removed(void)
{
    static calls_t c;
    pipeline_t *p = start(0, HOUR_MS, PIPELINE_OVERFLOW_DROP_NEWEST);
    fill_to(p, 95);
    CHECK_STATUS(pipeline_pressure_callback(p, 20, 75, told, &c), PIPELINE_OK);
    WAIT_FOR(atomic_load(&c.calls) == 1);
    /* The thread of the callback may still be ending. */
    WAIT_FOR(pipeline_pressure_callback(p, 0, 0, NULL, NULL) == PIPELINE_OK);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    WAIT_FOR(pipeline_pressure(p) == 0);
    END(p);
    CHECK_U64(atomic_load(&c.calls), 1);
}

/* A callback that does not return delays itself alone: events are stored, the number of writers changes, health is told. */
static void hung_callback(void)
{
    static calls_t c;
    pipeline_t *p = start(0, HOUR_MS, PIPELINE_OVERFLOW_DROP_NEWEST);
    uint64_t stored;
    atomic_store(&c.hold, 1);
    CHECK_STATUS(pipeline_pressure_callback(p, 20, 75, told, &c), PIPELINE_OK);
    fill_to(p, 95);
    WAIT_FOR(atomic_load(&c.inside) == 1);
    CHECK_FAILS(pipeline_pressure_callback(p, 20, 75, told, &c), PIPELINE_ERR_BUSY, "pressure callback is running");
    CHECK_STATUS(pipeline_scale(p, 2), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    stored = metrics_of(p).stored;
    fill_to(p, 50);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK(metrics_of(p).stored > stored);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    CHECK_FAILS(pipeline_destroy(p), PIPELINE_ERR_BUSY, "the pressure callback is running");
    CHECK_FAILS(pipeline_pressure_callback(p, 20, 75, told, &c), PIPELINE_ERR_BUSY, "pressure callback is running");
    atomic_store(&c.hold, 0);
    WAIT_FOR(pipeline_pressure_callback(p, 20, 75, told, &c) == PIPELINE_ERR_CLOSED);
    DESTROY_SOON(p);
    CHECK_U64(atomic_load(&c.calls), 1);
    CHECK_U64(atomic_load(&c.wrong), 0);
}

static atomic_int begun, ended;
static void thread_begins(void *user_data) { (void)user_data, atomic_fetch_add(&begun, 1); }
static void thread_ends(void *user_data) { (void)user_data, atomic_fetch_add(&ended, 1); }

static void callback_that_ends_its_thread(void)
{
    static calls_t c;
    pipeline_t *p = start(0, HOUR_MS, PIPELINE_OVERFLOW_DROP_NEWEST);
    int round;
    atomic_store(&c.ends_thread, 1);
    CHECK_STATUS(pipeline_pressure_callback(p, 20, 75, told, &c), PIPELINE_OK);
    for (round = 1; round <= 3; round++) {
        CHECK_STATUS(pipeline_scale(p, 0), PIPELINE_OK);
        fill_to(p, 95);
        WAIT_FOR(atomic_load(&c.calls) == 2 * round - 1);
        CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
        WAIT_FOR(atomic_load(&c.calls) == 2 * round);
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    }
    CHECK_U64(atomic_load(&c.wrong), 0);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    DESTROY_SOON(p);
    /* The stop hook is called for those threads too. */
    WAIT_FOR(atomic_load(&begun) == atomic_load(&ended));
    CHECK(atomic_load(&begun) >= 8);
}

static uint64_t destroy_calls(void)
{
    uint64_t calls;
    pthread_mutex_lock(&rec.mutex);
    calls = rec.destroy_calls;
    pthread_mutex_unlock(&rec.mutex);
    return calls;
}

/* The last call of an abandoned pipeline frees everything. */
static void abandoned_while_the_callback_runs(void)
{
    static calls_t c;
    pipeline_t *p = start(1, HOUR_MS, PIPELINE_OVERFLOW_DROP_NEWEST);
    uint64_t destroyed = destroy_calls();
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    atomic_store(&c.hold, 1);
    CHECK_STATUS(pipeline_pressure_callback(p, 20, 75, told, &c), PIPELINE_OK);
    fill_to(p, 95);
    WAIT_FOR(atomic_load(&c.inside) == 1);
    CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
    CHECK_U64(destroy_calls(), destroyed);
    atomic_store(&c.hold, 0);
    WAIT_FOR(destroy_calls() == destroyed + 1);
}

/* What waits for the pipeline is refused inside; the rest may be called. */
static void calls_inside(void *user_data, uint32_t pressure, int32_t is_high)
{
    calls_t *c = (calls_t *)user_data;
    (void)pressure, (void)is_high;
    if (pipeline_capture(c->p, 2, "", 0) != PIPELINE_OK || metrics_of(c->p).pressure < 20 || pipeline_pressure(c->p) < 20)
        atomic_fetch_add(&c->wrong, 1);
    if (pipeline_flush(c->p, -1) != PIPELINE_ERR_WOULD_DEADLOCK || pipeline_close(c->p, -1) != PIPELINE_ERR_WOULD_DEADLOCK)
        atomic_fetch_add(&c->wrong, 1);
    if (pipeline_pressure_callback(c->p, 0, 1, NULL, NULL) != PIPELINE_ERR_BUSY)
        atomic_fetch_add(&c->wrong, 1);
    atomic_fetch_add(&c->calls, 1);
}

static void library_called_inside(void)
{
    static calls_t c;
    c.p = start(0, HOUR_MS, PIPELINE_OVERFLOW_DROP_NEWEST);
    CHECK_STATUS(pipeline_pressure_callback(c.p, 20, 75, calls_inside, &c), PIPELINE_OK);
    fill_to(c.p, 80);
    WAIT_FOR(atomic_load(&c.calls) == 1);
    CHECK_U64(atomic_load(&c.wrong), 0);
    WAIT_FOR(pipeline_pressure_callback(c.p, 0, 0, NULL, NULL) == PIPELINE_OK);
    END(c.p);
}

static void bad_arguments(void)
{
    static calls_t c;
    pipeline_t *p = start(0, HOUR_MS, PIPELINE_OVERFLOW_DROP_NEWEST);
    pipeline_config_t config = config_of(p);
    CHECK_STATUS(pipeline_pressure_callback(NULL, 1, 2, told, &c), PIPELINE_ERR_NULL);
    CHECK_FAILS(pipeline_pressure_callback(p, 50, 50, told, &c), PIPELINE_ERR_INVALID, "low 50 and high 50 given");
    CHECK_FAILS(pipeline_pressure_callback(p, 60, 50, told, &c), PIPELINE_ERR_INVALID, "low 60 and high 50 given");
    CHECK_FAILS(pipeline_pressure_callback(p, 0, 101, told, &c), PIPELINE_ERR_INVALID, "high 101 given");
    CHECK_FAILS(pipeline_pressure_callback(p, 0, UINT32_MAX, told, &c), PIPELINE_ERR_INVALID, "high");
    config.watermark_percent = 101;
    CHECK_FAILS(pipeline_update(p, &config), PIPELINE_ERR_INVALID, "watermark_percent: 1 to 100 allowed, 101 given");
    config.watermark_percent = 0;
    CHECK_FAILS(pipeline_update(p, &config), PIPELINE_ERR_INVALID, "watermark_percent");
    config.watermark_percent = 100;
    config.pressure_age_ms = 0;
    CHECK_FAILS(pipeline_update(p, &config), PIPELINE_ERR_INVALID, "pressure_age_ms");
    END(p);
}

int main(void)
{
    CHECK_STATUS(pipeline_thread_hooks(thread_begins, thread_ends, NULL), PIPELINE_OK);
    fill_is_measured_and_the_watermark_shows_at_once();
    fullest_ring_counts();
    age_counts();
    stuck_writer();
    inlined_and_after_a_fork();
    crossings_by_turns();
    high_at_the_start_and_removed();
    hung_callback();
    callback_that_ends_its_thread();
    abandoned_while_the_callback_runs();
    library_called_inside();
    bad_arguments();
    return SUMMARY();
}
