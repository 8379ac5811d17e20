/* Messages: a storage encodes its batches and the facts about them, with every encoding and in messages of any size, and a reader gives each event again, field by
 * field, once. */
#include "../recorder.h"

enum { EVENTS = 4000, MOST_BYTES = 1 << 20 };

typedef struct {
    uint32_t encoding, flags;
    size_t size;  /* of a message */
    uint64_t messages, events, dead;
    bool later, dead_letters;
    pipeline_message_encoder_t *encoder;
    pipeline_message_reader_t *reader;
    unsigned char *buffer, *again;
    size_t facts; /* that are in messages */
} sender_t;

static uint64_t f64_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The events of a message are those of the batch from `first` on. */
static void read_message(sender_t *s, const pipeline_batch_t *batch, size_t first, const pipeline_message_t *made)
{
    pipeline_message_t taken = {.struct_size = sizeof taken};
    pipeline_reader_event_t event = {.struct_size = sizeof event};
    CHECK_OR_STOP(pipeline_message_reader_take(s->reader, s->buffer, made->length, &taken) == PIPELINE_OK);
    CHECK_U64(taken.blocks, made->blocks);
    CHECK_U64(taken.generation, batch->generation);
    CHECK_U64(taken.ring_id, made->ring_id);
    CHECK_U64(taken.first_sequence, made->first_sequence);
    CHECK_U64(taken.count, made->count);
    CHECK_U64(taken.length, made->length);
    CHECK_U64(taken.schema, 0);
    for (size_t i = 0; i < made->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, first + i);
        CHECK_OR_STOP(pipeline_message_reader_next(s->reader, &event) == PIPELINE_OK);
        CHECK_U64(event.generation, batch->generation);
        CHECK_U64(event.ring_id, e->ring_id);
        CHECK_U64(event.sequence, e->sequence);
        CHECK_U64(event.timestamp_ns, e->timestamp_ns);
        CHECK_U64(event.realtime_ns, e->timestamp_ns + (uint64_t)batch->realtime_offset_ns);
        CHECK_U64(event.correlation_id, e->correlation_id);
        CHECK_U64(event.node_id, e->node_id);
        CHECK_U64(event.kind, e->kind);
        CHECK_U64(event.flags, e->flags);
        CHECK_U64(f64_bits(event.weight), f64_bits(e->weight));
        CHECK_U64(event.len, e->len);
        CHECK(memcmp(event.data, e->data, e->len) == 0);
        if (s->flags & PIPELINE_MESSAGE_THREADS) {
            pipeline_reader_thread_t thread = {.struct_size = sizeof thread};
            if (CHECK_STATUS(pipeline_message_reader_thread(s->reader, event.generation, event.ring_id, &thread), PIPELINE_OK))
                CHECK(thread.thread_id == (uint64_t)getpid() && strcmp(thread.name, "messages") == 0);
        }
    }
    CHECK_STATUS(pipeline_message_reader_next(s->reader, &event), PIPELINE_END);
    s->events += made->count;
}

static void encode_facts(sender_t *s, const pipeline_batch_t *batch, uint64_t schema)
{
    pipeline_message_t facts = {.struct_size = sizeof facts}, taken = {.struct_size = sizeof taken};
    int32_t status;
    /* (There may be more than that by now: readings of the clocks.) */
    while ((status = pipeline_message_encode_facts(s->encoder, batch, s->facts, s->buffer, s->size, &facts)) == PIPELINE_OK) {
        CHECK(facts.count > 0 && facts.length <= s->size && facts.schema >= schema && facts.blocks == 0);
        CHECK_U64(facts.first_sequence, s->facts);
        CHECK_STATUS(pipeline_message_reader_take(s->reader, s->buffer, facts.length, &taken), PIPELINE_OK);
        CHECK_U64(taken.count, facts.count);
        CHECK_U64(taken.first_sequence, s->facts);
        s->facts += facts.count;
    }
    CHECK_STATUS(status, PIPELINE_END);
    CHECK(s->facts >= schema);
}

static int32_t send(recorder_t *r, const pipeline_batch_t *batch)
{
    sender_t *s = r->extra;
    size_t first = 0;
    pipeline_message_t made = {.struct_size = sizeof made}, again = {.struct_size = sizeof again};
    if (s->dead_letters)
        return PIPELINE_STORE_REJECT;
    for (;;) {
        int32_t status = pipeline_message_encode(s->encoder, batch, first, SIZE_MAX, s->buffer, s->size, &made);
        if (status == PIPELINE_END)
            break;
        CHECK_OR_STOP(status == PIPELINE_OK && made.count > 0 && made.length <= s->size && made.length % 64 == 0);
        CHECK_U64(made.generation, batch->generation);
        CHECK_U64(made.first_sequence, PIPELINE_BATCH_EVENT(batch, first)->sequence);
        CHECK_U64(made.ring_id, PIPELINE_BATCH_EVENT(batch, first)->ring_id);
        /* With the count of the first attempt as the limit, the message is the same. */
        CHECK_STATUS(pipeline_message_encode(s->encoder, batch, first, made.count, s->again, s->size, &again), PIPELINE_OK);
        CHECK(again.count == made.count && again.length == made.length && memcmp(s->again, s->buffer, made.length) == 0);
        read_message(s, batch, first, &made);
        encode_facts(s, batch, made.schema);
        first += made.count;
        s->messages++;
    }
    CHECK_U64(first, batch->count);
    return PIPELINE_STORE_OK;
}

/* A batch for the dead letter can be encoded as well, but nothing is known about its events. */
static int32_t bury(recorder_t *r, const pipeline_batch_t *batch, int32_t reason)
{
    sender_t *s = r->extra;
    pipeline_message_t made = {.struct_size = sizeof made};
    (void)reason;
    if (CHECK_STATUS(pipeline_message_encode(s->encoder, batch, 0, SIZE_MAX, s->buffer, MOST_BYTES, &made), PIPELINE_OK)) {
        CHECK_U64(made.count, batch->count);
        CHECK_U64(made.schema, 0);
        s->flags = 0;
        read_message(s, batch, 0, &made);
        s->dead += made.count;
    }
    CHECK_FAILS(pipeline_message_encode_facts(s->encoder, batch, 0, s->buffer, MOST_BYTES, &made), PIPELINE_ERR_UNKNOWN_TOKEN, "token 0");
    return PIPELINE_STORE_OK;
}

static void open_both(sender_t *s)
{
    CHECK_OR_STOP(pipeline_message_encoder_open(s->encoding, s->flags, &s->encoder) == PIPELINE_OK);
    CHECK_OR_STOP(pipeline_message_reader_open(0, &s->reader) == PIPELINE_OK);
    s->buffer = malloc(MOST_BYTES);
    s->again = malloc(MOST_BYTES);
    CHECK_OR_STOP(s->buffer != NULL && s->again != NULL);
}

static void close_both(sender_t *s)
{
    CHECK_STATUS(pipeline_message_encoder_close(s->encoder), PIPELINE_OK);
    CHECK_STATUS(pipeline_message_reader_close(s->reader), PIPELINE_OK);
    free(s->buffer);
    free(s->again);
}

static void capture_all(pipeline_t *p)
{
    static const char letters[512] = "the bytes of an event";
    for (uint32_t i = 0; i < EVENTS; i++) {
        pipeline_event_t event = {.struct_size = sizeof event, .kind = 1 + i % 3, .correlation_id = i / 7, .node_id = i % 5, .data = letters, .len = i * 13 % 300};
        if (i % 10 == 0) {
            event.flags = PIPELINE_EVENT_OWN_TIME;
            event.timestamp_ns = i;
        }
        CHECK_STATUS(pipeline_capture_event(p, &event), PIPELINE_OK);
    }
}

static void every_size(uint32_t encoding, uint32_t flags, size_t size)
{
    sender_t s = {.encoding = encoding, .flags = flags, .size = size};
    recorder_t *r = recorder_new();
    pipeline_storage_t storage = recorder_storage(r);
    const pipeline_reader_kinds_t *kinds;
    pipeline_reader_attribute_t attribute = {.struct_size = sizeof attribute};
    open_both(&s);
    r->extra = &s;
    r->answer = send;
    pipeline_t *p = start_pipeline(NULL, &storage);
    CHECK_STATUS(pipeline_kind_name(p, 1, "first"), PIPELINE_OK);
    CHECK_STATUS(pipeline_kind_name(p, 2, "second"), PIPELINE_OK);
    CHECK_STATUS(pipeline_attribute(p, "host", "alpha"), PIPELINE_OK);
    capture_all(p);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(s.events, EVENTS);
    CHECK(s.messages > 0 && s.facts >= 4); /* a clock as well */
    if (CHECK_STATUS(pipeline_message_reader_definitions(s.reader, &kinds), PIPELINE_OK)) {
        CHECK_U64(kinds->count, 2);
        CHECK(strcmp(PIPELINE_READER_KIND(kinds, 0)->name, "first") == 0 && strcmp(PIPELINE_READER_KIND(kinds, 1)->name, "second") == 0);
    }
    pipeline_message_t any = {.struct_size = sizeof any};
    CHECK_U64(r->store_calls > 0, 1);
    (void)any;
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    if (CHECK(r->seen.count > 0)) {
        uint64_t generation = PIPELINE_READER_KIND(kinds, 0)->generation;
        CHECK_STATUS(pipeline_message_reader_attribute(s.reader, generation, 0, &attribute), PIPELINE_OK);
        CHECK(strcmp(attribute.name, "host") == 0 && strcmp(attribute.value, "alpha") == 0);
        CHECK_FAILS(pipeline_message_reader_attribute(s.reader, generation, 1, &attribute), PIPELINE_ERR_NOT_FOUND, "index 1");
        CHECK_FAILS(pipeline_message_reader_attribute(s.reader, generation + 1, 0, &attribute), PIPELINE_ERR_NOT_FOUND, "index 0");
    }
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    close_both(&s);
    recorder_free(r);
}

static void dead_letters(void)
{
    sender_t s = {.encoding = PIPELINE_JOURNAL_COLUMNS_LZ4, .flags = PIPELINE_MESSAGE_THREADS, .size = MOST_BYTES, .dead_letters = true};
    recorder_t *r = recorder_new();
    pipeline_storage_t storage = recorder_storage(r);
    open_both(&s);
    r->extra = &s;
    r->answer = send;
    r->dead_answer = bury;
    storage.dead_letter = recorder_dead_letter;
    pipeline_t *p = start_pipeline(NULL, &storage);
    capture_all(p);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(s.dead, EVENTS);
    CHECK_U64(metrics_of(p).dead_lettered, EVENTS);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    close_both(&s);
    recorder_free(r);
}

/* What cannot be encoded, in a batch of three events: one of 1,000 bytes between a handle and a small one. */
static int32_t refuse(recorder_t *r, const pipeline_batch_t *batch)
{
    sender_t *s = r->extra;
    pipeline_message_encoder_t *e = s->encoder;
    pipeline_message_t made = {.struct_size = sizeof made};
    pipeline_batch_t other = *batch;
    size_t needed;
    if (batch->count != 3)
        return PIPELINE_STORE_RETRY; /* not all of them are captured yet */
    CHECK_FAILS(pipeline_message_encode(e, batch, 0, 1, s->buffer, 4096, &made), PIPELINE_ERR_INVALID, "PIPELINE_EVENT_RELEASE");
    CHECK(made.count == 0 && made.length == 0 && made.generation == batch->generation);
    CHECK_FAILS(pipeline_message_encode(e, batch, 1, 3, s->buffer, 1000, &made), PIPELINE_ERR_LIMIT, "1216 bytes needed");
    needed = made.length;
    CHECK(made.count == 0 && needed == 1216);
    memset(s->buffer, 0x55, MOST_BYTES);
    CHECK_FAILS(pipeline_message_encode(e, batch, 1, 3, s->buffer, needed - 1, &made), PIPELINE_ERR_LIMIT, "1215 given");
    CHECK(s->buffer[0] == 0x55);
    CHECK_STATUS(pipeline_message_encode(e, batch, 1, 3, s->buffer, needed, &made), PIPELINE_OK);
    CHECK(made.count == 1 && made.length == needed && s->buffer[needed] == 0x55);
    CHECK_STATUS(pipeline_message_encode(e, batch, 1, 3, s->buffer, 4096, &made), PIPELINE_OK);
    CHECK_U64(made.count, 2);
    CHECK_STATUS(pipeline_message_encode(e, batch, 3, 3, s->buffer, 4096, &made), PIPELINE_END);
    CHECK_FAILS(pipeline_message_encode(e, batch, 4, 3, s->buffer, 4096, &made), PIPELINE_ERR_INVALID, "first: 0 to 3 allowed (the batch's events), 4 given");
    CHECK_FAILS(pipeline_message_encode(e, batch, 0, 0, s->buffer, 4096, &made), PIPELINE_ERR_INVALID, "most: at least 1 allowed");
    CHECK_FAILS(pipeline_message_encode(NULL, batch, 0, 1, s->buffer, 4096, &made), PIPELINE_ERR_NULL, "the encoder");
    CHECK_FAILS(pipeline_message_encode(e, NULL, 0, 1, s->buffer, 4096, &made), PIPELINE_ERR_NULL, "batch");
    CHECK_FAILS(pipeline_message_encode(e, batch, 0, 1, NULL, 4096, &made), PIPELINE_ERR_NULL, "buffer");
    CHECK_FAILS(pipeline_message_encode(e, batch, 0, 1, s->buffer, 4096, NULL), PIPELINE_ERR_NULL, "message");
    CHECK_FAILS(pipeline_message_encode_facts(NULL, batch, 0, s->buffer, 4096, &made), PIPELINE_ERR_NULL, "the encoder");
    CHECK_FAILS(pipeline_message_encode_facts(e, NULL, 0, s->buffer, 4096, &made), PIPELINE_ERR_NULL, "batch");
    CHECK_FAILS(pipeline_message_encode_facts(e, batch, 0, NULL, 4096, &made), PIPELINE_ERR_NULL, "buffer");
    CHECK_FAILS(pipeline_message_encode_facts(e, batch, 0, s->buffer, 4096, NULL), PIPELINE_ERR_NULL, "message");
    CHECK_FAILS(pipeline_message_encode_facts(e, batch, 0, s->buffer, 64, &made), PIPELINE_ERR_LIMIT, "64 given");
    other.token = UINT64_MAX;
    CHECK_FAILS(pipeline_message_encode_facts(e, &other, 0, s->buffer, 4096, &made), PIPELINE_ERR_UNKNOWN_TOKEN, "never issued");
    made.struct_size = 8;
    CHECK_FAILS(pipeline_message_encode(e, batch, 1, 1, s->buffer, 4096, &made), PIPELINE_ERR_VERSION, "pipeline_message_t.struct_size");
    s->messages = 1;
    return PIPELINE_STORE_OK;
}

static void errors(void)
{
    static const char payload[1000] = "payload";
    sender_t s = {.encoding = PIPELINE_JOURNAL_RAW, .size = MOST_BYTES};
    recorder_t *r = recorder_new();
    pipeline_storage_t storage = recorder_storage(r);
    pipeline_event_t event = {.struct_size = sizeof event, .data = payload, .len = 8, .flags = PIPELINE_EVENT_RELEASE};
    pipeline_message_encoder_t *encoder = NULL;
    pipeline_message_t message = {.struct_size = sizeof message};
    pipeline_reader_event_t read = {.struct_size = sizeof read};
    pipeline_reader_thread_t thread = {.struct_size = sizeof thread};
    CHECK_FAILS(pipeline_message_encoder_open(4, 0, &encoder), PIPELINE_ERR_INVALID, "encoding: ");
    CHECK_FAILS(pipeline_message_encoder_open(0, 2, &encoder), PIPELINE_ERR_INVALID, "flags: ");
    CHECK_FAILS(pipeline_message_encoder_open(0, 0, NULL), PIPELINE_ERR_NULL, "out");
    CHECK(encoder == NULL);
    CHECK_STATUS(pipeline_message_encoder_close(NULL), PIPELINE_OK);
    CHECK_STATUS(pipeline_message_reader_close(NULL), PIPELINE_OK);
    open_both(&s);
    r->extra = &s;
    r->answer = refuse;
    pipeline_t *p = start_pipeline(NULL, &storage);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture_event(p, &event), PIPELINE_OK);
    event.flags = 0;
    event.len = 1000;
    CHECK_STATUS(pipeline_capture_event(p, &event), PIPELINE_OK);
    event.len = 8;
    CHECK_STATUS(pipeline_capture_event(p, &event), PIPELINE_OK);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(s.messages, 1);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);

    /* The reader. */
    const pipeline_reader_kinds_t *kinds;
    pipeline_message_reader_t *reader = s.reader;
    CHECK_FAILS(pipeline_message_reader_open(0, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_message_reader_open(1000, &reader), PIPELINE_ERR_INVALID, "memory_bytes: at least 16777216 allowed, 1000 given");
    CHECK_STATUS(pipeline_message_reader_next(reader, &read), PIPELINE_END);
    CHECK_FAILS(pipeline_message_reader_take(reader, "", 0, &message), PIPELINE_ERR_INVALID, "empty");
    CHECK_FAILS(pipeline_message_reader_take(reader, NULL, 0, &message), PIPELINE_ERR_INVALID, "empty");
    CHECK_FAILS(pipeline_message_reader_take(reader, "{\"a\": 1}", 8, &message), PIPELINE_ERR_INVALID, "no message of capture_pipeline");
    CHECK_FAILS(pipeline_message_reader_take(reader, NULL, 1, &message), PIPELINE_ERR_NULL, "data");
    CHECK_FAILS(pipeline_message_reader_take(reader, "", 0, NULL), PIPELINE_ERR_NULL, "message");
    CHECK_FAILS(pipeline_message_reader_take(NULL, "", 0, &message), PIPELINE_ERR_NULL, "the reader");
    CHECK_FAILS(pipeline_message_reader_next(reader, NULL), PIPELINE_ERR_NULL, "event");
    CHECK_FAILS(pipeline_message_reader_definitions(reader, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_message_reader_thread(reader, 1, 1, &thread), PIPELINE_ERR_NOT_FOUND, "ring 1");
    CHECK_FAILS(pipeline_message_reader_thread(reader, 1, 1, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_message_reader_attribute(reader, 1, 0, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_STATUS(pipeline_message_reader_definitions(reader, &kinds), PIPELINE_OK);
    CHECK_U64(kinds->count, 0);
    close_both(&s);
    recorder_free(r);
}

int main(void)
{
    CHECK_OR_STOP(pthread_setname_np(pthread_self(), "messages") == 0);
    for (uint32_t encoding = PIPELINE_JOURNAL_RAW; encoding <= PIPELINE_JOURNAL_COLUMNS_ZSTD; encoding++) {
        every_size(encoding, 0, MOST_BYTES);
        every_size(encoding, PIPELINE_MESSAGE_THREADS, 20000);
        every_size(encoding, PIPELINE_MESSAGE_THREADS, 600);
    }
    dead_letters();
    errors();
    return SUMMARY();
}
