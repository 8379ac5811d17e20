/* Who waits for a ring's next write. A waiter is woken once, by one message. Under the ring's lock, but for the sending. */
#ifndef CAPTURE_NIF_RING_WAIT_H
#define CAPTURE_NIF_RING_WAIT_H

#include "resource.h"

enum { MOST_WAITERS = 64 };

struct waiter {
    ErlNifPid pid;
    uint64_t group;          /* of a group, one is woken at a time; 0: a group of its own */
    ErlNifEnv *env;          /* of the message, which lies ready */
    ERL_NIF_TERM message, reference;
};

struct waiters {
    unsigned count;
    struct waiter waiter[MOST_WAITERS];
};

/* A message {ring_ready, Reference} for the calling process; env NULL without memory. Not under the lock. */
struct waiter waiter_new(ErlNifEnv *env, uint64_t group);

/* Adds it. False: the process already waits in that group (its reference is written), or there is no room (0 is written). */
bool waiters_add(struct waiters *waiters, ErlNifEnv *env, const struct waiter *waiter, ERL_NIF_TERM *reference);

/* Takes out one waiter of each group, or all of them; how many. */
unsigned waiters_take(struct waiters *waiters, bool all, struct waiter taken[MOST_WAITERS]);

/* Sends them their messages. Without the lock; `env` is the caller's. */
void waiters_wake(ErlNifEnv *env, struct waiter *taken, unsigned count);

void waiters_free(struct waiters *waiters);

#endif
