#ifndef CAPTURE_NIF_TERM_H
#define CAPTURE_NIF_TERM_H

#include "resource.h"

/* Called when the NIF is loaded or upgraded: learns how this VM tags terms. */
static inline void term_load(ErlNifEnv *env) { (void)env; }

#endif
