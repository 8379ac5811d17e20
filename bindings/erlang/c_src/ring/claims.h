/* The claims of a cursor: the ranges of positions that are taken, and those that were returned. Plain data under the cursor's lock. */
#ifndef CAPTURE_NIF_CLAIMS_H
#define CAPTURE_NIF_CLAIMS_H

#include "base/resource.h"

struct range {
    uint64_t from, to;
};

struct claim {
    uint64_t id;
    struct range range;
    ErlNifPid owner;
};

/* The memory is proportional to the number of ranges, and the number of open claims is bounded. */
struct claims {
    struct claim *open;        /* by ascending id */
    struct range *returned;    /* by ascending position, disjoint and not adjacent; has capacity for the return of every open claim */
    size_t open_count, open_capacity, returned_count, returned_capacity;
    uint64_t last_id;          /* ids are never used again */
};

/* Makes capacity for one more item by doubling; false without memory. array_shrink frees memory when few items of many are left. */
bool array_grow(void **items, size_t *capacity, size_t count, size_t size);
void array_shrink(void **items, size_t *capacity, size_t count, size_t size);

/* Opens a claim: its id, or 0 without memory or beyond the bound. */
uint64_t claims_open(struct claims *claims, struct range range, const ErlNifPid *owner);

/* Claims at most `max` positions of the first returned range for that owner. 0: no range was returned, or no memory. */
uint64_t claims_take_returned(struct claims *claims, uint64_t max, const ErlNifPid *owner, struct range *range);

/* Ends a claim, as settled or returned. False: there is none with that id. */
bool claims_close(struct claims *claims, uint64_t id, bool settled);

/* Returns all claims of that owner. */
void claims_return_of(struct claims *claims, const ErlNifPid *owner);

/* Removes all claims and ranges. */
void claims_clear(struct claims *claims);

void claims_free(struct claims *claims);

/* The lowest position that is claimed or returned; `next` if none is lower. */
uint64_t claims_lowest(const struct claims *claims, uint64_t next);

/* How many positions are claimed, and how many are returned. */
void claims_count(const struct claims *claims, uint64_t *claimed, uint64_t *returned);

#endif
