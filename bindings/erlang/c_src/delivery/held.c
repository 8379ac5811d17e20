/* The references that a batch holds: see held.h. */
#include "delivery/held.h"
#include "delivery/marks.h"
#include "pipeline/payload.h"

#include <string.h>

/* Makes space for one more run. */
static bool grow(struct held *held, size_t *capacity)
{
    struct held_run *runs = held->more ? enif_realloc(held->more, 2 * *capacity * sizeof *runs)
                                       : enif_alloc(2 * *capacity * sizeof *runs);
    if (!runs)
        return false;
    if (!held->more)
        memcpy(runs, held->first, sizeof held->first);
    held->more = runs;
    *capacity *= 2;
    return true;
}

bool held_note(struct held *held, const pipeline_batch_t *batch)
{
    struct held_run *runs = held->first, *run = NULL;
    size_t capacity = HELD_FIRST;
    held->more = NULL;
    held->count = held->bytes = 0;
    held->known = false;
    held->marked = true;
    bool marked = false;
    for (size_t i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *event = PIPELINE_BATCH_EVENT(batch, i);
        marked |= marks_has(event);
        if (!(event->flags & PIPELINE_EVENT_RELEASE))
            continue;
        struct block *block = ((const struct handle *)event->data)->block;
        held->bytes += event->len;
        if (run && run->block == block) {
            run->terms++;
            continue;
        }
        if (held->count == capacity) {
            if (!grow(held, &capacity)) {
                held_forget(held);
                return false;
            }
            runs = held->more;
        }
        run = &runs[held->count++];
        *run = (struct held_run) { block, 1 };
    }
    held->known = true;
    held->marked = marked;
    return true;
}

void held_release(struct held *held)
{
    struct held_run *runs = held->more ? held->more : held->first;
    for (size_t i = 0; i < held->count; i++)
        block_unref_terms(runs[i].block, runs[i].terms);
    held_forget(held);
}

void held_forget(struct held *held)
{
    enif_free(held->more);
    held->more = NULL;
    held->count = 0;
}
