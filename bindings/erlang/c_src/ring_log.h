/* The log of a ring: its slots, its positions, who follows it. Every function here is called with the ring's lock held, takes bounded time, and frees
 * nothing: the blocks that are let go are handed to the caller, who lets them go without the lock. */
#ifndef CAPTURE_NIF_RING_LOG_H
#define CAPTURE_NIF_RING_LOG_H

#include "block.h"
#include "ring.h"

#include <stdatomic.h>

/* An event: a term in a block, for which a reference is held. */
struct slot {
    struct block *block;
    ERL_NIF_TERM term;
    size_t bytes;
};

/* Slots of 2^n events. Memory of the big ones is mapped, so that it costs only what was touched. */
struct slots {
    struct slot *slot;
    size_t size;
};

/* NULL in `slot` without memory. Not under the lock. */
struct slots slots_new(size_t size);
void slots_free(struct slots slots);

/* swept <= read <= write <= swept + size: what lies in swept .. write is in the slots, what lies in read .. write is in the ring. The difference has been
 * acknowledged, and is let go little by little. All but the two positions that a writer looks at without the lock are plain. */
struct log {
    struct slots slots;
    uint64_t swept;
    _Atomic uint64_t read, write;
    _Atomic uint64_t epoch;      /* changes with each clear */
    uint64_t total_writes, dropped;
    struct ring_follower *followers;
};

static inline uint64_t log_read(struct log *log)
{
    return atomic_load_explicit(&log->read, memory_order_relaxed);
}

static inline uint64_t log_write(struct log *log)
{
    return atomic_load_explicit(&log->write, memory_order_relaxed);
}

/* Whether it is full as far as anyone can tell without the lock. */
static inline bool log_looks_full(struct log *log)
{
    return log_write(log) - log_read(log) >= log->slots.size;
}

/* Appends an event; when full, the oldest one is overwritten if `overwrite`, else false is answered. Up to two blocks are let go. */
bool log_append(struct log *log, struct slot event, bool overwrite, struct block *gone[2]);

/* The event at that position, or NULL. It must lie in read .. write-1. */
struct slot *log_at(struct log *log, uint64_t position);

/* The followers have moved: so may the oldest event held. */
void log_advance(struct log *log);

/* Takes up to `most` blocks of acknowledged events out of the slots, until `bytes` of them are used up; how many. */
size_t log_sweep(struct log *log, struct block **gone, size_t most, size_t *bytes);

/* Empty, from position 0, in new slots. The old ones, and what is in them, pass to the caller: positions from .. to-1. */
struct slots log_restart(struct log *log, struct slots fresh, uint64_t *from, uint64_t *to);

/* Empty for good: the slots, and what is in them, pass to the caller; the positions stay. */
struct slots log_end(struct log *log, uint64_t *from, uint64_t *to);

void log_follow(struct log *log, struct ring_follower *follower);
void log_unfollow(struct log *log, struct ring_follower *follower);

#endif
