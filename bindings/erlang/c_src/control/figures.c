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
    if (status != PIPELINE_OK)
        return answer_status(env, status);
    return answer_ok(env, map_put(env, config_to_map(env, &config, p->blocks), "name", make_text(env, p->name)));
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

/* The pipelines of a list. All must have been made by the copy of the library that made `first`, because it alone can read them. */
static bool pipelines_of_list(ErlNifEnv *env, struct pipeline *first, ERL_NIF_TERM list, const pipeline_t **all)
{
    ERL_NIF_TERM head;
    while (enif_get_list_cell(env, list, &head, &list)) {
        struct pipeline *p = resource_get(env, head, RESOURCE_PIPELINE);
        if (!p || p->base.ops != first->base.ops)
            return false;
        *all++ = p->native;
    }
    return true;
}

static ERL_NIF_TERM metrics_text(ErlNifEnv *env, const pipeline_t *const *all, unsigned count, uint32_t format)
{
    ErlNifBinary text = { 0 };
    size_t length = 0;
    int32_t status = pipeline_metrics_text(all, count, format, NULL, 0, &length);
    if (status != PIPELINE_OK)
        return answer_status(env, status);
    if (!enif_alloc_binary(length + 1, &text))
        return answer_error(env, "out_of_memory");
    /* More than once only if writers are added meanwhile. */
    while ((status = pipeline_metrics_text(all, count, format, (char *)text.data, text.size, &length)) == PIPELINE_ERR_LIMIT)
        if (!enif_realloc_binary(&text, length + 1)) {
            enif_release_binary(&text);
            return answer_error(env, "out_of_memory");
        }
    if (status != PIPELINE_OK || !enif_realloc_binary(&text, length)) {
        ERL_NIF_TERM answer = status != PIPELINE_OK ? answer_status(env, status) : answer_error(env, "out_of_memory");
        enif_release_binary(&text);
        return answer;
    }
    return answer_ok(env, enif_make_binary(env, &text));
}

PIPELINE_DIRTY(pipeline_metrics_text)

ERL_NIF_TERM pipeline_metrics_text_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    enum { FEW = 16 }; /* a normal scheduler is kept for some 100 us at most */
    unsigned count, format;
    const pipeline_t *few[FEW], **all = few;
    ERL_NIF_TERM answer;
    if (!enif_get_list_length(env, argv[1], &count) || !enif_get_uint(env, argv[2], &format))
        return answer_badarg(env);
    if (count > FEW) {
        if (on_normal_scheduler())
            return enif_schedule_nif(env, "pipeline_metrics_text", ERL_NIF_DIRTY_JOB_CPU_BOUND, pipeline_metrics_text_dirty, argc, argv);
        all = enif_alloc(count * sizeof *all);
        if (!all)
            return answer_error(env, "out_of_memory");
    }
    answer = pipelines_of_list(env, p, argv[1], all) ? metrics_text(env, all, count, format) : answer_badarg(env);
    if (all != few)
        enif_free(all);
    if (count <= FEW)
        enif_consume_timeslice(env, 5 + (int)count);
    return answer;
}

ERL_NIF_TERM version(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    (void)argv;
    return enif_make_tuple2(env, enif_make_uint(env, pipeline_version()), make_text(env, pipeline_version_string()));
}
