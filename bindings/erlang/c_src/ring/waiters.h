/* Processes that wait for a ring's next write. Each is woken once, by one message. Guarded by the ring's lock; messages are sent without it. */
#ifndef CAPTURE_NIF_WAITERS_H
#define CAPTURE_NIF_WAITERS_H

#include "base/resource.h"

enum { MAX_WAITERS = 64 };

struct waiter {
    ErlNifPid pid;
    uint64_t group;          /* one waiter of a group is woken at a time; 0: a group of its own */
    ErlNifEnv *env;          /* of the message, which is ready to be sent */
    ERL_NIF_TERM message, reference;
};

struct waiters {
    unsigned count;
    struct waiter waiter[MAX_WAITERS];
};

/* A message {ring_ready, Reference} for the calling process; env NULL without memory. Not under the lock. */
struct waiter waiter_new(ErlNifEnv *env, uint64_t group);

/* Adds a waiter. False: the process already waits in that group (*reference is then that of the first wait), or MAX_WAITERS wait (0). */
bool waiters_add(struct waiters *waiters, ErlNifEnv *env, const struct waiter *waiter, ERL_NIF_TERM *reference);

/* Removes one waiter of each group, or all of them; returns how many. */
unsigned waiters_take(struct waiters *waiters, bool all, struct waiter taken[MAX_WAITERS]);

/* Sends them their messages. Not under the lock. `env`: of the calling process. */
void waiters_wake(ErlNifEnv *env, struct waiter *taken, unsigned count);

void waiters_free(struct waiters *waiters);

#endif
