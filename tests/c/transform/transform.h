/* Transforms for tests: the event with number n is kept, filtered or rewritten, as n says. */
#ifndef CAPTURE_PIPELINE_TRANSFORM_H
#define CAPTURE_PIPELINE_TRANSFORM_H

#include "../recorder.h"

typedef struct transforming {
    /* What becomes of the event with this number. NULL: `by_number`. */
    int32_t (*decide)(struct transforming *t, uint64_t number, const pipeline_event_view_t *e, pipeline_rewrite_t *out);
    atomic_ullong calls, destroyed;
    void *extra;
} transforming_t;

static uint64_t number_of(const pipeline_event_view_t *e)
{
    uint64_t number = 0;
    memcpy(&number, e->data, e->len < sizeof number ? e->len : sizeof number);
    return number;
}

/* Every third event is filtered, every fifth of the others rewritten: to its number times ten, of kind 99, in the library's memory. */
CHECK_UNUSED static int32_t by_number(uint64_t number, pipeline_rewrite_t *out)
{
    if (number % 3 == 0)
        return PIPELINE_TRANSFORM_FILTER;
    if (number % 5 != 0)
        return PIPELINE_TRANSFORM_KEEP;
    number *= 10;
    memcpy(out->scratch, &number, sizeof number);
    out->data = out->scratch;
    out->len = sizeof number;
    out->kind = 99;
    return PIPELINE_TRANSFORM_REWRITE;
}

static int32_t transform_event(void *user_data, const pipeline_event_view_t *e, pipeline_rewrite_t *out)
{
    transforming_t *t = user_data;
    t->calls++;
    return t->decide != NULL ? t->decide(t, number_of(e), e, out) : by_number(number_of(e), out);
}

static void transform_destroy(void *user_data)
{
    transforming_t *t = user_data;
    t->destroyed++;
}

CHECK_UNUSED static pipeline_transform_t transform_of(transforming_t *t)
{
    pipeline_transform_t f;
    memset(&f, 0xA5, sizeof f);
    CHECK_STATUS(pipeline_transform_init(&f, sizeof f), PIPELINE_OK);
    f.user_data = t;
    f.transform = transform_event;
    f.destroy = transform_destroy;
    return f;
}

CHECK_UNUSED static void set_transform(pipeline_t *p, transforming_t *t)
{
    pipeline_transform_t f = transform_of(t);
    CHECK_STATUS(pipeline_transform(p, &f), PIPELINE_OK);
}

#endif
