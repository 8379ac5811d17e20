/* A copy of a term into another environment, which keeps no other memory alive. */
#ifndef CAPTURE_NIF_COPY_H
#define CAPTURE_NIF_COPY_H

#include "term/walk.h"

/* A copy in `to` that is equal (=:=) and shares no binary with any other term; `needs` of the term's walk. 0 without memory. The copy is as
 * bounded as the walk was. */
ERL_NIF_TERM term_copy(ErlNifEnv *to, ErlNifEnv *from, ERL_NIF_TERM term, int needs);

#endif
