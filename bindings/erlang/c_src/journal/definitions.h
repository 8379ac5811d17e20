/* The kinds of a journal as terms. */
#ifndef CAPTURE_NIF_DEFINITIONS_H
#define CAPTURE_NIF_DEFINITIONS_H

#include "base/resource.h"

#include <capture_pipeline.h>

/* [{Generation, Kind, Name, none | Definition}], with each definition as control/kinds.c reads it. */
ERL_NIF_TERM definitions_list(ErlNifEnv *env, const pipeline_reader_kinds_t *kinds);

#endif
