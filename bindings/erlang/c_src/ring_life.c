/* A ring's life: made, followed by cursors, cleared, destroyed, and let go by the VM. */
#include "ring_state.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

struct ring *ring_make(const struct ring_ops *ops, size_t size, bool overwrite, size_t most_bytes)
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
    ring->most_bytes = most_bytes;
    ring->block_terms = size / 8 < BLOCK_TERMS ? (size / 8 ? size / 8 : 1) : BLOCK_TERMS;
    ring->opened_mask = threads - 1;
    ring->opened_memory = enif_alloc((threads + 1) * sizeof *ring->opened);
    ring->log.slots = slots_new(size);
    ring->lock = enif_mutex_create("capture_ring");
    if (!ring->opened_memory || !ring->log.slots.slot || !ring->lock) {
        enif_release_resource(ring); /* ring_unmake */
        return NULL;
    }
    memset(ring->opened_memory, 0, (threads + 1) * sizeof *ring->opened);
    ring->opened = (struct opened *)(((uintptr_t)ring->opened_memory + sizeof *ring->opened - 1) & ~(sizeof *ring->opened - 1));
    return ring;
}

/* ---- letting go ---- */

/* Events that nobody can reach any more. */
struct remains {
    struct slots slots;
    uint64_t from, to;
};

static void let_go(const struct remains *remains)
{
    for (uint64_t position = remains->from; position < remains->to; position++) {
        struct block *block = remains->slots.slot[position & (remains->slots.size - 1)].block;
        if (block)
            block_unref(block);
    }
    slots_free(remains->slots);
}

static void *reaper(void *argument)
{
    struct remains *remains = argument;
    let_go(remains);
    enif_free(remains);
    return NULL;
}

/* A destructor runs on a scheduler: many events go in a thread of their own, if there can be one. */
static bool let_go_elsewhere(const struct remains *remains)
{
    pthread_attr_t attributes;
    pthread_t thread;
    struct remains *copy = enif_alloc(sizeof *copy);
    if (!copy)
        return false;
    *copy = *remains;
    bool started = false;
    if (pthread_attr_init(&attributes) == 0) {
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        started = pthread_create(&thread, &attributes, reaper, copy) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
    }
    if (!started)
        enif_free(copy);
    return started;
}

static void close_opened(struct ring *ring)
{
    for (unsigned i = 0; i <= ring->opened_mask; i++)
        block_close(atomic_exchange_explicit(&ring->opened[i].block, NULL, memory_order_acquire));
}

void ring_unmake(struct resource *resource)
{
    struct ring *ring = (struct ring *)resource;
    if (ring->opened)
        close_opened(ring);
    waiters_free(&ring->waiters);
    struct remains remains = { ring->log.slots, ring->log.swept, log_write(&ring->log) };
    if (remains.slots.slot && !(remains.to - remains.from > REAP_HERE && let_go_elsewhere(&remains)))
        let_go(&remains);
    enif_free(ring->opened_memory);
    if (ring->lock)
        enif_mutex_destroy(ring->lock);
}

bool ring_clear_all(struct ring *ring)
{
    struct slots fresh = slots_new(ring->log.slots.size);
    struct remains remains = { .slots = fresh };
    if (!fresh.slot)
        return false;
    enif_mutex_lock(ring->lock);
    if (!ring_is_destroyed(ring)) {
        remains.slots = log_restart(&ring->log, fresh, &remains.from, &remains.to);
        atomic_store_explicit(&ring->total_reads, 0, memory_order_relaxed);
    }
    enif_mutex_unlock(ring->lock);
    close_opened(ring);
    let_go(&remains);
    return true;
}

void ring_end(struct ring *ring, ErlNifEnv *env)
{
    struct waiter taken[MOST_WAITERS];
    unsigned woken = 0;
    struct remains remains = { { 0 }, 0, 0 };
    enif_mutex_lock(ring->lock);
    if (!ring_is_destroyed(ring)) {
        atomic_store_explicit(&ring->destroyed, true, memory_order_relaxed);
        remains.slots = log_end(&ring->log, &remains.from, &remains.to);
        woken = waiters_take(&ring->waiters, true, taken);
    }
    enif_mutex_unlock(ring->lock);
    close_opened(ring);
    let_go(&remains);
    waiters_wake(env, taken, woken);
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

/* What has been acknowledged is let go, in steps; a great many leave the rest to later calls. */
static void sweep(struct ring *ring)
{
    struct block *gone[CHUNK];
    size_t count = CHUNK, bytes = SETTLE_BYTES;
    for (int step = 0; step < SETTLE_CHUNKS && count == CHUNK; step++) {
        enif_mutex_lock(ring->lock);
        count = ring_is_destroyed(ring) ? 0 : log_sweep(&ring->log, gone, CHUNK, &bytes);
        enif_mutex_unlock(ring->lock);
        for (size_t i = 0; i < count; i++)
            block_unref(gone[i]);
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
