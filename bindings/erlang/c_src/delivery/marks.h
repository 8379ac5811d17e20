/* What is special about some events of a batch: a weight other than 1, and flags that say what priority, sampling, rules and transforms have done. Most batches
 * have none, and then nothing is added to their message. */
#ifndef CAPTURE_NIF_MARKS_H
#define CAPTURE_NIF_MARKS_H

#include "base/resource.h"

#include <capture_pipeline.h>

struct marks;

/* The flags that consumers see. */
#define MARK_FLAGS (PIPELINE_EVENT_PRIORITY | PIPELINE_EVENT_PARTIAL | PIPELINE_EVENT_TRANSFORMED | UINT32_C(0xFF) * PIPELINE_EVENT_TAG_1)

static inline bool marks_has(const pipeline_event_view_t *event)
{
    return ((event->flags & MARK_FLAGS) != 0) | (event->weight != 1.0);
}

/* Those of a batch; NULL: none. Where there is no memory for them, marks_term says so. */
struct marks *marks_make(const pipeline_batch_t *batch);

/* [{Index, Weight, Flags}], or `unknown'. */
ERL_NIF_TERM marks_term(ErlNifEnv *env, const struct marks *marks);

void marks_free(struct marks *marks);

#endif
