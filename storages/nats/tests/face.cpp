/* The storage from C++: options, errors, the pipeline that takes it, its state.
 * Build flags: -lcapture_pipeline_nats */
#include "stored.h"

#include <capture_pipeline_nats.hpp>

#include <string>

using namespace capture_pipeline;

static void refused() {
    auto options = nats_options();
    options.subject = "events.{kind}";
    try {
        NatsStorage nats(options);
        CHECK(false);
    } catch (const Error &error) {
        CHECK(error.status().code() == PIPELINE_ERR_INVALID);
        CHECK(std::string(error.what()).find("subject") != std::string::npos);
    }
}

int main() {
    server_t server;
    server_new(&server, "");
    server_start(&server, "");
    refused();
    auto options = nats_options();
    options.servers = server.address;
    options.flags = PIPELINE_NATS_CREATE_STREAM;
    {
        NatsStorage unused(options); // given up
        CHECK(unused.status().state == PIPELINE_NATS_READY);
    }
    {
        NatsStorage nats(options);
        Pipeline pipeline(nats.take());
        try {
            (void)nats.take();
            CHECK(false);
        } catch (const Error &error) {
            CHECK(error.status().code() == PIPELINE_ERR_INVALID);
        }
        for (std::uint64_t n = 0; n < 1000; n++) CHECK_STATUS(pipeline.capture(1, n).code(), PIPELINE_OK);
        CHECK_STATUS(pipeline.flush(std::chrono::milliseconds(PATIENCE_MS)).code(), PIPELINE_OK);
        CHECK(nats.status().acknowledged >= 1);
        CHECK(nats.status().pending_messages == 0);
        CHECK(pipeline.metrics().stored == 1000);
        CHECK_STATUS(pipeline.close(std::chrono::milliseconds(PATIENCE_MS)).code(), PIPELINE_OK);
    }
    stored_t stored = stored_in(&server, "", 1000);
    CHECK_U64(stored.events, 1000);
    CHECK_U64(seen_times(&stored, 0, 1000, 1), 1000);
    free(stored.seen);
    server_kill(&server);
    return SUMMARY();
}
