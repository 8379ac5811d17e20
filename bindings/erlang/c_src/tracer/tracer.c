/* A tracer as a resource: how it begins and ends. See tracer.h; trace.c has the callbacks. */
#include "tracer/tracer.h"
#include "pipeline/status.h"

#include <stdlib.h>
#include <string.h>

struct tracer_ops {
    struct ops base;
    ERL_NIF_TERM (*enabled)(struct tracer *tracer, ERL_NIF_TERM tracee);
    void (*capture)(ErlNifEnv *env, struct tracer *tracer, const ERL_NIF_TERM argv[]);
    void (*end)(struct tracer *tracer, enum tracer_state reason);
    ERL_NIF_TERM (*info)(ErlNifEnv *env, struct tracer *tracer);
};

static ERL_NIF_TERM atom_remove, state_atoms[TRACER_PIPELINE_CLOSED + 1];

/* ---- the resource ---- */

/* No callback is under way: each holds the tracer's term. */
static void destroy(struct resource *resource)
{
    struct tracer *t = (struct tracer *)resource;
    for (unsigned i = 0; i < t->ring_count; i++) {
        if (t->rings[i].producer)
            pipeline_producer_close(t->rings[i].producer);
        if (t->rings[i].env)
            enif_free_env(t->rings[i].env);
    }
    free(t->rings);
    if (t->pipeline)
        enif_release_resource(t->pipeline);
}

/* The owner or the guard has died. */
static void down(struct resource *resource, ErlNifEnv *env, ErlNifPid *pid, ErlNifMonitor *monitor)
{
    (void)env;
    (void)pid;
    (void)monitor;
    tracer_end((struct tracer *)resource, TRACER_OWNER_DIED);
}

static ERL_NIF_TERM info(ErlNifEnv *env, struct tracer *t)
{
    uint64_t captured = 0, refused = 0;
    for (unsigned i = 0; i < t->ring_count; i++) {
        captured += atomic_load_explicit(&t->rings[i].captured, memory_order_relaxed);
        refused += atomic_load_explicit(&t->rings[i].refused, memory_order_relaxed);
    }
    return enif_make_tuple4(env, state_atoms[t->state], enif_make_uint64(env, captured), enif_make_uint64(env, refused),
        enif_make_uint64(env, t->without_ring));
}

static const struct tracer_ops own_ops = {
    .base = { sizeof(struct tracer_ops), destroy, down }, .enabled = trace_enabled, .capture = trace_capture, .end = tracer_end, .info = info,
};

void tracer_load(ErlNifEnv *env)
{
    static const char *const states[] = { "running", "stopped", "owner_died", "too_fast", "too_much_memory", "pipeline_closed" };
    for (unsigned i = 0; i <= TRACER_PIPELINE_CLOSED; i++)
        state_atoms[i] = enif_make_atom(env, states[i]);
    atom_remove = enif_make_atom(env, "remove");
    trace_load(env);
    encoded_load(env);
}

/* ---- a new one ---- */

static bool get_excluded(ErlNifEnv *env, ERL_NIF_TERM list, struct tracer *t)
{
    ERL_NIF_TERM head;
    ErlNifPid pid;
    while (enif_get_list_cell(env, list, &head, &list)) {
        if (t->excluded_count == TRACER_EXCLUDED || !enif_get_local_pid(env, head, &pid))
            return false;
        t->excluded[t->excluded_count++] = head;
    }
    return true;
}

/* All rings are opened here: a callback opens none. */
static int32_t open_rings(struct tracer *t, unsigned threads)
{
    t->rings = aligned_alloc(_Alignof(struct tracer_ring), threads * sizeof *t->rings);
    if (!t->rings)
        return PIPELINE_ERR_NO_MEMORY;
    memset(t->rings, 0, threads * sizeof *t->rings);
    for (; t->ring_count < threads; t->ring_count++) {
        struct tracer_ring *ring = &t->rings[t->ring_count];
        ring->to_count = t->step;
        int32_t status = pipeline_producer_open(t->pipeline->native, &ring->producer);
        if (status != PIPELINE_OK)
            return status;
        if (!t->pipeline->delivery && !(ring->env = enif_alloc_env())) {
            t->ring_count++;
            return PIPELINE_ERR_NO_MEMORY;
        }
    }
    return PIPELINE_OK;
}

ERL_NIF_TERM tracer_new_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    const ERL_NIF_TERM *parts;
    int count;
    ErlNifPid owner, guard;
    unsigned threads;
    ErlNifUInt64 max_rate;
    (void)argc;
    struct tracer *t = resource_new(RESOURCE_TRACER, &own_ops.base, sizeof *t);
    if (!t)
        return answer_detail(env, "no_memory", "");
    ERL_NIF_TERM answer = answer_badarg(env);
    if (!enif_get_tuple(env, argv[1], &count, &parts) || count != 7 || !enif_get_local_pid(env, parts[0], &owner) ||
        !enif_self(env, &guard) || !enif_get_uint(env, parts[1], &threads) || threads == 0 || threads > 65536 ||
        !enif_get_uint(env, parts[2], &t->depth) || t->depth > ENCODED_DEPTH || !enif_get_uint(env, parts[3], &t->bytes) ||
        t->bytes < ENCODED_LEAST || t->bytes > ENCODED_BYTES || !enif_get_uint64(env, parts[4], &max_rate) ||
        !get_excluded(env, parts[5], t))
        goto out;
    t->timeline = parts[6] == enif_make_atom(env, "true");
    t->bytes = t->bytes / 8 * 8;
    if (p->ring_file) {
        answer = answer_detail(env, "unsupported", "the pipeline has a ring_dir, and traces are words of this VM, which no other could read; give the tracer a pipeline without");
        goto out;
    }
    if (t->bytes > p->max_event_bytes) {
        answer = answer_detail(env, "invalid", "bytes: more than the pipeline's max_event_bytes");
        goto out;
    }
    t->max_rate = max_rate;
    t->step = max_rate / 64 < 1 ? 1 : max_rate / 64 < 256 ? max_rate / 64 : 256;
    enif_keep_resource(p);
    t->pipeline = p;
    int32_t status = open_rings(t, threads);
    if (status != PIPELINE_OK) {
        answer = answer_status(env, status);
        goto out;
    }
    if (enif_monitor_process(env, t, &guard, &t->guard) != 0 || enif_monitor_process(env, t, &owner, &t->owner) != 0) {
        answer = answer_detail(env, "state", "the owner is dead");
        goto out;
    }
    answer = answer_ok(env, enif_make_resource(env, t));
out:
    enif_release_resource(t);
    return answer;
}

/* ---- the NIFs: through the table of the copy that made the tracer ---- */

static struct tracer *get(ErlNifEnv *env, ERL_NIF_TERM term, const struct tracer_ops **ops)
{
    struct tracer *t = resource_get(env, term, RESOURCE_TRACER);
    if (t)
        *ops = (const struct tracer_ops *)(const void *)t->base.ops;
    return t;
}

ERL_NIF_TERM tracer_enabled(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    const struct tracer_ops *ops;
    struct tracer *t = get(env, argv[1], &ops);
    (void)argc;
    return t ? ops->enabled(t, argv[2]) : atom_remove;
}

ERL_NIF_TERM tracer_trace(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    const struct tracer_ops *ops;
    struct tracer *t = get(env, argv[1], &ops);
    (void)argc;
    if (t)
        ops->capture(env, t, argv);
    return atom_ok;
}

ERL_NIF_TERM tracer_stop(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    const struct tracer_ops *ops;
    struct tracer *t = get(env, argv[0], &ops);
    (void)argc;
    for (int state = TRACER_STOPPED; t && state <= TRACER_PIPELINE_CLOSED; state++)
        if (argv[1] == state_atoms[state]) {
            ops->end(t, state);
            return atom_ok;
        }
    return answer_badarg(env);
}

ERL_NIF_TERM tracer_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    const struct tracer_ops *ops;
    struct tracer *t = get(env, argv[0], &ops);
    (void)argc;
    return t ? ops->info(env, t) : answer_badarg(env);
}
