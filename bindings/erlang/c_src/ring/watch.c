/* The watcher of a ring's pressure: see watch.h. */
#include "ring/watch.h"
#include "ring/ring.h"

static ERL_NIF_TERM atom_capture_pressure, atom_high, atom_low, atom_destroyed, atom_none;

void watch_load(ErlNifEnv *env)
{
    atom_capture_pressure = enif_make_atom(env, "capture_pressure");
    atom_high = enif_make_atom(env, "high");
    atom_low = enif_make_atom(env, "low");
    atom_destroyed = enif_make_atom(env, "destroyed");
    atom_none = enif_make_atom(env, "none");
}

static uint64_t used(struct ring *ring)
{
    return log_write(&ring->log) - log_read(&ring->log);
}

bool watch_note(struct ring *ring)
{
    struct watch *watch = &ring->watch;
    if (!watch->env || ring_is_destroyed(ring))
        return false;
    uint64_t places = used(ring);
    if (watch->is_high ? places <= watch->low : places >= watch->high)
        watch->is_high = !watch->is_high;
    return watch->is_high != watch->told && !watch->telling;
}

/* The next message, in an environment of its own, and to whom; NULL: there is none, or no memory. Under the lock. */
static ErlNifEnv *next_message(struct ring *ring, ErlNifPid *to, ERL_NIF_TERM *message)
{
    struct watch *watch = &ring->watch;
    ErlNifEnv *env = watch->env && watch->is_high != watch->told ? enif_alloc_env() : NULL;
    if (!env)
        return NULL;
    watch->told = watch->is_high;
    *to = watch->pid;
    *message = enif_make_tuple4(env, atom_capture_pressure, enif_make_copy(env, watch->ref),
        enif_make_uint64(env, used(ring) * 100 / ring->log.slots.size), watch->told ? atom_high : atom_low);
    return env;
}

void watch_tell(struct ring *ring, ErlNifEnv *env)
{
    ErlNifPid to;
    ERL_NIF_TERM message;
    enif_mutex_lock(ring->lock);
    bool mine = !ring->watch.telling;
    ring->watch.telling = true;
    ErlNifEnv *own;
    while (mine && (own = next_message(ring, &to, &message))) {
        enif_mutex_unlock(ring->lock);
        enif_send(env, &to, own, message);
        enif_free_env(own);
        enif_mutex_lock(ring->lock);
    }
    if (mine)
        ring->watch.telling = false;
    enif_mutex_unlock(ring->lock);
}

void ring_tell(struct ring *ring, ErlNifEnv *env)
{
    enif_mutex_lock(ring->lock);
    bool due = watch_note(ring);
    enif_mutex_unlock(ring->lock);
    if (due)
        watch_tell(ring, env);
}

/* The fewest places of `size` that are so many percent. */
static uint64_t places_of(uint64_t percent, uint64_t size)
{
    return size / 100 * percent + (size % 100 * percent + 99) / 100;
}

ERL_NIF_TERM ring_watch_call(struct ring *ring, ErlNifEnv *env, const ERL_NIF_TERM argv[])
{
    unsigned low = 0, high = 0;
    bool ends = enif_is_identical(argv[3], atom_none);
    if (!enif_get_uint(env, argv[1], &low) || !enif_get_uint(env, argv[2], &high) || (!ends && !enif_is_ref(env, argv[3])) ||
        (!ends && (low >= high || high > 100)))
        return answer_badarg(env);
    struct watch watch = { .env = ends ? NULL : enif_alloc_env() };
    if (!ends && !watch.env)
        return answer_error(env, "out_of_memory");
    if (watch.env) {
        enif_self(env, &watch.pid);
        watch.ref = enif_make_copy(watch.env, argv[3]);
        watch.high = places_of(high, ring->log.slots.size);
        /* The most places that are no more percent than that. */
        watch.low = places_of(low + 1, ring->log.slots.size) - 1;
    }
    enif_mutex_lock(ring->lock);
    bool destroyed = ring_is_destroyed(ring), due = false;
    ErlNifEnv *former = watch.env;
    if (!destroyed) {
        former = ring->watch.env;
        watch.telling = ring->watch.telling;
        ring->watch = watch;
        due = watch_note(ring);
    }
    enif_mutex_unlock(ring->lock);
    if (former)
        enif_free_env(former);
    if (due)
        watch_tell(ring, env);
    return destroyed ? answer_error_atom(env, atom_destroyed) : atom_ok;
}
