/* Processes whose capture found the ring full, and that wait for space. Each gets one message, {capture_room, Ref}, when events have left. */
#ifndef CAPTURE_NIF_SPACE_WAITERS_H
#define CAPTURE_NIF_SPACE_WAITERS_H

#include "base/resource.h"

#include <stdatomic.h>

struct space_waiter;

/* A queue with a lock of its own, under which no message is sent. `count` may be read without the lock. */
struct space_waiters {
    ErlNifMutex *lock;
    struct space_waiter *first, **end;
    _Atomic unsigned count;
};

/* False without memory. */
bool space_waiters_init(struct space_waiters *waiters);
/* Processes that still wait get no message: they try again at their own timeout. */
void space_waiters_destroy(struct space_waiters *waiters);

void space_waiters_wake_some(struct space_waiters *waiters, ErlNifEnv *env);

/* Wakes some waiters: events have left. `env`: of the calling NIF; NULL on a thread of the library. A release inside a capture, which overwrites,
 * has neither: it wakes none. */
static inline void space_waiters_wake(struct space_waiters *waiters, ErlNifEnv *env)
{
    if (atomic_load_explicit(&waiters->count, memory_order_relaxed))
        space_waiters_wake_some(waiters, env);
}

/* The calling process waits: {ok, Ref} | {error, limit}. */
ERL_NIF_TERM space_waiters_add(ErlNifEnv *env, struct space_waiters *waiters);

/* The wait ends. ok: no message comes. sent: the message has come or is about to come; or the process waits again in a moment, because the
 * process that was to send it is killed meanwhile. */
ERL_NIF_TERM space_waiters_cancel(struct space_waiters *waiters, ERL_NIF_TERM ref);

/* Called when the NIF is loaded or upgraded. */
void space_waiters_load(ErlNifEnv *env);

#endif
