#ifndef CAPTURE_NIF_DELIVERY_H
#define CAPTURE_NIF_DELIVERY_H

#include "resource.h"

/* Called when the NIF is loaded or upgraded. */
static inline void delivery_load(ErlNifEnv *env) { (void)env; }

/* Rows of the function table: name, arity, function, flags. */
#define DELIVERY_FUNCS(ROW)

#endif
