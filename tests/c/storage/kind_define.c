/* A definition reaches the storages that ask for facts, in its wire form, with the name of the kind. It can be repeated, and not changed. */
#include "../recorder.h"

typedef struct {
    uint64_t size;
    uint64_t site;
    float load;
    uint8_t state;
    uint8_t ready;
    char host[18];
    char text[1];
} request_t;

static const pipeline_enum_value_t states[] = { { 0, "open" }, { 1, "shut down" } };

static const pipeline_field_t request_fields[] = {
    PIPELINE_FIELD_SHOWN(request_t, size, PIPELINE_TYPE_U64, PIPELINE_HINT_BYTES, "bytes"),
    PIPELINE_FIELD(request_t, site, PIPELINE_TYPE_ADDRESS),
    PIPELINE_FIELD(request_t, load, PIPELINE_TYPE_F32),
    PIPELINE_FIELD_ENUM(request_t, state, PIPELINE_TYPE_U8, states),
    PIPELINE_FIELD(request_t, ready, PIPELINE_TYPE_BOOL),
    PIPELINE_FIELD(request_t, host, PIPELINE_TYPE_STRING),
    PIPELINE_FIELD_REST(request_t, text, PIPELINE_TYPE_STRING),
};

static pipeline_kind_definition_t request(void)
{
    pipeline_kind_definition_t d;
    CHECK_STATUS(pipeline_kind_definition_init(&d, sizeof d), PIPELINE_OK);
    d.kind = 7;
    d.name = "request";
    d.category = "network";
    d.key_field = "site";
    PIPELINE_KIND_FIELDS(&d, request_fields);
    return d;
}

/* What came of it. */
static struct {
    uint64_t definitions, names, bytes;
    uint8_t wire[1024];
    char name[64];
} seen;

static int32_t facts(recorder_t *r, const pipeline_batch_t *batch)
{
    size_t i;
    (void)r;
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        if (e->kind == PIPELINE_KIND_DEFINITION) {
            CHECK_U64(e->node_id, 7);
            CHECK_OR_STOP(e->len <= sizeof seen.wire);
            memcpy(seen.wire, e->data, e->len);
            seen.bytes = e->len;
            seen.definitions++;
        }
        if (e->kind == PIPELINE_KIND_KIND_NAME) {
            CHECK_U64(e->node_id, 7);
            CHECK_OR_STOP(e->len < sizeof seen.name);
            memcpy(seen.name, e->data, e->len);
            seen.names++;
        }
    }
    return PIPELINE_STORE_OK;
}

/* The wire form, as docs/format.md describes it. */
static const char expected_wire[] =
    "\x01\x00\x18\x00" "\x07\x00\x00\x00" "\x00\x00" "\x07\x00" "\x02\x00" "\x00\x00" "\xff\xff\xff\xff" "\x28\x00\x00\x00"
    "\x07" "request" "\x07" "network"
    "\x1b\x00\x04\x00\x02\x00\x00\x00" "\x00\x00\x00\x00\x08\x00\x00\x00" "\x04" "size" "\x05" "bytes"
    "\x16\x00\x0c\x00\x00\x00\x00\x00" "\x08\x00\x00\x00\x08\x00\x00\x00" "\x04" "site" "\x00"
    "\x16\x00\x09\x00\x00\x00\x00\x00" "\x10\x00\x00\x00\x04\x00\x00\x00" "\x04" "load" "\x00"
    "\x36\x00\x0f\x01\x00\x00\x02\x00" "\x14\x00\x00\x00\x01\x00\x00\x00" "\x05" "state" "\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00" "\x04" "open" "\x01\x00\x00\x00\x00\x00\x00\x00" "\x09" "shut down"
    "\x17\x00\x0b\x00\x00\x00\x00\x00" "\x15\x00\x00\x00\x01\x00\x00\x00" "\x05" "ready" "\x00"
    "\x16\x00\x0d\x00\x00\x00\x00\x00" "\x16\x00\x00\x00\x12\x00\x00\x00" "\x04" "host" "\x00"
    "\x16\x00\x0d\x00\x00\x00\x00\x00" "\x28\x00\x00\x00\xff\xff\xff\xff" "\x04" "text" "\x00";

static void definitions(uint32_t flags, uint64_t expected)
{
    recorder_t *rec = recorder_new();
    pipeline_storage_t s = recorder_storage(rec);
    pipeline_kind_definition_t d = request(), other = request();
    pipeline_field_t fields[7];
    pipeline_t *p;
    memset(&seen, 0, sizeof seen);
    s.flags = flags;
    rec->answer = facts;
    p = start_pipeline(NULL, &s);
    CHECK_STATUS(pipeline_kind_define(p, &d), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p, 7, "anything", 8), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    WAIT_FOR(seen.names == expected);
    CHECK_U64(seen.definitions, expected);
    if (expected) {
        CHECK_U64(seen.bytes, sizeof expected_wire - 1);
        CHECK(memcmp(seen.wire, expected_wire, sizeof expected_wire - 1) == 0);
        CHECK(strcmp(seen.name, "request") == 0);
    }

    /* Again: nothing new is told. What is only shown may differ. */
    CHECK_STATUS(pipeline_kind_define(p, &d), PIPELINE_OK);
    memcpy(fields, request_fields, sizeof fields);
    fields[0].unit = NULL;
    fields[2].hint = PIPELINE_HINT_NONE;
    other.fields = fields;
    other.category = NULL;
    CHECK_STATUS(pipeline_kind_define(p, &other), PIPELINE_OK);

    /* Otherwise: the difference is named. */
    fields[2].offset += 1;
    fields[2].length = 0;
    fields[2].type = PIPELINE_TYPE_U8;
    CHECK_FAILS(pipeline_kind_define(p, &other), PIPELINE_ERR_FIXED, "load");
    other = request();
    other.role = PIPELINE_ROLE_LOG;
    CHECK_FAILS(pipeline_kind_define(p, &other), PIPELINE_ERR_FIXED, "role");
    other = request();
    other.kind = 8;
    CHECK_FAILS(pipeline_kind_define(p, &other), PIPELINE_ERR_INVALID, "kind 8: name: kind 7 has the name request");
    other.name = "Other";
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(seen.definitions, expected);
    CHECK_U64(metrics_of(p).offered, 1);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_FAILS(pipeline_kind_define(p, &other), PIPELINE_ERR_CLOSED, "closed");
    CHECK_U64(seen.definitions, expected);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    recorder_free(rec);
}

/* Each pipeline has definitions of its own. */
static void pipelines_have_definitions_of_their_own(void)
{
    recorder_t *recs[2];
    pipeline_t *p[2];
    pipeline_kind_definition_t d = request();
    int i;
    for (i = 0; i < 2; i++) {
        pipeline_storage_t s;
        recs[i] = recorder_new();
        s = recorder_storage(recs[i]);
        p[i] = start_pipeline(NULL, &s);
    }
    CHECK_STATUS(pipeline_kind_define(p[0], &d), PIPELINE_OK);
    d.payload_size = 100;
    CHECK_FAILS(pipeline_kind_define(p[0], &d), PIPELINE_ERR_FIXED, "size");
    CHECK_STATUS(pipeline_kind_define(p[1], &d), PIPELINE_OK);
    for (i = 0; i < 2; i++) {
        END(p[i]);
        recorder_free(recs[i]);
    }
}

/* Threads that define the same kinds at once: each kind is told once. */
enum { THREADS = 4, KINDS = 20 };
static uint32_t told[KINDS];

static int32_t count_told(recorder_t *r, const pipeline_batch_t *batch)
{
    size_t i;
    (void)r;
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        if (e->kind == PIPELINE_KIND_DEFINITION && e->node_id < KINDS)
            told[e->node_id]++;
    }
    return PIPELINE_STORE_OK;
}

static void *define_all(void *p)
{
    uint32_t kind;
    for (kind = 0; kind < KINDS; kind++) {
        pipeline_kind_definition_t d = request();
        char name[32];
        snprintf(name, sizeof name, "k%u", kind);
        d.kind = kind;
        d.name = name;
        CHECK_STATUS(pipeline_kind_define((pipeline_t *)p, &d), PIPELINE_OK);
    }
    return NULL;
}

static void threads_define_the_same_kinds(void)
{
    recorder_t *rec = recorder_new();
    pipeline_storage_t s = recorder_storage(rec);
    pthread_t threads[THREADS];
    pipeline_t *p;
    int i;
    s.flags = PIPELINE_STORAGE_META;
    rec->answer = count_told;
    p = start_pipeline(NULL, &s);
    for (i = 0; i < THREADS; i++)
        CHECK_OR_STOP(pthread_create(&threads[i], NULL, define_all, p) == 0);
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    for (i = 0; i < KINDS; i++)
        CHECK_U64(told[i], 1);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    recorder_free(rec);
}

int main(void)
{
    definitions(PIPELINE_STORAGE_META, 1);
    definitions(0, 0);
    pipelines_have_definitions_of_their_own();
    threads_define_the_same_kinds();
    return SUMMARY();
}
