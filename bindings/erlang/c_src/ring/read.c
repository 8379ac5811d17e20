/* The read paths of a ring: see read.h. */
#include "ring/read.h"

static ERL_NIF_TERM atom_empty, atom_destroyed;

void ring_read_load(ErlNifEnv *env)
{
    atom_empty = enif_make_atom(env, "empty");
    atom_destroyed = enif_make_atom(env, "destroyed");
}

/* ---- one event ---- */

RING_DIRTY(read_dirty, ring_read_call)

ERL_NIF_TERM ring_read_call(struct ring *ring, ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifUInt64 position;
    if (!enif_get_uint64(env, argv[1], &position))
        return answer_badarg(env);
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
        return answer_error_atom(env, atom_destroyed);
    if (!slot)
        return atom_empty;
    if (event.bytes > NORMAL_BYTES && on_normal_scheduler()) {
        block_unref(event.block);
        return enif_schedule_nif(env, "ring_read", ERL_NIF_DIRTY_JOB_CPU_BOUND, read_dirty, argc, argv);
    }
    ERL_NIF_TERM term = enif_make_copy(env, event.term);
    block_unref(event.block);
    ring_report_cost(env, event.bytes);
    atomic_fetch_add_explicit(&ring->total_reads, 1, memory_order_relaxed);
    return enif_make_tuple3(env, atom_ok, term, enif_make_uint64(env, position + 1));
}

/* ---- a batch ---- */

/* How much one call may still read. */
struct budget {
    size_t terms, bytes;
};

/* Takes up to CHUNK events from `position` on, with one reference for each run of events in the same block. */
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

/* The cost of a batch as bytes of copies; an event costs at least 64 bytes. */
static size_t cost_of(const struct budget *budget, size_t count)
{
    return (budget->bytes < BATCH_BYTES ? BATCH_BYTES - budget->bytes : 0) + count * 64;
}

/* Why a chunk cannot be taken. */
enum obstacle { NONE, DESTROYED, TOO_LARGE };

/* Takes the next chunk from the log, under the lock. */
static enum obstacle take_next(struct ring *ring, uint64_t *first, size_t count, struct budget *budget, struct slot *chunk, size_t *taken)
{
    *taken = 0;
    if (ring_is_destroyed(ring))
        return DESTROYED;
    if (count == 0 && *first < log_read(&ring->log))
        *first = log_read(&ring->log);
    struct slot *slot = log_at(&ring->log, *first + count); /* also NULL if it was overwritten since the last chunk */
    if (slot && count == 0 && slot->bytes > NORMAL_BYTES) {
        if (on_normal_scheduler())
            return TOO_LARGE;
        budget->bytes += slot->bytes; /* a batch has at least one event */
    }
    if (slot)
        *taken = take_chunk(ring, *first + count, budget, chunk);
    return NONE;
}

RING_DIRTY(read_batch_dirty, ring_read_batch_call)

ERL_NIF_TERM ring_read_batch_call(struct ring *ring, ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifUInt64 first, max;
    if (!enif_get_uint64(env, argv[1], &first) || !enif_get_uint64(env, argv[2], &max))
        return answer_badarg(env);
    struct budget budget = { max < BATCH_TERMS ? max : BATCH_TERMS, BATCH_BYTES };
    ERL_NIF_TERM terms[BATCH_TERMS];
    struct slot chunk[CHUNK];
    size_t count = 0, taken = 0;
    do {
        enif_mutex_lock(ring->lock);
        enum obstacle obstacle = max ? take_next(ring, &first, count, &budget, chunk, &taken) : ring_is_destroyed(ring) ? DESTROYED : NONE;
        enif_mutex_unlock(ring->lock);
        if (obstacle == TOO_LARGE)
            return enif_schedule_nif(env, "ring_read_batch", ERL_NIF_DIRTY_JOB_CPU_BOUND, read_batch_dirty, argc, argv);
        if (obstacle == DESTROYED && count == 0)
            return answer_error_atom(env, atom_destroyed);
        copy_chunk(env, chunk, taken, terms + count);
        count += taken;
    } while (taken == CHUNK);
    ring_report_cost(env, cost_of(&budget, count));
    atomic_fetch_add_explicit(&ring->total_reads, count, memory_order_relaxed);
    return enif_make_tuple3(env, enif_make_list_from_array(env, terms, (unsigned)count), enif_make_uint64(env, first),
                            enif_make_uint64(env, first + count));
}
