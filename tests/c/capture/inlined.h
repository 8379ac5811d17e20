/* Whether captures can be inlined here, as the library's own word on the clock has it. After check.h and capture_pipeline_fast.h. */
#ifndef CAPTURE_PIPELINE_INLINED_H
#define CAPTURE_PIPELINE_INLINED_H

/* pipeline_fast_of. Where the header inlines captures, it gives one if the processor's counter stamps the pipeline's events, and none, for
 * that reason alone, if the monotonic clock does: a machine whose kernel keeps its time by another clock. (The latter may take over at any
 * time, for good.) */
static pipeline_fast_t *fast_by_the_clock(const pipeline_t *p, pipeline_producer_t *r)
{
    const uint32_t before = metrics_of(p).clock;
    pipeline_fast_t *fast = pipeline_fast_of(r);
#ifdef PIPELINE_FAST_INLINED
    if (fast != NULL) {
        CHECK_U64(before, PIPELINE_CLOCK_TICKS);
    } else {
        CHECK(strstr(pipeline_last_error(), "clock") != NULL);
        CHECK_U64(metrics_of(p).clock, PIPELINE_CLOCK_MONOTONIC);
    }
#else
    /* The header inlines nothing for this compiler, or under ThreadSanitizer. */
    CHECK(before != PIPELINE_CLOCK_AUTO && fast == NULL);
#endif
    return fast;
}

#endif
