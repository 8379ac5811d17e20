/* The events of a batch as a consumer gets them. */
#ifndef CAPTURE_NIF_EVENTS_H
#define CAPTURE_NIF_EVENTS_H

#include "base/resource.h"

#include <capture_pipeline.h>

/* The events from index `from` up to, not including, `to`, copied into the environment: a list of {Term, RingId, Sequence, TimestampNs, Kind,
 * CorrelationId, NodeId}. */
ERL_NIF_TERM events_list(ErlNifEnv *env, const pipeline_batch_t *batch, size_t from, size_t to);

/* Called when the NIF is loaded or upgraded. */
void events_load(ErlNifEnv *env);

#endif
