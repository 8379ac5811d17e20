/* The claims of a cursor: see claims.h. */
#include "ring/claims.h"

#include <string.h>

enum { MAX_OPEN = 1 << 16 };

bool array_grow(void **items, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity)
        return true;
    size_t more = *capacity ? *capacity * 2 : 8;
    void *grown = enif_realloc(*items, more * size);
    if (!grown)
        return false;
    *items = grown;
    *capacity = more;
    return true;
}

void array_shrink(void **items, size_t *capacity, size_t count, size_t size)
{
    if (*capacity <= 64 || count * 4 > *capacity)
        return;
    void *smaller = enif_realloc(*items, *capacity / 2 * size);
    if (smaller) {
        *items = smaller;
        *capacity /= 2;
    }
}

static void shrink(struct claims *claims)
{
    array_shrink((void **)&claims->open, &claims->open_capacity, claims->open_count, sizeof *claims->open);
    array_shrink((void **)&claims->returned, &claims->returned_capacity, claims->returned_count + claims->open_count + 1,
                 sizeof *claims->returned);
}

/* Inserts a range into the returned ones, which are sorted, and merges it with its neighbours. */
static void put_back(struct claims *claims, struct range range)
{
    struct range *r = claims->returned;
    size_t at = claims->returned_count;
    while (at > 0 && r[at - 1].from > range.from)
        at--;
    bool left = at > 0 && r[at - 1].to >= range.from;
    bool right = at < claims->returned_count && range.to >= r[at].from;
    if (left && right) {
        r[at - 1].to = r[at].to;
        memmove(&r[at], &r[at + 1], (--claims->returned_count - at) * sizeof *r);
    } else if (left) {
        r[at - 1].to = range.to;
    } else if (right) {
        r[at].from = range.from;
    } else {
        memmove(&r[at + 1], &r[at], (claims->returned_count++ - at) * sizeof *r);
        r[at] = range;
    }
}

uint64_t claims_open(struct claims *claims, struct range range, const ErlNifPid *owner)
{
    if (claims->open_count >= MAX_OPEN ||
        !array_grow((void **)&claims->open, &claims->open_capacity, claims->open_count, sizeof *claims->open) ||
        !array_grow((void **)&claims->returned, &claims->returned_capacity, claims->open_count + claims->returned_count + 1,
                    sizeof *claims->returned))
        return 0;
    claims->open[claims->open_count++] = (struct claim){ .id = ++claims->last_id, .range = range, .owner = *owner };
    return claims->last_id;
}

uint64_t claims_take_returned(struct claims *claims, uint64_t max, const ErlNifPid *owner, struct range *range)
{
    if (!claims->returned_count)
        return 0;
    *range = claims->returned[0];
    if (range->to - range->from > max)
        range->to = range->from + max;
    uint64_t id = claims_open(claims, *range, owner);
    struct range *oldest = claims->returned; /* claims_open may have moved it */
    if (id && range->to == oldest->to)
        memmove(oldest, oldest + 1, --claims->returned_count * sizeof *oldest);
    else if (id)
        oldest->from = range->to;
    return id;
}

bool claims_close(struct claims *claims, uint64_t id, bool settled)
{
    size_t low = 0, high = claims->open_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (claims->open[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == claims->open_count || claims->open[low].id != id)
        return false;
    struct range range = claims->open[low].range;
    memmove(&claims->open[low], &claims->open[low + 1], (--claims->open_count - low) * sizeof *claims->open);
    if (!settled)
        put_back(claims, range);
    shrink(claims);
    return true;
}

void claims_return_of(struct claims *claims, const ErlNifPid *owner)
{
    size_t kept = 0;
    for (size_t i = 0; i < claims->open_count; i++) {
        if (enif_compare_pids(&claims->open[i].owner, owner) == 0)
            put_back(claims, claims->open[i].range);
        else
            claims->open[kept++] = claims->open[i];
    }
    claims->open_count = kept;
    shrink(claims);
}

void claims_clear(struct claims *claims)
{
    claims->open_count = 0;
    claims->returned_count = 0;
    shrink(claims);
}

void claims_free(struct claims *claims)
{
    enif_free(claims->open);
    enif_free(claims->returned);
}

uint64_t claims_lowest(const struct claims *claims, uint64_t next)
{
    uint64_t lowest = next;
    if (claims->returned_count && claims->returned[0].from < lowest)
        lowest = claims->returned[0].from;
    for (size_t i = 0; i < claims->open_count; i++)
        if (claims->open[i].range.from < lowest)
            lowest = claims->open[i].range.from;
    return lowest;
}

void claims_count(const struct claims *claims, uint64_t *claimed, uint64_t *returned)
{
    *claimed = *returned = 0;
    for (size_t i = 0; i < claims->open_count; i++)
        *claimed += claims->open[i].range.to - claims->open[i].range.from;
    for (size_t i = 0; i < claims->returned_count; i++)
        *returned += claims->returned[i].to - claims->returned[i].from;
}
