/* Processes that have found no room and wait for some: each gets one message, {capture_room, Ref}, when events have left. */
#ifndef CAPTURE_NIF_ROOM_H
#define CAPTURE_NIF_ROOM_H

#include "resource.h"

#include <stdatomic.h>

struct waiter;

/* A queue under a lock of its own, which is held for no message; `count` may be read without it. */
struct room {
    ErlNifMutex *lock;
    struct waiter *first, **end;
    _Atomic unsigned count;
};

bool room_begin(struct room *room);
/* Whoever still waits is left to his own time. */
void room_end(struct room *room);

void room_wake(struct room *room, ErlNifEnv *env);

/* Events have left. `env`: of the NIF that calls; NULL on a thread of the library, and where a capture overwrites: then nobody is told. */
static inline void room_tell(struct room *room, ErlNifEnv *env)
{
    if (atomic_load_explicit(&room->count, memory_order_relaxed))
        room_wake(room, env);
}

/* The calling process waits: {ok, Ref} | {error, limit}. */
ERL_NIF_TERM room_add(ErlNifEnv *env, struct room *room);
/* It no longer does: ok, and no message comes; or sent: it has come, or is about to, or it waits again in a moment, where the process that
 * was to send it is killed meanwhile. */
ERL_NIF_TERM room_cancel(ErlNifEnv *env, struct room *room, ERL_NIF_TERM ref);

/* Called when the NIF is loaded or upgraded. */
void room_load(ErlNifEnv *env);

#endif
