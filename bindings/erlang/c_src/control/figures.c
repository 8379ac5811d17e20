/* The figures of a pipeline as maps: see figures.h. */
#include "control/figures.h"
#include "maps/config.h"
#include "delivery/delivery.h"
#include "maps/fields.h"
#include "pipeline/status.h"

ERL_NIF_TERM pipeline_config_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    pipeline_config_t config = { .struct_size = sizeof config };
    int32_t status = pipeline_config_read(p->native, &config);
    (void)argc;
    (void)argv;
    return status == PIPELINE_OK ? answer_ok(env, config_to_map(env, &config, p->blocks)) : answer_status(env, status);
}

ERL_NIF_TERM pipeline_metrics_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    pipeline_metrics_t metrics = { .struct_size = sizeof metrics };
    int32_t status = pipeline_metrics(p->native, &metrics);
    (void)argc;
    (void)argv;
    enif_consume_timeslice(env, 4);
    if (status != PIPELINE_OK)
        return answer_status(env, status);
    ERL_NIF_TERM map = metrics_to_map(env, &metrics);
    if (p->delivery) {
        struct delivery_figures figures;
        delivery_figures(p->delivery, &figures);
        /* The keys are those of the first release: consumers, batches that they have not answered, batches that wait for one of them. */
        map = map_put(env, map, "faces", enif_make_uint(env, figures.consumers));
        map = map_put(env, map, "batches_handed", enif_make_uint(env, figures.outstanding));
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
    enif_consume_timeslice(env, 1);
    return status == PIPELINE_OK ? answer_ok(env, writer_metrics_to_map(env, &metrics)) : answer_status(env, status);
}

ERL_NIF_TERM pipeline_health_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    pipeline_health_t health = { .struct_size = sizeof health };
    int32_t status = pipeline_health(p->native, &health);
    const char *message = health.message;
    (void)argc;
    (void)argv;
    enif_consume_timeslice(env, 2);
    if (status != PIPELINE_OK)
        return answer_status(env, status);
    if (p->delivery && !p->paused && (health.reasons & PIPELINE_HEALTH_PAUSED)) {
        /* delivery_adjust has paused the pipeline because it has no consumer, which is the reason to report. */
        health.reasons = (health.reasons & ~(uint32_t)PIPELINE_HEALTH_PAUSED) | PIPELINE_HEALTH_NO_WRITERS;
        if (health.reasons == PIPELINE_HEALTH_NO_WRITERS)
            message = "no process has attached: events are only buffered";
    }
    return answer_ok(env, map_put(env, health_to_map(env, &health), "message", make_text(env, message)));
}

ERL_NIF_TERM version(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    (void)argv;
    return enif_make_tuple2(env, enif_make_uint(env, pipeline_version()), make_text(env, pipeline_version_string()));
}
