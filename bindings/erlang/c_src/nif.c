/* The NIF as the VM sees it: the table of functions, the calls through a pipeline's table, load, upgrade and unload. This is the only file that
 * knows all others; control/ uses delivery/, which uses pipeline/, which uses term/; ring/ uses term/; journal/ uses pipeline/status and maps/;
 * tracer/ uses delivery/ and encoded/, by which delivery/ reads traces too; encoded/ uses term/; all use base/. */
#include "base/clock.h"
#include "control/control.h"
#include "control/figures.h"
#include "control/lifecycle.h"
#include "delivery/completion.h"
#include "delivery/consumers.h"
#include "delivery/delivery.h"
#include "delivery/enrich.h"
#include "delivery/events.h"
#include "delivery/reading.h"
#include "journal/reader.h"
#include "pipeline/capture.h"
#include "pipeline/flush.h"
#include "pipeline/status.h"
#include "ring/cursor.h"
#include "ring/ring_nif.h"
#include "term/flat.h"
#include "term/walk.h"
#include "tracer/tracer.h"

/* ---- pipelines ---- */

/* The calls of a pipeline. Each is a NIF (name_nif), a member of the table that a pipeline carries, and a function of this copy (name_call). An
 * older or newer copy has the same table, so that this list is append-only. */
#define PIPELINE_CALLS(X) \
    X(pipeline_scale) \
    X(pipeline_flush) \
    X(pipeline_pause) \
    X(pipeline_resume) \
    X(pipeline_update) \
    X(pipeline_config) \
    X(pipeline_metrics) \
    X(pipeline_writer_metrics) \
    X(pipeline_health) \
    X(pipeline_kind_name) \
    X(pipeline_close) \
    X(capture_binary) \
    X(capture_term) \
    X(capture_event) \
    X(capture_bound) \
    X(capture_many) \
    X(pipeline_attach) \
    X(pipeline_detach) \
    X(delivery_complete) \
    X(delivery_wait) \
    X(delivery_cancel) \
    X(delivery_events) \
    X(delivery_next) \
    X(pipeline_forget) \
    X(pipeline_kind_define) \
    X(pipeline_pressure) \
    X(pipeline_watch_pressure) \
    X(tracer_new) \
    X(delivery_enriched) \
    X(pipeline_metrics_text) \
    X(pipeline_rules_set) \
    X(pipeline_rules_text) \
    X(pipeline_rules_load) \
    X(pipeline_rules_clear) \
    X(pipeline_rules_info) \
    X(pipeline_attribute) \
    X(pipeline_snapshot) \
    X(pipeline_snapshot_on_trigger)

struct pipeline_ops {
    struct ops base;
#define MEMBER(name) pipeline_call *name;
    PIPELINE_CALLS(MEMBER)
#undef MEMBER
};

static const struct pipeline_ops own_ops = {
    .base = { sizeof(struct pipeline_ops), lifecycle_destroy, lifecycle_down },
#define MEMBER(name) .name = name##_call,
    PIPELINE_CALLS(MEMBER)
#undef MEMBER
};

/* The NIFs call the copy that made the pipeline, which nearly always is this one. */
#define THROUGH(name) \
    static ERL_NIF_TERM name##_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) \
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

static ERL_NIF_TERM pipeline_start_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    return lifecycle_start(env, &own_ops.base, argv);
}

/* ---- the table of functions ---- */

#define IO ERL_NIF_DIRTY_JOB_IO_BOUND
#define CPU ERL_NIF_DIRTY_JOB_CPU_BOUND

/* Nothing waits in any of them. Those on dirty schedulers start and end threads, open and read files, or release many events. */
static ErlNifFunc functions[] = {
    { "pipeline_start", 2, pipeline_start_nif, IO },
    { "version", 0, version, 0 },
    { "pipeline_scale", 2, pipeline_scale_nif, IO },
    { "pipeline_flush", 2, pipeline_flush_nif, 0 },
    { "pipeline_pause", 1, pipeline_pause_nif, IO },
    { "pipeline_resume", 1, pipeline_resume_nif, IO },
    { "pipeline_update", 2, pipeline_update_nif, IO },
    { "pipeline_config", 1, pipeline_config_nif, 0 },
    { "pipeline_metrics", 1, pipeline_metrics_nif, 0 },
    { "pipeline_writer_metrics", 2, pipeline_writer_metrics_nif, 0 },
    { "pipeline_health", 1, pipeline_health_nif, 0 },
    { "pipeline_metrics_text", 3, pipeline_metrics_text_nif, 0 },
    { "pipeline_kind_name", 3, pipeline_kind_name_nif, 0 },
    { "pipeline_kind_define", 2, pipeline_kind_define_nif, 0 },
    { "pipeline_pressure", 1, pipeline_pressure_nif, 0 },
    { "pipeline_watch_pressure", 4, pipeline_watch_pressure_nif, IO },
    { "pipeline_rules_set", 3, pipeline_rules_set_nif, IO },
    { "pipeline_rules_text", 3, pipeline_rules_text_nif, IO },
    { "pipeline_rules_load", 3, pipeline_rules_load_nif, IO },
    { "pipeline_rules_clear", 1, pipeline_rules_clear_nif, IO },
    { "pipeline_rules_info", 1, pipeline_rules_info_nif, CPU },
    { "pipeline_attribute", 3, pipeline_attribute_nif, IO },
    { "pipeline_snapshot", 2, pipeline_snapshot_nif, IO },
    { "pipeline_snapshot_on_trigger", 2, pipeline_snapshot_on_trigger_nif, IO },
    { "limit_calls", 1, limit_calls, IO },
    { "pipeline_close", 2, pipeline_close_nif, 0 },
    { "pipeline_forget", 2, pipeline_forget_nif, 0 },

    { "capture_binary", 3, capture_binary_nif, 0 },
    { "capture_binary", 5, capture_binary_nif, 0 },
    { "capture_term", 3, capture_term_nif, 0 },
    { "capture_term", 5, capture_term_nif, 0 },
    { "capture_event", 7, capture_event_nif, 0 },
    { "capture_bound", 9, capture_bound_nif, 0 },
    { "capture_many", 3, capture_many_nif, 0 },

    { "pipeline_attach", 1, pipeline_attach_nif, IO },
    { "pipeline_detach", 1, pipeline_detach_nif, IO },
    { "delivery_complete", 3, delivery_complete_nif, 0 },
    { "delivery_next", 3, delivery_next_nif, 0 },
    { "delivery_events", 3, delivery_events_nif, 0 },
    { "delivery_enriched", 4, delivery_enriched_nif, 0 },
    { "delivery_wait", 1, delivery_wait_nif, 0 },
    { "delivery_cancel", 2, delivery_cancel_nif, 0 },

    { "tracer_new", 2, tracer_new_nif, IO },
    { "tracer_stop", 2, tracer_stop, 0 },
    { "tracer_info", 1, tracer_info, 0 },
    { "tracer_kinds", 0, tracer_kinds, 0 },
    /* The callbacks of erl_tracer. */
    { "enabled", 3, tracer_enabled, 0 },
    { "trace", 5, tracer_trace, 0 },

    { "ring_new", 3, ring_new, 0 },
    { "ring_write", 2, ring_write, 0 },
    { "ring_write", 4, ring_write, 0 },
    { "ring_read", 2, ring_read, 0 },
    { "ring_read_batch", 3, ring_read_batch, 0 },
    { "ring_stats", 1, ring_stats, 0 },
    { "ring_clear", 1, ring_clear, CPU },
    { "ring_destroy", 1, ring_destroy, CPU },
    { "ring_wait", 2, ring_wait, 0 },
    { "ring_watch", 4, ring_watch, 0 },

    { "cursor_new", 1, cursor_new, 0 },
    { "cursor_begin", 2, cursor_begin, 0 },
    { "cursor_claim", 3, cursor_claim, 0 },
    { "cursor_settle", 2, cursor_settle, 0 },
    { "cursor_return", 2, cursor_return, 0 },
    { "cursor_set", 2, cursor_set, 0 },
    { "cursor_wait", 1, cursor_wait, 0 },
    { "cursor_info", 1, cursor_info, 0 },

    { "reader_open", 2, reader_open, IO },
    { "reader_next", 2, reader_next, IO },
    { "reader_definitions", 1, reader_definitions, IO },
    { "reader_losses", 1, reader_losses, IO },
    { "reader_close", 1, reader_close, IO },

    { "term_walk", 2, term_walk, 0 },
    { "term_flat", 1, term_flat, 0 },
    { "capture_info", 0, capture_info, 0 },
    { "clock_piece", 2, clock_piece, 0 },
};

/* ---- load, upgrade, unload ---- */

static int start(ErlNifEnv *env)
{
    if (!resource_load(env))
        return 1;
    clock_load(env);
    layout_load(env);
    flat_load(env);
    ring_load(env);
    cursor_load(env);
    status_load(env);
    capture_load(env);
    flush_load(env);
    outstanding_load(env);
    space_waiters_load(env);
    events_load(env);
    enrich_load(env);
    completion_load(env);
    reading_load(env);
    lifecycle_load(env);
    reader_load(env);
    tracer_load(env);
    return 0;
}

static int load(ErlNifEnv *env, void **data, ERL_NIF_TERM info)
{
    (void)data;
    (void)info;
    return start(env);
}

/* A newer version of the module. It takes over the resources of the old one, which go on through their own tables. */
static int upgrade(ErlNifEnv *env, void **data, void **old_data, ERL_NIF_TERM info)
{
    (void)data;
    (void)old_data;
    (void)info;
    return start(env);
}

/* The last module instance that used this copy is purged. Nothing to do: resources that live on keep its code (-z nodelete). */
static void unload(ErlNifEnv *env, void *data)
{
    (void)env;
    (void)data;
}

ERL_NIF_INIT(elixir_scope_capture_pipeline_nif, functions, load, NULL, upgrade, unload)
