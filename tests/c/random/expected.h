/* The status that an offer of an event must get: the one model of it, for the random calls and for both fuzzers. */
#ifndef CAPTURE_PIPELINE_EXPECTED_H
#define CAPTURE_PIPELINE_EXPECTED_H

#include "../check.h"

/* Whether the library reads a struct: it claims a size from `first` to 4096 bytes, and all bytes behind the `size` that the library knows
 * are zero. Only then may the tests read more than the claimed size, too. */
static bool readable_from(size_t first, const void *block, size_t size, uint32_t claimed)
{
    size_t i;
    if (claimed < first || claimed > 4096)
        return false;
    for (i = size; i < claimed; i++)
        if (((const unsigned char *)block)[i] != 0)
            return false;
    return true;
}

CHECK_UNUSED static bool readable(const void *block, size_t size, uint32_t claimed)
{
    return readable_from(size, block, size, claimed);
}

/* The status of an offer to an open pipeline whose ring has space. */
static int32_t expected_status(const pipeline_event_t *e, uint32_t claimed, size_t max_event_bytes)
{
    const uint32_t flags = PIPELINE_EVENT_PRIORITY | PIPELINE_EVENT_OWN_TIME | PIPELINE_EVENT_RELEASE | PIPELINE_EVENT_OPAQUE;
    if (!readable(e, sizeof *e, claimed))
        return PIPELINE_ERR_VERSION;
    if (e->reserved != 0 || e->kind >= PIPELINE_KIND_RESERVED || (e->flags & ~flags) != 0)
        return PIPELINE_ERR_INVALID;
    if (e->len > max_event_bytes)
        return PIPELINE_ERR_TOO_LARGE;
    return e->data == NULL && e->len != 0 ? PIPELINE_ERR_INVALID : PIPELINE_OK;
}

/* The same for an event of a batch, which must be as large as the first one says. */
static int32_t expected_in_batch(const pipeline_event_t *e, uint32_t stride, size_t max_event_bytes)
{
    uint32_t claimed;
    memcpy(&claimed, e, sizeof claimed);
    return claimed != stride ? PIPELINE_ERR_VERSION : expected_status(e, stride, max_event_bytes);
}

#endif
