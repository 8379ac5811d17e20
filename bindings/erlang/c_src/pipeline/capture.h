/* Captures: from a term of the caller to a record in the ring of the scheduler thread that the caller runs on.
 *
 * Each call returns ok | {error, Name} | {opaque, Limit}. After `opaque` the caller measures the term by
 * elixir_scope_capture_pipeline_term:bound(Term, Limit) and calls capture_bound. */
#ifndef CAPTURE_NIF_CAPTURE_H
#define CAPTURE_NIF_CAPTURE_H

#include "pipeline/pipeline.h"

/* Called when the NIF is loaded or upgraded. */
void capture_load(ErlNifEnv *env);

/* (Pipeline, Kind, Binary [, CorrelationId, NodeId]) */
pipeline_call capture_binary_call;
/* (Pipeline, Kind, Term [, CorrelationId, NodeId]) */
pipeline_call capture_term_call;
/* (Pipeline, Payload, Kind, CorrelationId, NodeId, Flags, Timestamp) */
pipeline_call capture_event_call;
/* (... as capture_event ..., Bytes, Needs): a term with funs or bitstrings in it, whose size the caller has measured. */
pipeline_call capture_bound_call;
/* (Pipeline, Kind, Payloads) -> {Captured, Rest, ok | Reason}. Rest begins with the payload that Reason is about. With ok, Rest holds the
 * payloads that this call had no time for. */
pipeline_call capture_many_call;

#endif
