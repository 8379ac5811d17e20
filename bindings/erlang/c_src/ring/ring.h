/* The ring of ElixirScope.Capture.NativeRingBuffer: a totally ordered log of terms with positions from 0, bounded by a number of events.
 *
 * ring.c makes, follows, clears and destroys a ring; write.c and read.c are the hot paths; ring_nif.c has the NIFs; cursor.c reads through it. */
#ifndef CAPTURE_NIF_RING_H
#define CAPTURE_NIF_RING_H

#include "base/resource.h"
#include "ring/log.h"
#include "ring/waiters.h"
#include "ring/watch.h"

#include <stdatomic.h>

enum {
    BLOCK_TERMS = 64,           /* terms of one block, at most; fewer in small rings */
    BLOCK_BYTES = 64 << 10,     /* bytes of one block, at most */
    LARGE_TERM = 16 << 10,      /* a larger term gets a block of its own */
    NORMAL_BYTES = 64 << 10,    /* a larger term is walked and copied on a dirty scheduler */
    BATCH_TERMS = 512,          /* of one call of ring_read_batch */
    BATCH_BYTES = 256 << 10,
    CHUNK = 64,                 /* references taken or released per turn of the lock */
    SWEEP_CHUNKS = 16,          /* chunks released by one settle, */
    SWEEP_BYTES = 4 << 20,      /* and their bytes; later calls release the rest */
    DESTROY_HERE = 4096         /* a destructor with more events than this leaves their release to a thread */
};

struct ring;

/* The functions of the copy that made a ring. A cursor may be of another copy, so it uses these only. Append-only. */
struct ring_ops {
    struct ops base;
    /* A new follower starts at the oldest event held: writes its position and the ring's epoch. */
    void (*follow)(struct ring *, struct ring_follower *, uint64_t *position, uint64_t *epoch);
    void (*unfollow)(struct ring *, struct ring_follower *);
    /* The epoch changes with each clear. One atomic load. */
    uint64_t (*epoch)(struct ring *);
    /* The follower has settled all positions below that one. No effect if the ring has another epoch by now. */
    void (*settle)(struct ring *, struct ring_follower *, uint64_t position, uint64_t epoch);
    /* ring_wait of ring_nif.h. `group`: a write wakes one waiter of a group; 0: a group of its own. */
    ERL_NIF_TERM (*wait)(struct ring *, ErlNifEnv *, uint64_t position, uint64_t group);
    ERL_NIF_TERM (*write)(struct ring *, ErlNifEnv *, int argc, const ERL_NIF_TERM argv[]);
    ERL_NIF_TERM (*read)(struct ring *, ErlNifEnv *, int argc, const ERL_NIF_TERM argv[]);
    ERL_NIF_TERM (*read_batch)(struct ring *, ErlNifEnv *, int argc, const ERL_NIF_TERM argv[]);
    ERL_NIF_TERM (*stats)(struct ring *, ErlNifEnv *);
    ERL_NIF_TERM (*clear)(struct ring *, ErlNifEnv *);
    ERL_NIF_TERM (*end)(struct ring *, ErlNifEnv *);
    /* ring_watch of ring_nif.h. */
    ERL_NIF_TERM (*watch)(struct ring *, ErlNifEnv *, const ERL_NIF_TERM argv[]);
    /* The process that watches is told, if a call of a cursor has moved the pressure across its limits. Not under the cursor's lock. */
    void (*tell)(struct ring *, ErlNifEnv *);
};

/* The block that a scheduler thread adds to. A thread that takes it out of here owns it. One cache line for each thread. */
struct open_block {
    _Alignas(64) _Atomic(struct block *) block;
};

/* The lock guards log, waiters, watch and destroyed. `destroyed` is only ever set; the write path first reads it without the lock. */
struct ring {
    struct resource resource;
    ErlNifMutex *lock;
    bool overwrite;             /* drop_oldest */
    size_t max_bytes;           /* of one event */
    uint32_t block_terms;
    unsigned open_block_mask;
    struct open_block *open_blocks;     /* aligned within `open_block_memory` */
    void *open_block_memory;
    _Atomic bool destroyed;
    _Atomic uint64_t total_reads;
    struct log log;
    struct waiters waiters;
    struct watch watch;
};

static inline bool ring_is_destroyed(struct ring *ring)
{
    return atomic_load_explicit(&ring->destroyed, memory_order_relaxed);
}

/* Reports the cost of a longer call to the VM, about a microsecond per KiB. Without the report, a process that makes only such calls would
 * hold its scheduler for thousands of them. */
static inline void ring_report_cost(ErlNifEnv *env, size_t bytes)
{
    size_t percent = bytes >> 13;
    if (percent > 0 && on_normal_scheduler())
        enif_consume_timeslice(env, percent < 100 ? (int)percent : 100);
}

/* A new ring; the caller owns its one reference. NULL without memory. */
struct ring *ring_make(const struct ring_ops *ops, size_t size, bool overwrite, size_t max_bytes);
/* The destructor of the resource. */
void ring_free(struct resource *resource);
/* Empties the ring; false without memory. */
bool ring_empty(struct ring *ring);
/* Empties it for ever, and wakes all waiters. */
void ring_end(struct ring *ring, ErlNifEnv *env);

/* Rows of the table. */
void ring_follow(struct ring *ring, struct ring_follower *follower, uint64_t *position, uint64_t *epoch);
void ring_unfollow(struct ring *ring, struct ring_follower *follower);
uint64_t ring_epoch(struct ring *ring);
void ring_settle(struct ring *ring, struct ring_follower *follower, uint64_t position, uint64_t epoch);

/* Defines a function that enif_schedule_nif runs on a dirty scheduler: the same call again. It is of the copy that made the ring, so that it needs
 * no table. */
#define RING_DIRTY(name, call) \
    static ERL_NIF_TERM name(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) \
    { \
        struct ring *ring = resource_get(env, argv[0], RESOURCE_RING); \
        return ring ? call(ring, env, argc, argv) : answer_badarg(env); \
    }

#endif
