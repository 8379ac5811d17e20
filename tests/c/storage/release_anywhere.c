/* PIPELINE_STORAGE_RELEASE_ANYWHERE: under drop_oldest a capture never finds the ring full only because a writer would have to release
 * the events to be overwritten. Each event is released exactly once; the capture releases the events that it overwrites. */
#include "../recorder.h"

enum { EVENTS = 100000 };

static _Thread_local int capturing;
static atomic_int here, elsewhere;

static void release(void *user_data, const pipeline_event_view_t *event)
{
    if (capturing)
        here++;
    else
        elsewhere++;
    recorder_release(user_data, event);
}

static void overwriting(uint32_t before, uint32_t writers)
{
    static recorder_t r;
    pipeline_t *p;
    pipeline_config_t c = config_defaults();
    pipeline_metrics_t m = { .struct_size = sizeof m };
    pthread_mutex_init(&r.mutex, NULL);
    pthread_cond_init(&r.changed, NULL);
    r.seen.count = r.stored.count = r.released.count = 0;
    pipeline_storage_t s = recorder_storage(&r);
    s.flags |= PIPELINE_STORAGE_RELEASE_ANYWHERE;
    s.release = release;
    here = elsewhere = 0;
    c.ring_bytes = 16384;
    c.writers = writers;
    c.overflow = before;
    p = start_pipeline(&c, &s);
    c.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    uint64_t captured = 0;
    capturing = 1;
    for (uint64_t i = 0; i < EVENTS; i++)
        captured += pipeline_capture(p, 1, &i, sizeof i) == PIPELINE_OK;
    capturing = 0;
    pipeline_metrics(p, &m);
    CHECK_U64(m.captured, captured);
    CHECK_U64(m.overwritten, (uint64_t)here);
    if (writers == 0) {
        CHECK_U64(captured, EVENTS);
        CHECK_U64(m.buffered, EVENTS - m.overwritten);
        CHECK_U64(elsewhere, 0);
    }
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_U64(r.released.count, captured);
    CHECK_DISTINCT(&r.released);
}

int main(void)
{
    overwriting(PIPELINE_OVERFLOW_DROP_OLDEST, 0);
    overwriting(PIPELINE_OVERFLOW_DROP_NEWEST, 0);
    overwriting(PIPELINE_OVERFLOW_DROP_OLDEST, 2);
    return SUMMARY();
}
