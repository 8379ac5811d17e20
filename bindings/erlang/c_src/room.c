/* Processes that have found no room. */
#include "room.h"

enum {
    MOST = 65536,       /* that wait at once; more look again by themselves */
    AT_ONCE = 8,        /* that are told when a batch has left: there is room for few */
};

struct waiter {
    struct waiter *next;
    ErlNifPid pid;
    ErlNifEnv *env;
    ERL_NIF_TERM ref;
};

static ERL_NIF_TERM atom_room, atom_sent;

void room_load(ErlNifEnv *env)
{
    atom_room = enif_make_atom(env, "capture_room");
    atom_sent = enif_make_atom(env, "sent");
}

bool room_begin(struct room *room)
{
    room->end = &room->first;
    room->lock = enif_mutex_create("capture_pipeline_room");
    return room->lock != NULL;
}

static void forget(struct waiter *waiter)
{
    enif_free_env(waiter->env);
    enif_free(waiter);
}

void room_end(struct room *room)
{
    while (room->first) {
        struct waiter *next = room->first->next;
        forget(room->first);
        room->first = next;
    }
    if (room->lock)
        enif_mutex_destroy(room->lock);
}

/* Takes the one at `at` off the queue; under the lock. */
static struct waiter *take(struct room *room, struct waiter **at)
{
    struct waiter *taken = *at;
    *at = taken->next;
    if (!*at)
        room->end = at;
    room->count--;
    return taken;
}

/* Adds one at the end; under the lock. */
static void add(struct room *room, struct waiter *waiter)
{
    waiter->next = NULL;
    *room->end = waiter;
    room->end = &waiter->next;
    room->count++;
}

void room_wake(struct room *room, ErlNifEnv *env)
{
    struct waiter *woken[AT_ONCE];
    int count = 0;
    if (!env && enif_thread_type() != ERL_NIF_THR_UNDEFINED)
        return;
    enif_mutex_lock(room->lock);
    while (count < AT_ONCE && room->first)
        woken[count++] = take(room, &room->first);
    enif_mutex_unlock(room->lock);
    for (int i = 0; i < count; i++) {
        ErlNifEnv *own = woken[i]->env;
        if (enif_send(env, &woken[i]->pid, own, enif_make_tuple2(own, atom_room, woken[i]->ref)) || !env ||
            !enif_is_process_alive(env, &woken[i]->pid)) {
            forget(woken[i]);
        } else {
            /* Whoever is killed in a call on a dirty scheduler can send nothing more: it waits on, and looks again by itself. */
            enif_mutex_lock(room->lock);
            add(room, woken[i]);
            enif_mutex_unlock(room->lock);
        }
    }
}

ERL_NIF_TERM room_add(ErlNifEnv *env, struct room *room)
{
    struct waiter *waiter = room->count < MOST ? enif_alloc(sizeof *waiter) : NULL;
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
    enif_mutex_lock(room->lock);
    add(room, waiter);
    enif_mutex_unlock(room->lock);
    return answer_ok(env, ref);
}

ERL_NIF_TERM room_cancel(ErlNifEnv *env, struct room *room, ERL_NIF_TERM ref)
{
    struct waiter *found = NULL;
    (void)env;
    enif_mutex_lock(room->lock);
    struct waiter **at = &room->first;
    while (*at && !enif_is_identical((*at)->ref, ref))
        at = &(*at)->next;
    if (*at)
        found = take(room, at);
    enif_mutex_unlock(room->lock);
    if (!found)
        return atom_sent;
    forget(found);
    return atom_ok;
}
