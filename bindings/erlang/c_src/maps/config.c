/* A pipeline's configuration, a storage's options and all figures as maps. */
#include "maps/config.h"
#include "maps/fields.h"
#include "maps/lists.h"

#include <string.h>

enum { NAME_BYTES = 255 };

bool refuse_key(ErlNifEnv *env, ERL_NIF_TERM what, ERL_NIF_TERM *error)
{
    *error = enif_make_tuple2(env, atom_error, enif_make_tuple2(env, atom_badarg, what));
    return false;
}

static bool is_one_of(ErlNifEnv *env, ERL_NIF_TERM key, const char *const *names)
{
    for (; *names; names++) {
        if (key == enif_make_atom(env, *names))
            return true;
    }
    return false;
}

bool set_all(ErlNifEnv *env, ERL_NIF_TERM map, const char *what, option_set *set, void *to, ERL_NIF_TERM *error)
{
    ErlNifMapIterator each;
    ERL_NIF_TERM key, value;
    if (!enif_is_map(env, map) || !enif_map_iterator_create(env, map, &each, ERL_NIF_MAP_ITERATOR_FIRST))
        return refuse_key(env, enif_make_atom(env, what), error);
    bool good = true;
    while (good && enif_map_iterator_get_pair(env, &each, &key, &value)) {
        good = set(env, to, key, value);
        if (good)
            enif_map_iterator_next(env, &each);
    }
    enif_map_iterator_destroy(env, &each);
    return good || refuse_key(env, key, error);
}

/* What a configuration's pairs are put into. */
struct target {
    struct config *config;
    bool delivery;
};

static bool set_config(ErlNifEnv *env, void *to, ERL_NIF_TERM key, ERL_NIF_TERM value)
{
    static const char *const own[] = { "writers", "min_writers", "max_writers", NULL };
    const struct target *target = to;
    struct config *config = target->config;
    if (key == enif_make_atom(env, "terms")) {
        config->terms_given = true;
        config->blocks_only = value == enif_make_atom(env, "blocks");
        return target->delivery && (config->blocks_only || value == enif_make_atom(env, "fastest"));
    }
    const struct field *field = field_find(env, config_fields, FIELD_COUNT(config_fields), key);
    size_t limit = key == enif_make_atom(env, "name") ? NAME_BYTES : PATH_BYTES;
    if (!field || (target->delivery && is_one_of(env, key, own)) || !field_set(env, field, &config->native, value, limit))
        return false;
    config->in_flight_given |= key == enif_make_atom(env, "max_in_flight");
    if (key == enif_make_atom(env, "overflow")) {
        config->wait_given = true;
        /* A capture on a scheduler must not wait: the library drops, and the caller waits in Erlang. */
        config->waits = config->native.overflow == PIPELINE_OVERFLOW_BLOCK;
        if (config->waits)
            config->native.overflow = PIPELINE_OVERFLOW_DROP_NEWEST;
    }
    return true;
}

bool config_from_map(ErlNifEnv *env, ERL_NIF_TERM map, bool delivery, struct config *config, ERL_NIF_TERM *error)
{
    struct target target = { config, delivery };
    return set_all(env, map, "config", set_config, &target, error);
}

void config_free(struct config *config)
{
    fields_free(config_fields, FIELD_COUNT(config_fields), &config->native);
}

uint64_t config_event_limit(const pipeline_config_t *config)
{
    uint64_t most = config->ring_bytes / 4 - 64;
    return config->max_event_bytes ? config->max_event_bytes : most < 65536 ? most : 65536;
}

ERL_NIF_TERM config_to_map(ErlNifEnv *env, const pipeline_config_t *config, bool waits)
{
    pipeline_config_t shown = *config;
    shown.max_event_bytes = config_event_limit(config);
    if (waits)
        shown.overflow = PIPELINE_OVERFLOW_BLOCK;
    return fields_put(env, config_fields, FIELD_COUNT(config_fields), &shown, enif_make_new_map(env));
}

static bool set_sqlite(ErlNifEnv *env, void *to, ERL_NIF_TERM key, ERL_NIF_TERM value)
{
    const struct field *field = field_find(env, sqlite_options_fields, FIELD_COUNT(sqlite_options_fields), key);
    return field && field_set(env, field, to, value, PATH_BYTES);
}

static bool set_journal(ErlNifEnv *env, void *to, ERL_NIF_TERM key, ERL_NIF_TERM value)
{
    const struct field *field = field_find(env, journal_options_fields, FIELD_COUNT(journal_options_fields), key);
    return field && field_set(env, field, to, value, PATH_BYTES);
}

static bool set_perfetto(ErlNifEnv *env, void *to, ERL_NIF_TERM key, ERL_NIF_TERM value)
{
    const struct field *field = field_find(env, perfetto_options_fields, FIELD_COUNT(perfetto_options_fields), key);
    return field && field_set(env, field, to, value, PATH_BYTES);
}

char *get_path(ErlNifEnv *env, ERL_NIF_TERM term, ERL_NIF_TERM *error)
{
    char *path = get_text(env, term, PATH_BYTES);
    if (path && *path)
        return path;
    if (path)
        enif_free(path);
    refuse_key(env, enif_make_atom(env, "path"), error);
    return NULL;
}

bool native_storage_from_term(ErlNifEnv *env, ERL_NIF_TERM storage, struct native_storage *native, ERL_NIF_TERM *error)
{
    int arity;
    const ERL_NIF_TERM *parts;
    native->path = NULL;
    if (!enif_get_tuple(env, storage, &arity, &parts) || arity != 3)
        return refuse_key(env, enif_make_atom(env, "storage"), error);
    bool (*set)(ErlNifEnv *, void *, ERL_NIF_TERM, ERL_NIF_TERM);
    if (parts[0] == enif_make_atom(env, "journal")) {
        native->kind = STORAGE_JOURNAL;
        pipeline_journal_options_init(&native->options.journal, sizeof native->options.journal);
        set = set_journal;
    } else if (parts[0] == enif_make_atom(env, "perfetto")) {
        native->kind = STORAGE_PERFETTO;
        pipeline_perfetto_options_init(&native->options.perfetto, sizeof native->options.perfetto);
        set = set_perfetto;
    } else if (parts[0] == enif_make_atom(env, "sqlite")) {
        native->kind = STORAGE_SQLITE;
        pipeline_sqlite_options_init(&native->options.sqlite, sizeof native->options.sqlite);
        set = set_sqlite;
    } else {
        return refuse_key(env, enif_make_atom(env, "storage"), error);
    }
    if (!set_all(env, parts[2], "storage", set, &native->options, error))
        return false;
    native->path = get_path(env, parts[1], error);
    return native->path != NULL;
}

ERL_NIF_TERM metrics_to_map(ErlNifEnv *env, const pipeline_metrics_t *metrics)
{
    return fields_put(env, metrics_fields, FIELD_COUNT(metrics_fields), metrics, enif_make_new_map(env));
}

ERL_NIF_TERM writer_metrics_to_map(ErlNifEnv *env, const pipeline_writer_metrics_t *metrics)
{
    return fields_put(env, writer_metrics_fields, FIELD_COUNT(writer_metrics_fields), metrics, enif_make_new_map(env));
}

ERL_NIF_TERM health_to_map(ErlNifEnv *env, const pipeline_health_t *health)
{
    return fields_put(env, health_fields, FIELD_COUNT(health_fields), health, enif_make_new_map(env));
}

ERL_NIF_TERM reader_losses_to_map(ErlNifEnv *env, const pipeline_reader_losses_t *losses)
{
    ERL_NIF_TERM map =
        fields_put(env, reader_losses_fields, FIELD_COUNT(reader_losses_fields), losses, enif_make_new_map(env));
    return map_put(env, map, "details", make_text(env, losses->details));
}
