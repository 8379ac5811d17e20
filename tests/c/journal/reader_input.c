/* What a reader refuses, and what it counts: NULL, sizes of structs, options, files that are no segments, damage. */
#include "journal.h"

static void null_pointers(void)
{
    pipeline_reader_t *none = (pipeline_reader_t *)&none, *reader;
    const pipeline_reader_kinds_t *kinds = (const pipeline_reader_kinds_t *)&none;
    pipeline_reader_options_t o = reader_defaults();
    pipeline_reader_losses_t losses;
    pipeline_reader_thread_t thread;
    pipeline_reader_event_t event;
    size_t count = 5;
    losses.struct_size = sizeof losses;
    thread.struct_size = sizeof thread;
    event.struct_size = sizeof event;
    CHECK_FAILS(pipeline_reader_options_init(NULL, sizeof o), PIPELINE_ERR_NULL, "options");
    CHECK_FAILS(pipeline_reader_open(NULL, &o, &none), PIPELINE_ERR_NULL, "path");
    CHECK_FAILS(pipeline_reader_open(JOURNAL, &o, NULL), PIPELINE_ERR_NULL, "out");
    CHECK(none == (pipeline_reader_t *)&none);
    CHECK_FAILS(pipeline_reader_next(NULL, 0, &event), PIPELINE_ERR_NULL, "reader");
    CHECK_FAILS(pipeline_reader_next_many(NULL, 0, &event, 1, &count), PIPELINE_ERR_NULL, "reader");
    CHECK_FAILS(pipeline_reader_definitions(NULL, &kinds), PIPELINE_ERR_NULL, "reader");
    CHECK_FAILS(pipeline_reader_thread(NULL, 1, 1, &thread), PIPELINE_ERR_NULL, "reader");
    CHECK_FAILS(pipeline_reader_losses(NULL, &losses), PIPELINE_ERR_NULL, "reader");
    CHECK_STATUS(pipeline_reader_close(NULL), PIPELINE_OK);
    reader = open_reader(JOURNAL, NULL);
    CHECK_FAILS(pipeline_reader_next(reader, 0, NULL), PIPELINE_ERR_NULL, "event");
    CHECK_FAILS(pipeline_reader_next_many(reader, 0, NULL, 1, &count), PIPELINE_ERR_NULL, "events");
    CHECK_FAILS(pipeline_reader_next_many(reader, 0, &event, 1, NULL), PIPELINE_ERR_NULL, "count");
    CHECK_FAILS(pipeline_reader_next_many(reader, 0, &event, 0, &count), PIPELINE_ERR_INVALID, "capacity");
    CHECK_FAILS(pipeline_reader_definitions(reader, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_reader_thread(reader, 1, 1, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_reader_losses(reader, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_U64(count, 5);
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
}

static void sizes_of_structs(void)
{
    static const uint32_t wrong[] = {0, 3, 4, 16, 4097, UINT32_MAX};
    pipeline_reader_t *reader = open_reader(JOURNAL, NULL), *other;
    union {
        uint32_t struct_size;
        pipeline_reader_options_t options;
        pipeline_reader_event_t event;
        pipeline_reader_losses_t losses;
        pipeline_reader_thread_t thread;
        unsigned char bytes[4096];
    } room;
    size_t i, count;
    memset(&room, 0, sizeof room);
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        room.struct_size = wrong[i];
        CHECK_FAILS(pipeline_reader_open(JOURNAL, &room.options, &other), PIPELINE_ERR_VERSION, "options_t.struct_size");
        CHECK_FAILS(pipeline_reader_options_init(&room.options, wrong[i]), PIPELINE_ERR_VERSION, "options_t.struct_size");
        CHECK_FAILS(pipeline_reader_next(reader, 0, &room.event), PIPELINE_ERR_VERSION, "event_t.struct_size");
        CHECK_FAILS(pipeline_reader_next_many(reader, 0, &room.event, 1, &count), PIPELINE_ERR_VERSION, "event_t.struct_size");
        CHECK_FAILS(pipeline_reader_losses(reader, &room.losses), PIPELINE_ERR_VERSION, "losses_t.struct_size");
    }
    /* A longer struct: zeros are accepted and written, anything else is of a later version. */
    memset(&room, 0xA5, sizeof room);
    room.struct_size = 4096;
    CHECK_STATUS(pipeline_reader_losses(reader, &room.losses), PIPELINE_OK);
    CHECK(room.bytes[4095] == 0 && room.bytes[sizeof room.losses] == 0);
    CHECK_STATUS(pipeline_reader_options_init(&room.options, 4096), PIPELINE_OK);
    CHECK_STATUS(pipeline_reader_open(JOURNAL, &room.options, &other), PIPELINE_OK);
    CHECK_STATUS(pipeline_reader_close(other), PIPELINE_OK);
    room.bytes[4000] = 1;
    CHECK_FAILS(pipeline_reader_open(JOURNAL, &room.options, &other), PIPELINE_ERR_VERSION, "4000");
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
}

static void options(void)
{
    pipeline_reader_options_t o = reader_defaults();
    pipeline_reader_t *reader;
    CHECK_U64(o.struct_size, sizeof o);
    o.flags = 64;
    CHECK_FAILS(pipeline_reader_open(JOURNAL, &o, &reader), PIPELINE_ERR_INVALID, "flags");
    o = reader_defaults();
    o.memory_bytes = 1000;
    CHECK_FAILS(pipeline_reader_open(JOURNAL, &o, &reader), PIPELINE_ERR_INVALID, "memory_bytes");
    o = reader_defaults();
    o.kind_count = 1;
    o.kinds = NULL;
    CHECK_FAILS(pipeline_reader_open(JOURNAL, &o, &reader), PIPELINE_ERR_NULL, "kinds");
    o.kind_count = SIZE_MAX;
    CHECK_FAILS(pipeline_reader_open(JOURNAL, &o, &reader), PIPELINE_ERR_LIMIT, "kind_count");
    CHECK_FAILS(pipeline_reader_open("nothing/here", NULL, &reader), PIPELINE_ERR_NOT_FOUND, "nothing/here");
    CHECK_FAILS(pipeline_reader_open("/proc/self/exe", NULL, &reader), PIPELINE_ERR_INVALID, "no segment");
    CHECK_FAILS(pipeline_reader_open("/dev/null", NULL, &reader), PIPELINE_ERR_INVALID, "regular file");
    reader = open_reader("/proc/self/fd", NULL);
    CHECK_U64(losses_of(reader).any, 0);
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
}

static void change(const char *path, long at, char to)
{
    FILE *file = fopen(path, "r+b");
    CHECK_OR_STOP(file != NULL);
    CHECK(fseek(file, at, at < 0 ? SEEK_END : SEEK_SET) == 0 && fputc(to, file) == to && fclose(file) == 0);
}

/* Reads everything; the events must be those that were written, without some. Returns how many are missing. */
static uint64_t missing(uint64_t written, pipeline_reader_losses_t *losses)
{
    static char details[1024];
    pipeline_reader_t *reader = open_reader(JOURNAL, NULL);
    pipeline_reader_event_t event;
    uint64_t count = 0, next = 0;
    event.struct_size = sizeof event;
    while (pipeline_reader_next(reader, 0, &event) == PIPELINE_OK) {
        uint64_t n = number_of(&event);
        CHECK(n >= next && n < written);
        next = n + 1;
        count++;
    }
    *losses = losses_of(reader);
    snprintf(details, sizeof details, "%s", losses->details);
    losses->details = details;
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
    return written - count;
}

static void damage(void)
{
    static const char magic[4] = {'C', 'P', 'B', '1'};
    pipeline_reader_losses_t losses;
    pipeline_reader_t *reader;
    char *bytes = NULL;
    size_t size = 0, at, events = 0, body = 0;
    FILE *file;
    write_journal(500);
    CHECK_U64(missing(500, &losses), 0);
    CHECK_U64(losses.any, 0);
    file = fopen(segment_path(), "rb");
    CHECK_OR_STOP(file != NULL && fseek(file, 0, SEEK_END) == 0);
    size = (size_t)ftell(file);
    bytes = (char *)malloc(size);
    CHECK_OR_STOP(bytes != NULL && fseek(file, 0, SEEK_SET) == 0 && fread(bytes, 1, size, file) == size);
    fclose(file);
    /* The first block of events. */
    for (at = 0; at + 128 < size; at += 64)
        if (memcmp(bytes + at, magic, 4) == 0 && bytes[at + 4] == 1)
            break;
    memcpy(&events, bytes + at + 48, 4);
    memcpy(&body, bytes + at + 60, 4);
    body += at;
    CHECK_OR_STOP(events > 0 && events <= 500 && body + 56 <= size);
    /* A changed body. */
    change(segment_path(), (long)body + 50, (char)(bytes[body + 50] ^ 1));
    CHECK_U64(missing(500, &losses), events);
    CHECK(losses.any == 1 && losses.damaged_blocks == 1 && losses.damaged_events == events);
    CHECK_HAS(losses.details, "damaged blocks: 1");
    change(segment_path(), (long)body + 50, bytes[body + 50]);
    /* A changed header. */
    change(segment_path(), (long)at + 20, 7);
    CHECK_U64(missing(500, &losses), events);
    CHECK(losses.damages == 1 && losses.damaged_blocks == 0);
    change(segment_path(), (long)at + 20, bytes[at + 20]);
    /* A truncated file, of a writer that lives no more: this process's lives, so the tail is no damage. */
    CHECK(truncate(segment_path(), (off_t)at + 130) == 0);
    CHECK_U64(missing(500, &losses), 500);
    CHECK_U64(losses.any, 0);
    /* A version of tomorrow. */
    change(segment_path(), 12, 2);
    CHECK_FAILS(pipeline_reader_open(segment_path(), NULL, &reader), PIPELINE_ERR_UNSUPPORTED, "version 2");
    CHECK_U64(missing(500, &losses), 500);
    CHECK(losses.any == 1 && losses.refused_segments == 1);
    CHECK_HAS(losses.details, "version 2");
    free(bytes);
}

int main(void)
{
    CHECK(mkdir(JOURNAL, 0700) == 0);
    null_pointers();
    sizes_of_structs();
    options();
    damage();
    return SUMMARY();
}
