/* A server that hears and does not answer. Batches are tried again under the same ids, the server recognises what it has already, and an
 * acknowledgement that says so counts.
 * Build flags: -lcapture_pipeline_nats */
#include "stored.h"

#define EVENTS 8000 /* they have room in a ring buffer */

static atomic_int heard, warned;

static void hear(void *user_data, int32_t level, const char *message)
{
    (void)user_data;
    warned += strstr(message, "nats: the duplicate window of the stream CAPTURE is 120000 ms") == message;
    heard += level == PIPELINE_LOG_WARN && strstr(message, "nats: no acknowledgement within ack_timeout_ms (300 ms) from 127.0.0.1:") == message;
}

int main(void)
{
    server_t server;
    pipeline_storage_t storage;
    pipeline_config_t config = patient_config();
    pipeline_nats_options_t options;
    pipeline_nats_status_t status;
    pipeline_t *p;
    stored_t stored;
    CHECK_STATUS(pipeline_log_callback(hear, NULL, PIPELINE_LOG_WARN), PIPELINE_OK);
    server_new(&server, "");
    server_start(&server, "");
    options = nats_options(&server);
    options.ack_timeout_ms = 300;
    options.retry_max_age_ms = config.retry_max_age_ms;
    CHECK_OR_STOP(CHECK_STATUS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_OK));
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&config, &storage, &p), PIPELINE_OK));
    /* The window is shorter than the age up to which batches are tried again. */
    CHECK_HAS(nats_status(&storage).text, "the duplicate window of the stream CAPTURE is 120000 ms, and a batch may be tried again for 600300 ms");
    CHECK_U64(warned, 1);
    capture_range(p, 0, 1000, 64);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    kill(server.pid, SIGSTOP);
    capture_range(p, 1000, EVENTS, 64);
    WAIT_FOR(nats_status(&storage).timeouts > 3);
    WAIT_FOR(heard > 0);
    CHECK(metrics_of(p).stored == 1000);
    WAIT_FOR(metrics_of(p).retries > 0);
    kill(server.pid, SIGCONT);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    status = nats_status(&storage);
    CHECK(status.duplicates > 0);
    CHECK_U64(metrics_of(p).stored, EVENTS);
    CHECK_LEDGER(p);
    END(p);
    stored = stored_in(&server, "", EVENTS);
    CHECK_U64(seen_times(&stored, 0, EVENTS, 1), EVENTS);
    CHECK_U64(status.acknowledged, stored.messages + stored.facts);
    server_kill(&server);
    free(stored.seen);
    return SUMMARY();
}
