/* A storage that keeps its batches: each awaits an answer until the test takes it. */
#ifndef CAPTURE_PIPELINE_KEPT_BATCHES_H
#define CAPTURE_PIPELINE_KEPT_BATCHES_H

#include "../recorder.h"

static pthread_mutex_t kept_mutex = PTHREAD_MUTEX_INITIALIZER;
static const pipeline_batch_t *kept[4096];
static size_t kept_count;

CHECK_UNUSED static int32_t keep(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    pthread_mutex_lock(&kept_mutex);
    CHECK_OR_STOP(kept_count < sizeof kept / sizeof *kept);
    kept[kept_count++] = batch;
    pthread_mutex_unlock(&kept_mutex);
    return PIPELINE_STORE_PENDING;
}

CHECK_UNUSED static size_t count_kept(void)
{
    size_t n;
    pthread_mutex_lock(&kept_mutex);
    n = kept_count;
    pthread_mutex_unlock(&kept_mutex);
    return n;
}

/* The batch that `at` older ones come before; NULL if there are not so many. */
CHECK_UNUSED static const pipeline_batch_t *take_kept(size_t at)
{
    const pipeline_batch_t *batch = NULL;
    pthread_mutex_lock(&kept_mutex);
    if (at < kept_count) {
        batch = kept[at];
        kept_count--;
        memmove(kept + at, kept + at + 1, (kept_count - at) * sizeof *kept);
    }
    pthread_mutex_unlock(&kept_mutex);
    return batch;
}

#endif
