/* Each way to log in, and what is said of a login that is refused: at the start, and when it is taken away later. With a message per event, and its subject
 * by kind.
 * Build flags: -lcapture_pipeline_nats */
#include "stored.h"

/* A seed for this test alone, and the public key that belongs to it. */
#define SEED "SUADGVCIFX64QTDM66VJ5JH4KS3NMIQ3SKDFFDR5GRXNBACM53SOGXTY5I"
#define PUBLIC "UDNMDOG6P6ZJCJ3WUIDXRPJUU2RJT47BIWGQD5AAHJ3C3HY5I44NPYSH"

static void login(const char *authorization, const char *wire, void (*set)(pipeline_nats_options_t *o))
{
    server_t server;
    pipeline_storage_t storage;
    pipeline_config_t config = patient_config();
    pipeline_nats_options_t options;
    pipeline_t *p = NULL;
    stored_t stored;
    server_new(&server, authorization);
    server_start(&server, wire);
    options = nats_options(&server);
    CHECK_FAILS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_ERR_STORAGE,
                "The server wants a login: set user and password, token, nkey_seed or credentials_file");
    CHECK_HAS(pipeline_last_error(), server.address);
    options.token = "wrong";
    CHECK_FAILS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_ERR_STORAGE, "The server does not accept this login");
    options.token = NULL;
    set(&options);
    CHECK_OR_STOP(CHECK_STATUS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_OK));
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&config, &storage, &p), PIPELINE_OK));
    capture_range(p, 0, 100, 64);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    END(p);
    stored = stored_in(&server, wire, 100);
    CHECK_U64(seen_times(&stored, 0, 100, 1), 100);
    free(stored.seen);
    server_kill(&server);
}

static void by_password(pipeline_nats_options_t *o)
{
    o->user = "events", o->password = "secret";
}

static void by_token(pipeline_nats_options_t *o)
{
    o->token = "open sesame";
}

static void by_nkey(pipeline_nats_options_t *o)
{
    o->nkey_seed = SEED;
}

/* The password is changed while the pipeline runs. Nothing is lost, and it goes on when the old one is valid again. */
static void taken_away(void)
{
    static const char good[] = "authorization { user: events, password: secret }", other[] = "authorization { user: events, password: changed }";
    static const char wire_good[] = "\"user\":\"events\",\"pass\":\"secret\"", wire_other[] = "\"user\":\"events\",\"pass\":\"changed\"";
    server_t server;
    pipeline_storage_t storage;
    pipeline_config_t config = patient_config();
    pipeline_nats_options_t options;
    pipeline_t *p = NULL;
    stored_t stored;
    server_new(&server, good);
    server_start(&server, wire_good);
    options = nats_options(&server);
    options.ack_timeout_ms = 500;
    by_password(&options);
    CHECK_OR_STOP(CHECK_STATUS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_OK));
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&config, &storage, &p), PIPELINE_OK));
    capture_range(p, 0, 1000, 64);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    server_kill(&server);
    server_configure(&server, other);
    server_start(&server, wire_other);
    capture_range(p, 1000, 2000, 64);
    WAIT_FOR(strstr(nats_status(&storage).text, "uthorization") != NULL);
    CHECK_HAS(nats_status(&storage).text, server.address);
    CHECK_U64(nats_status(&storage).state, PIPELINE_NATS_DISCONNECTED);
    CHECK_U64(metrics_of(p).stored, 1000);
    server_kill(&server);
    server_configure(&server, good);
    server_start(&server, wire_good);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 2000);
    CHECK_LEDGER(p);
    END(p);
    stored = stored_in(&server, wire_good, 2000);
    CHECK_U64(seen_times(&stored, 0, 2000, 1), 2000);
    free(stored.seen);
    server_kill(&server);
}

/* A user who may not publish to the subject: the server says so, and sends no acknowledgement. */
static void not_allowed(void)
{
    server_t server;
    pipeline_storage_t storage;
    pipeline_config_t config = patient_config();
    pipeline_nats_options_t options;
    pipeline_t *p = NULL;
    bool destroyed = false;
    server_new(&server, "authorization { users = [ { user: events, password: secret, permissions: { publish: { deny: \"capture.events.>\" } } } ] }");
    server_start(&server, "\"user\":\"events\",\"pass\":\"secret\"");
    options = nats_options(&server);
    options.ack_timeout_ms = 300;
    by_password(&options);
    CHECK_OR_STOP(CHECK_STATUS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_OK));
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&config, &storage, &p), PIPELINE_OK));
    capture_range(p, 0, 10, 64);
    WAIT_FOR(strstr(nats_status(&storage).text, "ermissions") != NULL);
    CHECK_HAS(nats_status(&storage).text, "capture.events.");
    CHECK_U64(metrics_of(p).stored, 0);
    CHECK_STATUS(pipeline_close(p, 100), PIPELINE_ERR_TIMEOUT);
    WAIT_FOR(destroyed || (destroyed = pipeline_destroy(p) == PIPELINE_OK));
    server_kill(&server);
}

static uint64_t subjects_right;

static void check_subject(void *data, const wire_message_t *m)
{
    char value[64];
    (void)data;
    if (*wire_header(m, "Capture-Facts", value, sizeof value))
        return;
    CHECK(strcmp(wire_header(m, "Capture-Count", value, sizeof value), "1") == 0);
    subjects_right += strncmp(m->subject, "capture.here.7.", 15) == 0;
}

static void message_per_event(void)
{
    server_t server;
    pipeline_storage_t storage;
    pipeline_config_t config = patient_config();
    pipeline_nats_options_t options;
    pipeline_t *p = NULL;
    stored_t stored;
    server_new(&server, "");
    server_start(&server, "");
    options = nats_options(&server);
    options.flags |= PIPELINE_NATS_MESSAGE_PER_EVENT;
    options.subject = "capture.{node}.{kind}.{ring}";
    options.node = "here";
    options.pending_messages = 100;
    options.encoding = PIPELINE_JOURNAL_COLUMNS_LZ4;
    CHECK_OR_STOP(CHECK_STATUS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_OK));
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&config, &storage, &p), PIPELINE_OK));
    capture_range(p, 0, 3000, 64);
    WAIT_FOR(metrics_of(p).stored > 500);
    CHECK(nats_status(&storage).pending_messages <= 100);
    server_kill(&server);
    server_start(&server, "");
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    END(p);
    stored = stored_in(&server, "", 3000);
    CHECK_U64(seen_times(&stored, 0, 3000, 1), 3000);
    CHECK_U64(stored.messages, 3000);
    free(stored.seen);
    each_message(server.port, "", "CAPTURE", check_subject, NULL);
    CHECK_U64(subjects_right, 3000);
    server_kill(&server);
}

int main(void)
{
    login("authorization { user: events, password: secret }", "\"user\":\"events\",\"pass\":\"secret\"", by_password);
    login("authorization { token: \"open sesame\" }", "\"auth_token\":\"open sesame\"", by_token);
    login("authorization { users = [ { nkey: " PUBLIC " }, { user: test, password: test } ] }", "\"user\":\"test\",\"pass\":\"test\"", by_nkey);
    taken_away();
    not_allowed();
    message_per_event();
    return SUMMARY();
}
