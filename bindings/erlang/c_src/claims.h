/* The books of a cursor: the ranges that are taken (claims) and those that came back. Plain data under the cursor's lock. */
#ifndef CAPTURE_NIF_CLAIMS_H
#define CAPTURE_NIF_CLAIMS_H

#include "resource.h"

struct range {
    uint64_t from, to;
};

struct claim {
    uint64_t id;
    struct range range;
    ErlNifPid owner;
};

/* The memory is bounded by the number of ranges in it, and that of the open claims is bounded. */
struct claims {
    struct claim *open;        /* by ascending id */
    struct range *returned;    /* by ascending position, disjoint, never touching; room for every open claim's return is kept */
    size_t open_count, open_room, returned_count, returned_room;
    uint64_t last_id;          /* ids are never used again */
};

/* Makes room for one more item in an array that doubles; gives memory back when few of many are left. */
bool array_room(void **items, size_t *room, size_t count, size_t size);
void array_shrink(void **items, size_t *room, size_t count, size_t size);

/* A new claim; its id, or 0 without memory or past the bound. */
uint64_t claims_open(struct claims *claims, struct range range, const ErlNifPid *owner);

/* The oldest of what came back becomes a claim of that owner's, at most `most` positions of it. 0: nothing came back, or no memory. */
uint64_t claims_take_returned(struct claims *claims, uint64_t most, const ErlNifPid *owner, struct range *range);

/* Ends a claim: settled, or returned. False: there is none of that id. */
bool claims_close(struct claims *claims, uint64_t id, bool settled);

/* All claims of that owner come back. */
void claims_return_of(struct claims *claims, const ErlNifPid *owner);

/* Forgets all claims and ranges. */
void claims_clear(struct claims *claims);

void claims_free(struct claims *claims);

/* The lowest position that is taken or has come back; `next` if none is below that. */
uint64_t claims_lowest(const struct claims *claims, uint64_t next);

/* How many positions are taken, and how many have come back. */
void claims_count(const struct claims *claims, uint64_t *taken, uint64_t *returned);

#endif
