/* A capture pipeline as a resource: start, control, figures, and the table through which the copy that made it is called.
 *
 * capture.c is the way in, delivery.c the storage whose batches go to processes, config.c the maps, answers.c the statuses. */
#ifndef CAPTURE_NIF_PIPELINE_H
#define CAPTURE_NIF_PIPELINE_H

#include "block.h"
#include "resource.h"

#include <capture_pipeline.h>
#include <stdatomic.h>

struct delivery;
struct pipeline;

typedef ERL_NIF_TERM pipeline_call(ErlNifEnv *, struct pipeline *, int argc, const ERL_NIF_TERM argv[]);

/* What a pipeline can be asked: each is a member of the table and a NIF. Append-only.
 */
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
    X(delivery_next)

struct pipeline_ops {
    struct ops base;
#define MEMBER(name) pipeline_call *name;
    PIPELINE_CALLS(MEMBER)
#undef MEMBER
};

/* What one thread captures through. Only that thread touches it, but for the destructor, which runs when nobody can. */
struct lane {
    pipeline_producer_t *producer;  /* NULL: not yet, or there is none to be had */
    struct block *block;            /* where its next terms go; NULL: none yet */
    bool shared;                    /* max_rings are in use: it captures through the ring that all threads share */
} __attribute__((aligned(128)));

/* The resource. The library's handle is valid from the start to the destructor, which abandons it. A configuration is read, changed and
 * written under `control`, on dirty schedulers; elsewhere it is only tried for (see delivery_adjust). */
struct pipeline {
    struct resource base;
    pipeline_t *native;
    struct delivery *delivery;      /* NULL: the storage is a native one. Freed by the storage's destroy */
    struct lane *lanes;
    unsigned lane_count;
    size_t max_event_bytes;
    ErlNifMutex *control;
    _Atomic bool stale;             /* delivery_adjust has something to do */
    _Atomic bool waits;             /* the overflow policy is block: the library drops, and callers wait in Erlang */
    _Atomic bool paused;            /* by its owner */
    _Atomic bool closed;            /* nothing is left in it */
};

void answers_load(ErlNifEnv *env);
/* A status by its name; {error, {Name, Detail}} with the library's words, and {error, Name} alone for captures. */
ERL_NIF_TERM status_atom(ErlNifEnv *env, int32_t status);
ERL_NIF_TERM answer_status(ErlNifEnv *env, int32_t status);
ERL_NIF_TERM answer_refused(ErlNifEnv *env, int32_t status);
/* {error, {Atom, Detail}}. */
ERL_NIF_TERM answer_detail(ErlNifEnv *env, const char *reason, const char *detail);
/* {error, badarg}. */
static inline ERL_NIF_TERM answer_badarg(ErlNifEnv *env)
{
    return enif_make_tuple2(env, atom_error, atom_badarg);
}

/* Called when the NIF is loaded or upgraded. */
void pipeline_load(ErlNifEnv *env);

#define DECLARE(name) \
    ERL_NIF_TERM name##_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]); \
    pipeline_call name##_call;
PIPELINE_CALLS(DECLARE)
#undef DECLARE

ERL_NIF_TERM pipeline_start_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM version_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Rows of the function table: name, arity, function, flags. */
#define PIPELINE_FUNCS(ROW) \
    ROW("pipeline_start", 2, pipeline_start_nif, ERL_NIF_DIRTY_JOB_IO_BOUND) \
    ROW("version", 0, version_nif, 0) \
    ROW("pipeline_scale", 2, pipeline_scale_nif, ERL_NIF_DIRTY_JOB_IO_BOUND) \
    ROW("pipeline_flush", 2, pipeline_flush_nif, ERL_NIF_DIRTY_JOB_IO_BOUND) \
    ROW("pipeline_pause", 1, pipeline_pause_nif, ERL_NIF_DIRTY_JOB_IO_BOUND) \
    ROW("pipeline_resume", 1, pipeline_resume_nif, ERL_NIF_DIRTY_JOB_IO_BOUND) \
    ROW("pipeline_update", 2, pipeline_update_nif, ERL_NIF_DIRTY_JOB_IO_BOUND) \
    ROW("pipeline_config", 1, pipeline_config_nif, ERL_NIF_DIRTY_JOB_IO_BOUND) \
    ROW("pipeline_metrics", 1, pipeline_metrics_nif, ERL_NIF_DIRTY_JOB_IO_BOUND) \
    ROW("pipeline_writer_metrics", 2, pipeline_writer_metrics_nif, ERL_NIF_DIRTY_JOB_IO_BOUND) \
    ROW("pipeline_health", 1, pipeline_health_nif, ERL_NIF_DIRTY_JOB_IO_BOUND) \
    ROW("pipeline_kind_name", 3, pipeline_kind_name_nif, ERL_NIF_DIRTY_JOB_IO_BOUND) \
    ROW("pipeline_close", 2, pipeline_close_nif, ERL_NIF_DIRTY_JOB_IO_BOUND)

#endif
