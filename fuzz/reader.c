/* Fuzzes the reader of journals. An input becomes one or two segments: in some, magic numbers, offsets and checksums are made right, so that what lies
 * behind the checksums is reached: lengths, counts, sequences, clock pieces, records, columns, compressed bodies, facts. Both orders give the same
 * events, each once; all of a payload can be read; every status is documented. */
#include "blocks.h"

#include <sys/stat.h>

/* A segment of `generation` in `to`, which has room for MOST_BYTES. Returns its length. */
static size_t make_segment(uint8_t *to, uint64_t generation, uint64_t segment)
{
    static const uint8_t magic[8] = {0x89, 'C', 'P', 'J', '\r', '\n', 0x1A, '\n'};
    const uint64_t salt = 0x1234;
    uint8_t style = (uint8_t)number(1);
    size_t used = 192;
    memset(to, 0, 192);
    memcpy(to, magic, 8);
    put(to + 8, 0x01020304, 4);
    put(to + 12, 1, 4);
    put(to + 16, 192, 4);
    put(to + 24, generation, 8);
    put(to + 32, segment, 8);
    put(to + 40, salt, 8);
    put(to + 88, 1000, 8);
    put(to + 96, 2000, 8);
    if ((style & 7) == 7)
        put(to + number(1) % 192, number(8), 8);
    put(to + 188, crc32c(0, to, 188), 4);
    used = make_blocks(to, used, generation, salt, style);
    return used - ((style & 16) != 0 ? number(1) % 192 : 0);
}

static void write_file(const char *path, const uint8_t *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    MUST(file != NULL && fwrite(bytes, 1, len, file) == len && fclose(file) == 0);
}

/* Reads everything. Returns a sum over the events that does not depend on their order. */
static uint64_t read_all(const pipeline_reader_options_t *options, uint64_t *count)
{
    pipeline_reader_t *reader;
    pipeline_reader_event_t events[7];
    pipeline_reader_losses_t losses;
    const pipeline_reader_kinds_t *kinds;
    uint64_t sum = 0;
    size_t got, i, j;
    int32_t status;
    if (explained(pipeline_reader_open("journal", options, &reader)) != PIPELINE_OK)
        return 0;
    events[0].struct_size = sizeof *events;
    while ((status = pipeline_reader_next_many(reader, 0, events, 7, &got)) == PIPELINE_OK) {
        for (i = 0; i < got; i++) {
            uint64_t hash = events[i].generation * 31 + events[i].ring_id * 17 + events[i].sequence * 13 + events[i].kind;
            for (j = 0; j < events[i].len; j++)
                hash = hash * 131 + ((const uint8_t *)events[i].data)[j];
            sum += hash * 0x9E3779B97F4A7C15u;
            MUST(events[i].struct_size == sizeof *events);
        }
        *count += got;
    }
    MUST(known(status) == (options->flags & PIPELINE_READER_FOLLOW ? PIPELINE_ERR_TIMEOUT : PIPELINE_END));
    losses.struct_size = sizeof losses;
    MUST(pipeline_reader_losses(reader, &losses) == PIPELINE_OK);
    MUST((losses.any == 0) == (losses.details[0] == '\0'));
    MUST(pipeline_reader_definitions(reader, &kinds) == PIPELINE_OK);
    for (i = 0; i < kinds->count; i++) {
        const pipeline_reader_kind_t *kind = PIPELINE_READER_KIND(kinds, i);
        MUST(kind->name == NULL || strlen(kind->name) < MOST_BYTES);
        MUST(kind->definition == NULL || kind->definition->field_count <= 64);
    }
    MUST(pipeline_reader_close(reader) == PIPELINE_OK);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[MOST_BYTES + 4096];
    static int ready;
    pipeline_reader_options_t options;
    uint64_t stored = 0, merged = 0, followed = 0, sum;
    if (!ready) {
        crc_prepare();
        MUST(mkdir("journal", 0700) == 0);
        ready = 1;
    }
    at = data;
    end = data + size;
    MUST(pipeline_reader_options_init(&options, sizeof options) == PIPELINE_OK);
    options.memory_bytes = 16 << 20;
    if (number(1) & 1) { /* arbitrary bytes */
        write_file("journal/0000000000000001-00000001.journal", at, (size_t)(end - at));
        at = end;
    } else {
        write_file("journal/0000000000000001-00000001.journal", bytes, make_segment(bytes, 1, 1));
    }
    write_file("journal/0000000000000001-00000002.journal", bytes, make_segment(bytes, 1, 2));
    sum = read_all(&options, &stored);
    options.flags = PIPELINE_READER_TIME_ORDER;
    MUST(read_all(&options, &merged) == sum && merged == stored);
    options.flags = PIPELINE_READER_FOLLOW;
    MUST(read_all(&options, &followed) == sum && followed == stored);
    return 0;
}
