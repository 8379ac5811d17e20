/* The references to environment blocks that the events of a batch hold (term/block.h). They are noted when the batch arrives, because its memory is
 * no longer valid once it is answered, and released when the library has accepted the answer that all of it is stored. The library calls the
 * storage's `release` for all other events (PIPELINE_STORAGE_RELEASE_UNSTORED). */
#ifndef CAPTURE_NIF_HELD_H
#define CAPTURE_NIF_HELD_H

#include "term/block.h"

#include <capture_pipeline.h>

enum { HELD_FIRST = 6 };    /* runs that need no allocation; a batch of one ring has mostly one or two */

/* Events one after the other whose terms lie in the same block. */
struct held_run {
    struct block *block;
    uint32_t terms;
};

struct held {
    struct held_run *more;      /* all runs, if there are more than HELD_FIRST (enif_free); else NULL */
    size_t count;
    size_t bytes;               /* that the terms take */
    bool known;                 /* false: there was no memory for the runs */
    bool marked;                /* some event of the batch has a mark (marks.h): looked for here, because here each event is looked at */
    struct held_run first[HELD_FIRST];
};

/* Notes the references that the batch holds. False without memory: it may be tried again until the batch is answered. */
bool held_note(struct held *held, const pipeline_batch_t *batch);

/* Releases them. Freeing the blocks takes a time that grows with their bytes. */
void held_release(struct held *held);

/* Forgets them: the library will release them. */
void held_forget(struct held *held);

#endif
