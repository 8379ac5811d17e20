/* The events of a batch as a pool stores them: maps with the keys of the enrichment, made while the events are read. A map in flat words gets its new
 * keys at no cost but their values. Made afterwards, each map would have a tuple of keys of its own, and be copied once more. */
#ifndef CAPTURE_NIF_ENRICH_H
#define CAPTURE_NIF_ENRICH_H

#include "base/resource.h"

#include <capture_pipeline.h>

/* What all events of a batch have in common. */
struct enrichment {
    ERL_NIF_TERM at, node;  /* for enriched_at and processed_by */
    uint64_t base;          /* processing_order is this and the event's index */
    bool correlate;         /* an event without a correlation id gets one */
};

/* Called when the NIF is loaded or upgraded. */
void enrich_load(ErlNifEnv *env);

/* {At, Node, Correlate, Base}, as ElixirScope.Capture.Enrichment makes it. False: it is something else. */
bool enrichment_get(ErlNifEnv *env, ERL_NIF_TERM term, struct enrichment *out);

/* The events from index `from` up to, not including, `to`, at most ENRICHED_MOST: {true, List}. An element is the enriched map, or the event as in
 * events_list if it is no map in flat words, or has no room for the new keys among those of a small map. {false, List}: there are such elements. */
enum { ENRICHED_MOST = 256 };
ERL_NIF_TERM enriched_list(ErlNifEnv *env, const struct enrichment *common, const pipeline_batch_t *batch, size_t from, size_t to, bool ring_file);

#endif
