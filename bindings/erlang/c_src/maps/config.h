/* A pipeline's configuration, a storage's options and all figures as maps: which members there are and how each is written. */
#ifndef CAPTURE_NIF_CONFIG_H
#define CAPTURE_NIF_CONFIG_H

#include "base/resource.h"

#include <capture_pipeline.h>

enum { PATH_BYTES = 4096 };

/* Sets one option of a map; false: it is unknown, or the value is none for it. */
typedef bool option_set(ErlNifEnv *, void *to, ERL_NIF_TERM key, ERL_NIF_TERM value);

/* Gives each pair of a map to `set`, until it refuses one: then false, and in *error {error, {badarg, Key}}, or {error, {badarg, what}} for what is no
 * map. */
bool set_all(ErlNifEnv *env, ERL_NIF_TERM map, const char *what, option_set *set, void *to, ERL_NIF_TERM *error);

/* false, and {error, {badarg, what}} in *error. */
bool refuse_key(ErlNifEnv *env, ERL_NIF_TERM what, ERL_NIF_TERM *error);

/* A path (enif_free), or NULL and {error, {badarg, path}} in *error. */
char *get_path(ErlNifEnv *env, ERL_NIF_TERM term, ERL_NIF_TERM *error);

/* A configuration on its way to the library. */
struct config {
    pipeline_config_t native;   /* its texts are the struct's own, until config_free */
    bool in_flight_given;       /* max_in_flight was */
    bool wait_given;            /* overflow was, and waits says whether it is block */
    bool waits;
    bool terms_given;           /* terms was, and blocks_only says whether it is blocks */
    bool blocks_only;
};

/* Lays a map over what `config->native` has. `delivery`: the numbers of writers are not the caller's to set. On failure
 * answers false, and what is to be answered in *error. */
bool config_from_map(ErlNifEnv *env, ERL_NIF_TERM map, bool delivery, struct config *config, ERL_NIF_TERM *error);
void config_free(struct config *config);
/* max_event_bytes, or what 0 stands for there. */
uint64_t config_event_limit(const pipeline_config_t *config);
ERL_NIF_TERM config_to_map(ErlNifEnv *env, const pipeline_config_t *config, bool waits);

/* {sqlite, Path, Options}, {journal, Path, Options} or {perfetto, Path, Options} on its way to the library. */
struct native_storage {
    enum { STORAGE_SQLITE, STORAGE_JOURNAL, STORAGE_PERFETTO } kind;
    union {
        pipeline_sqlite_options_t sqlite;
        pipeline_journal_options_t journal;
        pipeline_perfetto_options_t perfetto;
    } options;
    char *path;                             /* enif_free */
};
/* As above. */
bool native_storage_from_term(ErlNifEnv *env, ERL_NIF_TERM storage, struct native_storage *native, ERL_NIF_TERM *error);

ERL_NIF_TERM metrics_to_map(ErlNifEnv *env, const pipeline_metrics_t *metrics);
ERL_NIF_TERM writer_metrics_to_map(ErlNifEnv *env, const pipeline_writer_metrics_t *metrics);
ERL_NIF_TERM reader_losses_to_map(ErlNifEnv *env, const pipeline_reader_losses_t *losses);
/* Without `message`. */
ERL_NIF_TERM health_to_map(ErlNifEnv *env, const pipeline_health_t *health);

#endif
