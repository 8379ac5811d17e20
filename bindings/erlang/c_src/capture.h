/* Captures: from a term of the caller to a record in the ring of the scheduler that it runs on. */
#ifndef CAPTURE_NIF_CAPTURE_H
#define CAPTURE_NIF_CAPTURE_H

#include "pipeline.h"

/* Called when the NIF is loaded or upgraded. */
void capture_load(ErlNifEnv *env);

/* Rows of the function table: name, arity, function, flags. */
#define CAPTURE_FUNCS(ROW) \
    ROW("capture_binary", 3, capture_binary_nif, 0) \
    ROW("capture_binary", 5, capture_binary_nif, 0) \
    ROW("capture_term", 3, capture_term_nif, 0) \
    ROW("capture_term", 5, capture_term_nif, 0) \
    ROW("capture_event", 7, capture_event_nif, 0) \
    ROW("capture_bound", 9, capture_bound_nif, 0) \
    ROW("capture_many", 3, capture_many_nif, 0)

#endif
