/* The calls that control a pipeline: see control.h. */
#include "control/control.h"
#include "maps/config.h"
#include "delivery/delivery.h"
#include "maps/fields.h"
#include "pipeline/status.h"

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
    if (good && config.terms_given)
        good = refuse_key(env, enif_make_atom(env, "terms"), &answer);
    if (good) {
        status = pipeline_update(p->native, &config.native);
        if (status == PIPELINE_OK && config.wait_given)
            p->blocks = config.waits;
    }
    if (good || status != PIPELINE_OK)
        answer = answer_status(env, status);
    enif_mutex_unlock(p->control);
    config_free(&config);
    if (p->delivery)
        delivery_adjust(p, good && status == PIPELINE_OK && config.in_flight_given);
    return answer;
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
