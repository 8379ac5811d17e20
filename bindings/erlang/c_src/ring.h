#ifndef CAPTURE_NIF_RING_H
#define CAPTURE_NIF_RING_H

#include "resource.h"

/* Called when the NIF is loaded or upgraded. */
static inline void ring_load(ErlNifEnv *env) { (void)env; }

/* Rows of the function table: name, arity, function, flags. */
#define RING_FUNCS(ROW)

#endif
