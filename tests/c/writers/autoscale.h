/* Shared by the tests of autoscaling: a slow storage, a configuration that keeps a backlog, producers that run until they are stopped,
 * and the log lines about decisions. */
#ifndef CAPTURE_PIPELINE_AUTOSCALE_H
#define CAPTURE_PIPELINE_AUTOSCALE_H

#include "../recorder.h"

static recorder_t rec = RECORDER_INIT;

CHECK_UNUSED static void rec_reset(void)
{
    rec.seen.count = rec.stored.count = rec.dead.count = 0;
    rec.most_inside = 0;
    rec.hold = false;
    rec.answer = NULL;
}

/* A storage that is slow, not busy: it sleeps for some milliseconds. */
CHECK_UNUSED static int32_t slowly(recorder_t *r, const pipeline_batch_t *batch)
{
    struct timespec t = {0, 5000000};
    (void)r;
    (void)batch;
    nanosleep(&t, NULL);
    return PIPELINE_STORE_OK;
}

/* Small batches, and captures that wait for space: there is a backlog as long as a producer captures. */
CHECK_UNUSED static pipeline_config_t between(uint32_t min, uint32_t max)
{
    pipeline_config_t c = config_defaults();
    c.min_writers = min;
    c.max_writers = max;
    c.batch_size = 8;
    c.ring_bytes = 65536;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = 1000000 * (uint64_t)PATIENCE_MS / 1000;
    return c;
}

/* ---- the log lines about autoscaling ---- */

static pthread_mutex_t said_mutex = PTHREAD_MUTEX_INITIALIZER;
static char said[1 << 16];

CHECK_UNUSED static void listen(void *user_data, int32_t level, const char *message)
{
    size_t used;
    (void)user_data;
    (void)level;
    pthread_mutex_lock(&said_mutex);
    used = strlen(said);
    if (strstr(message, "autoscal") != NULL && used + strlen(message) + 2 < sizeof said) {
        strcat(said, message);
        strcat(said, "\n");
    }
    pthread_mutex_unlock(&said_mutex);
}

CHECK_UNUSED static bool has_said(const char *part)
{
    bool has;
    pthread_mutex_lock(&said_mutex);
    has = strstr(said, part) != NULL;
    pthread_mutex_unlock(&said_mutex);
    return has;
}

/* A decision is logged once it has taken effect, soon after the metrics show it. */
CHECK_UNUSED static void check_said(const char *part)
{
    WAIT_FOR(has_said(part));
}

/* ---- producers that capture until they are told to stop ---- */

typedef struct {
    pipeline_t *p;
    atomic_ullong next;
    atomic_bool stop;
} source_t;

CHECK_UNUSED static void *produce(void *argument)
{
    source_t *source = (source_t *)argument;
    while (!source->stop)
        CHECK_STATUS(capture_number(source->p, source->next++), PIPELINE_OK);
    return NULL;
}

/* They stop, the pipeline ends, and every number was stored once. */
CHECK_UNUSED static void end_source(source_t *source, const pthread_t *threads, size_t count)
{
    size_t i;
    source->stop = true;
    for (i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    END(source->p);
    CHECK_DISTINCT(&rec.stored);
    CHECK_VALUES(&rec.stored, 0, source->next);
}

#endif
