/* What a ring is, for the files that it is made of: ring_life.c (made, followed, cleared, destroyed), ring.c (written and read). */
#ifndef CAPTURE_NIF_RING_STATE_H
#define CAPTURE_NIF_RING_STATE_H

#include "block.h"
#include "ring.h"
#include "ring_log.h"
#include "ring_wait.h"

enum {
    BLOCK_TERMS = 64,           /* terms of one environment, at most; fewer in small rings */
    BLOCK_BYTES = 64 << 10,     /* and bytes */
    BIG_TERM = 16 << 10,        /* bigger terms get a block of their own */
    NORMAL_BYTES = 64 << 10,    /* a term up to this is walked and copied on a normal scheduler, a bigger one on a dirty one */
    BATCH_TERMS = 512,          /* of one call of ring_read_batch */
    BATCH_BYTES = 256 << 10,
    CHUNK = 64,                 /* references taken or let go between two looks at the lock */
    SETTLE_CHUNKS = 16,         /* let go by one settle, and */
    SETTLE_BYTES = 4 << 20,     /* so many bytes; the rest goes with later calls */
    REAP_HERE = 4096            /* a destructor with more events than this leaves them to a thread */
};

/* A block that a scheduler thread adds to. Whoever takes it out owns it; a line of its own for each thread. */
struct opened {
    _Alignas(64) _Atomic(struct block *) block;
};

/* lock guards log, waiters and destroyed (which is only ever set; the write path looks at it first without the lock). */
struct ring {
    struct resource resource;
    ErlNifMutex *lock;
    bool overwrite;             /* drop_oldest */
    size_t most_bytes;          /* of one event */
    uint32_t block_terms;
    unsigned opened_mask;
    struct opened *opened;      /* aligned within `opened_memory` */
    void *opened_memory;
    _Atomic bool destroyed;
    _Atomic uint64_t total_reads;
    struct log log;
    struct waiters waiters;
};

static inline bool ring_is_destroyed(struct ring *ring)
{
    return atomic_load_explicit(&ring->destroyed, memory_order_relaxed);
}

/* A ring, and its end: ring_life.c. The owner of the one reference is the caller. NULL without memory. */
struct ring *ring_make(const struct ring_ops *ops, size_t size, bool overwrite, size_t most_bytes);
void ring_unmake(struct resource *resource);
bool ring_clear_all(struct ring *ring);                /* false without memory */
void ring_end(struct ring *ring, ErlNifEnv *env);

/* The rows of the table that a cursor uses. */
void ring_follow(struct ring *ring, struct ring_follower *follower, uint64_t *position, uint64_t *epoch);
void ring_unfollow(struct ring *ring, struct ring_follower *follower);
uint64_t ring_epoch(struct ring *ring);
void ring_settle(struct ring *ring, struct ring_follower *follower, uint64_t position, uint64_t epoch);

#endif
