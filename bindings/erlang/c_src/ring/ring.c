/* A ring is made, followed by cursors, cleared, destroyed, and freed by the VM: see ring.h. */
#include "ring/ring.h"
#include "base/jobs.h"

#include <string.h>

struct ring *ring_make(const struct ring_ops *ops, size_t size, bool overwrite, size_t max_bytes)
{
    ErlNifSysInfo system;
    enif_system_info(&system, sizeof system);
    unsigned threads = 1;
    while (threads < (unsigned)system.scheduler_threads)
        threads *= 2;
    struct ring *ring = resource_new(RESOURCE_RING, &ops->base, sizeof *ring);
    if (!ring)
        return NULL;
    ring->overwrite = overwrite;
    ring->max_bytes = max_bytes;
    ring->block_terms = size / 8 < BLOCK_TERMS ? (size / 8 ? size / 8 : 1) : BLOCK_TERMS;
    ring->open_block_mask = threads - 1;
    ring->open_block_memory = enif_alloc((threads + 1) * sizeof *ring->open_blocks);
    ring->log.slots = slots_new(size);
    ring->lock = enif_mutex_create("capture_ring");
    if (!ring->open_block_memory || !ring->log.slots.slot || !ring->lock) {
        enif_release_resource(ring); /* ring_free */
        return NULL;
    }
    memset(ring->open_block_memory, 0, (threads + 1) * sizeof *ring->open_blocks);
    ring->open_blocks = (struct open_block *)(((uintptr_t)ring->open_block_memory + sizeof *ring->open_blocks - 1) & ~(sizeof *ring->open_blocks - 1));
    return ring;
}

/* ---- release ---- */

/* Events that are no longer in a ring, in the slots that held them. */
struct detached {
    struct slots slots;
    uint64_t from, to;
};

static void release(const struct detached *detached)
{
    for (uint64_t position = detached->from; position < detached->to; position++) {
        struct block *block = detached->slots.slot[position & (detached->slots.size - 1)].block;
        if (block)
            block_unref(block);
    }
    slots_free(detached->slots);
}

struct release_job {
    struct job job;             /* must be the first member */
    struct detached detached;
};

static void run_release(struct job *job)
{
    release(&((struct release_job *)job)->detached);
    enif_free(job);
}

/* A destructor runs on a scheduler. A thread releases many events, if one can be started. */
static bool release_by_thread(const struct detached *detached)
{
    struct release_job *job = enif_alloc(sizeof *job);
    if (!job)
        return false;
    *job = (struct release_job) { { NULL, run_release }, *detached };
    if (job_start(&job->job))
        return true;
    enif_free(job);
    return false;
}

static void close_open_blocks(struct ring *ring)
{
    for (unsigned i = 0; i <= ring->open_block_mask; i++)
        block_close(atomic_exchange_explicit(&ring->open_blocks[i].block, NULL, memory_order_acquire));
}

void ring_free(struct resource *resource)
{
    struct ring *ring = (struct ring *)resource;
    if (ring->open_blocks)
        close_open_blocks(ring);
    waiters_free(&ring->waiters);
    if (ring->watch.env)
        enif_free_env(ring->watch.env);
    struct detached detached = { ring->log.slots, ring->log.swept, log_write(&ring->log) };
    if (detached.slots.slot && !(detached.to - detached.from > DESTROY_HERE && release_by_thread(&detached)))
        release(&detached);
    enif_free(ring->open_block_memory);
    if (ring->lock)
        enif_mutex_destroy(ring->lock);
}

bool ring_empty(struct ring *ring)
{
    struct slots fresh = slots_new(ring->log.slots.size);
    struct detached detached = { .slots = fresh };
    if (!fresh.slot)
        return false;
    enif_mutex_lock(ring->lock);
    if (!ring_is_destroyed(ring)) {
        detached.slots = log_restart(&ring->log, fresh, &detached.from, &detached.to);
        atomic_store_explicit(&ring->total_reads, 0, memory_order_relaxed);
    }
    enif_mutex_unlock(ring->lock);
    close_open_blocks(ring);
    release(&detached);
    return true;
}

void ring_end(struct ring *ring, ErlNifEnv *env)
{
    struct waiter woken[MAX_WAITERS];
    unsigned woken_count = 0;
    struct detached detached = { { 0 }, 0, 0 };
    enif_mutex_lock(ring->lock);
    if (!ring_is_destroyed(ring)) {
        atomic_store_explicit(&ring->destroyed, true, memory_order_relaxed);
        detached.slots = log_end(&ring->log, &detached.from, &detached.to);
        woken_count = waiters_take(&ring->waiters, true, woken);
    }
    enif_mutex_unlock(ring->lock);
    close_open_blocks(ring);
    release(&detached);
    waiters_wake(env, woken, woken_count);
}

/* ---- followers ---- */

void ring_follow(struct ring *ring, struct ring_follower *follower, uint64_t *position, uint64_t *epoch)
{
    enif_mutex_lock(ring->lock);
    log_follow(&ring->log, follower);
    *position = follower->settled;
    *epoch = ring_epoch(ring);
    enif_mutex_unlock(ring->lock);
}

/* Releases acknowledged events in bounded steps. Later calls release the rest. */
static void sweep(struct ring *ring)
{
    struct block *released[CHUNK];
    size_t count = CHUNK, bytes = SWEEP_BYTES;
    for (int step = 0; step < SWEEP_CHUNKS && count == CHUNK; step++) {
        enif_mutex_lock(ring->lock);
        count = ring_is_destroyed(ring) ? 0 : log_sweep(&ring->log, released, CHUNK, &bytes);
        enif_mutex_unlock(ring->lock);
        for (size_t i = 0; i < count; i++)
            block_unref(released[i]);
    }
}

void ring_unfollow(struct ring *ring, struct ring_follower *follower)
{
    enif_mutex_lock(ring->lock);
    log_unfollow(&ring->log, follower);
    enif_mutex_unlock(ring->lock);
    sweep(ring);
}

uint64_t ring_epoch(struct ring *ring)
{
    return atomic_load_explicit(&ring->log.epoch, memory_order_relaxed);
}

void ring_settle(struct ring *ring, struct ring_follower *follower, uint64_t position, uint64_t epoch)
{
    enif_mutex_lock(ring->lock);
    if (epoch == ring_epoch(ring)) {
        follower->settled = position;
        log_advance(&ring->log);
    }
    enif_mutex_unlock(ring->lock);
    sweep(ring);
}
