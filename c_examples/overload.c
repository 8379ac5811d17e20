/* Overload: a program offers ten times as many events as its storage can take. Sampling by trace keeps whole traces, and each kept event says
 * by its weight how many it stands for. Each second a line shows what becomes of the events, and the end compares the true number of events with the
 * number that the storage can estimate from what it got.
 *
 *   overload [SECONDS]    default 3 */
#include <capture_pipeline.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OFFERED_PER_MS = 200, STORED_PER_MS = 20, EVENTS_OF_A_TRACE = 10 };

/* What the storage keeps. The square sums tell how far the estimate may be from the truth. */
typedef struct {
    double sum, squares;
    unsigned long long stored;
} totals_t;

static void sleep_ns(long ns)
{
    struct timespec t;
    t.tv_sec = ns / 1000000000;
    t.tv_nsec = ns % 1000000000;
    nanosleep(&t, NULL);
}

/* By Newton's method, so that the example needs no libm. */
static double square_root(double square)
{
    double root = square > 1 ? square : 1;
    int i;
    for (i = 0; i < 60; i++)
        root = (root + square / root) / 2;
    return root;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A storage that takes its time: STORED_PER_MS events a millisecond. */
static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    totals_t *totals = user_data;
    size_t i;
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *event = PIPELINE_BATCH_EVENT(batch, i);
        totals->sum += event->weight;
        totals->squares += event->weight * (event->weight - 1);
    }
    totals->stored += batch->count;
    sleep_ns((long)batch->count * (1000000 / STORED_PER_MS));
    return PIPELINE_STORE_OK;
}

static pipeline_metrics_t metrics(pipeline_t *pipeline)
{
    pipeline_metrics_t m;
    memset(&m, 0, sizeof m);
    m.struct_size = sizeof m;
    pipeline_metrics(pipeline, &m);
    return m;
}

static void show(int second, const pipeline_metrics_t *before, const pipeline_metrics_t *m)
{
    printf("%6d %10llu %10llu %10llu %8llu %7u %9u\n", second, (unsigned long long)(m->offered - before->offered),
           (unsigned long long)(m->stored - before->stored), (unsigned long long)(m->dropped_sampled - before->dropped_sampled),
           (unsigned long long)(m->dropped_full - before->dropped_full), (unsigned)m->sampling_weight, (unsigned)m->pressure);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const int seconds = argc > 1 ? atoi(argv[1]) : 3;
    pipeline_config_t config;
    pipeline_storage_t storage;
    pipeline_metrics_t before, m;
    pipeline_t *pipeline = NULL;
    totals_t totals = {0, 0, 0};
    unsigned long long n = 0;
    double began, error, off;
    int second, good;

    pipeline_config_init(&config, sizeof config);
    config.name = "overload";
    config.sampling_max_weight = 4096; /* one kept event stands for at most so many */
    pipeline_storage_init(&storage, sizeof storage);
    storage.store = store;
    storage.user_data = &totals;
    if (pipeline_start(&config, &storage, &pipeline) < 0) {
        fprintf(stderr, "start: %s\n", pipeline_last_error());
        return 1;
    }

    printf("second    offered     stored    sampled     full  weight  pressure\n");
    before = metrics(pipeline);
    began = seconds_now();
    for (second = 1; second <= seconds; second++) {
        while (seconds_now() < began + second) {
            /* The events of ten traces, mixed. A trace of its own would be a request, a transaction or a call. */
            unsigned long long i, count = OFFERED_PER_MS;
            for (i = 0; i < count; i++, n++) {
                pipeline_event_t event;
                memset(&event, 0, sizeof event);
                event.struct_size = sizeof event;
                event.kind = 1;
                event.correlation_id = 1 + n % 10 + n / (10 * EVENTS_OF_A_TRACE) * 10;
                event.data = &n;
                event.len = sizeof n;
                if (pipeline_capture_event(pipeline, &event) < 0)
                    continue; /* dropped as full, and counted */
            }
            sleep_ns(900000);
        }
        m = metrics(pipeline);
        show(second, &before, &m);
        before = m;
    }
    pipeline_close(pipeline, 60000);
    m = metrics(pipeline);

    /* Events of a trace share their fate, so the variance is that many times larger than that of single events. */
    error = square_root(totals.squares * EVENTS_OF_A_TRACE);
    off = totals.sum - (double)(m.captured + m.dropped_sampled);
    printf("\noffered %llu = captured %llu + sampled out %llu + dropped as full %llu\n", (unsigned long long)m.offered,
           (unsigned long long)m.captured, (unsigned long long)m.dropped_sampled, (unsigned long long)m.dropped_full);
    printf("captured and sampled out: %llu; estimate from the %llu stored: %.0f (%+.2f %%; expected error %.2f %%)\n",
           (unsigned long long)(m.captured + m.dropped_sampled), totals.stored, totals.sum,
           100 * off / (double)(m.captured + m.dropped_sampled), 100 * error / (double)(m.captured + m.dropped_sampled));
    good = m.offered == n && m.offered == m.captured + m.dropped_sampled + m.dropped_full && m.captured == m.stored &&
           m.stored == totals.stored && off * off <= 36 * error * error + 1;
    if (pipeline_destroy(pipeline) < 0)
        good = 0;
    printf("%s\n", good ? "good" : "WRONG");
    return good ? 0 : 1;
}
