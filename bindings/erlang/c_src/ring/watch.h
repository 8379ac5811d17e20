/* The process that is told when the pressure of a ring crosses its limits: how many of its places are in use. Guarded by the ring's lock; messages
 * are sent without it, one at a time, so that they come in the order of the crossings. */
#ifndef CAPTURE_NIF_WATCH_H
#define CAPTURE_NIF_WATCH_H

#include "base/resource.h"

struct watch {
    ErlNifEnv *env;         /* holds `ref`; NULL: nobody watches */
    ErlNifPid pid;
    ERL_NIF_TERM ref;
    uint64_t low, high;     /* in places: `high` and more is high, `low` and fewer is low */
    bool is_high;
    bool told;              /* what the process was told last */
    bool telling;           /* a thread sends a message, and goes on until `told` is `is_high` */
};

struct ring;

/* Whether there is something to tell: places have been taken or freed. Under the lock; without a watcher it reads one word. */
bool watch_note(struct ring *ring);

/* Tells it. Not under the lock. `env`: of the calling process. */
void watch_tell(struct ring *ring, ErlNifEnv *env);

/* Called when the NIF is loaded or upgraded. */
void watch_load(ErlNifEnv *env);

/* Rows of the table. ring_watch of ring_nif.h; and watch_note and watch_tell, after calls of a cursor. */
ERL_NIF_TERM ring_watch_call(struct ring *ring, ErlNifEnv *env, const ERL_NIF_TERM argv[]);
void ring_tell(struct ring *ring, ErlNifEnv *env);

#endif
