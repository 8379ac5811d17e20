/* The events of a notice, read by its consumer: see reading.h. */
#include "delivery/reading.h"
#include "delivery/delivery.h"
#include "delivery/enrich.h"
#include "delivery/events.h"
#include "pipeline/status.h"

enum {
    MAX_EVENTS = ENRICHED_MOST, /* per call; some 50 us on a normal scheduler */
    MAX_BYTES = 160 * 1024,
};

static ERL_NIF_TERM atom_done;

void reading_load(ErlNifEnv *env)
{
    atom_done = enif_make_atom(env, "done");
}

/* The caller's batch, which no other thread may complete from here on; NULL: the caller has none with that token. */
static struct outstanding *begin_reading(struct delivery *d, uint64_t token, const ErlNifPid *self)
{
    enif_mutex_lock(d->lock);
    struct outstanding *o = outstanding_find(d, token);
    if (o && (o->reading || enif_compare_pids(&o->consumer->pid, self) != 0))
        o = NULL;
    if (o)
        o->reading = true;
    enif_mutex_unlock(d->lock);
    return o;
}

/* On a dirty scheduler the calling process may be dead by now, and its consumer removed. */
static void end_reading(struct delivery *d, struct outstanding *o)
{
    enif_mutex_lock(d->lock);
    o->reading = false;
    bool orphan = o->orphan;
    enif_mutex_unlock(d->lock);
    if (orphan)
        outstanding_complete(o, PIPELINE_STORE_RETRY, false);
}

typedef ERL_NIF_TERM dirty_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Some of the events of a batch, enriched if `common` is not NULL. */
static ERL_NIF_TERM read_some(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[],
    const struct enrichment *common, const char *name, dirty_nif *dirty)
{
    struct delivery *d = pipeline->delivery;
    ErlNifUInt64 token, from;
    ErlNifPid self;
    if (!d || !enif_get_uint64(env, argv[1], &token) || !enif_get_uint64(env, argv[2], &from) || !enif_self(env, &self))
        return answer_badarg(env);
    struct outstanding *o = begin_reading(d, token, &self);
    if (!o)
        return answer_refused(env, PIPELINE_ERR_UNKNOWN_TOKEN);
    bool normal = on_normal_scheduler(), too_large = false;
    size_t to = from, bytes = 0;
    while (to < o->count && to - from < MAX_EVENTS) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(o->batch, to);
        bytes += e->len;
        if (bytes > MAX_BYTES && (to > from || normal))
            break;
        to++;
    }
    size_t first = from < to ? from : to;
    ERL_NIF_TERM answer = 0;
    if (to == from && from < o->count)
        too_large = true; /* a single event that is too large for a normal scheduler */
    else
        answer = enif_make_tuple2(env,
            common ? enriched_list(env, common, o->batch, first, to, d->ring_file) : events_list(env, o->batch, first, to, d->ring_file),
            to < o->count ? enif_make_uint64(env, to) : atom_done);
    end_reading(d, o);
    if (too_large)
        return enif_schedule_nif(env, name, ERL_NIF_DIRTY_JOB_CPU_BOUND, dirty, argc, argv);
    if (normal)
        enif_consume_timeslice(env, (int)(to - from) / 25 + 1);
    return answer;
}

PIPELINE_DIRTY(delivery_events)

ERL_NIF_TERM delivery_events_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    return read_some(env, pipeline, argc, argv, NULL, "delivery_events", delivery_events_dirty);
}

PIPELINE_DIRTY(delivery_enriched)

ERL_NIF_TERM delivery_enriched_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    struct enrichment common;
    if (!enrichment_get(env, argv[3], &common))
        return answer_badarg(env);
    return read_some(env, pipeline, argc, argv, &common, "delivery_enriched", delivery_enriched_dirty);
}
