/* Captures events of 64 bytes into a stream of NATS JetStream, for the benchmark and for the chaos test.
 *
 *   capture SERVER STREAM EVENTS THREADS [PER_MS [FLAGS]]
 *
 * Each thread captures EVENTS / THREADS events, PER_MS of them a millisecond (0: as fast as it can), with numbers from 0 on in the first 8 bytes. A full
 * ring buffer blocks. At the end it prints: captured stored rejected messages duplicates seconds, where seconds are those from the first capture until
 * all is acknowledged.
 *
 * Build flags: -lcapture_pipeline_nats */
#include <capture_pipeline_nats.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    pipeline_t *pipeline;
    uint64_t first, end;
    unsigned per_ms;
} part_t;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *capture(void *arg)
{
    part_t *part = arg;
    uint64_t payload[8] = {0};
    const double began = now();
    for (payload[0] = part->first; payload[0] < part->end; payload[0]++) {
        if (part->per_ms != 0 && (payload[0] - part->first) % part->per_ms == 0) {
            const double due = began + (double)((payload[0] - part->first) / part->per_ms) / 1000;
            while (now() < due) {
                struct timespec t = {0, 200000};
                nanosleep(&t, NULL);
            }
        }
        payload[1] = payload[0] * UINT64_C(0x9E3779B97F4A7C15);
        if (pipeline_capture(part->pipeline, 1, payload, sizeof payload) != PIPELINE_OK) {
            fprintf(stderr, "event %llu: %s\n", (unsigned long long)payload[0], pipeline_last_error());
            exit(1);
        }
    }
    return NULL;
}

static void log_line(void *unused, int32_t level, const char *message)
{
    (void)unused, (void)level;
    fprintf(stderr, "capture: %s\n", message);
}

int main(int argc, char **argv)
{
    enum { MOST = 16 };
    pipeline_nats_options_t options;
    pipeline_nats_status_t status;
    pipeline_storage_t storage;
    pipeline_config_t config;
    pipeline_metrics_t m;
    pipeline_t *pipeline = NULL;
    pthread_t threads[MOST];
    part_t parts[MOST];
    char subject[128];
    uint64_t events;
    unsigned i, count, per_ms = 0;
    double began, seconds;

    if (argc < 5)
        return 2;
    events = strtoull(argv[3], NULL, 10);
    count = (unsigned)atoi(argv[4]);
    if (argc > 5)
        per_ms = (unsigned)atoi(argv[5]);
    if (count == 0 || count > MOST)
        return 2;
    pipeline_log_callback(log_line, NULL, PIPELINE_LOG_WARN);
    snprintf(subject, sizeof subject, "%s.events", argv[2]);
    pipeline_nats_options_init(&options, sizeof options);
    options.servers = argv[1];
    options.stream = argv[2];
    options.subject = subject;
    options.facts_prefix = argv[2];
    options.flags = PIPELINE_NATS_CREATE_STREAM | (argc > 6 ? (uint32_t)atoi(argv[6]) : 0);
    options.duplicate_window_ms = 600000;
    options.retry_max_age_ms = 0; /* this program never gives a batch up */
    if (pipeline_storage_nats(&options, sizeof storage, &storage) < 0) {
        fprintf(stderr, "storage: %s\n", pipeline_last_error());
        return 1;
    }
    pipeline_config_init(&config, sizeof config);
    config.name = "bench";
    config.overflow = PIPELINE_OVERFLOW_BLOCK;
    config.block_timeout_us = 4000000000u;
    config.retry_limit = 1000000;
    config.retry_max_age_ms = 0;
    if (pipeline_start(&config, &storage, &pipeline) < 0) {
        fprintf(stderr, "start: %s\n", pipeline_last_error());
        return 1;
    }
    began = now();
    for (i = 0; i < count; i++) {
        parts[i].pipeline = pipeline;
        parts[i].first = events * i / count;
        parts[i].end = events * (i + 1) / count;
        parts[i].per_ms = per_ms;
        if (pthread_create(&threads[i], NULL, capture, &parts[i]) != 0)
            return 1;
    }
    for (i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    if (pipeline_flush(pipeline, 3600000) < 0) {
        fprintf(stderr, "flush: %s\n", pipeline_last_error());
        return 1;
    }
    seconds = now() - began;
    memset(&m, 0, sizeof m);
    m.struct_size = sizeof m;
    pipeline_metrics(pipeline, &m);
    memset(&status, 0, sizeof status);
    status.struct_size = sizeof status;
    pipeline_nats_status(&storage, &status);
    printf("%llu %llu %llu %llu %llu %.6f\n", (unsigned long long)m.captured, (unsigned long long)m.stored,
           (unsigned long long)(m.discarded + m.dead_lettered), (unsigned long long)(status.acknowledged - status.duplicates),
           (unsigned long long)status.duplicates, seconds);
    if (pipeline_close(pipeline, 60000) < 0 || pipeline_destroy(pipeline) < 0)
        return 1;
    return m.captured == events && m.stored == events ? 0 : 1;
}
