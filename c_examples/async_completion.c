/* A storage that answers later: store passes the batch to another thread and returns PENDING. That thread completes the batches in
 * random order, some of them with "retry". An asynchronous client or a group commit works the same way. */
#include <capture_pipeline.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS 20000
#define MAX_IN_FLIGHT 16
#define MAX_IN_DOUBT 16
/* A batch whose answer is late is no longer in flight, but in doubt: so many can be open at the same time. */
#define MAX_OPEN (MAX_IN_FLIGHT + MAX_IN_DOUBT)

/* A client with its own thread. Batches stay valid until they are completed, so nothing is copied. */
struct client {
    pthread_mutex_t mutex;
    pthread_cond_t more;
    const pipeline_batch_t *open[MAX_OPEN];
    size_t count, max_count;
    int stop;
    unsigned char times_stored[EVENTS];
    unsigned long completed, retried;
};

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    struct client *client = user_data;
    pthread_mutex_lock(&client->mutex);
    client->open[client->count++] = batch; /* there is space: see MAX_OPEN */
    if (client->count > client->max_count)
        client->max_count = client->count;
    pthread_cond_signal(&client->more);
    pthread_mutex_unlock(&client->mutex);
    return PIPELINE_STORE_PENDING;
}

static void *complete_batches(void *arg)
{
    struct client *client = arg;
    unsigned rng = 12345;
    pthread_mutex_lock(&client->mutex);
    while (!client->stop || client->count > 0) {
        const pipeline_batch_t *batch;
        size_t at, i;
        if (client->count == 0) {
            pthread_cond_wait(&client->more, &client->mutex);
            continue;
        }
        rng = rng * 1103515245u + 12345u;
        at = rng / 65536 % client->count;
        batch = client->open[at];
        client->open[at] = client->open[--client->count];
        pthread_mutex_unlock(&client->mutex);

        /* Only the completing thread uses the batch, and not after the completion. */
        if (rng / 256 % 8 == 0 && batch->attempt < 3) {
            client->retried += 1;
            pipeline_batch_complete(batch->token, PIPELINE_STORE_RETRY);
        } else {
            for (i = 0; i < batch->count; i++) {
                unsigned long number;
                memcpy(&number, PIPELINE_BATCH_EVENT(batch, i)->data, sizeof number);
                client->times_stored[number] += 1;
            }
            client->completed += 1;
            pipeline_batch_complete(batch->token, PIPELINE_STORE_OK);
        }
        pthread_mutex_lock(&client->mutex);
    }
    pthread_mutex_unlock(&client->mutex);
    return NULL;
}

int main(void)
{
    static struct client client = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, {NULL}, 0, 0, 0, {0}, 0, 0};
    pipeline_config_t config;
    pipeline_storage_t storage;
    pipeline_t *pipeline = NULL;
    pthread_t thread;
    unsigned long number, wrong = 0;
    int32_t closed;

    pipeline_config_init(&config, sizeof config);
    config.batch_size = 64;
    config.max_in_flight = MAX_IN_FLIGHT;
    config.max_in_doubt = MAX_IN_DOUBT;
    config.retry_initial_us = 100;
    pipeline_storage_init(&storage, sizeof storage);
    storage.store = store;
    storage.user_data = &client;
    pthread_create(&thread, NULL, complete_batches, &client);
    if (pipeline_start(&config, &storage, &pipeline) < 0) {
        fprintf(stderr, "start: %s\n", pipeline_last_error());
        return 1;
    }
    /* If the ring buffer is full, a flush makes space: no event is lost, however late the answers come. */
    for (number = 0; number < EVENTS; number++)
        while (pipeline_capture(pipeline, 1, &number, sizeof number) == PIPELINE_ERR_FULL)
            pipeline_flush(pipeline, 1000);
    closed = pipeline_close(pipeline, 20000);
    if (pipeline_destroy(pipeline) != PIPELINE_OK)
        return 1;

    pthread_mutex_lock(&client.mutex);
    client.stop = 1;
    pthread_cond_signal(&client.more);
    pthread_mutex_unlock(&client.mutex);
    pthread_join(thread, NULL);
    for (number = 0; number < EVENTS; number++)
        wrong += client.times_stored[number] != 1;
    printf("%lu batches completed out of order by another thread, %lu retries, at most %lu open at the same time\n",
           client.completed, client.retried, (unsigned long)client.max_count);
    printf("events not stored exactly once: %lu of %d\n", wrong, EVENTS);
    return closed == PIPELINE_OK && wrong == 0 && client.max_count <= MAX_OPEN ? 0 : 1;
}
