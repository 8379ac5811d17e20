/* A pipeline's configuration, a storage's options and all figures as maps. */
#include "config.h"
#include "fields.h"
#include "pipeline.h"

#include <string.h>

enum { NAME_BYTES = 255, PATH_BYTES = 4096 };

static const char *const overflows[] = { "drop_newest", "drop_oldest", "block", NULL };
static const char *const orderings[] = { "none", "per_producer", NULL };
static const char *const clocks[] = { "auto", "monotonic", "ticks", NULL };
static const char *const classes[] = { "inherit", "other", "batch", "idle", "fifo", "rr", NULL };
static const char *const synchronous[] = { "off", "normal", "full", NULL };
static const char *const on_full[] = { "delete_oldest", "reject", NULL };
static const char *const circuits[] = { "closed", "open", "half_open", NULL };
static const char *const faults[] = { "none", "ended", "panic", "answer", NULL };
static const char *const statuses[] = { "healthy", "degraded", "failing", NULL };
static const char *const writer_states[] = { "searching", "asleep", "in_call", "opening", NULL };
static const char *const health_reasons[] = { "no_membarrier", "retrying", "stuck", "no_writers", "paused",
    "writer_open", "closed", "retired", "circuit_open", "fault", "placement", NULL };
static const char *const scale_reasons[] = { "none", "caller", "bounds", "no_writer", "backlog_age", "ring_full",
    "storage_bound", "idle", NULL };

static const struct field config_fields[] = {
    FIELD(pipeline_config_t, U32, writers),
    FIELD(pipeline_config_t, U32, min_writers),
    FIELD(pipeline_config_t, U32, max_writers),
    FIELD(pipeline_config_t, U32, batch_size),
    FIELD(pipeline_config_t, U64, batch_bytes),
    FIELD(pipeline_config_t, U64, linger_us),
    FIELD(pipeline_config_t, U64, poll_interval_ms),
    FIELD(pipeline_config_t, U32, max_in_flight),
    FIELD(pipeline_config_t, U32, max_in_doubt),
    FIELD(pipeline_config_t, U64, ring_bytes),
    FIELD(pipeline_config_t, U32, max_rings),
    FIELD(pipeline_config_t, U32, max_retired_rings),
    FIELD(pipeline_config_t, U64, max_event_bytes),
    FIELD_NAMED(pipeline_config_t, NAMES, overflow, overflows),
    FIELD_NAMED(pipeline_config_t, NAMES, ordering, orderings),
    FIELD(pipeline_config_t, U64, block_timeout_us),
    FIELD(pipeline_config_t, U32, retry_limit),
    FIELD(pipeline_config_t, U64, retry_initial_us),
    FIELD(pipeline_config_t, U64, retry_max_us),
    FIELD(pipeline_config_t, U64, retry_max_age_ms),
    FIELD(pipeline_config_t, U64, storage_deadline_ms),
    FIELD(pipeline_config_t, U64, exit_timeout_ms),
    FIELD(pipeline_config_t, U32, breaker_failures),
    FIELD_NAMED(pipeline_config_t, NAMES, clock, clocks),
    FIELD_NAMED(pipeline_config_t, NAMES, writer_class, classes),
    FIELD(pipeline_config_t, U32, writer_priority),
    FIELD(pipeline_config_t, I32, writer_nice),
    FIELD(pipeline_config_t, U32, writer_slice_us),
};

static const struct field sqlite_fields[] = {
    { "no_indexes", FIELD_BOOL, offsetof(pipeline_sqlite_options_t, flags), NULL },
    FIELD(pipeline_sqlite_options_t, U64, max_bytes),
    FIELD(pipeline_sqlite_options_t, U64, max_age_ms),
    FIELD(pipeline_sqlite_options_t, U64, min_free_disk),
    FIELD_NAMED(pipeline_sqlite_options_t, NAMES, synchronous, synchronous),
    FIELD_NAMED(pipeline_sqlite_options_t, NAMES, on_full, on_full),
    FIELD(pipeline_sqlite_options_t, U32, commit_interval_us),
    FIELD(pipeline_sqlite_options_t, U32, commit_events),
    FIELD(pipeline_sqlite_options_t, U32, busy_timeout_ms),
    FIELD(pipeline_sqlite_options_t, U32, cache_kib),
};

static const struct field metrics_fields[] = {
    FIELD(pipeline_metrics_t, U64, offered),
    FIELD(pipeline_metrics_t, U64, captured),
    FIELD(pipeline_metrics_t, U64, recovered),
    FIELD(pipeline_metrics_t, U64, dropped_full),
    FIELD(pipeline_metrics_t, U64, dropped_sampled),
    FIELD(pipeline_metrics_t, U64, dropped_rule),
    FIELD(pipeline_metrics_t, U64, refused_too_large),
    FIELD(pipeline_metrics_t, U64, refused_closed),
    FIELD(pipeline_metrics_t, U64, refused_invalid),
    FIELD(pipeline_metrics_t, U64, refused_busy),
    FIELD(pipeline_metrics_t, U64, refused_no_ring),
    FIELD(pipeline_metrics_t, U64, stored),
    FIELD(pipeline_metrics_t, U64, filtered),
    FIELD(pipeline_metrics_t, U64, dead_lettered),
    FIELD(pipeline_metrics_t, U64, discarded),
    FIELD(pipeline_metrics_t, U64, overwritten),
    FIELD(pipeline_metrics_t, U64, buffered),
    FIELD(pipeline_metrics_t, U64, in_flight),
    FIELD(pipeline_metrics_t, U64, in_doubt),
    FIELD(pipeline_metrics_t, U64, left),
    FIELD(pipeline_metrics_t, U64, torn),
    FIELD(pipeline_metrics_t, U64, batches),
    FIELD(pipeline_metrics_t, U64, retries),
    FIELD(pipeline_metrics_t, U64, bad_results),
    FIELD(pipeline_metrics_t, U64, writer_restarts),
    FIELD(pipeline_metrics_t, U64, writers_target),
    FIELD(pipeline_metrics_t, U64, writers_live),
    FIELD(pipeline_metrics_t, U64, writers_stuck),
    FIELD(pipeline_metrics_t, U64, rings),
    FIELD(pipeline_metrics_t, U64, rings_retired),
    FIELD(pipeline_metrics_t, U64, backlog_bytes),
    FIELD(pipeline_metrics_t, U64, oldest_age_ns),
    FIELD(pipeline_metrics_t, U64, bytes_captured),
    FIELD(pipeline_metrics_t, U64, bytes_stored),
    FIELD(pipeline_metrics_t, U64, latency_p50_ns),
    FIELD(pipeline_metrics_t, U64, latency_p99_ns),
    FIELD(pipeline_metrics_t, U64, latency_p999_ns),
    FIELD(pipeline_metrics_t, U64, latency_max_ns),
    FIELD(pipeline_metrics_t, U64, uptime_ns),
    FIELD(pipeline_metrics_t, F64, capture_rate),
    FIELD(pipeline_metrics_t, F64, store_rate),
    FIELD(pipeline_metrics_t, U64, scale_ups),
    FIELD(pipeline_metrics_t, U64, scale_downs),
    FIELD(pipeline_metrics_t, BOOL, autoscaling),
    FIELD_NAMED(pipeline_metrics_t, NAMES, scale_reason, scale_reasons),
    FIELD(pipeline_metrics_t, U32, scale_from),
    FIELD(pipeline_metrics_t, U32, scale_to),
    FIELD(pipeline_metrics_t, U64, scale_at_ns),
    FIELD(pipeline_metrics_t, U64, circuit_openings),
    FIELD(pipeline_metrics_t, U64, circuit_probes),
    FIELD(pipeline_metrics_t, U64, panics),
    FIELD_NAMED(pipeline_metrics_t, NAMES, clock, clocks),
};

static const struct field writer_fields[] = {
    FIELD(pipeline_writer_metrics_t, U32, writer_id),
    FIELD_NAMED(pipeline_writer_metrics_t, NAMES, state, writer_states),
    FIELD(pipeline_writer_metrics_t, U32, thread_id),
    FIELD(pipeline_writer_metrics_t, U64, attempts),
    FIELD(pipeline_writer_metrics_t, U64, events),
    FIELD(pipeline_writer_metrics_t, U64, bytes),
    FIELD(pipeline_writer_metrics_t, U64, retries),
    FIELD(pipeline_writer_metrics_t, U64, call_ns),
    FIELD(pipeline_writer_metrics_t, U64, in_call_ns),
    FIELD(pipeline_writer_metrics_t, U64, restarts),
    FIELD(pipeline_writer_metrics_t, U64, bad_results),
    FIELD(pipeline_writer_metrics_t, U64, panics),
};

static const struct field health_fields[] = {
    FIELD_NAMED(pipeline_health_t, NAMES, status, statuses),
    FIELD_NAMED(pipeline_health_t, BITS, reasons, health_reasons),
    FIELD(pipeline_health_t, U32, writers_live),
    FIELD(pipeline_health_t, U32, writers_stuck),
    FIELD(pipeline_health_t, U32, batches_retrying),
    FIELD_NAMED(pipeline_health_t, NAMES, circuit, circuits),
    FIELD_NAMED(pipeline_health_t, NAMES, fault, faults),
    FIELD(pipeline_health_t, U32, fault_writer),
    FIELD(pipeline_health_t, I32, fault_answer),
    FIELD(pipeline_health_t, U64, fault_batch),
    FIELD(pipeline_health_t, U64, fault_age_ns),
    FIELD(pipeline_health_t, U64, faults),
    FIELD(pipeline_health_t, U64, stuck_ns),
    FIELD(pipeline_health_t, U64, stuck_batch),
    FIELD(pipeline_health_t, U32, stuck_writer),
};

/* {error, {badarg, What}}. */
static bool bad(ErlNifEnv *env, ERL_NIF_TERM what, ERL_NIF_TERM *error)
{
    *error = enif_make_tuple2(env, atom_error, enif_make_tuple2(env, atom_badarg, what));
    return false;
}

/* Where the text that `key` names is kept; NULL: it names none. */
static char **text_of(ErlNifEnv *env, struct config *config, ERL_NIF_TERM key)
{
    return key == enif_make_atom(env, "name") ? &config->name
         : key == enif_make_atom(env, "ring_dir") ? &config->ring_dir
         : key == enif_make_atom(env, "writer_cpus") ? &config->writer_cpus : NULL;
}

static bool is_one_of(ErlNifEnv *env, ERL_NIF_TERM key, const char *const *names)
{
    for (; *names; names++) {
        if (key == enif_make_atom(env, *names))
            return true;
    }
    return false;
}

/* Gives each pair of a map to `set`, until it refuses one: then {error, {badarg, Key}}, or {error, {badarg, what}} for what is no map. */
static bool set_all(ErlNifEnv *env, ERL_NIF_TERM map, const char *what,
                    bool (*set)(ErlNifEnv *, void *, ERL_NIF_TERM, ERL_NIF_TERM), void *to, ERL_NIF_TERM *error)
{
    ErlNifMapIterator each;
    ERL_NIF_TERM key, value;
    if (!enif_is_map(env, map) || !enif_map_iterator_create(env, map, &each, ERL_NIF_MAP_ITERATOR_FIRST))
        return bad(env, enif_make_atom(env, what), error);
    bool good = true;
    while (good && enif_map_iterator_get_pair(env, &each, &key, &value)) {
        good = set(env, to, key, value);
        if (good)
            enif_map_iterator_next(env, &each);
    }
    enif_map_iterator_destroy(env, &each);
    return good || bad(env, key, error);
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
    char **text = text_of(env, config, key);
    if (text) {
        if (*text)
            enif_free(*text);
        *text = get_text(env, value, text == &config->name ? NAME_BYTES : PATH_BYTES);
        return *text != NULL;
    }
    if (target->delivery && is_one_of(env, key, own))
        return false;
    if (!field_set(env, config_fields, FIELD_COUNT(config_fields), &config->native, key, value))
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
    if (!set_all(env, map, "config", set_config, &target, error))
        return false;
    config->native.name = config->name;
    config->native.ring_dir = config->ring_dir;
    config->native.writer_cpus = config->writer_cpus;
    return true;
}

void config_free(struct config *config)
{
    if (config->name)
        enif_free(config->name);
    if (config->ring_dir)
        enif_free(config->ring_dir);
    if (config->writer_cpus)
        enif_free(config->writer_cpus);
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
    return field_set(env, sqlite_fields, FIELD_COUNT(sqlite_fields), to, key, value);
}

bool config_sqlite(ErlNifEnv *env, ERL_NIF_TERM storage, pipeline_storage_t *out, ERL_NIF_TERM *error)
{
    int arity;
    const ERL_NIF_TERM *parts;
    pipeline_sqlite_options_t options;
    if (!enif_get_tuple(env, storage, &arity, &parts) || arity != 3 || parts[0] != enif_make_atom(env, "sqlite"))
        return bad(env, enif_make_atom(env, "storage"), error);
    pipeline_sqlite_options_init(&options, sizeof options);
    if (!set_all(env, parts[2], "storage", set_sqlite, &options, error))
        return false;
    char *path = get_text(env, parts[1], PATH_BYTES);
    if (!path || !*path) {
        if (path)
            enif_free(path);
        return bad(env, enif_make_atom(env, "path"), error);
    }
    int32_t status = pipeline_storage_sqlite(path, &options, sizeof *out, out);
    enif_free(path);
    if (status != PIPELINE_OK)
        *error = answer_status(env, status);
    return status == PIPELINE_OK;
}

ERL_NIF_TERM metrics_to_map(ErlNifEnv *env, const pipeline_metrics_t *metrics)
{
    ERL_NIF_TERM map =
        fields_put(env, metrics_fields, FIELD_COUNT(metrics_fields), metrics, enif_make_new_map(env));
    uint64_t circuit = metrics->circuit < 3 ? metrics->circuit : 0;
    return map_put(env, map, "circuit", enif_make_atom(env, circuits[circuit]));
}

ERL_NIF_TERM writer_metrics_to_map(ErlNifEnv *env, const pipeline_writer_metrics_t *metrics)
{
    return fields_put(env, writer_fields, FIELD_COUNT(writer_fields), metrics, enif_make_new_map(env));
}

ERL_NIF_TERM health_to_map(ErlNifEnv *env, const pipeline_health_t *health)
{
    return fields_put(env, health_fields, FIELD_COUNT(health_fields), health, enif_make_new_map(env));
}
