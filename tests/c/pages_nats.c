/* The C snippets of docs/nats.md, compiled and run. Each stands here word for word, but for its indentation. What a storage has published, a consumer reads. */
#include "check.h"

enum { MOST = 4096, EVENTS = 10000 };

typedef struct {
    char subject[8];
    void *data;
    size_t length;
} published_t;

static published_t messages[MOST];
static size_t published, facts_sent;
static unsigned char buffer[65536];
static int is_kept[EVENTS];
static bool is_away; /* the server */

static bool publish(const char *subject, const void *data, size_t length)
{
    published_t *message = &messages[published];
    if (is_away)
        return false;
    CHECK_OR_STOP(published < MOST && length <= sizeof buffer);
    snprintf(message->subject, sizeof message->subject, "%s", subject);
    message->data = malloc(length);
    CHECK_OR_STOP(message->data != NULL);
    memcpy(message->data, data, length);
    message->length = length;
    published++;
    return true;
}

static void keep(uint64_t generation, uint64_t ring_id, uint64_t sequence, uint32_t kind, const void *data, size_t length)
{
    static const char expected[100] = "payload";
    CHECK_OR_STOP(sequence < EVENTS);
    CHECK(generation != 0 && kind == 7 && length == sequence % sizeof expected && memcmp(data, expected, length) == 0);
    (void)ring_id;
    is_kept[sequence]++;
}

static bool send_facts(pipeline_message_encoder_t *encoder, const pipeline_batch_t *batch)
{
    pipeline_message_t facts = {.struct_size = sizeof facts};
    while (pipeline_message_encode_facts(encoder, batch, facts_sent, buffer, sizeof buffer, &facts) == PIPELINE_OK) {
        if (!publish("facts", buffer, facts.length))
            return false;
        facts_sent += facts.count;
    }
    return true;
}

static int32_t store(void *encoder, const pipeline_batch_t *batch)
{
    pipeline_message_t message = {.struct_size = sizeof message};
    int32_t status;
    size_t first = 0;
    if (!send_facts(encoder, batch))
        return PIPELINE_STORE_RETRY;
    while ((status = pipeline_message_encode(encoder, batch, first, SIZE_MAX, buffer, sizeof buffer, &message)) == PIPELINE_OK) {
        if (!publish("events", buffer, message.length))
            return PIPELINE_STORE_RETRY;
        first += message.count;
        pipeline_batch_set_stored(batch, first);
    }
    return status == PIPELINE_END ? PIPELINE_STORE_OK : PIPELINE_STORE_RETRY;
}

static bool consume(pipeline_message_reader_t *reader, const void *data, size_t length)
{
    pipeline_message_t message = {.struct_size = sizeof message};
    pipeline_reader_event_t event = {.struct_size = sizeof event};
    if (pipeline_message_reader_take(reader, data, length, &message) != PIPELINE_OK) {
        fprintf(stderr, "not taken: %s\n", pipeline_last_error());
        return false;
    }
    while (pipeline_message_reader_next(reader, &event) == PIPELINE_OK)
        keep(event.generation, event.ring_id, event.sequence, event.kind, event.data, event.len);
    return true;
}

int main(void)
{
    static const char payload[100] = "payload";
    const pipeline_reader_kinds_t *kinds;
    pipeline_message_encoder_t *encoder = NULL;
    pipeline_message_reader_t *reader = NULL;
    pipeline_storage_t storage;
    pipeline_t *p = NULL;
    size_t i, facts = 0;
    CHECK_STATUS(pipeline_storage_init(&storage, sizeof storage), PIPELINE_OK);
    CHECK_OR_STOP(pipeline_message_encoder_open(PIPELINE_JOURNAL_COLUMNS_LZ4, 0, &encoder) == PIPELINE_OK);
    CHECK_OR_STOP(pipeline_message_reader_open(0, &reader) == PIPELINE_OK);
    storage.store = store;
    storage.user_data = encoder;
    is_away = true;
    CHECK_OR_STOP(pipeline_start(NULL, &storage, &p) == PIPELINE_OK);
    CHECK_STATUS(pipeline_kind_name(p, 7, "seven"), PIPELINE_OK);
    for (i = 0; i < EVENTS; i++)
        CHECK_STATUS(pipeline_capture(p, 7, payload, i % sizeof payload), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, 100), PIPELINE_ERR_TIMEOUT);
    is_away = false;
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    for (i = 0; i < published; i++) {
        facts += strcmp(messages[i].subject, "facts") == 0;
        CHECK(consume(reader, messages[i].data, messages[i].length));
    }
    CHECK(!consume(reader, payload, sizeof payload));
    for (i = 0; i < EVENTS; i++)
        CHECK(is_kept[i] == 1);
    CHECK(facts > 0 && facts < published);
    CHECK(consume(reader, messages[0].data, messages[0].length));
    CHECK_STATUS(pipeline_message_reader_definitions(reader, &kinds), PIPELINE_OK);
    CHECK(kinds->count == 1 && strcmp(PIPELINE_READER_KIND(kinds, 0)->name, "seven") == 0);
    CHECK_STATUS(pipeline_message_encoder_close(encoder), PIPELINE_OK);
    CHECK_STATUS(pipeline_message_reader_close(reader), PIPELINE_OK);
    for (i = 0; i < published; i++)
        free(messages[i].data);
    return SUMMARY();
}
