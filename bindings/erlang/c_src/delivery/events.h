/* The events of a batch as a consumer gets them. */
#ifndef CAPTURE_NIF_EVENTS_H
#define CAPTURE_NIF_EVENTS_H

#include "term/flat.h"

#include <capture_pipeline.h>

/* The events from index `from` up to, not including, `to`, copied into the environment: a list of {Term, RingId, Sequence, TimestampNs, Kind,
 * CorrelationId, NodeId}. */
ERL_NIF_TERM events_list(ErlNifEnv *env, const pipeline_batch_t *batch, size_t from, size_t to, bool ring_file);

/* One of them. `made`: the shapes of the environment. */
ERL_NIF_TERM event_captured(ErlNifEnv *env, struct shapes_made *made, const pipeline_event_view_t *event, bool ring_file);

static inline ERL_NIF_TERM event_number(ErlNifEnv *env, uint64_t value)
{
    return layout.small_integers && value <= SMALL_MAX ? layout_small(value) : enif_make_uint64(env, value);
}

/* Called when the NIF is loaded or upgraded. */
void events_load(ErlNifEnv *env);

#endif
