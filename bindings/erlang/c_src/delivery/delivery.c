/* The storage whose batches go to consumers: its functions, its start and its end. See delivery.h. */
#include "delivery/delivery.h"
#include "delivery/events.h"
#include "pipeline/payload.h"

#include <string.h>

enum { MAX_EXCHANGED = 4096 };      /* events of a batch that is claimed on a normal scheduler; takes some 0.1 ms */

/* ---- the storage's functions, on writer threads ---- */

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    struct delivery *d = user_data;
    struct outgoing outgoing = { .pipeline = NULL };
    struct outstanding *o = enif_alloc(sizeof *o);
    if (!o)
        return PIPELINE_STORE_RETRY;
    outstanding_init(o, batch);
    if (!d->notices) {
        o->message.env = enif_alloc_env();
        if (!o->message.env) {
            outstanding_free(o);
            return PIPELINE_STORE_RETRY;
        }
        o->message.events = events_list(o->message.env, batch, 0, batch->count, d->ring_file);
    }
    enif_mutex_lock(d->lock);
    bool stopped = d->stopped;
    if (!stopped)
        outstanding_add(d, o, &outgoing);
    enif_mutex_unlock(d->lock);
    if (stopped) {
        outstanding_free(o);
        return PIPELINE_STORE_RETRY;
    }
    /* From here on the batch may be answered, and then `o` is freed. */
    outgoing_send(NULL, &outgoing);
    return PIPELINE_STORE_PENDING;
}

/* A consumer has kept elsewhere the events that it rejected. Events that reached the retry limit are kept nowhere. */
static int32_t dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    (void)user_data;
    (void)batch;
    return reason == PIPELINE_REASON_REJECTED ? 0 : PIPELINE_STORE_REJECT;
}

/* Called only for events that hold a reference to a block, and only if their batch was not stored as a whole: then held_release has done it. */
static void release(void *user_data, const pipeline_event_view_t *event)
{
    struct delivery *d = user_data;
    const struct handle *handle = event->data;
    block_unref(handle->block);
    /* A little early: the ring has the space when the whole batch is released. A process takes about as long to run. */
    space_waiters_wake(&d->space_waiters, NULL);
}

static void unref(struct delivery *d)
{
    if (atomic_fetch_sub(&d->references, 1) == 1) {
        space_waiters_destroy(&d->space_waiters);
        enif_mutex_destroy(d->lock);
        enif_free(d);
    }
}

static void destroy(void *user_data)
{
    unref(user_data);
}

bool delivery_storage(bool notices, pipeline_storage_t *storage, struct delivery **out)
{
    struct delivery *d = enif_alloc(sizeof *d);
    if (!d)
        return false;
    memset(d, 0, sizeof *d);
    d->lock = enif_mutex_create("capture_pipeline_delivery");
    if (!d->lock || !space_waiters_init(&d->space_waiters)) {
        if (d->lock)
            enif_mutex_destroy(d->lock);
        enif_free(d);
        return false;
    }
    atomic_init(&d->references, 2);
    d->notices = notices;
    d->credit = notices ? 1 : CREDIT;
    pipeline_storage_init(storage, sizeof *storage);
    storage->flags = PIPELINE_STORAGE_CONCURRENT | PIPELINE_STORAGE_RELEASE_ANYWHERE | PIPELINE_STORAGE_RELEASE_MARKED |
        PIPELINE_STORAGE_RELEASE_UNSTORED;
    storage->user_data = d;
    storage->store = store;
    storage->dead_letter = dead_letter;
    storage->release = release;
    storage->destroy = destroy;
    *out = d;
    return true;
}

/* ---- start and end ---- */

void delivery_start(struct pipeline *pipeline, bool in_flight_given)
{
    pipeline->delivery->pipeline = pipeline;
    delivery_adjust(pipeline, in_flight_given);
}

/* Without a consumer the pipeline is paused, so that no event is in doubt, and has one writer, which releases overwritten events. With consumers
 * it has a writer for each of them, and for each as many batches in flight as the consumer may have. A consumer that cannot exchange its answer for
 * the next batch gets one more, which is ready then. While consumers exchange, a writer that may not claim one more batch sleeps. */
static void apply(struct pipeline *pipeline)
{
    struct delivery *d = pipeline->delivery;
    pipeline_config_t config = { .struct_size = sizeof config };
    enif_mutex_lock(d->lock);
    unsigned consumers = d->consumer_count, each = d->notices ? d->credit : CREDIT + 1;
    enif_mutex_unlock(d->lock);
    if (pipeline->paused || consumers == 0)
        pipeline_pause(pipeline->native);
    if (pipeline_config_read(pipeline->native, &config) == PIPELINE_OK) {
        config.writers = consumers == 0 ? 1 : consumers < PIPELINE_MAX_WRITERS ? consumers : PIPELINE_MAX_WRITERS;
        if (!d->in_flight_given)
            config.max_in_flight = consumers == 0 ? 1 : consumers < 4096 / each ? consumers * each : 4096;
        d->exchanges = d->notices && config.batch_size <= MAX_EXCHANGED;
        pipeline_update(pipeline->native, &config);
    }
    if (!pipeline->paused && consumers > 0)
        pipeline_resume(pipeline->native);
}

void delivery_adjust(struct pipeline *pipeline, bool in_flight_given)
{
    if (in_flight_given)
        pipeline->delivery->in_flight_given = true;
    pipeline->needs_adjust = true;
    /* A thread that holds the lock looks at needs_adjust again after it has released it. */
    while (pipeline->needs_adjust && enif_mutex_trylock(pipeline->control) == 0) {
        pipeline->needs_adjust = false;
        apply(pipeline);
        enif_mutex_unlock(pipeline->control);
    }
}

void delivery_stop(struct delivery *d)
{
    enif_mutex_lock(d->lock);
    d->stopped = true;
    enif_mutex_unlock(d->lock);
}

void delivery_end(struct delivery *d)
{
    struct outstanding *o, *list = NULL;
    enif_mutex_lock(d->lock);
    while ((o = d->parked.first)) {
        outstanding_take(d, o);
        o->next = list;
        list = o;
    }
    enif_mutex_unlock(d->lock);
    outstanding_return(list);
    unref(d);
}

void delivery_figures(struct delivery *d, struct delivery_figures *out)
{
    enif_mutex_lock(d->lock);
    *out = (struct delivery_figures) { d->consumer_count, d->outstanding_count, d->parked_count };
    enif_mutex_unlock(d->lock);
}

/* ---- the NIFs ---- */

ERL_NIF_TERM delivery_wait_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    (void)argv;
    return pipeline->delivery ? space_waiters_add(env, &pipeline->delivery->space_waiters) : answer_error(env, "unsupported");
}

ERL_NIF_TERM delivery_cancel_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    if (!pipeline->delivery || !enif_is_ref(env, argv[1]))
        return answer_badarg(env);
    return space_waiters_cancel(&pipeline->delivery->space_waiters, argv[1]);
}
