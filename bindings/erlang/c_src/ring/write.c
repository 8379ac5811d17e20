/* The write path of a ring: see write.h. */
#include "ring/write.h"
#include "term/walk.h"

static ERL_NIF_TERM atom_opaque, atom_buffer_full, atom_destroyed;

void ring_write_load(ErlNifEnv *env)
{
    atom_opaque = enif_make_atom(env, "opaque");
    atom_buffer_full = enif_make_atom(env, "buffer_full");
    atom_destroyed = enif_make_atom(env, "destroyed");
}

/* ---- blocks ---- */

static struct block *take_block(struct ring *ring, struct open_block *open, size_t bytes)
{
    if (bytes > LARGE_TERM)
        return block_open(1, bytes + 1);
    struct block *block = atomic_exchange_explicit(&open->block, NULL, memory_order_acquire);
    if (block && block_has_space(block))
        return block;
    block_close(block);
    return block_open(ring->block_terms, BLOCK_BYTES);
}

/* Puts the block back for the next write, unless it is used up or another (dirty) thread has put one there. */
static void put_block(struct ring *ring, struct open_block *open, struct block *block)
{
    struct block *none = NULL;
    if (block_has_space(block) && !ring_is_destroyed(ring) &&
        atomic_compare_exchange_strong_explicit(&open->block, &none, block, memory_order_release, memory_order_relaxed))
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
        return answer_error_atom(env, atom_buffer_full); /* before the cost of a copy */
    struct open_block *open = &ring->open_blocks[block_thread() & ring->open_block_mask];
    struct block *block = take_block(ring, open, bytes), *released[2] = { NULL, NULL };
    struct slot event = { .block = block, .bytes = bytes };
    struct waiter woken[MAX_WAITERS];
    unsigned woken_count = 0;
    bool due = false;
    if (block)
        event.term = block_add(block, env, term, bytes, needs);
    if (!event.term) {
        block_close(block);
        return answer_error(env, "out_of_memory");
    }
    enif_mutex_lock(ring->lock);
    bool destroyed = ring_is_destroyed(ring);
    bool done = !destroyed && log_append(&ring->log, event, ring->overwrite, released);
    if (done && ring->waiters.count > 0)
        woken_count = waiters_take(&ring->waiters, false, woken);
    due = watch_note(ring);
    enif_mutex_unlock(ring->lock);
    if (done)
        block_give(block);
    put_block(ring, open, block);
    for (int i = 0; i < 2; i++)
        if (released[i])
            block_unref(released[i]);
    if (woken_count)
        waiters_wake(env, woken, woken_count);
    if (due)
        watch_tell(ring, env);
    ring_report_cost(env, bytes);
    return done ? atom_ok : destroyed ? answer_error_atom(env, atom_destroyed) : answer_error_atom(env, atom_buffer_full);
}

RING_DIRTY(write_dirty, ring_write_call)

ERL_NIF_TERM ring_write_call(struct ring *ring, ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    size_t bytes;
    int needs;
    if (ring_is_destroyed(ring))
        return answer_error_atom(env, atom_destroyed);
    if (argc == 4) {
        ErlNifUInt64 measured;
        if (!enif_get_uint64(env, argv[2], &measured) || !enif_get_int(env, argv[3], &needs) || (needs & ~TERM_NEEDS))
            return answer_badarg(env);
        bytes = measured;
        if (bytes > ring->max_bytes)
            return answer_error(env, "too_large");
        if (bytes > NORMAL_BYTES && on_normal_scheduler())
            return enif_schedule_nif(env, "ring_write", ERL_NIF_DIRTY_JOB_CPU_BOUND, write_dirty, argc, argv);
        return append(ring, env, argv[1], bytes, needs);
    }
    size_t first = ring->max_bytes < NORMAL_BYTES ? ring->max_bytes : NORMAL_BYTES;
    if (!term_size(env, argv[1], first, &bytes, &needs)) {
        if (first == ring->max_bytes)
            return answer_error(env, "too_large");
        if (on_normal_scheduler())
            return enif_schedule_nif(env, "ring_write", ERL_NIF_DIRTY_JOB_CPU_BOUND, write_dirty, argc, argv);
        if (!term_size(env, argv[1], ring->max_bytes, &bytes, &needs))
            return answer_error(env, "too_large");
    }
    if (needs & TERM_OPAQUE)
        return atom_opaque;
    return append(ring, env, argv[1], bytes, needs);
}
