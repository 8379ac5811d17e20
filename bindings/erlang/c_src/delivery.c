/* The storage whose batches go to processes: its functions, its beginning and its end. */
#include "delivery.h"
#include "events.h"
#include "handed.h"

#include <string.h>

enum { MOST_EXCHANGED = 4096 };     /* events that are claimed on a normal scheduler, some 0.1 ms */

/* ---- the storage's functions, on writer threads ---- */

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    struct delivery *d = user_data;
    struct sending sending = { .pipeline = NULL };
    struct handed *h = enif_alloc(sizeof *h);
    if (!h)
        return PIPELINE_STORE_RETRY;
    handed_fill(h, batch);
    if (!d->notices) {
        h->letter.env = enif_alloc_env();
        if (!h->letter.env) {
            enif_free(h);
            return PIPELINE_STORE_RETRY;
        }
        h->letter.events = events_list(h->letter.env, batch, 0, batch->count);
    }
    enif_mutex_lock(d->lock);
    bool stopped = d->stopped;
    if (!stopped)
        handed_add(d, h, &sending);
    enif_mutex_unlock(d->lock);
    if (stopped) {
        handed_free(h);
        return PIPELINE_STORE_RETRY;
    }
    /* From here on the batch may be answered, and h is gone. */
    handed_send(NULL, &sending);
    return PIPELINE_STORE_PENDING;
}

/* What a process has rejected it has kept elsewhere; what was only tried too often nobody has kept. */
static int32_t dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    (void)user_data;
    (void)batch;
    return reason == PIPELINE_REASON_REJECTED ? 0 : PIPELINE_STORE_REJECT;
}

/* Of those events alone that hold a reference to a block. */
static void release(void *user_data, const pipeline_event_view_t *event)
{
    struct delivery *d = user_data;
    const struct handle *handle = event->data;
    block_unref(handle->block);
    /* A little early, as the ring has the room when the whole batch is released: but it takes as long until a process runs. */
    room_tell(&d->room, NULL);
}

static void let_go(struct delivery *d)
{
    if (atomic_fetch_sub(&d->references, 1) == 1) {
        room_end(&d->room);
        enif_mutex_destroy(d->lock);
        enif_free(d);
    }
}

static void destroy(void *user_data)
{
    let_go(user_data);
}

bool delivery_storage(bool notices, pipeline_storage_t *storage, struct delivery **out)
{
    struct delivery *d = enif_alloc(sizeof *d);
    if (!d)
        return false;
    memset(d, 0, sizeof *d);
    d->lock = enif_mutex_create("capture_pipeline_delivery");
    if (!d->lock || !room_begin(&d->room)) {
        if (d->lock)
            enif_mutex_destroy(d->lock);
        enif_free(d);
        return false;
    }
    atomic_init(&d->references, 2);
    d->notices = notices;
    d->credit = notices ? 1 : CREDIT;
    pipeline_storage_init(storage, sizeof *storage);
    storage->flags = PIPELINE_STORAGE_CONCURRENT | PIPELINE_STORAGE_RELEASE_ANYWHERE | PIPELINE_STORAGE_RELEASE_MARKED;
    storage->user_data = d;
    storage->store = store;
    storage->dead_letter = dead_letter;
    storage->release = release;
    storage->destroy = destroy;
    *out = d;
    return true;
}

/* ---- beginning and end ---- */

void delivery_begin(struct pipeline *pipeline, bool in_flight_given)
{
    pipeline->delivery->pipeline = pipeline;
    delivery_adjust(pipeline, in_flight_given);
}

/* No face: the pipeline is paused, so that nothing is in doubt, and has one writer, which releases what is overwritten. Otherwise a writer
 * for each face, and batches for each: what it may have, and, where it cannot exchange its answer for the next, one that is ready then. A
 * writer that cannot claim one more sleeps while faces exchange: nobody wakes it. */
static void apply(struct pipeline *pipeline)
{
    struct delivery *d = pipeline->delivery;
    pipeline_config_t config = { .struct_size = sizeof config };
    enif_mutex_lock(d->lock);
    unsigned faces = d->face_count, each = d->notices ? d->credit : CREDIT + 1;
    enif_mutex_unlock(d->lock);
    if (pipeline->paused || faces == 0)
        pipeline_pause(pipeline->native);
    if (pipeline_config_read(pipeline->native, &config) == PIPELINE_OK) {
        config.writers = faces == 0 ? 1 : faces < PIPELINE_MAX_WRITERS ? faces : PIPELINE_MAX_WRITERS;
        if (!d->in_flight_given)
            config.max_in_flight = faces == 0 ? 1 : faces < 4096 / each ? faces * each : 4096;
        d->exchanges = d->notices && config.batch_size <= MOST_EXCHANGED;
        pipeline_update(pipeline->native, &config);
    }
    if (!pipeline->paused && faces > 0)
        pipeline_resume(pipeline->native);
}

void delivery_adjust(struct pipeline *pipeline, bool in_flight_given)
{
    if (in_flight_given)
        pipeline->delivery->in_flight_given = true;
    pipeline->stale = true;
    /* Whoever has it looks again when he has given it back. */
    while (pipeline->stale && enif_mutex_trylock(pipeline->control) == 0) {
        pipeline->stale = false;
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
    struct handed *h, *list = NULL;
    enif_mutex_lock(d->lock);
    while ((h = d->parked.first)) {
        handed_take(d, h);
        h->next = list;
        list = h;
    }
    enif_mutex_unlock(d->lock);
    handed_give_back(list);
    let_go(d);
}

void delivery_figures(struct delivery *d, struct delivery_figures *out)
{
    enif_mutex_lock(d->lock);
    *out = (struct delivery_figures) { d->face_count, d->handed_count, d->parked_count };
    enif_mutex_unlock(d->lock);
}
