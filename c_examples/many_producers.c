/* Many threads capture at the same time. A thread gets its own ring buffer at its first capture, or it opens a producer handle,
 * which is faster and can write payloads in place. Captures take no lock, and every loss is counted. */
#include <capture_pipeline.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define THREADS 8
#define EVENTS 5000 /* per thread */

/* The storage checks that the events of each thread arrive exactly once and in order. */
struct seen {
    unsigned long next[THREADS], out_of_order; /* next: the expected number, by thread */
};

static pipeline_t *pipeline;

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    struct seen *seen = user_data;
    size_t i;
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *event = PIPELINE_BATCH_EVENT(batch, i);
        unsigned long number;
        memcpy(&number, event->data, sizeof number);
        if (seen->next[event->kind]++ != number)
            seen->out_of_order += 1;
    }
    return PIPELINE_STORE_OK;
}

/* Half of the threads use pipeline_capture. */
static void *capture(void *kind)
{
    unsigned long number;
    for (number = 0; number < EVENTS; number++)
        if (pipeline_capture(pipeline, *(uint32_t *)kind, &number, sizeof number) != PIPELINE_OK)
            return kind;
    return NULL;
}

/* The others use a producer handle and write each payload directly into the ring buffer. */
static void *reserve_and_commit(void *kind)
{
    pipeline_producer_t *producer = NULL;
    pipeline_event_t head;
    unsigned long number;
    if (pipeline_producer_open(pipeline, &producer) != PIPELINE_OK)
        return kind;
    memset(&head, 0, sizeof head);
    head.struct_size = sizeof head;
    head.kind = *(uint32_t *)kind;
    for (number = 0; number < EVENTS; number++) {
        void *payload;
        if (pipeline_producer_reserve(producer, &head, 64, &payload) != PIPELINE_OK)
            return kind;
        memcpy(payload, &number, sizeof number);
        pipeline_producer_commit(producer, sizeof number); /* less than reserved: the rest is released */
    }
    pipeline_producer_close(producer);
    return NULL;
}

int main(void)
{
    static struct seen seen;
    pipeline_storage_t storage;
    pipeline_config_t config;
    pipeline_metrics_t metrics;
    pthread_t threads[THREADS];
    uint32_t kinds[THREADS];
    unsigned long stored = 0, failed = 0;
    int i;

    pipeline_config_init(&config, sizeof config);
    config.ring_bytes = 1 << 20; /* per thread: 8 MiB in total, and a fixed part, whatever the load */
    config.ordering = PIPELINE_ORDERING_PER_PRODUCER;
    pipeline_storage_init(&storage, sizeof storage);
    storage.store = store;
    storage.user_data = &seen;
    if (pipeline_start(&config, &storage, &pipeline) < 0) {
        fprintf(stderr, "start: %s\n", pipeline_last_error());
        return 1;
    }

    for (i = 0; i < THREADS; i++) {
        kinds[i] = (uint32_t)i;
        pthread_create(&threads[i], NULL, i % 2 ? reserve_and_commit : capture, &kinds[i]);
    }
    for (i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        failed += result != NULL;
    }
    pipeline_close(pipeline, 10000);

    memset(&metrics, 0, sizeof metrics);
    metrics.struct_size = sizeof metrics;
    pipeline_metrics(pipeline, &metrics);
    pipeline_destroy(pipeline);
    for (i = 0; i < THREADS; i++)
        stored += seen.next[i];
    printf("%d threads: offered %llu, captured %llu, stored %llu in %llu batches\n", THREADS,
           (unsigned long long)metrics.offered, (unsigned long long)metrics.captured,
           (unsigned long long)metrics.stored, (unsigned long long)metrics.batches);
    printf("the storage received %lu events, %lu of them out of order\n", stored, seen.out_of_order);
    return failed == 0 && stored == THREADS * EVENTS && metrics.stored == stored && seen.out_of_order == 0 ? 0 : 1;
}
