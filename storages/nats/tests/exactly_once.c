/* Every event that is captured is in the stream exactly once, while the server is killed and comes back several times.
 * Build flags: -lcapture_pipeline_nats */
#include "stored.h"

#define THREADS 3
#define EVENTS 60000 /* of each thread */

static pipeline_t *p;

static void *capture(void *argument)
{
    uint64_t from = (uint64_t)(uintptr_t)argument * EVENTS;
    capture_range(p, from, from + EVENTS, 64);
    return NULL;
}

int main(void)
{
    server_t server;
    pipeline_storage_t storage;
    pipeline_config_t config = patient_config();
    pipeline_nats_options_t options;
    pipeline_nats_status_t status;
    pipeline_metrics_t m;
    pthread_t threads[THREADS];
    stored_t stored;
    int i, kills;
    server_new(&server, "");
    server_start(&server, "");
    options = nats_options(&server);
    options.ack_timeout_ms = 2000;
    CHECK_OR_STOP(CHECK_STATUS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_OK));
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&config, &storage, &p), PIPELINE_OK));
    for (i = 0; i < THREADS; i++)
        threads[i] = start_thread(capture, (void *)(uintptr_t)i);
    for (kills = 0; kills < 3; kills++) {
        uint64_t before = metrics_of(p).stored;
        WAIT_FOR(metrics_of(p).stored >= before + 10000 || metrics_of(p).stored == THREADS * EVENTS);
        server_kill(&server);
        WAIT_FOR(nats_status(&storage).state == PIPELINE_NATS_DISCONNECTED);
        server_start(&server, "");
        WAIT_FOR(nats_status(&storage).state == PIPELINE_NATS_READY);
    }
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    status = nats_status(&storage);
    m = metrics_of(p);
    CHECK_U64(m.captured, THREADS * EVENTS);
    CHECK_U64(m.stored, THREADS * EVENTS);
    CHECK_U64(m.discarded + m.dead_lettered + m.dropped_full, 0);
    CHECK_U64(status.pending_messages, 0);
    CHECK_U64(status.pending_bytes, 0);
    CHECK(status.connects >= 4);
    CHECK_LEDGER(p);
    END(p);
    stored = stored_in(&server, "", THREADS * EVENTS);
    CHECK_U64(stored.events, THREADS * EVENTS);
    CHECK_U64(seen_times(&stored, 0, THREADS * EVENTS, 1), THREADS * EVENTS);
    CHECK_U64(status.acknowledged, stored.messages + stored.facts);
    printf("%" PRIu64 " messages, %" PRIu64 " published, %" PRIu64 " duplicates, %" PRIu64 " timeouts\n", stored.messages, status.published,
           status.duplicates, status.timeouts);
    server_kill(&server);
    free(stored.seen);
    return SUMMARY();
}
