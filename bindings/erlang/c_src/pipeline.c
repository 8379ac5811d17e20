/* A capture pipeline as a resource: start, control, figures. */
#include "pipeline.h"
#include "capture.h"
#include "config.h"
#include "delivery.h"
#include "fields.h"

#include <pthread.h>
#include <string.h>

static ERL_NIF_TERM atom_delivery, atom_notices, atom_infinity;

/* ---- the resource ---- */

/* What is left of a pipeline whose resource is gone. */
struct remains {
    pipeline_t *native;
    struct delivery *delivery;
    struct lane *lanes;
    unsigned lane_count;
    bool closed;
};

static void bury(struct remains *r)
{
    if (r->delivery)
        delivery_stop(r->delivery);
    for (unsigned i = 0; i < r->lane_count; i++) {
        if (r->lanes[i].producer)
            pipeline_producer_close(r->lanes[i].producer);
        block_close(r->lanes[i].block);
    }
    if (r->native)
        pipeline_abandon(r->native);
    if (r->delivery)
        delivery_end(r->delivery);
    free(r->lanes);
}

static void *bury_on_thread(void *remains)
{
    bury(remains);
    enif_free(remains);
    return NULL;
}

/* The destructor. What is in the rings is lost, and let go; that may take its time, which a scheduler does not have. */
static void destroy(struct resource *resource)
{
    struct pipeline *p = (struct pipeline *)resource;
    struct remains remains = { p->native, p->delivery, p->lanes, p->lane_count, p->closed };
    struct remains *copy = p->native && !p->closed ? enif_alloc(sizeof *copy) : NULL;
    if (p->control)
        enif_mutex_destroy(p->control);
    if (copy) {
        pthread_attr_t attributes;
        pthread_t thread;
        *copy = remains;
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        int failed = pthread_create(&thread, &attributes, bury_on_thread, copy);
        pthread_attr_destroy(&attributes);
        if (!failed)
            return;
        enif_free(copy);
    }
    bury(&remains);
}

static void down(struct resource *resource, ErlNifEnv *env, ErlNifPid *pid, ErlNifMonitor *monitor)
{
    struct pipeline *p = (struct pipeline *)resource;
    (void)monitor;
    if (p->delivery)
        delivery_down(p, env, pid);
}

static const struct pipeline_ops own_ops = {
    .base = { sizeof(struct pipeline_ops), destroy, down },
#define MEMBER(name) .name = name##_call,
    PIPELINE_CALLS(MEMBER)
#undef MEMBER
};

/* The NIFs: to the copy that made the pipeline, which nearly always is this one. */
#define THROUGH(name) \
    ERL_NIF_TERM name##_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) \
    { \
        struct pipeline *p = resource_get(env, argv[0], RESOURCE_PIPELINE); \
        if (!p) \
            return answer_badarg(env); \
        if (p->base.ops == &own_ops.base) \
            return name##_call(env, p, argc, argv); \
        const struct pipeline_ops *ops = (const struct pipeline_ops *)(const void *)p->base.ops; \
        if (ops->base.size < offsetof(struct pipeline_ops, name) + sizeof ops->name) \
            return answer_detail(env, "unsupported", "the pipeline was made by an older version"); \
        return ops->name(env, p, argc, argv); \
    }
PIPELINE_CALLS(THROUGH)

/* ---- start ---- */

static unsigned schedulers(void)
{
    ErlNifSysInfo info;
    enif_system_info(&info, sizeof info);
    return info.scheduler_threads > 0 ? (unsigned)info.scheduler_threads : 1;
}

static void defaults(pipeline_config_t *config, bool delivery, unsigned lanes)
{
    pipeline_config_init(config, sizeof *config);
    /* A writer that wakes up shall not take the core from the scheduler whose capture has woken it, only find one that is free: without
     * this a capture in a burst costs a fifth more. */
    config->writer_class = PIPELINE_SCHED_BATCH;
    if (lanes > config->max_rings)
        config->max_rings = lanes;
    if (!delivery)
        return;
    /* What a process does with a batch, how long it may take and how often it tries is its own affair. */
    config->retry_limit = UINT32_MAX;
    config->retry_max_age_ms = UINT64_MAX / 1000000;
    config->storage_deadline_ms = 86400000;
    config->breaker_failures = 0;
    config->exit_timeout_ms = 0;
}

static ERL_NIF_TERM start(ErlNifEnv *env, struct pipeline *p, struct config *config, pipeline_storage_t *storage)
{
    pipeline_config_t running = { .struct_size = sizeof running };
    /* One for each thread that may run NIFs: schedulers, and the dirty ones for large terms. */
    size_t bytes = p->lane_count * sizeof *p->lanes;
    p->lanes = aligned_alloc(_Alignof(struct lane), bytes);
    p->control = enif_mutex_create("capture_pipeline_control");
    if (!p->lanes || !p->control) {
        if (storage->destroy)
            storage->destroy(storage->user_data);
        return answer_detail(env, "no_memory", "");
    }
    memset(p->lanes, 0, bytes);
    int32_t status = pipeline_start(&config->native, storage, &p->native);
    if (status != PIPELINE_OK)
        return answer_status(env, status);
    pipeline_config_read(p->native, &running);
    p->max_event_bytes = config_event_limit(&running);
    p->waits = config->waits;
    if (p->delivery)
        delivery_begin(p, config->in_flight_given);
    return answer_ok(env, enif_make_resource(env, p));
}

ERL_NIF_TERM pipeline_start_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    bool notices = argv[1] == atom_notices, delivery = notices || argv[1] == atom_delivery;
    unsigned lanes = 2 * schedulers();
    struct config config = { .waits = false };
    pipeline_storage_t storage;
    ERL_NIF_TERM answer;
    (void)argc;
    defaults(&config.native, delivery, lanes);
    if (!config_from_map(env, argv[0], delivery, &config, &answer)) {
        config_free(&config);
        return answer;
    }
    struct pipeline *p = resource_new(RESOURCE_PIPELINE, &own_ops.base, sizeof *p);
    if (!p) {
        config_free(&config);
        return answer_detail(env, "no_memory", "");
    }
    if (delivery ? delivery_storage(notices, &storage, &p->delivery) : config_sqlite(env, argv[1], &storage, &answer)) {
        p->lane_count = lanes;
        answer = start(env, p, &config, &storage);
    } else if (delivery) {
        answer = answer_detail(env, "no_memory", "");
    }
    if (!p->lanes)
        p->lane_count = 0;
    config_free(&config);
    /* The term holds it from here; without one it goes. */
    enif_release_resource(p);
    return answer;
}

/* ---- control ---- */

/* Milliseconds or infinity. */
static bool get_timeout(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifSInt64 *ms)
{
    if (term == atom_infinity) {
        *ms = -1;
        return true;
    }
    return enif_get_int64(env, term, ms) && *ms >= 0;
}

ERL_NIF_TERM pipeline_scale_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    unsigned writers;
    (void)argc;
    if (!enif_get_uint(env, argv[1], &writers))
        return answer_badarg(env);
    if (p->delivery)
        return answer_detail(env, "unsupported", "the writers are as many as the processes that have attached");
    enif_mutex_lock(p->control);
    int32_t status = pipeline_scale(p->native, writers);
    enif_mutex_unlock(p->control);
    return answer_status(env, status);
}

ERL_NIF_TERM pipeline_flush_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifSInt64 ms;
    (void)argc;
    return get_timeout(env, argv[1], &ms) ? answer_status(env, pipeline_flush(p->native, ms)) : answer_badarg(env);
}

ERL_NIF_TERM pipeline_close_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifSInt64 ms;
    (void)argc;
    if (!get_timeout(env, argv[1], &ms))
        return answer_badarg(env);
    int32_t status = pipeline_close(p->native, ms);
    ERL_NIF_TERM answer = answer_status(env, status);
    if (status == PIPELINE_OK)
        p->closed = true;
    return answer;
}

static ERL_NIF_TERM set_paused(ErlNifEnv *env, struct pipeline *p, bool paused)
{
    pipeline_config_t config = { .struct_size = sizeof config };
    if (!p->delivery)
        return answer_status(env, paused ? pipeline_pause(p->native) : pipeline_resume(p->native));
    p->paused = paused;
    delivery_adjust(p, false);
    return p->closed ? answer_detail(env, "closed", "") : answer_status(env, pipeline_config_read(p->native, &config));
}

ERL_NIF_TERM pipeline_pause_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    (void)argv;
    return set_paused(env, p, true);
}

ERL_NIF_TERM pipeline_resume_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    (void)argv;
    return set_paused(env, p, false);
}

ERL_NIF_TERM pipeline_update_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    struct config config = { .native.struct_size = sizeof config.native };
    ERL_NIF_TERM answer;
    (void)argc;
    enif_mutex_lock(p->control);
    int32_t status = pipeline_config_read(p->native, &config.native);
    bool good = status == PIPELINE_OK && config_from_map(env, argv[1], p->delivery != NULL, &config, &answer);
    if (good) {
        status = pipeline_update(p->native, &config.native);
        if (status == PIPELINE_OK && config.wait_given)
            p->waits = config.waits;
    }
    if (good || status != PIPELINE_OK)
        answer = answer_status(env, status);
    enif_mutex_unlock(p->control);
    config_free(&config);
    if (p->delivery)
        delivery_adjust(p, good && status == PIPELINE_OK && config.in_flight_given);
    return answer;
}

/* ---- figures ---- */

ERL_NIF_TERM pipeline_config_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    pipeline_config_t config = { .struct_size = sizeof config };
    int32_t status = pipeline_config_read(p->native, &config);
    (void)argc;
    (void)argv;
    return status == PIPELINE_OK ? answer_ok(env, config_to_map(env, &config, p->waits)) : answer_status(env, status);
}

ERL_NIF_TERM pipeline_metrics_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    pipeline_metrics_t metrics = { .struct_size = sizeof metrics };
    int32_t status = pipeline_metrics(p->native, &metrics);
    (void)argc;
    (void)argv;
    if (status != PIPELINE_OK)
        return answer_status(env, status);
    ERL_NIF_TERM map = metrics_to_map(env, &metrics);
    if (p->delivery) {
        struct delivery_figures figures;
        delivery_figures(p->delivery, &figures);
        map = map_put(env, map, "faces", enif_make_uint(env, figures.faces));
        map = map_put(env, map, "batches_handed", enif_make_uint(env, figures.handed));
        map = map_put(env, map, "batches_parked", enif_make_uint(env, figures.parked));
    }
    return answer_ok(env, map);
}

ERL_NIF_TERM pipeline_writer_metrics_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    pipeline_writer_metrics_t metrics = { .struct_size = sizeof metrics };
    unsigned index;
    (void)argc;
    if (!enif_get_uint(env, argv[1], &index))
        return answer_badarg(env);
    int32_t status = pipeline_writer_metrics(p->native, index, &metrics);
    return status == PIPELINE_OK ? answer_ok(env, writer_metrics_to_map(env, &metrics)) : answer_status(env, status);
}

ERL_NIF_TERM pipeline_health_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    pipeline_health_t health = { .struct_size = sizeof health };
    int32_t status = pipeline_health(p->native, &health);
    const char *message = health.message;
    (void)argc;
    (void)argv;
    if (status != PIPELINE_OK)
        return answer_status(env, status);
    if (p->delivery && !p->paused && (health.reasons & PIPELINE_HEALTH_PAUSED)) {
        /* Paused by us, for want of processes: that is what is told. */
        health.reasons = (health.reasons & ~(uint32_t)PIPELINE_HEALTH_PAUSED) | PIPELINE_HEALTH_NO_WRITERS;
        if (health.reasons == PIPELINE_HEALTH_NO_WRITERS)
            message = "no process has attached: events are only buffered";
    }
    return answer_ok(env, map_put(env, health_to_map(env, &health), "message", make_text(env, message)));
}

ERL_NIF_TERM pipeline_kind_name_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    unsigned kind;
    (void)argc;
    char *name = enif_get_uint(env, argv[1], &kind) ? get_text(env, argv[2], 255) : NULL;
    if (!name)
        return answer_badarg(env);
    ERL_NIF_TERM answer = answer_status(env, pipeline_kind_name(p->native, kind, name));
    enif_free(name);
    return answer;
}

ERL_NIF_TERM version_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    (void)argv;
    return enif_make_tuple2(env, enif_make_uint(env, pipeline_version()), make_text(env, pipeline_version_string()));
}

void pipeline_load(ErlNifEnv *env)
{
    answers_load(env);
    atom_delivery = enif_make_atom(env, "delivery");
    atom_notices = enif_make_atom(env, "notices");
    atom_infinity = enif_make_atom(env, "infinity");
}
