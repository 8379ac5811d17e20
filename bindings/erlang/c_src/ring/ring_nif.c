/* The NIFs of rings: see ring_nif.h. */
#include "ring/ring_nif.h"
#include "ring/read.h"
#include "ring/write.h"

static ERL_NIF_TERM atom_drop_oldest, atom_drop_newest, atom_block, atom_ready, atom_destroyed;

/* ---- the table ---- */

static ERL_NIF_TERM do_stats(struct ring *ring, ErlNifEnv *env)
{
    enif_mutex_lock(ring->lock);
    bool destroyed = ring_is_destroyed(ring);
    log_advance(&ring->log);
    bool due = watch_note(ring);
    uint64_t numbers[] = { log_write(&ring->log), log_read(&ring->log), ring->log.total_writes,
                           atomic_load_explicit(&ring->total_reads, memory_order_relaxed), ring->log.dropped };
    enif_mutex_unlock(ring->lock);
    if (destroyed)
        return answer_error_atom(env, atom_destroyed);
    if (due)
        watch_tell(ring, env);
    ERL_NIF_TERM terms[5];
    for (int i = 0; i < 5; i++)
        terms[i] = enif_make_uint64(env, numbers[i]);
    return enif_make_tuple_from_array(env, terms, 5);
}

static ERL_NIF_TERM do_clear(struct ring *ring, ErlNifEnv *env)
{
    if (ring_is_destroyed(ring))
        return answer_error_atom(env, atom_destroyed);
    if (!ring_empty(ring))
        return answer_error(env, "out_of_memory");
    ring_tell(ring, env);
    return atom_ok;
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
    .base = { .size = sizeof ring_table, .destroy = ring_free },
    .follow = ring_follow,
    .unfollow = ring_unfollow,
    .epoch = ring_epoch,
    .settle = ring_settle,
    .wait = do_wait,
    .write = ring_write_call,
    .read = ring_read_call,
    .read_batch = ring_read_batch_call,
    .stats = do_stats,
    .clear = do_clear,
    .end = do_end,
    .watch = ring_watch_call,
    .tell = ring_tell,
};

/* ---- the NIFs ---- */

void ring_load(ErlNifEnv *env)
{
    atom_drop_oldest = enif_make_atom(env, "drop_oldest");
    atom_drop_newest = enif_make_atom(env, "drop_newest");
    atom_block = enif_make_atom(env, "block");
    atom_ready = enif_make_atom(env, "ready");
    atom_destroyed = enif_make_atom(env, "destroyed");
    ring_write_load(env);
    ring_read_load(env);
    watch_load(env);
}

ERL_NIF_TERM ring_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifUInt64 size, max_bytes;
    bool overwrite = enif_is_identical(argv[1], atom_drop_oldest);
    (void)argc;
    if (!enif_get_uint64(env, argv[0], &size) || size == 0 || (size & (size - 1)) != 0 || !enif_get_uint64(env, argv[2], &max_bytes) ||
        (!overwrite && !enif_is_identical(argv[1], atom_drop_newest) && !enif_is_identical(argv[1], atom_block)))
        return answer_badarg(env);
    struct ring *ring = ring_make(&ring_table, size, overwrite, max_bytes);
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
            return answer_badarg(env); \
        const struct ring_ops *ops = (const struct ring_ops *)ring->resource.ops; \
        return call; \
    }

RING_NIF(ring_write, ops->write(ring, env, argc, argv))
RING_NIF(ring_read, ops->read(ring, env, argc, argv))
RING_NIF(ring_read_batch, ops->read_batch(ring, env, argc, argv))
RING_NIF(ring_stats, ops->stats(ring, env))
RING_NIF(ring_clear, ops->clear(ring, env))
RING_NIF(ring_destroy, ops->end(ring, env))
RING_NIF(ring_watch, ops->watch(ring, env, argv))

ERL_NIF_TERM ring_wait(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct ring *ring = resource_get(env, argv[0], RESOURCE_RING);
    ErlNifUInt64 position;
    (void)argc;
    if (!ring || !enif_get_uint64(env, argv[1], &position))
        return answer_badarg(env);
    return ((const struct ring_ops *)ring->resource.ops)->wait(ring, env, position, 0);
}
