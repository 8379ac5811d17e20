/* Processes that wait for space: see space_waiters.h. */
#include "delivery/space_waiters.h"

enum {
    MAX_WAITERS = 65536,    /* that wait at once; further ones only try again at their timeout */
    MAX_WOKEN = 8,          /* per batch that has left: its space is enough for few */
};

struct space_waiter {
    struct space_waiter *next;
    ErlNifPid pid;
    ErlNifEnv *env;
    ERL_NIF_TERM ref;
};

static ERL_NIF_TERM atom_room, atom_sent;

void space_waiters_load(ErlNifEnv *env)
{
    atom_room = enif_make_atom(env, "capture_room");
    atom_sent = enif_make_atom(env, "sent");
}

bool space_waiters_init(struct space_waiters *waiters)
{
    waiters->end = &waiters->first;
    waiters->lock = enif_mutex_create("capture_pipeline_space");
    return waiters->lock != NULL;
}

static void free_waiter(struct space_waiter *waiter)
{
    enif_free_env(waiter->env);
    enif_free(waiter);
}

void space_waiters_destroy(struct space_waiters *waiters)
{
    while (waiters->first) {
        struct space_waiter *next = waiters->first->next;
        free_waiter(waiters->first);
        waiters->first = next;
    }
    if (waiters->lock)
        enif_mutex_destroy(waiters->lock);
}

/* Removes the waiter at `at` from the queue; under the lock. */
static struct space_waiter *take(struct space_waiters *waiters, struct space_waiter **at)
{
    struct space_waiter *taken = *at;
    *at = taken->next;
    if (!*at)
        waiters->end = at;
    waiters->count--;
    return taken;
}

/* Adds a waiter at the end; under the lock. */
static void add(struct space_waiters *waiters, struct space_waiter *waiter)
{
    waiter->next = NULL;
    *waiters->end = waiter;
    waiters->end = &waiter->next;
    waiters->count++;
}

void space_waiters_wake_some(struct space_waiters *waiters, ErlNifEnv *env)
{
    struct space_waiter *woken[MAX_WOKEN];
    int count = 0;
    if (!env && enif_thread_type() != ERL_NIF_THR_UNDEFINED)
        return;
    enif_mutex_lock(waiters->lock);
    while (count < MAX_WOKEN && waiters->first)
        woken[count++] = take(waiters, &waiters->first);
    enif_mutex_unlock(waiters->lock);
    for (int i = 0; i < count; i++) {
        ErlNifEnv *own = woken[i]->env;
        if (enif_send(env, &woken[i]->pid, own, enif_make_tuple2(own, atom_room, woken[i]->ref)) || !env ||
            !enif_is_process_alive(env, &woken[i]->pid)) {
            free_waiter(woken[i]);
        } else {
            /* The sender was killed in a call on a dirty scheduler, and can send no more messages. The waiter stays in the queue, and tries again
             * at its timeout. */
            enif_mutex_lock(waiters->lock);
            add(waiters, woken[i]);
            enif_mutex_unlock(waiters->lock);
        }
    }
}

ERL_NIF_TERM space_waiters_add(ErlNifEnv *env, struct space_waiters *waiters)
{
    struct space_waiter *waiter = waiters->count < MAX_WAITERS ? enif_alloc(sizeof *waiter) : NULL;
    if (!waiter)
        return answer_error(env, "limit");
    waiter->env = enif_alloc_env();
    if (!waiter->env || !enif_self(env, &waiter->pid)) {
        if (waiter->env)
            enif_free_env(waiter->env);
        enif_free(waiter);
        return answer_error(env, "limit");
    }
    ERL_NIF_TERM ref = enif_make_ref(env);
    waiter->ref = enif_make_copy(waiter->env, ref);
    enif_mutex_lock(waiters->lock);
    add(waiters, waiter);
    enif_mutex_unlock(waiters->lock);
    return answer_ok(env, ref);
}

ERL_NIF_TERM space_waiters_cancel(struct space_waiters *waiters, ERL_NIF_TERM ref)
{
    struct space_waiter *found = NULL;
    enif_mutex_lock(waiters->lock);
    struct space_waiter **at = &waiters->first;
    while (*at && !enif_is_identical((*at)->ref, ref))
        at = &(*at)->next;
    if (*at)
        found = take(waiters, at);
    enif_mutex_unlock(waiters->lock);
    if (!found)
        return atom_sent;
    free_waiter(found);
    return atom_ok;
}
