/* What is wrong is named, with its field and what to do; and then no storage is made.
 * Build flags: -lcapture_pipeline_nats */
#include "stored.h"

static pipeline_storage_t untouched;

#define REFUSED(options, status, words)                                                                                \
    do {                                                                                                               \
        pipeline_storage_t storage_;                                                                                   \
        memset(&storage_, 0xA5, sizeof storage_);                                                                      \
        CHECK_FAILS(pipeline_storage_nats((options), sizeof storage_, &storage_), (status), (words));                  \
        CHECK(memcmp(&storage_, &untouched, sizeof storage_) == 0);                                                    \
    } while (0)

/* Options with one field changed. */
#define WITH(field, value, status, words)                                                                              \
    do {                                                                                                               \
        pipeline_nats_options_t o_ = nats_options(server);                                                             \
        o_.field = (value);                                                                                            \
        REFUSED(&o_, (status), (words));                                                                               \
    } while (0)

static void fields(const server_t *server)
{
    pipeline_nats_options_t o;
    pipeline_storage_t storage;
    CHECK_FAILS(pipeline_nats_options_init(NULL, sizeof o), PIPELINE_ERR_NULL, "options");
    CHECK_FAILS(pipeline_nats_options_init(&o, 3), PIPELINE_ERR_VERSION, "pipeline_nats_options_t.struct_size");
    CHECK_FAILS(pipeline_nats_options_init(&o, 5000), PIPELINE_ERR_VERSION, "4096");
    o = nats_options(server);
    CHECK_FAILS(pipeline_storage_nats(&o, sizeof storage, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_storage_nats(&o, 8, &storage), PIPELINE_ERR_VERSION, "pipeline_storage_t");
    WITH(struct_size, 8, PIPELINE_ERR_VERSION, "struct_size");
    WITH(flags, 128, PIPELINE_ERR_INVALID, "flags: PIPELINE_NATS_... expected, 0x80 given");
    WITH(servers, NULL, PIPELINE_ERR_NULL, "options.servers");
    WITH(servers, "", PIPELINE_ERR_INVALID, "servers: an empty address");
    WITH(servers, "127.0.0.1:4222,", PIPELINE_ERR_INVALID, "servers: an empty address");
    WITH(servers, "http://127.0.0.1", PIPELINE_ERR_INVALID, "servers: \"http://127.0.0.1\"");
    WITH(servers, "nats://user:secret@ho st", PIPELINE_ERR_INVALID, "servers: \"ho st\"");
    CHECK(strstr(pipeline_last_error(), "secret") == NULL);
    WITH(name, NULL, PIPELINE_ERR_NULL, "options.name");
    WITH(name, "\xff", PIPELINE_ERR_INVALID, "name: text in UTF-8");
    WITH(user, "me", PIPELINE_ERR_INVALID, "password: NULL, and user is set");
    WITH(password, "x", PIPELINE_ERR_INVALID, "user: NULL, and password is set");
    WITH(credentials_file, "/nonexistent", PIPELINE_ERR_INVALID, "credentials_file: /nonexistent: No such file");
    WITH(credentials_file, "/dev/null", PIPELINE_ERR_STORAGE, "credentials_file: no JWT and seed in it");
    WITH(tls_key_file, "k", PIPELINE_ERR_INVALID, "tls_certificate_file: NULL");
    WITH(tls_certificate_file, "k", PIPELINE_ERR_INVALID, "tls_key_file: NULL");
    WITH(stream, "a.b", PIPELINE_ERR_INVALID, "stream: 1 to 200 printable characters without . * > / \\ expected, \"a.b\" given");
    WITH(stream, "", PIPELINE_ERR_INVALID, "stream: ");
    WITH(subject, "capture.{pid}", PIPELINE_ERR_INVALID, "subject: the unknown name {pid} (known: kind, node, host, ring) in \"capture.{pid}\"");
    WITH(subject, "capture.{kind}", PIPELINE_ERR_INVALID, "PIPELINE_NATS_MESSAGE_PER_EVENT");
    WITH(subject, "capture.{node}", PIPELINE_ERR_INVALID, "the field node is NULL");
    WITH(subject, "capture.>", PIPELINE_ERR_INVALID, "subject: a wildcard");
    WITH(facts_prefix, "a..b", PIPELINE_ERR_INVALID, "facts_prefix: an empty part");
    WITH(encoding, 4, PIPELINE_ERR_INVALID, "encoding: 0 to 3 allowed, 4 given");
    WITH(ack_timeout_ms, 0, PIPELINE_ERR_INVALID, "ack_timeout_ms: 10 to 3600000 allowed, 0 given");
    WITH(connect_timeout_ms, 0, PIPELINE_ERR_INVALID, "connect_timeout_ms: 10 to");
    WITH(reconnect_max_ms, 60001, PIPELINE_ERR_INVALID, "reconnect_max_ms: 1 to 60000 allowed, 60001 given");
    WITH(pending_messages, 0, PIPELINE_ERR_INVALID, "pending_messages: 1 to 1048576 allowed, 0 given");
    WITH(pending_bytes, 0, PIPELINE_ERR_INVALID, "pending_bytes: 1 to");
    WITH(replicas, 6, PIPELINE_ERR_INVALID, "replicas: 1 to 5 allowed, 6 given");
    WITH(duplicate_window_ms, 99, PIPELINE_ERR_INVALID, "duplicate_window_ms: 100 to");
    WITH(max_age_ms, 1000, PIPELINE_ERR_INVALID, "max_age_ms: at least duplicate_window_ms (120000) or 0 allowed, 1000 given");
    o = nats_options(server);
    o.token = "t", o.nkey_seed = "SU";
    REFUSED(&o, PIPELINE_ERR_INVALID, "nkey_seed: NULL expected, because token is set");
}

static void stream(const server_t *server, const char *config, const char *words)
{
    wire_t w;
    pipeline_nats_options_t o = nats_options(server);
    char body[1024], answer[4096];
    CHECK_OR_STOP(wire_open(&w, server->port, ""));
    wire_request(&w, "$JS.API.STREAM.DELETE.CAPTURE", "", answer, sizeof answer);
    snprintf(body, sizeof body, "{\"name\":\"CAPTURE\",\"storage\":\"file\",\"num_replicas\":1,%s}", config);
    wire_request(&w, "$JS.API.STREAM.CREATE.CAPTURE", body, answer, sizeof answer);
    CHECK_HAS(answer, "\"created\"");
    if (strncmp(words, "without: ", 9) == 0) {
        words += 9;
        o.flags = 0;
    }
    REFUSED(&o, PIPELINE_ERR_STORAGE, words);
    wire_close(&w);
}

static void streams(const server_t *server)
{
    wire_t w;
    char answer[4096];
    WITH(flags, 0, PIPELINE_ERR_STORAGE, "stream: there is no stream CAPTURE on 127.0.0.1:");
    CHECK_HAS(pipeline_last_error(), "PIPELINE_NATS_CREATE_STREAM");
    WITH(max_bytes, 1ull << 62, PIPELINE_ERR_STORAGE, "stream: CAPTURE cannot be made");
    stream(server, "\"subjects\":[\"other.>\"]", "without: stream: CAPTURE has the subjects other.>, and capture.events.");
    stream(server, "\"subjects\":[\"capture.events.*\"]", "without: and capture.facts.> is not among them");
    stream(server, "\"subjects\":[\"capture.>\"],\"no_ack\":true", "without: acknowledges nothing (no_ack)");
    stream(server, "\"mirror\":{\"name\":\"ELSE\"}", "without: is a mirror");
    stream(server, "\"subjects\":[\"capture.>\"],\"max_msgs\":5", "with max_messages 5; the options ask for 0");
    stream(server, "\"subjects\":[\"capture.>\"],\"duplicate_window\":1000000000",
           "with duplicate_window_ms 1000; the options ask for 120000");
    /* Another stream has the subjects already. */
    CHECK_OR_STOP(wire_open(&w, server->port, ""));
    wire_request(&w, "$JS.API.STREAM.DELETE.CAPTURE", "", answer, sizeof answer);
    wire_request(&w, "$JS.API.STREAM.CREATE.OTHER", "{\"name\":\"OTHER\",\"subjects\":[\"capture.>\"],\"storage\":\"file\",\"num_replicas\":1}", answer,
                 sizeof answer);
    WITH(flags, PIPELINE_NATS_CREATE_STREAM, PIPELINE_ERR_STORAGE, "subjects overlap with an existing stream");
    wire_close(&w);
}

static void other_storages(void)
{
    pipeline_storage_t storage;
    pipeline_nats_status_t status;
    memset(&status, 0, sizeof status);
    status.struct_size = sizeof status;
    pipeline_storage_init(&storage, sizeof storage);
    CHECK_FAILS(pipeline_nats_status(NULL, &status), PIPELINE_ERR_NULL, "storage");
    CHECK_FAILS(pipeline_nats_status(&storage, &status), PIPELINE_ERR_INVALID, "it was not made by pipeline_storage_nats");
}

int main(void)
{
    server_t server, plain;
    pipeline_nats_options_t o;
    FILE *f;
    memset(&untouched, 0xA5, sizeof untouched);
    server_new(&server, "");
    server_start(&server, "");
    fields(&server);
    streams(&server);
    other_storages();
    server_kill(&server);
    o = nats_options(&server);
    REFUSED(&o, PIPELINE_ERR_STORAGE, "Connection refused");
    CHECK_HAS(pipeline_last_error(), server.address);
    /* A server without JetStream. */
    server_new(&plain, "");
    f = fopen(plain.file, "w");
    fprintf(f, "listen: \"127.0.0.1:%d\"\n", plain.port);
    fclose(f);
    server_start(&plain, "");
    o = nats_options(&plain);
    REFUSED(&o, PIPELINE_ERR_STORAGE, "Is JetStream on at 127.0.0.1:");
    server_kill(&plain);
    return SUMMARY();
}
