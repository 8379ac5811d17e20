/* struct_size of every struct: shorter than in the first release, longer than the library knows with and without a tail of zeros, and
 * above the limit; for inputs, outputs and init functions. */
#include "../recorder.h"

static recorder_t rec = RECORDER_INIT;

/* Space for a struct of any valid size, and a guard behind it. */
typedef union {
    uint32_t struct_size;
    pipeline_config_t config;
    pipeline_storage_t storage;
    pipeline_event_t event;
    pipeline_metrics_t metrics;
    pipeline_writer_metrics_t writer;
    pipeline_health_t health;
    pipeline_kind_definition_t definition;
    unsigned char bytes[4096 + 64];
} room_t;

static room_t room;
static pipeline_t *p;
static pipeline_producer_t *producer;
static uint64_t number = 42;

static bool all_are(const unsigned char *from, size_t count, unsigned char value)
{
    size_t i;
    for (i = 0; i < count; i++)
        if (from[i] != value)
            return false;
    return true;
}

static const uint32_t wrong_sizes[] = {0, 1, 3, 4, 7, 4097, 65536, 0x7FFFFFFF, UINT32_MAX};

/* ---- outputs: the caller sets struct_size, gets the common prefix and zeros beyond ---- */

static int32_t read_config(void) { return pipeline_config_read(p, &room.config); }
static int32_t read_metrics(void) { return pipeline_metrics(p, &room.metrics); }
static int32_t read_writer(void) { return pipeline_writer_metrics(p, 0, &room.writer); }
static int32_t read_health(void) { return pipeline_health(p, &room.health); }

static void output(const char *name, size_t ours, int32_t (*read)(void))
{
    size_t i;
    for (i = 0; i < sizeof wrong_sizes / sizeof *wrong_sizes; i++) {
        char value[16];
        memset(&room, 0xA5, sizeof room);
        room.struct_size = wrong_sizes[i];
        CHECK_FAILS(read(), PIPELINE_ERR_VERSION, name);
        CHECK_HAS(pipeline_last_error(), "struct_size");
        CHECK_HAS(pipeline_last_error(), "4096");
        snprintf(value, sizeof value, "%u", wrong_sizes[i]);
        CHECK_HAS(pipeline_last_error(), value);
        CHECK(all_are(room.bytes + 4, sizeof room - 4, 0xA5));
    }
    memset(&room, 0xA5, sizeof room);
    room.struct_size = (uint32_t)ours - 1;
    CHECK_FAILS(read(), PIPELINE_ERR_VERSION, name);
    memset(&room, 0xA5, sizeof room);
    room.struct_size = (uint32_t)ours;
    CHECK_STATUS(read(), PIPELINE_OK);
    CHECK_U64(room.struct_size, ours);
    CHECK(all_are(room.bytes + ours, sizeof room - ours, 0xA5));
    memset(&room, 0xA5, sizeof room);
    room.struct_size = 4096;
    CHECK_STATUS(read(), PIPELINE_OK);
    CHECK_U64(room.struct_size, 4096);
    CHECK(all_are(room.bytes + ours, 4096 - ours, 0));
    CHECK(all_are(room.bytes + 4096, sizeof room - 4096, 0xA5));
}

/* ---- inputs: a longer struct must be zero past the part that the library knows ---- */

static int32_t use_capture(void) { return pipeline_capture_event(p, &room.event); }
static int32_t use_producer(void) { return pipeline_producer_capture_event(producer, &room.event); }
static int32_t use_reserve(void)
{
    void *payload = NULL;
    int32_t status = pipeline_producer_reserve(producer, &room.event, 8, &payload);
    if (status == PIPELINE_OK) {
        memset(payload, 0, 8);
        return pipeline_producer_commit(producer, 8);
    }
    CHECK(payload == NULL);
    return status;
}
static int32_t use_definition(void) { return pipeline_kind_define(p, &room.definition); }
static int32_t use_update(void) { return pipeline_update(p, &room.config); }
static pipeline_t *started;
static int32_t use_start_config(void)
{
    static recorder_t own = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&own);
    uint64_t before = own.destroy_calls;
    int32_t status;
    started = NULL;
    status = pipeline_start(&room.config, &s, &started);
    CHECK((status == PIPELINE_OK) == (started != NULL));
    if (started != NULL)
        END(started);
    /* The storage's size was valid, so the pipeline took it over although the start failed. */
    CHECK_U64(own.destroy_calls, before + 1);
    return status;
}
static recorder_t started_rec = RECORDER_INIT;
static int32_t use_start_storage(void)
{
    uint64_t before = started_rec.destroy_calls;
    int32_t status;
    started = NULL;
    status = pipeline_start(NULL, &room.storage, &started);
    CHECK((status == PIPELINE_OK) == (started != NULL));
    if (started != NULL)
        END(started);
    /* The size is refused, so the storage is not taken over. */
    CHECK_U64(started_rec.destroy_calls, before + (status == PIPELINE_OK));
    return status;
}

/* `oldest`: the size of the struct in the first release. */
static void input(const char *name, const void *good, size_t ours, size_t oldest, int32_t (*use)(void))
{
    size_t i;
    for (i = 0; i < sizeof wrong_sizes / sizeof *wrong_sizes; i++) {
        char value[16];
        memset(&room, 0, sizeof room);
        memcpy(&room, good, ours);
        room.struct_size = wrong_sizes[i];
        CHECK_FAILS(use(), PIPELINE_ERR_VERSION, name);
        CHECK_HAS(pipeline_last_error(), "struct_size");
        snprintf(value, sizeof value, "%u", wrong_sizes[i]);
        CHECK_HAS(pipeline_last_error(), value);
    }
    memset(&room, 0, sizeof room);
    memcpy(&room, good, ours);
    room.struct_size = (uint32_t)oldest - 1;
    CHECK_FAILS(use(), PIPELINE_ERR_VERSION, name);
    room.struct_size = (uint32_t)oldest;
    CHECK_STATUS(use(), PIPELINE_OK);
    /* Longer, with zeros behind. */
    room.struct_size = (uint32_t)ours + 8;
    CHECK_STATUS(use(), PIPELINE_OK);
    room.struct_size = 4096;
    CHECK_STATUS(use(), PIPELINE_OK);
    /* Longer, not zero: the last byte, then the first one. */
    room.bytes[4095] = 1;
    CHECK_FAILS(use(), PIPELINE_ERR_VERSION, name);
    CHECK_HAS(pipeline_last_error(), "4095");
    room.bytes[4095] = 0;
    room.bytes[ours] = 0x80;
    CHECK_FAILS(use(), PIPELINE_ERR_VERSION, name);
    /* Bytes past the claimed size are not read. */
    room.struct_size = (uint32_t)ours;
    CHECK_STATUS(use(), PIPELINE_OK);
}

/* ---- init functions take the size as an argument ---- */

static int32_t init_config(size_t size) { return pipeline_config_init(&room.config, size); }
static int32_t init_definition(size_t size) { return pipeline_kind_definition_init(&room.definition, size); }
static int32_t init_storage(size_t size) { return pipeline_storage_init(&room.storage, size); }

static void init(const char *name, size_t ours, int32_t (*call)(size_t))
{
    static const size_t wrong[] = {0, 1, 4, 4097, (size_t)UINT32_MAX, (size_t)UINT32_MAX + 1 + 64, SIZE_MAX};
    size_t i;
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memset(&room, 0xA5, sizeof room);
        CHECK_FAILS(call(wrong[i]), PIPELINE_ERR_VERSION, name);
        CHECK(all_are(room.bytes, sizeof room, 0xA5));
    }
    memset(&room, 0xA5, sizeof room);
    CHECK_STATUS(call(ours), PIPELINE_OK);
    CHECK_U64(room.struct_size, ours);
    CHECK(all_are(room.bytes + ours, sizeof room - ours, 0xA5));
    memset(&room, 0xA5, sizeof room);
    CHECK_STATUS(call(4096), PIPELINE_OK);
    CHECK_U64(room.struct_size, 4096);
    CHECK(all_are(room.bytes + ours, 4096 - ours, 0));
    CHECK(all_are(room.bytes + 4096, sizeof room - 4096, 0xA5));
}

int main(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_event_t event = event_of(3, &number, sizeof number);
    pipeline_config_t config = config_defaults(), running = config;
    pipeline_metrics_t before, after;

    init("pipeline_config_t", sizeof(pipeline_config_t), init_config);
    init("pipeline_storage_t", sizeof(pipeline_storage_t), init_storage);
    init("pipeline_kind_definition_t", sizeof(pipeline_kind_definition_t), init_definition);

    p = start_pipeline(&config, &s);
    CHECK_STATUS(pipeline_producer_open(p, &producer), PIPELINE_OK);
    CHECK_STATUS(pipeline_config_read(p, &running), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).writers_live == 1);

    output("pipeline_config_t", sizeof(pipeline_config_t), read_config);
    output("pipeline_metrics_t", sizeof(pipeline_metrics_t), read_metrics);
    output("pipeline_writer_metrics_t", sizeof(pipeline_writer_metrics_t), read_writer);
    output("pipeline_health_t", sizeof(pipeline_health_t), read_health);

    before = metrics_of(p);
    input("pipeline_event_t", &event, sizeof event, sizeof event, use_capture);
    input("pipeline_event_t", &event, sizeof event, sizeof event, use_producer);
    input("pipeline_event_t", &event, sizeof event, sizeof event, use_reserve);
    after = metrics_of(p);
    CHECK_U64(after.captured - before.captured, 3 * 4);
    CHECK_U64(after.refused_invalid - before.refused_invalid, 3 * 12);

    {
        pipeline_kind_definition_t good;
        CHECK_STATUS(pipeline_kind_definition_init(&good, sizeof good), PIPELINE_OK);
        good.kind = 7;
        good.name = "seven";
        input("pipeline_kind_definition_t", &good, sizeof good, sizeof good, use_definition);
    }
    input("pipeline_config_t", &running, sizeof running, sizeof running, use_update);
    input("pipeline_config_t", &config, sizeof config, sizeof config, use_start_config);
    {
        pipeline_storage_t good = recorder_storage(&started_rec);
        input("pipeline_storage_t", &good, sizeof good, offsetof(pipeline_storage_t, finish), use_start_storage);
    }
    CHECK_STATUS(pipeline_producer_close(producer), PIPELINE_OK);
    END(p);
    CHECK_U64(rec.stored.count, 3 * 4);
    return SUMMARY();
}
