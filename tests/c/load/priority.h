/* What the tests of events with priority share: captures with a number as payload, and a storage that records. */
#ifndef TESTS_PRIORITY_H
#define TESTS_PRIORITY_H

#include "../recorder.h"

enum { PRIORITY = PIPELINE_EVENT_PRIORITY, KIND = 3 };

static recorder_t *rec;

CHECK_UNUSED static int32_t capture_on(pipeline_t *p, pipeline_producer_t *r, uint64_t number, uint32_t flags)
{
    pipeline_event_t e = event_of(KIND, &number, sizeof number);
    e.flags = flags;
    return r != NULL ? pipeline_producer_capture_event(r, &e) : pipeline_capture_event(p, &e);
}

CHECK_UNUSED static int32_t capture(pipeline_t *p, uint64_t number, uint32_t flags)
{
    return capture_on(p, NULL, number, flags);
}

CHECK_UNUSED static pipeline_config_t small(uint32_t writers)
{
    pipeline_config_t c = config_defaults();
    c.writers = writers;
    c.batch_size = 1;
    return c;
}

CHECK_UNUSED static pipeline_t *begin(const pipeline_config_t *c, uint32_t storage_flags)
{
    pipeline_storage_t s;
    rec = recorder_new();
    s = recorder_storage(rec);
    s.flags = storage_flags;
    return start_pipeline(c, &s);
}

CHECK_UNUSED static void end(pipeline_t *p)
{
    END(p);
    recorder_free(rec);
}

CHECK_UNUSED static size_t seen_of(uint32_t flags)
{
    size_t i, n = 0;
    pthread_mutex_lock(&rec->mutex);
    for (i = 0; i < rec->seen.count; i++)
        n += rec->seen.at[i].flags == flags;
    pthread_mutex_unlock(&rec->mutex);
    return n;
}

#endif
