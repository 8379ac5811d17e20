/* The log of a ring: its slots, its positions, its followers. Except where noted, the functions are called with the ring's lock held. They take
 * bounded time and free nothing: they return the blocks to be released, and the caller releases them without the lock. */
#ifndef CAPTURE_NIF_LOG_H
#define CAPTURE_NIF_LOG_H

#include "term/block.h"

#include <stdatomic.h>

/* The place of a cursor in a ring: all positions below `settled` are settled. It lies in the cursor and is linked into the ring's log. Append-only:
 * the cursor and the ring may be of different copies of the NIF. */
struct ring_follower {
    struct ring_follower *next, **link;   /* link is NULL outside the list */
    uint64_t settled;
};

/* An event: a term in a block, and a reference to that block. */
struct slot {
    struct block *block;
    ERL_NIF_TERM term;
    size_t bytes;
};

/* Slots of 2^n events. Large arrays are mapped, so that only touched pages use memory. */
struct slots {
    struct slot *slot;
    size_t size;
};

/* NULL in `slot` without memory. Not under the lock. */
struct slots slots_new(size_t size);
void slots_free(struct slots slots);

/* swept <= read <= write <= swept + size. The positions from `swept` to `write` are in the slots, those from `read` to `write` are in the ring.
 * Those between `swept` and `read` are acknowledged or overwritten, and are released in small steps. `read`, `write` and `epoch` are atomic
 * because they are also read without the lock. */
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

/* Whether the log looks full; without the lock only a hint. */
static inline bool log_looks_full(struct log *log)
{
    return log_write(log) - log_read(log) >= log->slots.size;
}

/* Appends an event. A full log overwrites the oldest event if `overwrite`, and otherwise returns false. `released`: up to two blocks to release. */
bool log_append(struct log *log, struct slot event, bool overwrite, struct block *released[2]);

/* The event at that position; NULL outside read .. write-1. */
struct slot *log_at(struct log *log, uint64_t position);

/* Moves `read` on to the lowest position that all followers have settled. */
void log_advance(struct log *log);

/* Removes events below `read` from the slots: at most `max`, and until they make up *bytes. Returns how many blocks of theirs to release. */
size_t log_sweep(struct log *log, struct block **released, size_t max, size_t *bytes);

/* Empties the log, which starts again at position 0 with new slots. The caller gets the old slots with the events from .. to-1. */
struct slots log_restart(struct log *log, struct slots fresh, uint64_t *from, uint64_t *to);

/* Empties the log for ever; the positions stay. The caller gets the slots with the events from .. to-1. */
struct slots log_end(struct log *log, uint64_t *from, uint64_t *to);

void log_follow(struct log *log, struct ring_follower *follower);
void log_unfollow(struct log *log, struct ring_follower *follower);

#endif
