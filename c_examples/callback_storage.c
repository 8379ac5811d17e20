/* A storage that fails in every possible way: it cannot store now (RETRY), stores only a part (set_stored), rejects a single event
 * (set_rejected) or a batch (REJECT). Rejected events go to dead_letter. Every event is stored, or kept by dead_letter, exactly
 * once. */
#include <capture_pipeline.h>

#include <stdio.h>
#include <string.h>

#define EVENTS 10000

struct disk {
    unsigned char times_stored[EVENTS]; /* by number; a real storage uses the identity (generation, ring_id, sequence) */
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

    /* "The server is down": the same batch comes again, with the same id, after a back-off. */
    if (disk->calls % 5 == 0) {
        disk->failures += 1;
        return PIPELINE_STORE_RETRY;
    }
    /* "This shard is read-only": the whole batch goes to dead_letter. */
    if (batch->batch_id % 16 == 0)
        return PIPELINE_STORE_REJECT;
    /* "The disk is full": the first half is stored, and the retry begins after it. */
    if (disk->calls % 7 == 0 && batch->count > 1)
        end = batch->count / 2;

    for (i = 0; i < end; i++) {
        unsigned long number = number_of(PIPELINE_BATCH_EVENT(batch, i));
        if (number % 1000 == 999)
            pipeline_batch_set_rejected(batch, i); /* "malformed": only this event */
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

/* Keeps events that store has rejected. 0: kept. */
static int32_t dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    struct disk *disk = user_data;
    size_t i;
    (void)reason; /* here PIPELINE_REASON_REJECTED; _RETRY_LIMIT or _RETRY_AGE after too many retries */
    for (i = 0; i < batch->count; i++)
        disk->times_dead[number_of(PIPELINE_BATCH_EVENT(batch, i))] += 1;
    return 0;
}

/* Called exactly once, when the pipeline no longer needs the storage. */
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
    config.retry_limit = 20;        /* attempts per batch */
    config.retry_initial_us = 100;  /* first back-off; then 200, 400, ... */
    config.retry_max_us = 10000;    /* the longest back-off */
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
    printf("%lu calls failed, %llu retries\n", disk.failures, (unsigned long long)m.retries);
    printf("captured %llu events: %llu stored, %llu kept by dead_letter\n", (unsigned long long)m.captured,
           (unsigned long long)m.stored, (unsigned long long)m.dead_lettered);
    printf("events that are lost or duplicated: %lu\n", wrong);
    return wrong == 0 && m.stored == stored && m.dead_lettered == dead && stored + dead == EVENTS && disk.failures > 0 &&
                   dead > 0 && disk.destroyed == 1
               ? 0
               : 1;
}
