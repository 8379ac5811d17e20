/* Processes that wait for a ring's next write: see waiters.h. */
#include "ring/waiters.h"

struct waiter waiter_new(ErlNifEnv *env, uint64_t group)
{
    struct waiter waiter = { .group = group };
    enif_self(env, &waiter.pid);
    waiter.env = enif_alloc_env();
    if (!waiter.env)
        return waiter;
    waiter.reference = enif_make_ref(waiter.env);
    waiter.message = enif_make_tuple2(waiter.env, enif_make_atom(waiter.env, "ring_ready"), waiter.reference);
    return waiter;
}

static void prune(struct waiters *waiters, ErlNifEnv *env)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < waiters->count; i++) {
        struct waiter *waiter = &waiters->waiter[i];
        if (enif_is_process_alive(env, &waiter->pid))
            waiters->waiter[kept++] = *waiter;
        else
            enif_free_env(waiter->env);
    }
    waiters->count = kept;
}

bool waiters_add(struct waiters *waiters, ErlNifEnv *env, const struct waiter *waiter, ERL_NIF_TERM *reference)
{
    *reference = 0;
    for (unsigned i = 0; i < waiters->count; i++)
        if (waiters->waiter[i].group == waiter->group && enif_compare_pids(&waiters->waiter[i].pid, &waiter->pid) == 0) {
            *reference = enif_make_copy(env, waiters->waiter[i].reference);
            return false;
        }
    if (waiters->count == MAX_WAITERS)
        prune(waiters, env);
    if (waiters->count == MAX_WAITERS)
        return false;
    *reference = enif_make_copy(env, waiter->reference);
    waiters->waiter[waiters->count++] = *waiter;
    return true;
}

static bool has_group(const struct waiter *taken, unsigned count, uint64_t group)
{
    for (unsigned i = 0; i < count; i++)
        if (taken[i].group == group)
            return true;
    return false;
}

unsigned waiters_take(struct waiters *waiters, bool all, struct waiter taken[MAX_WAITERS])
{
    unsigned count = 0, kept = 0;
    for (unsigned i = 0; i < waiters->count; i++) {
        uint64_t group = waiters->waiter[i].group;
        if (!all && group != 0 && has_group(taken, count, group))
            waiters->waiter[kept++] = waiters->waiter[i];
        else
            taken[count++] = waiters->waiter[i];
    }
    waiters->count = kept;
    return count;
}

void waiters_wake(ErlNifEnv *env, struct waiter *taken, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        enif_send(env, &taken[i].pid, taken[i].env, taken[i].message);
        enif_free_env(taken[i].env);
    }
}

void waiters_free(struct waiters *waiters)
{
    while (waiters->count > 0)
        enif_free_env(waiters->waiter[--waiters->count].env);
}
