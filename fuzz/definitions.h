/* Definitions of kinds, for fuzz/structs.c. */
#ifndef CAPTURE_PIPELINE_FUZZ_DEFINITIONS_H
#define CAPTURE_PIPELINE_FUZZ_DEFINITIONS_H

#include "../tests/c/random/definitions.h"
#include "events.h"

static uint32_t draw(void *from, uint32_t limit)
{
    (void)from;
    return limit == 0 ? 0 : (uint32_t)number(limit > 256 ? 4 : 1) % limit;
}

/* A definition: the blocks have exactly the sizes that it claims. */
static void fuzz_definition(void)
{
    drawn_t drawn = draw_definition(draw, NULL);
    uint32_t size;
    pipeline_kind_definition_t *d = (pipeline_kind_definition_t *)block_of(&drawn.d, sizeof drawn.d, &size);
    bool fits = readable(d, sizeof drawn.d, size), same = fits;
    int32_t status;
    if (fits) {
        /* What the patches may have changed, but for what the blocks depend on. */
        d->name = drawn.d.name;
        d->category = drawn.d.category;
        d->key_field = drawn.d.key_field;
        d->duration_field = drawn.d.duration_field;
        d->fields = drawn.d.fields;
        d->field_count = drawn.d.field_count;
        if (d->field_size > drawn.stride)
            d->field_size = drawn.stride;
        same = memcmp((unsigned char *)d + 4, (unsigned char *)&drawn.d + 4, sizeof drawn.d - 4) == 0;
    }
    status = explained(pipeline_kind_define(p, d));
    if (!fits)
        MUST(status == PIPELINE_ERR_VERSION);
    else
        MUST(status == PIPELINE_OK || status == PIPELINE_ERR_INVALID || status == PIPELINE_ERR_NULL ||
             status == PIPELINE_ERR_FIXED || status == PIPELINE_ERR_LIMIT || status == PIPELINE_ERR_FULL);
    if (status == PIPELINE_OK) {
        MUST(!same || may_be_accepted(&drawn));
        MUST(pipeline_kind_define(p, d) == PIPELINE_OK);
    }
    free(d);
    free_definition(&drawn);
}

#endif
