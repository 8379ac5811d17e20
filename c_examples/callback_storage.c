/* A storage that fails in every way it may: not now (RETRY), only in part (set_stored), not this event (set_rejected),
 * not at all (REJECT). What cannot be stored goes to the dead letter. Every event ends up in one place, once. */
#include <capture_pipeline.h>

#include <stdio.h>
#include <string.h>

#define EVENTS 10000

struct disk {
    unsigned char times_stored[EVENTS]; /* by number: a real storage would key by (generation, ring_id, sequence) */
    unsigned char times_dead[EVENTS];
    unsigned long calls, failures;
    int destroyed;
};

static unsigned long number_of(const pipeline_event_view_t *event)
{
    unsigned long number;
    memcpy(&number, event->data, sizeof number);
    return number;
}

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    struct disk *disk = user_data;
    size_t i, end = batch->count;
    disk->calls += 1;

    /* "The server is away": the same batch comes again, with the same id, after a back-off. */
    if (disk->calls % 5 == 0) {
        disk->failures += 1;
        return PIPELINE_STORE_RETRY;
    }
    /* "This shard is read-only": never; the whole batch goes to the dead letter. */
    if (batch->batch_id % 16 == 0)
        return PIPELINE_STORE_REJECT;
    /* "The disk is full half-way": the first half is stored, the retry begins behind it. */
    if (disk->calls % 7 == 0 && batch->count > 1)
        end = batch->count / 2;

    for (i = 0; i < end; i++) {
        unsigned long number = number_of(PIPELINE_BATCH_EVENT(batch, i));
        if (number % 1000 == 999)
            pipeline_batch_set_rejected(batch, i); /* "malformed": that one alone */
        else
            disk->times_stored[number] += 1;
    }
    if (end < batch->count) {
        disk->failures += 1;
        pipeline_batch_set_stored(batch, end);
        return PIPELINE_STORE_RETRY;
    }
    return PIPELINE_STORE_OK;
}

/* Takes what store would not. 0: kept. */
static int32_t dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    struct disk *disk = user_data;
    size_t i;
    (void)reason; /* PIPELINE_REASON_REJECTED here; _RETRY_LIMIT or _RETRY_AGE if it was tried for too long */
    for (i = 0; i < batch->count; i++)
        disk->times_dead[number_of(PIPELINE_BATCH_EVENT(batch, i))] += 1;
    return 0;
}

/* The pipeline needs the storage no longer: called once, whatever happens. */
static void destroy(void *user_data)
{
    struct disk *disk = user_data;
    disk->destroyed += 1;
}

int main(void)
{
    static struct disk disk;
    pipeline_config_t config;
    pipeline_storage_t storage;
    pipeline_metrics_t m;
    pipeline_t *pipeline = NULL;
    unsigned long number, stored = 0, dead = 0, wrong = 0;

    pipeline_config_init(&config, sizeof config);
    config.batch_size = 100;
    config.retry_limit = 20;        /* attempts in all */
    config.retry_initial_us = 100;  /* then 200, 400, ... */
    config.retry_max_us = 10000;    /* at most */
    pipeline_storage_init(&storage, sizeof storage);
    storage.store = store;
    storage.dead_letter = dead_letter;
    storage.destroy = destroy;
    storage.user_data = &disk;
    if (pipeline_start(&config, &storage, &pipeline) < 0) {
        fprintf(stderr, "start: %s\n", pipeline_last_error());
        return 1;
    }
    for (number = 0; number < EVENTS; number++)
        if (pipeline_capture(pipeline, 1, &number, sizeof number) != PIPELINE_OK)
            return 1;
    if (pipeline_close(pipeline, 20000) != PIPELINE_OK)
        return 1;
    memset(&m, 0, sizeof m);
    m.struct_size = sizeof m;
    pipeline_metrics(pipeline, &m);
    pipeline_destroy(pipeline);

    for (number = 0; number < EVENTS; number++) {
        stored += disk.times_stored[number];
        dead += disk.times_dead[number];
        wrong += disk.times_stored[number] + disk.times_dead[number] != 1;
    }
    printf("%lu calls failed, %llu batches were tried again\n", disk.failures, (unsigned long long)m.retries);
    printf("of %llu captured events, %llu are stored and %llu in the dead letter\n", (unsigned long long)m.captured,
           (unsigned long long)m.stored, (unsigned long long)m.dead_lettered);
    printf("events that are nowhere or in two places: %lu\n", wrong);
    return wrong == 0 && m.stored == stored && m.dead_lettered == dead && stored + dead == EVENTS && disk.failures > 0 &&
                   dead > 0 && disk.destroyed == 1
               ? 0
               : 1;
}
