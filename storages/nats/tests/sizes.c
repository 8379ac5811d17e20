/* Messages are cut to what the server and the stream take, headers included. An event that fits in no message is rejected alone. A limit that
 * falls meanwhile costs nothing.
 * Build flags: -lcapture_pipeline_nats */
#include "stored.h"


static pipeline_t *start(const server_t *server, uint32_t flags, pipeline_storage_t *storage)
{
    pipeline_config_t config = patient_config();
    pipeline_nats_options_t options = nats_options(server);
    pipeline_t *p = NULL;
    options.flags = flags;
    options.ack_timeout_ms = 2000;
    CHECK_OR_STOP(CHECK_STATUS(pipeline_storage_nats(&options, sizeof *storage, storage), PIPELINE_OK));
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&config, storage, &p), PIPELINE_OK));
    return p;
}

/* Makes or changes the stream, from outside. */
static void stream_request(const server_t *server, const char *what, int max_msg_size)
{
    wire_t w;
    char subject[128], body[512], answer[4096];
    CHECK_OR_STOP(wire_open(&w, server->port, ""));
    snprintf(subject, sizeof subject, "$JS.API.STREAM.%s.CAPTURE", what);
    snprintf(body, sizeof body, "{\"name\":\"CAPTURE\",\"subjects\":[\"capture.>\"],\"retention\":\"limits\",\"storage\":\"file\",\"max_consumers\":-1,\"max_msgs\":-1,\"max_bytes\":-1,\"discard\":\"old\",\"num_replicas\":1,\"max_msg_size\":%d}",
             max_msg_size);
    wire_request(&w, subject, body, answer, sizeof answer);
    CHECK(strstr(answer, "\"error\"") == NULL);
    wire_close(&w);
}

static void the_servers_limit(void)
{
    server_t server;
    pipeline_storage_t storage;
    pipeline_t *p;
    pipeline_metrics_t m;
    stored_t stored;
    server_new(&server, "max_payload: 8192");
    server_start(&server, "");
    p = start(&server, PIPELINE_NATS_CREATE_STREAM, &storage);
    CHECK_U64(nats_status(&storage).max_payload, 8192);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_range(p, 0, 300, 1000);
    capture_range(p, 300, 302, 9000); /* too large, among others */
    capture_range(p, 302, 400, 1000);
    capture_range(p, 400, 401, 8192); /* it would fit without headers */
    capture_range(p, 401, 500, 100);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.stored, 497);
    CHECK_U64(m.discarded, 3);
    CHECK_U64(nats_status(&storage).too_large, 3);
    CHECK_U64(nats_status(&storage).connects, 1); /* the server never closed the connection */
    END(p);
    stored = stored_in(&server, "", 500);
    CHECK_U64(seen_times(&stored, 0, 500, 1), 497);
    CHECK_U64(seen_times(&stored, 300, 302, 0), 2);
    CHECK_U64(stored.seen[400], 0);
    CHECK(stored.largest <= 8192);
    CHECK(stored.most_in_a_message > 5 && stored.messages > 50);
    free(stored.seen);
    server_kill(&server);
}

static void the_streams_limit_falls(void)
{
    server_t server;
    pipeline_storage_t storage;
    pipeline_t *p;
    pipeline_metrics_t m;
    stored_t stored;
    server_new(&server, "");
    server_start(&server, "");
    stream_request(&server, "CREATE", 4096);
    p = start(&server, 0, &storage);
    CHECK_U64(nats_status(&storage).max_payload, 4096);
    capture_range(p, 0, 500, 500);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    stored = stored_in(&server, "", 1001);
    CHECK(stored.largest <= 4096 && stored.largest > 2048);
    free(stored.seen);
    stream_request(&server, "UPDATE", 2048);
    capture_range(p, 500, 1000, 500);  /* the storage learns of it from the server's refusal */
    capture_range(p, 1000, 1001, 2000); /* it fitted before */
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.stored, 1000);
    CHECK_U64(m.discarded, 1);
    CHECK(nats_status(&storage).refused > 0);
    CHECK_U64(nats_status(&storage).max_payload, 2048);
    END(p);
    stored = stored_in(&server, "", 1001);
    CHECK_U64(seen_times(&stored, 0, 1000, 1), 1000);
    CHECK_U64(stored.seen[1000], 0);
    free(stored.seen);
    server_kill(&server);
}

/* The server comes back with a smaller limit, and batches are cut already. */
static void the_servers_limit_falls(void)
{
    server_t server;
    pipeline_storage_t storage;
    pipeline_t *p;
    stored_t stored;
    server_new(&server, "max_payload: 65536");
    server_start(&server, "");
    p = start(&server, PIPELINE_NATS_CREATE_STREAM, &storage);
    capture_range(p, 0, 1000, 1000);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    kill(server.pid, SIGSTOP); /* it hears, and does not answer: what comes now is cut for the larger limit */
    capture_range(p, 1000, 2000, 1000);
    WAIT_FOR(nats_status(&storage).pending_messages > 0);
    server_kill(&server);
    server_configure(&server, "max_payload: 4096");
    server_start(&server, "");
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    CHECK_U64(nats_status(&storage).max_payload, 4096);
    CHECK_U64(metrics_of(p).stored, 2000);
    CHECK_LEDGER(p);
    END(p);
    stored = stored_in(&server, "", 2000);
    CHECK_U64(seen_times(&stored, 0, 2000, 0), 0);
    CHECK_U64(seen_times(&stored, 0, 1000, 1), 1000);
    free(stored.seen);
    server_kill(&server);
}

int main(void)
{
    the_servers_limit();
    the_streams_limit_falls();
    the_servers_limit_falls();
    return SUMMARY();
}
