/* A stream that refuses new messages because it is full: events wait in the pipeline, and go on when there is room. Nothing is lost, nothing is
 * stored twice.
 * Build flags: -lcapture_pipeline_nats */
#include "stored.h"

#define EVENTS 20000

int main(void)
{
    server_t server;
    pipeline_storage_t storage;
    pipeline_config_t config = patient_config();
    pipeline_nats_options_t options;
    pipeline_t *p;
    stored_t stored;
    wire_t w;
    uint32_t *seen = calloc(EVENTS, sizeof *seen);
    uint64_t i, once = 0, purges = 0;
    char body[64], answer[4096];
    server_new(&server, "");
    server_start(&server, "");
    options = nats_options(&server);
    options.flags |= PIPELINE_NATS_DISCARD_NEW;
    options.max_messages = 10;
    CHECK_OR_STOP(CHECK_STATUS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_OK));
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&config, &storage, &p), PIPELINE_OK));
    CHECK_OR_STOP(wire_open(&w, server.port, ""));
    capture_range(p, 0, EVENTS, 64);
    while (metrics_of(p).stored < EVENTS && purges < 100) {
        uint64_t refused = nats_status(&storage).refused;
        WAIT_FOR(metrics_of(p).stored == EVENTS ||
                 (nats_status(&storage).refused > refused && stream_messages(&w, "CAPTURE") == 10));
        CHECK(purges > 0 || strstr(nats_status(&storage).text, "maximum messages exceeded") != NULL);
        CHECK(purges > 0 || metrics_of(p).in_flight > 0);
        stored = stored_in(&server, "", EVENTS);
        for (i = 0; i < EVENTS; i++)
            seen[i] += stored.seen[i];
        free(stored.seen);
        snprintf(body, sizeof body, "{}");
        wire_request(&w, "$JS.API.STREAM.PURGE.CAPTURE", body, answer, sizeof answer);
        purges++;
    }
    CHECK(purges > 2);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    stored = stored_in(&server, "", EVENTS);
    for (i = 0; i < EVENTS; i++)
        once += seen[i] + stored.seen[i] == 1;
    CHECK_U64(once, EVENTS);
    CHECK_U64(metrics_of(p).stored, EVENTS);
    CHECK_U64(metrics_of(p).discarded, 0);
    CHECK_LEDGER(p);
    END(p);
    wire_close(&w);
    server_kill(&server);
    free(stored.seen);
    free(seen);
    return SUMMARY();
}
