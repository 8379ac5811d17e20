/* How long a snapshot takes: pipeline_snapshot, and LTTng's of a session in snapshot mode, of as many MiB of buffers, in one process. benches/snapshot.sh runs
 * it, with a fresh session for each run, because a snapshot of LTTng uses up a part of its history.
 *
 *   snapshot SESSION DIR THREADS MIB
 *
 * Threads capture on, each 1 GB of records a second with this library, and as fast as it goes with LTTng. Its session has a channel of the same size in all.
 * LTTng's is taken by its command, lttng snapshot record; with BY_CALL in the environment by a call of its library, which takes less time. Prints milliseconds, events, MiB and the rate of a thread for each. */
#define _GNU_SOURCE
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "lttng_event.h"

#include <capture_pipeline.h>
#include <fcntl.h>
#include <lttng/lttng.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAYLOAD = 64, RECORD = 48 + PAYLOAD, BURST = 1000, MOST_THREADS = 16 };
static const double BYTES_A_SECOND = 1e9;

static pipeline_t *pipeline;
static _Atomic int with_lttng; /* the threads use LTTng */
static _Atomic int stop;
static struct {
    _Atomic unsigned long long events[2];
    char padding[112];
} counts[MOST_THREADS];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int32_t forget(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data, (void)batch;
    return PIPELINE_STORE_OK;
}

static void *capture(void *argument)
{
    size_t me = (size_t)argument;
    unsigned char payload[PAYLOAD] = {1};
    double due = now();
    int before = 0;
    while (!stop) {
        int lttng = with_lttng;
        for (int n = 0; n < BURST; n++) {
            if (lttng)
                lttng_ust_tracepoint(bench, event, payload);
            else
                pipeline_capture(pipeline, 1, payload, sizeof payload);
        }
        counts[me].events[lttng] += BURST;
        if (lttng != before)
            due = now();
        before = lttng;
        due += BURST * RECORD / BYTES_A_SECOND;
        /* (A thread that was held up does not catch up at more than the rate.) */
        if (due < now() - 0.001)
            due = now();
        while (!lttng && now() < due)
            ;
    }
    return NULL;
}

static unsigned long long captured(int threads, int which)
{
    unsigned long long sum = 0;
    for (int n = 0; n < threads; n++)
        sum += counts[n].events[which];
    return sum;
}

/* Waits until the threads have captured so many bytes of records more. */
static void fill(int threads, int which, double bytes)
{
    unsigned long long until = captured(threads, which) + (unsigned long long)(bytes / RECORD);
    const struct timespec pause = {0, 1000000};
    while (captured(threads, which) < until)
        nanosleep(&pause, NULL);
}

/* LTTng's own way: the command. */
static int record(const char *session)
{
    char *words[] = {"lttng", "snapshot", "record", "-s", (char *)session, NULL};
    posix_spawn_file_actions_t quiet;
    pid_t child;
    int status = -1;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
    if (posix_spawnp(&child, words[0], &quiet, NULL, words, environ) == 0)
        waitpid(child, &status, 0);
    return status;
}

static int in_order(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

int main(int argc, char **argv)
{
    enum { ROUNDS = 5 };
    if (argc != 5)
        return 2;
    const char *session = argv[1], *dir = argv[2];
    int threads = atoi(argv[3]);
    double bytes = atof(argv[4]) * 1048576, took[ROUNDS], events = 0, file = 0, rate = 0;
    pthread_t thread[MOST_THREADS];
    pipeline_config_t config;
    pipeline_storage_t storage;
    pipeline_config_init(&config, sizeof config);
    pipeline_storage_init(&storage, sizeof storage);
    storage.store = forget;
    config.writers = 0;
    config.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;
    config.ring_bytes = (uint64_t)bytes / (uint64_t)threads;
    if (threads < 1 || threads > MOST_THREADS || pipeline_start(&config, &storage, &pipeline) != PIPELINE_OK) {
        fprintf(stderr, "%s\n", pipeline_last_error());
        return 1;
    }
    for (int n = 0; n < threads; n++)
        if (pthread_create(&thread[n], NULL, capture, (void *)(size_t)n) != 0)
            return 1;
    for (int round = 0; round < ROUNDS; round++) {
        pipeline_snapshot_t snapshot = {.struct_size = sizeof snapshot};
        fill(threads, 0, 2 * bytes);
        unsigned long long before = captured(threads, 0);
        double began = now();
        int32_t status = pipeline_snapshot(pipeline, dir, NULL, &snapshot);
        took[round] = (now() - began) * 1e3;
        if (status != PIPELINE_OK) {
            fprintf(stderr, "%s\n", pipeline_last_error());
            return 1;
        }
        rate = (double)(captured(threads, 0) - before) * RECORD / (took[round] / 1e3) / threads / 1e9;
        events = (double)snapshot.events;
        file = (double)snapshot.bytes;
    }
    pipeline_metrics_t m = {.struct_size = sizeof m};
    pipeline_metrics(pipeline, &m);
    if (m.dropped_full != 0 || m.offered != m.captured)
        fprintf(stderr, "events were dropped: %llu\n", (unsigned long long)m.dropped_full);
    qsort(took, ROUNDS, sizeof *took, in_order);
    printf("ours %.1f ms (of %d: %.1f to %.1f), %.0f events, %.1f MiB, %.2f GB/s a thread\n", took[ROUNDS / 2], ROUNDS, took[0],
           took[ROUNDS - 1], events, file / 1048576, rate);
    with_lttng = 1;
    fill(threads, 1, 2 * bytes);
    unsigned long long before = captured(threads, 1);
    double began = now();
    int failed = getenv("BY_CALL") ? lttng_snapshot_record(session, NULL, 0) : record(session);
    double ms = (now() - began) * 1e3;
    printf("lttng %.1f ms, %.2f GB/s a thread%s\n", ms,
           (double)(captured(threads, 1) - before) * RECORD / (ms / 1e3) / threads / 1e9, failed ? ", FAILED" : "");
    stop = 1;
    for (int n = 0; n < threads; n++)
        pthread_join(thread[n], NULL);
    pipeline_abandon(pipeline);
    return failed != 0;
}
