/* Timestamps, for each clock that a pipeline can use. A timestamp lies between two readings of CLOCK_MONOTONIC around the capture,
 * within a microsecond. It never goes backwards within a ring, even if the thread moves between processors, and it is the same at each
 * attempt and in release. The error seen is printed.
 *
 * CLOCK_SECONDS: how long each clock is watched (default 1). CLOCK_TOLERANCE_NS: used in place of the microsecond, for emulators whose
 * counter is coarser. */
#include "../check.h"

#include <sched.h>

enum { THREADS = 2, PER_SECOND = 20000 };
static uint64_t tolerance_ns = 1000;

typedef struct {
    uint64_t thread, index;
} payload_t;

typedef struct {
    uint64_t before, after, shown, released;
    uint32_t attempts;
} event_t;

static struct {
    event_t *events[THREADS];
    size_t count[THREADS], room;
    uint64_t last_processed;
    uint32_t seconds;
    atomic_uint ended;
    pipeline_t *pipeline;
} run;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static event_t *told_of(const pipeline_event_view_t *e)
{
    payload_t p;
    memcpy(&p, e->data, sizeof p);
    CHECK_OR_STOP(p.thread < THREADS && p.index < run.room);
    return &run.events[p.thread][p.index];
}

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    size_t i;
    (void)user_data;
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        event_t *known = told_of(e);
        CHECK(batch->processed_at_ns >= e->timestamp_ns);
        if (known->attempts++ == 0)
            known->shown = e->timestamp_ns;
        else
            CHECK_U64(e->timestamp_ns, known->shown);
    }
    return batch->attempt == 1 && batch->batch_id % 3 == 0 ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

static void release(void *user_data, const pipeline_event_view_t *e)
{
    (void)user_data;
    told_of(e)->released = e->timestamp_ns;
}

/* The processors that this process may use. */
static cpu_set_t allowed;

/* Moves the thread to another of them. */
static void move(uint64_t round)
{
    cpu_set_t one;
    int cpu = -1, steps;
    for (steps = (int)(round % (uint64_t)CPU_COUNT(&allowed)) + 1; steps > 0; steps--)
        do
            cpu = (cpu + 1) % CPU_SETSIZE;
        while (!CPU_ISSET(cpu, &allowed));
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
}

static void *capture_and_move(void *argument)
{
    payload_t p = {(uint64_t)(uintptr_t)argument, 0};
    uint64_t end = now_ns() + run.seconds * UINT64_C(1000000000);
    for (; p.index < run.room && now_ns() < end; p.index++) {
        event_t *e = &run.events[p.thread][p.index];
        if (p.index % 50 == 0)
            move(p.thread + p.index / 50);
        e->before = now_ns();
        CHECK_STATUS(pipeline_capture(run.pipeline, 1, &p, sizeof p), PIPELINE_OK);
        e->after = now_ns();
        if (p.index % 16 == 0)
            usleep(1000); /* its pace */
    }
    run.count[p.thread] = p.index;
    run.ended++;
    return NULL;
}

static pipeline_config_t with_clock(uint32_t clock)
{
    pipeline_config_t c;
    CHECK_STATUS(pipeline_config_init(&c, sizeof c), PIPELINE_OK);
    c.clock = clock;
    c.retry_initial_us = 100;
    c.writers = 2;
    return c;
}

static uint32_t clock_in_use(void)
{
    pipeline_metrics_t m;
    m.struct_size = sizeof m;
    CHECK_STATUS(pipeline_metrics(run.pipeline, &m), PIPELINE_OK);
    return m.clock;
}

static void watch(uint32_t clock)
{
    pipeline_config_t c = with_clock(clock);
    pipeline_storage_t s;
    pthread_t threads[THREADS];
    uint64_t worst = 0, tolerance, total = 0;
    size_t t, i;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    s.store = store;
    s.release = release;
    run.pipeline = NULL;
    if (clock == PIPELINE_CLOCK_TICKS) {
        int32_t status = pipeline_start(&c, &s, &run.pipeline);
        if (status == PIPELINE_ERR_UNSUPPORTED) {
            printf("ticks: %s\n", pipeline_last_error());
            CHECK(strstr(pipeline_last_error(), "pipeline_config_t.clock") != NULL);
            return;
        }
        CHECK_STATUS(status, PIPELINE_OK);
    } else {
        CHECK_STATUS(pipeline_start(&c, &s, &run.pipeline), PIPELINE_OK);
    }
    CHECK_OR_STOP(run.pipeline != NULL);
    if (clock != PIPELINE_CLOCK_AUTO)
        CHECK_U64(clock_in_use(), clock);
    tolerance = clock_in_use() == PIPELINE_CLOCK_TICKS ? tolerance_ns : 0;
    run.room = (size_t)run.seconds * PER_SECOND;
    for (t = 0; t < THREADS; t++) {
        run.events[t] = (event_t *)calloc(run.room, sizeof **run.events);
        CHECK_OR_STOP(run.events[t] != NULL);
    }
    run.ended = 0;
    for (t = 0; t < THREADS; t++)
        CHECK_OR_STOP(pthread_create(&threads[t], NULL, capture_and_move, (void *)(uintptr_t)t) == 0);
    /* The process is stopped once, for longer than a calibration lasts. */
    WAIT_FOR(metrics_of(run.pipeline).stored >= 1000 || run.ended == THREADS);
    CHECK_STATUS(pipeline_pause(run.pipeline), PIPELINE_OK);
    WAIT_FOR(metrics_of(run.pipeline).oldest_age_ns >= 100000000 || run.ended == THREADS);
    CHECK_STATUS(pipeline_resume(run.pipeline), PIPELINE_OK);
    for (t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    CHECK_STATUS(pipeline_close(run.pipeline, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_destroy(run.pipeline), PIPELINE_OK);
    for (t = 0; t < THREADS; t++) {
        uint64_t last = 0;
        CHECK(run.count[t] > 0);
        total += run.count[t];
        for (i = 0; i < run.count[t]; i++) {
            const event_t *e = &run.events[t][i];
            uint64_t early = e->before > e->shown ? e->before - e->shown : 0;
            uint64_t late = e->shown > e->after ? e->shown - e->after : 0;
            CHECK(e->attempts > 0);
            CHECK_U64(e->released, e->shown);
            if (!CHECK(early <= tolerance && late <= tolerance))
                fprintf(stderr, "  %" PRIu64 " before, %" PRIu64 " after\n", early, late);
            CHECK(e->shown >= last);
            last = e->shown;
            worst = early > worst ? early : worst;
            worst = late > worst ? late : worst;
        }
        free(run.events[t]);
    }
    printf("clock %u (%s), %u s: %" PRIu64 " events, at most %" PRIu64 " ns outside of the readings around them\n", clock,
           tolerance ? "ticks" : "monotonic", run.seconds, total, worst);
}

/* An overwritten event is released by the capture that overwrites it: in order, with a time at which it existed. */
static uint64_t last_released, releases;

static void release_anywhere(void *user_data, const pipeline_event_view_t *e)
{
    (void)user_data;
    CHECK(e->timestamp_ns >= last_released && e->timestamp_ns <= now_ns() + tolerance_ns);
    last_released = e->timestamp_ns;
    releases++;
}

static void overwritten(uint32_t clock)
{
    pipeline_config_t c = with_clock(clock);
    pipeline_storage_t s;
    uint64_t began = now_ns();
    int i;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.flags = PIPELINE_STORAGE_RELEASE_ANYWHERE;
    s.store = store;
    s.release = release_anywhere;
    c.writers = 0;
    c.ring_bytes = 4096;
    c.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;
    last_released = began - tolerance_ns;
    releases = 0;
    CHECK_STATUS(pipeline_start(&c, &s, &run.pipeline), PIPELINE_OK);
    for (i = 0; i < 2000; i++) {
        CHECK_STATUS(pipeline_capture(run.pipeline, 1, &i, sizeof i), PIPELINE_OK);
        if (i % 500 == 0) { /* so that they lie in several calibrations */
            uint64_t then = now_ns();
            WAIT_FOR(now_ns() > then + 15000000);
        }
    }
    CHECK_STATUS(pipeline_close(run.pipeline, 0), PIPELINE_ERR_TIMEOUT);
    CHECK_STATUS(pipeline_destroy(run.pipeline), PIPELINE_OK);
    CHECK_U64(releases, 2000);
}

int main(void)
{
    const char *seconds = getenv("CLOCK_SECONDS"), *tolerance = getenv("CLOCK_TOLERANCE_NS");
    if (tolerance)
        tolerance_ns = (uint64_t)atoi(tolerance);
    CHECK_OR_STOP(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
    run.seconds = seconds ? (uint32_t)atoi(seconds) : 1;
    watch(PIPELINE_CLOCK_MONOTONIC);
    watch(PIPELINE_CLOCK_AUTO);
    watch(PIPELINE_CLOCK_TICKS);
    overwritten(PIPELINE_CLOCK_AUTO);
    overwritten(PIPELINE_CLOCK_MONOTONIC);
    return SUMMARY();
}
