#ifndef CAPTURE_NIF_CAPTURE_H
#define CAPTURE_NIF_CAPTURE_H

#include "resource.h"

/* Called when the NIF is loaded or upgraded. */
static inline void capture_load(ErlNifEnv *env) { (void)env; }

/* Rows of the function table: name, arity, function, flags. */
#define CAPTURE_FUNCS(ROW)

#endif
