/* No server at the start, a stream that is deleted, a close while no server is there.
 * Build flags: -lcapture_pipeline_nats */
#include "stored.h"

static pipeline_t *start(const pipeline_nats_options_t *options, pipeline_storage_t *storage, pipeline_config_t config)
{
    pipeline_t *p = NULL;
    CHECK_OR_STOP(CHECK_STATUS(pipeline_storage_nats(options, sizeof *storage, storage), PIPELINE_OK));
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&config, storage, &p), PIPELINE_OK));
    return p;
}

static void no_server_at_the_start(void)
{
    server_t server;
    pipeline_storage_t storage;
    pipeline_nats_options_t options;
    pipeline_t *p;
    stored_t stored;
    char address[128];
    server_new(&server, "");
    options = nats_options(&server);
    CHECK_FAILS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_ERR_STORAGE, "PIPELINE_NATS_START_OFFLINE");
    CHECK(strstr(pipeline_last_error(), server.address) != NULL);
    options.flags |= PIPELINE_NATS_START_OFFLINE;
    options.ack_timeout_ms = 300;
    p = start(&options, &storage, patient_config());
    capture_range(p, 0, 5000, 64);
    snprintf(address, sizeof address, "no server is connected; %s: ", server.address);
    WAIT_FOR(strstr(nats_status(&storage).text, address) != NULL);
    CHECK(strstr(nats_status(&storage).text, "refused") != NULL);
    CHECK_U64(nats_status(&storage).state, PIPELINE_NATS_DISCONNECTED);
    CHECK_U64(metrics_of(p).stored, 0);
    server_start(&server, "");
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    CHECK_U64(nats_status(&storage).state, PIPELINE_NATS_READY);
    CHECK(*nats_status(&storage).text == '\0');
    END(p);
    stored = stored_in(&server, "", 5000);
    CHECK_U64(seen_times(&stored, 0, 5000, 1), 5000);
    free(stored.seen);
    server_kill(&server);
}

static void a_stream_is_deleted(bool create)
{
    server_t server;
    pipeline_storage_t storage;
    pipeline_nats_options_t options;
    pipeline_t *p;
    stored_t stored;
    wire_t w;
    uint64_t facts;
    char answer[4096];
    server_new(&server, "");
    server_start(&server, "");
    CHECK_OR_STOP(wire_open(&w, server.port, ""));
    options = nats_options(&server);
    options.ack_timeout_ms = 500;
    p = start(&options, &storage, patient_config());
    CHECK_STATUS(pipeline_kind_name(p, 7, "seven"), PIPELINE_OK);
    if (!create) {
        pipeline_storage_t other;
        pipeline_t *q;
        options.flags = 0;
        q = start(&options, &other, patient_config());
        END(p);
        p = q, storage = other;
    }
    capture_range(p, 0, 1000, 64);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    stored = stored_in(&server, "", 3000);
    CHECK_U64(seen_times(&stored, 0, 1000, 1), 1000);
    facts = stored.facts;
    free(stored.seen);
    wire_request(&w, "$JS.API.STREAM.DELETE.CAPTURE", "", answer, sizeof answer);
    CHECK(strstr(answer, "\"success\":true") != NULL);
    capture_range(p, 1000, 2000, 64);
    if (!create) {
        WAIT_FOR(nats_status(&storage).state == PIPELINE_NATS_NO_STREAM);
        CHECK(strstr(nats_status(&storage).text, "there is no stream CAPTURE") != NULL);
        WAIT_FOR(metrics_of(p).retries > 0);
        CHECK_U64(metrics_of(p).stored, 1000);
        wire_request(&w, "$JS.API.STREAM.CREATE.CAPTURE", "{\"name\":\"CAPTURE\",\"subjects\":[\"capture.>\"],\"storage\":\"file\",\"num_replicas\":1}",
                     answer, sizeof answer);
        CHECK(strstr(answer, "\"error\"") == NULL);
    }
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 2000);
    CHECK_U64(nats_status(&storage).state, PIPELINE_NATS_READY);
    END(p);
    stored = stored_in(&server, "", 3000);
    CHECK_U64(seen_times(&stored, 0, 1000, 0), 1000); /* they went with the stream that somebody deleted */
    CHECK_U64(seen_times(&stored, 1000, 2000, 1), 1000);
    CHECK(facts == 0 || stored.facts > 0); /* the new stream has the names, too */
    free(stored.seen);
    wire_close(&w);
    server_kill(&server);
}

/* A close keeps its time limit, and what it leaves is counted. */
static void close_without_a_server(void)
{
    server_t server;
    pipeline_storage_t storage;
    pipeline_nats_options_t options;
    pipeline_t *p;
    pipeline_metrics_t m;
    bool destroyed = false;
    server_new(&server, "");
    server_start(&server, "");
    options = nats_options(&server);
    options.ack_timeout_ms = 500;
    p = start(&options, &storage, patient_config());
    capture_range(p, 0, 1000, 64);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    server_kill(&server);
    capture_range(p, 1000, 4000, 64);
    CHECK_STATUS(pipeline_flush(p, 100), PIPELINE_ERR_TIMEOUT);
    CHECK_STATUS(pipeline_close(p, 300), PIPELINE_ERR_TIMEOUT);
    /* Attempts end by themselves, and none follows. */
    WAIT_FOR(metrics_of(p).in_flight == 0);
    m = metrics_of(p);
    CHECK_U64(m.stored, 1000);
    CHECK_U64(m.left, 3000);
    CHECK_LEDGER(p);
    WAIT_FOR(destroyed || (destroyed = pipeline_destroy(p) == PIPELINE_OK));
}

int main(void)
{
    no_server_at_the_start();
    a_stream_is_deleted(true);
    a_stream_is_deleted(false);
    close_without_a_server();
    return SUMMARY();
}
