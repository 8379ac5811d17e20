/* NativeRingBuffer's core: see ring.h for what it promises.
 *
 * A write measures its term, copies it into the scheduler thread's open block, and only then takes the lock, for a position and a slot; a read
 * takes a reference under the lock and copies after it. So the lock is held for a few dozen instructions; nothing is allocated, freed, copied or sent
 * under it. */
#include "ring_state.h"
#include "term.h"

static ERL_NIF_TERM atom_empty, atom_opaque, atom_drop_oldest, atom_drop_newest, atom_block, atom_ready, atom_buffer_full, atom_destroyed;

static ERL_NIF_TERM error_atom(ErlNifEnv *env, ERL_NIF_TERM reason)
{
    return enif_make_tuple2(env, atom_error, reason);
}

static bool on_normal_scheduler(void)
{
    return enif_thread_type() == ERL_NIF_THR_NORMAL_SCHEDULER;
}

/* Tells the VM what a longer call has cost, about a microsecond for a KiB: else a process that does nothing but such calls would hold its scheduler for
 * thousands of them. */
static void spend(ErlNifEnv *env, size_t bytes)
{
    size_t percent = bytes >> 13;
    if (percent > 0 && on_normal_scheduler())
        enif_consume_timeslice(env, percent < 100 ? (int)percent : 100);
}

/* ---- blocks ---- */

static struct block *take_opened(struct ring *ring, struct opened *opened, size_t bytes)
{
    if (bytes > BIG_TERM)
        return block_open(1, bytes + 1);
    struct block *block = atomic_exchange_explicit(&opened->block, NULL, memory_order_acquire);
    if (block && block_has_room(block))
        return block;
    block_close(block);
    return block_open(ring->block_terms, BLOCK_BYTES);
}

/* Puts it back for the next write, unless it is used up or somebody else (a dirty thread) has put one there. */
static void put_opened(struct ring *ring, struct opened *opened, struct block *block)
{
    struct block *none = NULL;
    if (block_has_room(block) && !ring_is_destroyed(ring) &&
        atomic_compare_exchange_strong_explicit(&opened->block, &none, block, memory_order_release, memory_order_relaxed))
        return;
    block_close(block);
}

/* ---- write ---- */

static bool is_full(struct ring *ring)
{
    if (!log_looks_full(&ring->log))
        return false;
    enif_mutex_lock(ring->lock);
    log_advance(&ring->log);
    enif_mutex_unlock(ring->lock);
    return log_looks_full(&ring->log);
}

static ERL_NIF_TERM append(struct ring *ring, ErlNifEnv *env, ERL_NIF_TERM term, size_t bytes, int needs)
{
    if (!ring->overwrite && is_full(ring))
        return error_atom(env, atom_buffer_full); /* before the work of a copy */
    struct opened *opened = &ring->opened[block_thread() & ring->opened_mask];
    struct block *block = take_opened(ring, opened, bytes), *gone[2] = { NULL, NULL };
    struct slot event = { .block = block, .bytes = bytes };
    struct waiter taken[MOST_WAITERS];
    unsigned woken = 0;
    if (block)
        event.term = block_add(block, env, term, bytes, needs);
    if (!event.term) {
        block_close(block);
        return answer_error(env, "out_of_memory");
    }
    enif_mutex_lock(ring->lock);
    bool destroyed = ring_is_destroyed(ring);
    bool done = !destroyed && log_append(&ring->log, event, ring->overwrite, gone);
    if (done && ring->waiters.count > 0)
        woken = waiters_take(&ring->waiters, false, taken);
    enif_mutex_unlock(ring->lock);
    if (done)
        block_hand_out(block);
    put_opened(ring, opened, block);
    for (int i = 0; i < 2; i++)
        if (gone[i])
            block_unref(gone[i]);
    if (woken)
        waiters_wake(env, taken, woken);
    spend(env, bytes);
    return done ? atom_ok : destroyed ? error_atom(env, atom_destroyed) : error_atom(env, atom_buffer_full);
}

static ERL_NIF_TERM do_write(struct ring *ring, ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    size_t bytes;
    int needs;
    if (ring_is_destroyed(ring))
        return error_atom(env, atom_destroyed);
    if (argc == 4) {
        ErlNifUInt64 told;
        if (!enif_get_uint64(env, argv[2], &told) || !enif_get_int(env, argv[3], &needs) || (needs & ~TERM_NEEDS))
            return answer_error(env, "badarg");
        bytes = told;
        if (bytes > ring->most_bytes)
            return answer_error(env, "too_large");
        if (bytes > NORMAL_BYTES && on_normal_scheduler())
            return enif_schedule_nif(env, "ring_write", ERL_NIF_DIRTY_JOB_CPU_BOUND, ring_write, argc, argv);
        return append(ring, env, argv[1], bytes, needs);
    }
    size_t first = ring->most_bytes < NORMAL_BYTES ? ring->most_bytes : NORMAL_BYTES;
    if (!term_size(env, argv[1], first, &bytes, &needs)) {
        if (first == ring->most_bytes)
            return answer_error(env, "too_large");
        if (on_normal_scheduler())
            return enif_schedule_nif(env, "ring_write", ERL_NIF_DIRTY_JOB_CPU_BOUND, ring_write, argc, argv);
        if (!term_size(env, argv[1], ring->most_bytes, &bytes, &needs))
            return answer_error(env, "too_large");
    }
    if (needs & TERM_OPAQUE)
        return atom_opaque;
    return append(ring, env, argv[1], bytes, needs);
}

/* ---- read ---- */

static ERL_NIF_TERM do_read(struct ring *ring, ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifUInt64 position;
    if (!enif_get_uint64(env, argv[1], &position))
        return answer_error(env, "badarg");
    struct slot event = { 0 };
    enif_mutex_lock(ring->lock);
    bool destroyed = ring_is_destroyed(ring);
    if (position < log_read(&ring->log))
        position = log_read(&ring->log);
    struct slot *slot = destroyed ? NULL : log_at(&ring->log, position);
    if (slot) {
        event = *slot;
        block_ref(event.block);
    }
    enif_mutex_unlock(ring->lock);
    if (destroyed)
        return error_atom(env, atom_destroyed);
    if (!slot)
        return atom_empty;
    if (event.bytes > NORMAL_BYTES && on_normal_scheduler()) {
        block_unref(event.block);
        return enif_schedule_nif(env, "ring_read", ERL_NIF_DIRTY_JOB_CPU_BOUND, ring_read, argc, argv);
    }
    ERL_NIF_TERM term = enif_make_copy(env, event.term);
    block_unref(event.block);
    spend(env, event.bytes);
    atomic_fetch_add_explicit(&ring->total_reads, 1, memory_order_relaxed);
    return enif_make_tuple3(env, atom_ok, term, enif_make_uint64(env, position + 1));
}

/* What one call of ring_read_batch has left to do. */
struct budget {
    size_t terms, bytes;
};

/* Takes up to CHUNK events from `position` on, with one reference for each run of events of one block. */
static size_t take_chunk(struct ring *ring, uint64_t position, struct budget *budget, struct slot *chunk)
{
    size_t count = 0;
    struct slot *slot;
    while (count < CHUNK && budget->terms > 0 && (slot = log_at(&ring->log, position + count)) && slot->bytes <= budget->bytes) {
        chunk[count] = *slot;
        if (count == 0 || chunk[count - 1].block != slot->block)
            block_ref(slot->block);
        budget->terms--;
        budget->bytes -= slot->bytes;
        count++;
    }
    return count;
}

static void copy_chunk(ErlNifEnv *env, const struct slot *chunk, size_t count, ERL_NIF_TERM *terms)
{
    for (size_t i = 0; i < count; i++) {
        terms[i] = enif_make_copy(env, chunk[i].term);
        if (i + 1 == count || chunk[i + 1].block != chunk[i].block)
            block_unref(chunk[i].block);
    }
}

/* What a batch has cost, in bytes of copies; its least events have a price too. */
static size_t bytes_of(const struct budget *budget, size_t count)
{
    return (budget->bytes < BATCH_BYTES ? BATCH_BYTES - budget->bytes : 0) + count * 64;
}

/* Looks at the log for the next chunk, under the lock. What keeps it from being taken: */
enum obstacle { NONE, DESTROYED, BIG };

static enum obstacle look(struct ring *ring, uint64_t *first, size_t count, struct budget *budget, struct slot *chunk, size_t *taken)
{
    *taken = 0;
    if (ring_is_destroyed(ring))
        return DESTROYED;
    if (count == 0 && *first < log_read(&ring->log))
        *first = log_read(&ring->log);
    struct slot *slot = log_at(&ring->log, *first + count); /* NULL too if it was overwritten since the last chunk */
    if (slot && count == 0 && slot->bytes > NORMAL_BYTES) {
        if (on_normal_scheduler())
            return BIG;
        budget->bytes += slot->bytes; /* this one at least */
    }
    if (slot)
        *taken = take_chunk(ring, *first + count, budget, chunk);
    return NONE;
}

static ERL_NIF_TERM do_read_batch(struct ring *ring, ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifUInt64 first, most;
    if (!enif_get_uint64(env, argv[1], &first) || !enif_get_uint64(env, argv[2], &most))
        return answer_error(env, "badarg");
    struct budget budget = { most < BATCH_TERMS ? most : BATCH_TERMS, BATCH_BYTES };
    ERL_NIF_TERM terms[BATCH_TERMS];
    struct slot chunk[CHUNK];
    size_t count = 0, taken = 0;
    do {
        enif_mutex_lock(ring->lock);
        enum obstacle obstacle = most ? look(ring, &first, count, &budget, chunk, &taken) : ring_is_destroyed(ring) ? DESTROYED : NONE;
        enif_mutex_unlock(ring->lock);
        if (obstacle == BIG)
            return enif_schedule_nif(env, "ring_read_batch", ERL_NIF_DIRTY_JOB_CPU_BOUND, ring_read_batch, argc, argv);
        if (obstacle == DESTROYED && count == 0)
            return error_atom(env, atom_destroyed);
        copy_chunk(env, chunk, taken, terms + count);
        count += taken;
    } while (taken == CHUNK);
    spend(env, bytes_of(&budget, count));
    atomic_fetch_add_explicit(&ring->total_reads, count, memory_order_relaxed);
    return enif_make_tuple3(env, enif_make_list_from_array(env, terms, (unsigned)count), enif_make_uint64(env, first),
                            enif_make_uint64(env, first + count));
}

/* ---- the rest of the table ---- */

static ERL_NIF_TERM do_stats(struct ring *ring, ErlNifEnv *env)
{
    enif_mutex_lock(ring->lock);
    bool destroyed = ring_is_destroyed(ring);
    log_advance(&ring->log);
    uint64_t numbers[] = { log_write(&ring->log), log_read(&ring->log), ring->log.total_writes,
                           atomic_load_explicit(&ring->total_reads, memory_order_relaxed), ring->log.dropped };
    enif_mutex_unlock(ring->lock);
    if (destroyed)
        return error_atom(env, atom_destroyed);
    ERL_NIF_TERM terms[5];
    for (int i = 0; i < 5; i++)
        terms[i] = enif_make_uint64(env, numbers[i]);
    return enif_make_tuple_from_array(env, terms, 5);
}

static ERL_NIF_TERM do_clear(struct ring *ring, ErlNifEnv *env)
{
    if (ring_is_destroyed(ring))
        return error_atom(env, atom_destroyed);
    return ring_clear_all(ring) ? atom_ok : answer_error(env, "out_of_memory");
}

static ERL_NIF_TERM do_end(struct ring *ring, ErlNifEnv *env)
{
    ring_end(ring, env);
    return atom_ok;
}

static ERL_NIF_TERM do_wait(struct ring *ring, ErlNifEnv *env, uint64_t position, uint64_t group)
{
    struct waiter waiter = waiter_new(env, group);
    ERL_NIF_TERM reference = 0;
    if (!waiter.env)
        return answer_error(env, "out_of_memory");
    enif_mutex_lock(ring->lock);
    bool ready = ring_is_destroyed(ring) || position < log_write(&ring->log);
    bool added = !ready && waiters_add(&ring->waiters, env, &waiter, &reference);
    enif_mutex_unlock(ring->lock);
    if (!added)
        enif_free_env(waiter.env);
    return ready ? atom_ready : reference ? answer_ok(env, reference) : answer_error(env, "limit");
}

static const struct ring_ops ring_table = {
    .base = { .size = sizeof ring_table, .destroy = ring_unmake },
    .follow = ring_follow,
    .unfollow = ring_unfollow,
    .epoch = ring_epoch,
    .settle = ring_settle,
    .wait = do_wait,
    .write = do_write,
    .read = do_read,
    .read_batch = do_read_batch,
    .stats = do_stats,
    .clear = do_clear,
    .end = do_end,
};

/* ---- the NIFs ---- */

void ring_load(ErlNifEnv *env)
{
    atom_empty = enif_make_atom(env, "empty");
    atom_opaque = enif_make_atom(env, "opaque");
    atom_drop_oldest = enif_make_atom(env, "drop_oldest");
    atom_drop_newest = enif_make_atom(env, "drop_newest");
    atom_block = enif_make_atom(env, "block");
    atom_ready = enif_make_atom(env, "ready");
    atom_buffer_full = enif_make_atom(env, "buffer_full");
    atom_destroyed = enif_make_atom(env, "destroyed");
}

ERL_NIF_TERM ring_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifUInt64 size, most_bytes;
    bool overwrite = enif_is_identical(argv[1], atom_drop_oldest);
    (void)argc;
    if (!enif_get_uint64(env, argv[0], &size) || size == 0 || (size & (size - 1)) != 0 || !enif_get_uint64(env, argv[2], &most_bytes) ||
        (!overwrite && !enif_is_identical(argv[1], atom_drop_newest) && !enif_is_identical(argv[1], atom_block)))
        return answer_error(env, "badarg");
    struct ring *ring = ring_make(&ring_table, size, overwrite, most_bytes);
    if (!ring)
        return answer_error(env, "out_of_memory");
    ERL_NIF_TERM term = enif_make_resource(env, ring);
    enif_release_resource(ring);
    return answer_ok(env, term);
}

#define RING_NIF(name, call) \
    ERL_NIF_TERM name(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) \
    { \
        struct ring *ring = resource_get(env, argv[0], RESOURCE_RING); \
        (void)argc; \
        if (!ring) \
            return answer_error(env, "badarg"); \
        const struct ring_ops *ops = (const struct ring_ops *)ring->resource.ops; \
        return call; \
    }

RING_NIF(ring_write, ops->write(ring, env, argc, argv))
RING_NIF(ring_read, ops->read(ring, env, argc, argv))
RING_NIF(ring_read_batch, ops->read_batch(ring, env, argc, argv))
RING_NIF(ring_stats, ops->stats(ring, env))
RING_NIF(ring_clear, ops->clear(ring, env))
RING_NIF(ring_destroy, ops->end(ring, env))

ERL_NIF_TERM ring_wait(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct ring *ring = resource_get(env, argv[0], RESOURCE_RING);
    ErlNifUInt64 position;
    (void)argc;
    if (!ring || !enif_get_uint64(env, argv[1], &position))
        return answer_error(env, "badarg");
    return ((const struct ring_ops *)ring->resource.ops)->wait(ring, env, position, 0);
}
