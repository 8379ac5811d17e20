/* The options of a reader, from a map. */
#ifndef CAPTURE_NIF_READER_OPTIONS_H
#define CAPTURE_NIF_READER_OPTIONS_H

#include "base/resource.h"

#include <capture_pipeline.h>

/* Numbers of which an event must have one. */
struct number_set {
    uint64_t *sorted;
    size_t count;
    bool is_given;              /* otherwise any number will do */
};

/* What the NIF does beside the library's filters. The library could filter by these numbers too, but it would read on until it finds an event: in a
 * large journal one call could keep a dirty scheduler for seconds. */
struct reader_filter {
    struct number_set kinds, correlation_ids;
    bool without_payloads;
};

/* A reader's options on their way to the library. */
struct reader_options {
    pipeline_reader_options_t native;
    struct reader_filter filter;
    char *path;
};

/* On failure answers false, and what is to be answered in *error; nothing is left to be freed then. */
bool reader_options_from_terms(ErlNifEnv *env, ERL_NIF_TERM path, ERL_NIF_TERM map, struct reader_options *options, ERL_NIF_TERM *error);
void reader_options_free(struct reader_options *options);

bool reader_filter_wants(const struct reader_filter *filter, const pipeline_reader_event_t *event);
void reader_filter_free(struct reader_filter *filter);

#endif
