#ifndef CAPTURE_NIF_CURSOR_H
#define CAPTURE_NIF_CURSOR_H

#include "resource.h"

/* Called when the NIF is loaded or upgraded. */
static inline void cursor_load(ErlNifEnv *env) { (void)env; }

/* Rows of the function table: name, arity, function, flags. */
#define CURSOR_FUNCS(ROW)

#endif
