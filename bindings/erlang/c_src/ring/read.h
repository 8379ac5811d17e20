/* The read paths of a ring. A read takes a reference under the lock, and copies the term without the lock. */
#ifndef CAPTURE_NIF_RING_READ_H
#define CAPTURE_NIF_RING_READ_H

#include "ring/ring.h"

void ring_read_load(ErlNifEnv *env);

/* ring_read and ring_read_batch of ring_nif.h. */
ERL_NIF_TERM ring_read_call(struct ring *ring, ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_read_batch_call(struct ring *ring, ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
