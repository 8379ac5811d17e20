/* The pressure of a pipeline, and the messages that tell a process of its crossings. */
#include "control/control.h"
#include "maps/fields.h"
#include "pipeline/status.h"

/* Whom the library's callback tells. */
struct watcher {
    ErlNifPid pid;
    ErlNifEnv *env;     /* holds `ref` */
    ERL_NIF_TERM ref;
};

static void watcher_free(struct watcher *w)
{
    if (!w)
        return;
    if (w->env)
        enif_free_env(w->env);
    enif_free(w);
}

/* {capture_pressure, Ref, Percent, high | low}. A thread of the library calls this. */
static void tell(void *user_data, uint32_t pressure, int32_t is_high)
{
    const struct watcher *w = user_data;
    ErlNifEnv *env = enif_alloc_env();
    if (!env)
        return;
    ERL_NIF_TERM message = enif_make_tuple4(env, enif_make_atom(env, "capture_pressure"), enif_make_copy(env, w->ref),
        enif_make_uint(env, pressure), enif_make_atom(env, is_high ? "high" : "low"));
    enif_send(NULL, &w->pid, env, message);
    enif_free_env(env);
}

ERL_NIF_TERM pipeline_pressure_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    (void)argv;
    return enif_make_uint(env, pipeline_pressure(p->native));
}

ERL_NIF_TERM pipeline_watch_pressure_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    unsigned low, high;
    (void)argc;
    if (!enif_get_uint(env, argv[1], &low) || !enif_get_uint(env, argv[2], &high))
        return answer_badarg(env);
    struct watcher *w = NULL;
    if (enif_is_ref(env, argv[3])) {
        w = enif_alloc(sizeof *w);
        if (w) {
            w->env = enif_alloc_env();
            if (!w->env) {
                enif_free(w);
                w = NULL;
            }
        }
        if (!w)
            return answer_status(env, PIPELINE_ERR_NO_MEMORY);
        w->ref = enif_make_copy(w->env, argv[3]);
        enif_self(env, &w->pid);
    }
    enif_mutex_lock(p->control);
    int32_t status = pipeline_pressure_callback(p->native, low, high, w ? tell : NULL, w);
    struct watcher *former = w;
    if (status == PIPELINE_OK) {
        former = p->watcher;
        p->watcher = w;
    }
    enif_mutex_unlock(p->control);
    /* The library calls the former one no more, or never had the new one. */
    watcher_free(former);
    return answer_status(env, status);
}

void pressure_end(struct pipeline *p)
{
    if (!p->watcher)
        return;
    int32_t status = pipeline_pressure_callback(p->native, 0, 0, NULL, NULL);
    /* If the callback is just being called, its few words of memory stay: a destructor does not wait. */
    if (status == PIPELINE_OK || status == PIPELINE_ERR_CLOSED)
        watcher_free(p->watcher);
    p->watcher = NULL;
}
