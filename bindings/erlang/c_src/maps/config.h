/* A pipeline's configuration, a storage's options and all figures as maps: which members there are and how each is written. */
#ifndef CAPTURE_NIF_CONFIG_H
#define CAPTURE_NIF_CONFIG_H

#include "base/resource.h"

#include <capture_pipeline.h>

/* A configuration on its way to the library. */
struct config {
    pipeline_config_t native;   /* its texts are the struct's own, until config_free */
    bool in_flight_given;       /* max_in_flight was */
    bool wait_given;            /* overflow was, and waits says whether it is block */
    bool waits;
};

/* Lays a map over what `config->native` has. `delivery`: the numbers of writers are not the caller's to set. On failure
 * answers false, and what is to be answered in *error. */
bool config_from_map(ErlNifEnv *env, ERL_NIF_TERM map, bool delivery, struct config *config, ERL_NIF_TERM *error);
void config_free(struct config *config);
/* max_event_bytes, or what 0 stands for there. */
uint64_t config_event_limit(const pipeline_config_t *config);
ERL_NIF_TERM config_to_map(ErlNifEnv *env, const pipeline_config_t *config, bool waits);

/* {sqlite, Path, Options} or {journal, Path, Options} on its way to the library. */
struct native_storage {
    bool is_journal;
    union {
        pipeline_sqlite_options_t sqlite;
        pipeline_journal_options_t journal;
    } options;
    char *path;                             /* enif_free */
};
/* As above. */
bool native_storage_from_term(ErlNifEnv *env, ERL_NIF_TERM storage, struct native_storage *native, ERL_NIF_TERM *error);

ERL_NIF_TERM metrics_to_map(ErlNifEnv *env, const pipeline_metrics_t *metrics);
ERL_NIF_TERM writer_metrics_to_map(ErlNifEnv *env, const pipeline_writer_metrics_t *metrics);
/* Without `message`. */
ERL_NIF_TERM health_to_map(ErlNifEnv *env, const pipeline_health_t *health);

#endif
