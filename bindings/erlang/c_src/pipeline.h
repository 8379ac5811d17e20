#ifndef CAPTURE_NIF_PIPELINE_H
#define CAPTURE_NIF_PIPELINE_H

#include "resource.h"

/* Called when the NIF is loaded or upgraded. */
static inline void pipeline_load(ErlNifEnv *env) { (void)env; }

/* Rows of the function table: name, arity, function, flags. */
#define PIPELINE_FUNCS(ROW)

#endif
