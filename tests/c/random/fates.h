/* What became of each event: what the calls of a test answered, what its storage was shown, and what it acknowledged. The random tests
 * compare this with the ledger of the pipeline. Used by random_calls.c, and so by the fuzzer of calls, and by everything_at_once.c. */
#ifndef CAPTURE_PIPELINE_FATES_H
#define CAPTURE_PIPELINE_FATES_H

#include "../check.h"

/* One event: how often it was captured, stored and so on, and the identity under which it came. */
typedef struct {
    atomic_uchar captured, stored, dead, released, seen;
    atomic_uint_fast64_t ring_id, sequence;
} fate_t;

/* An event is shown: under one identity, each time. */
static void fate_seen(fate_t *fate, const pipeline_event_view_t *e)
{
    if (atomic_exchange(&fate->seen, 1) == 0) {
        fate->ring_id = e->ring_id;
        fate->sequence = e->sequence;
    } else {
        CHECK(fate->ring_id == e->ring_id && fate->sequence == e->sequence);
    }
}

/* Sums over many events. */
typedef struct {
    uint64_t captured, stored, dead;
    uint64_t lost;    /* captured, and neither stored nor a dead letter: discarded or overwritten */
    uint64_t twice;   /* stored or a dead letter more than once, or another event has the same identity */
    uint64_t unknown; /* came back although no call had answered OK */
    uint64_t unreleased, released_twice;
} fate_sums_t;

static int fate_by_identity(const void *a, const void *b)
{
    const fate_t *x = *(fate_t *const *)a, *y = *(fate_t *const *)b;
    if (x->ring_id != y->ring_id)
        return x->ring_id < y->ring_id ? -1 : 1;
    return x->sequence == y->sequence ? 0 : x->sequence < y->sequence ? -1 : 1;
}

/* Sums up when nothing is in motion. */
static fate_sums_t fate_sums(fate_t *fates, size_t count)
{
    fate_sums_t sums;
    fate_t **seen = (fate_t **)malloc(count * sizeof *seen);
    size_t seen_count = 0, i;
    CHECK_OR_STOP(seen != NULL);
    memset(&sums, 0, sizeof sums);
    for (i = 0; i < count; i++) {
        fate_t *f = &fates[i];
        unsigned ends = f->stored + f->dead;
        sums.captured += f->captured;
        sums.stored += f->stored;
        sums.dead += f->dead;
        sums.lost += f->captured && ends == 0;
        sums.twice += ends > 1;
        sums.unknown += !f->captured && (ends > 0 || f->seen);
        sums.unreleased += f->captured && f->released == 0;
        sums.released_twice += f->released > 1;
        if (f->seen)
            seen[seen_count++] = f;
    }
    qsort(seen, seen_count, sizeof *seen, fate_by_identity);
    for (i = 1; i < seen_count; i++)
        sums.twice += fate_by_identity(&seen[i - 1], &seen[i]) == 0;
    free(seen);
    return sums;
}

#endif
