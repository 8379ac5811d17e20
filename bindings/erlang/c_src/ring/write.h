/* The write path of a ring. A write measures its term, copies it into the block of its scheduler thread, and only then takes the lock, for a
 * position and a slot. Nothing is allocated, freed, copied or sent under the lock. */
#ifndef CAPTURE_NIF_RING_WRITE_H
#define CAPTURE_NIF_RING_WRITE_H

#include "ring/ring.h"

void ring_write_load(ErlNifEnv *env);

/* ring_write of ring_nif.h. */
ERL_NIF_TERM ring_write_call(struct ring *ring, ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
