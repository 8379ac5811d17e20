/* The start and the end of a pipeline: see lifecycle.h.
 *
 * A pipeline with consumers starts at once. The opening of a database may wait, so a thread makes it (base/jobs.h), and the process waits for its
 * message, {capture_settled, Ref, Answer}. */
#include "control/lifecycle.h"
#include "control/control.h"
#include "maps/config.h"
#include "delivery/consumers.h"
#include "delivery/delivery.h"
#include "pipeline/status.h"
#include "term/flat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ERL_NIF_TERM atom_delivery, atom_notices;

void lifecycle_load(ErlNifEnv *env)
{
    atom_delivery = enif_make_atom(env, "delivery");
    atom_notices = enif_make_atom(env, "notices");
}

/* ---- the resource ---- */

/* The parts of a pipeline whose resource is freed. */
struct pipeline_end {
    struct job job;             /* must be the first member */
    pipeline_t *native;
    struct delivery *delivery;
    struct thread_cache *thread_caches;
    unsigned thread_cache_count;
};

static void abandon(struct job *job)
{
    struct pipeline_end *e = (struct pipeline_end *)job;
    if (e->delivery)
        delivery_stop(e->delivery);
    for (unsigned i = 0; i < e->thread_cache_count; i++) {
        if (e->thread_caches[i].producer)
            pipeline_producer_close(e->thread_caches[i].producer);
        block_close(e->thread_caches[i].block);
    }
    if (e->native)
        pipeline_abandon(e->native);
    if (e->delivery)
        delivery_end(e->delivery);
    free(e->thread_caches);
    enif_free(e);
}

/* Events that are still in the rings are lost and released. That may take long, and the end of the storage with it (SQLite writes its indexes), so
 * a thread does it, if one can be started. */
void lifecycle_destroy(struct resource *resource)
{
    struct pipeline *p = (struct pipeline *)resource;
    pressure_end(p);
    if (p->control)
        enif_mutex_destroy(p->control);
    flush_queues_destroy(&p->flush_queues);
    if (p->end)
        *p->end = (struct pipeline_end) { { NULL, abandon }, p->native, p->delivery, p->thread_caches, p->thread_cache_count };
    if (p->end && (!p->native || !job_start(&p->end->job)))
        abandon(&p->end->job);
}

void lifecycle_down(struct resource *resource, ErlNifEnv *env, ErlNifPid *pid, ErlNifMonitor *monitor)
{
    struct pipeline *p = (struct pipeline *)resource;
    (void)env;
    (void)monitor;
    if (p->delivery)
        consumer_down(p, pid);
}

static struct pipeline *pipeline_new(const struct ops *ops)
{
    struct pipeline *p = resource_new(RESOURCE_PIPELINE, ops, sizeof *p);
    if (p && !(p->end = enif_alloc(sizeof *p->end))) {
        enif_release_resource(p);
        return NULL;
    }
    return p;
}

/* ---- the start ---- */

static unsigned schedulers(void)
{
    ErlNifSysInfo info;
    enif_system_info(&info, sizeof info);
    return info.scheduler_threads > 0 ? (unsigned)info.scheduler_threads : 1;
}

/* One for each thread that may run a capture: the schedulers, and the dirty ones for large terms. */
static unsigned thread_caches(void)
{
    return 2 * schedulers();
}

static void defaults(pipeline_config_t *config, bool delivery)
{
    pipeline_config_init(config, sizeof *config);
    /* SCHED_BATCH: a writer that wakes up does not preempt the scheduler whose capture woke it. Otherwise a capture in a burst costs a fifth
     * more. */
    config->writer_class = PIPELINE_SCHED_BATCH;
    if (thread_caches() > config->max_rings)
        config->max_rings = thread_caches();
    if (!delivery)
        return;
    /* The consumer decides how long it takes for a batch and how often it is tried. */
    config->retry_limit = UINT32_MAX;
    config->retry_max_age_ms = UINT64_MAX / 1000000;
    config->storage_deadline_ms = 86400000;
    config->breaker_failures = 0;
    config->exit_timeout_ms = 0;
}

static ERL_NIF_TERM start(ErlNifEnv *env, struct pipeline *p, struct config *config, pipeline_storage_t *storage)
{
    pipeline_config_t running = { .struct_size = sizeof running };
    size_t bytes = thread_caches() * sizeof *p->thread_caches;
    p->thread_caches = aligned_alloc(_Alignof(struct thread_cache), bytes);
    if (p->thread_caches) {
        memset(p->thread_caches, 0, bytes);
        p->thread_cache_count = thread_caches();
    }
    p->control = enif_mutex_create("capture_pipeline_control");
    if (!flush_queues_init(&p->flush_queues, p) || !p->thread_caches || !p->control) {
        if (storage->destroy)
            storage->destroy(storage->user_data);
        return answer_detail(env, "no_memory", "");
    }
    snprintf(p->name, sizeof p->name, "%s", config->native.name ? config->native.name : "pipeline");
    /* Before the start, because recovered events come at once. */
    if (p->delivery)
        p->delivery->ring_file = config->native.ring_dir && *config->native.ring_dir;
    int32_t status = pipeline_start(&config->native, storage, &p->native);
    if (status != PIPELINE_OK)
        return answer_status(env, status);
    pipeline_config_read(p->native, &running);
    p->max_event_bytes = config_event_limit(&running);
    p->blocks = config->waits;
    p->ring_file = config->native.ring_dir && *config->native.ring_dir;
    p->flat = p->delivery && flat_known() && !config->blocks_only && !p->ring_file;
    if (p->delivery)
        delivery_start(p, config->in_flight_given);
    return answer_ok(env, enif_make_resource(env, p));
}

/* ---- with a database, a journal or traces ---- */

/* A start that a thread makes for a process. */
struct opening {
    struct job job;             /* must be the first member */
    struct pipeline *pipeline;
    struct config config;
    struct native_storage storage;
    ErlNifPid pid;
    ErlNifEnv *env;
    ERL_NIF_TERM ref;           /* in env */
};

static void free_opening(struct opening *o)
{
    config_free(&o->config);
    if (o->storage.path)
        enif_free(o->storage.path);
    if (o->env)
        enif_free_env(o->env);
    if (o->pipeline)
        enif_release_resource(o->pipeline);
    enif_free(o);
}

static int32_t open_storage(const struct native_storage *native, pipeline_storage_t *out)
{
    if (native->kind == STORAGE_JOURNAL)
        return pipeline_storage_journal(native->path, &native->options.journal, sizeof *out, out);
    if (native->kind == STORAGE_PERFETTO)
        return pipeline_storage_perfetto(native->path, &native->options.perfetto, sizeof *out, out);
    return pipeline_storage_sqlite(native->path, &native->options.sqlite, sizeof *out, out);
}

static void open_and_start(struct job *job)
{
    struct opening *o = (struct opening *)job;
    pipeline_storage_t storage;
    int32_t status = open_storage(&o->storage, &storage);
    ERL_NIF_TERM answer =
        status == PIPELINE_OK ? start(o->env, o->pipeline, &o->config, &storage) : answer_status(o->env, status);
    /* The message holds the pipeline. If no process gets the message, the pipeline ends. */
    send_settled(o->env, &o->pid, o->ref, answer);
    free_opening(o);
}

static ERL_NIF_TERM start_native(ErlNifEnv *env, const struct ops *ops, ERL_NIF_TERM storage, struct config *config)
{
    ERL_NIF_TERM answer;
    struct opening *o = enif_alloc(sizeof *o);
    if (!o) {
        config_free(config);
        return answer_detail(env, "no_memory", "");
    }
    *o = (struct opening) { .job.run = open_and_start, .config = *config };
    if (!native_storage_from_term(env, storage, &o->storage, &answer)) {
        free_opening(o);
        return answer;
    }
    o->env = enif_alloc_env();
    o->pipeline = pipeline_new(ops);
    if (!o->env || !o->pipeline || !enif_self(env, &o->pid)) {
        free_opening(o);
        return answer_detail(env, "no_memory", "");
    }
    ERL_NIF_TERM ref = enif_make_ref(env);
    o->ref = enif_make_copy(o->env, ref);
    if (!job_start(&o->job)) {
        free_opening(o);
        return answer_detail(env, "system", "no thread can be started to open the storage");
    }
    return answer_wait(env, ref);
}

/* ---- the NIF ---- */

ERL_NIF_TERM lifecycle_start(ErlNifEnv *env, const struct ops *ops, const ERL_NIF_TERM argv[])
{
    bool notices = argv[1] == atom_notices, delivery = notices || argv[1] == atom_delivery;
    struct config config = { .waits = false };
    pipeline_storage_t storage;
    ERL_NIF_TERM answer;
    defaults(&config.native, delivery);
    if (!config_from_map(env, argv[0], delivery, &config, &answer)) {
        config_free(&config);
        return answer;
    }
    if (!delivery)
        return start_native(env, ops, argv[1], &config);
    struct pipeline *p = pipeline_new(ops);
    if (p && delivery_storage(notices, &storage, &p->delivery))
        answer = start(env, p, &config, &storage);
    else
        answer = answer_detail(env, "no_memory", "");
    config_free(&config);
    /* The term holds the pipeline. Without a term, this ends it. */
    if (p)
        enif_release_resource(p);
    return answer;
}
