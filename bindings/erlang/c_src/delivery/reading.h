/* The events of a notice, read by its consumer. */
#ifndef CAPTURE_NIF_READING_H
#define CAPTURE_NIF_READING_H

#include "pipeline/pipeline.h"

/* Called when the NIF is loaded or upgraded. */
void reading_load(ErlNifEnv *env);

/* (Pipeline, Token, From) -> {Events, Next | done} | {error, unknown_token | badarg}: some of the batch's events, from index From on. Only for the
 * consumer that has the batch. */
pipeline_call delivery_events_call;

/* (Pipeline, Token, From, {At, Node, Correlate, Base}) -> {{Whole, Events}, Next | done} | the same errors: enriched, see enrich.h. */
pipeline_call delivery_enriched_call;

#endif
