/* Fuzzes the reader of journals. An input becomes one or two segments: in some, magic numbers, offsets and checksums are made right, so that what lies
 * behind the checksums is reached: lengths, counts, sequences, clock pieces, records, columns, compressed bodies, facts. Both orders give the same
 * events, each once; all of a payload can be read; every status is documented. */
#include "bytes.h"

#include <sys/stat.h>

#define MOST_BYTES 65536

static uint32_t crc_table[256];

static uint32_t crc32c(uint32_t crc, const uint8_t *from, size_t len)
{
    crc = ~crc;
    while (len-- > 0)
        crc = crc >> 8 ^ crc_table[(crc ^ *from++) & 0xFF];
    return ~crc;
}

static void put(uint8_t *to, uint64_t value, size_t width)
{
    memcpy(to, &value, width);
}

/* A segment of `generation` in `to`, which has room for MOST_BYTES. Returns its length. */
static size_t make_segment(uint8_t *to, uint64_t generation, uint64_t segment)
{
    static const uint8_t magic[8] = {0x89, 'C', 'P', 'J', '\r', '\n', 0x1A, '\n'};
    const uint64_t salt = 0x1234;
    uint8_t style = (uint8_t)number(1);
    uint32_t seed;
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
    seed = crc32c(0, (const uint8_t *)&salt, 8);
    while (at != end && used + 1024 < MOST_BYTES) {
        uint8_t *block = to + used, choice = (uint8_t)number(1);
        size_t pieces = choice >> 2 & 3, size = (128 + pieces * 32 + 63) & ~(size_t)63, len, i;
        if ((choice & 3) == 3) { /* bytes as they are */
            len = number(1);
            for (i = 0; i < len && at != end; i++)
                block[i] = (uint8_t)number(1);
            memset(block + i, 0, 63);
            used = (used + i + 63) & ~(size_t)63;
            continue;
        }
        /* A header whose numbers are small, or whatever the input says. */
        memset(block, 0, size);
        memcpy(block, "CPB1", 4);
        put(block + 4, choice & 16 ? number(2) : 1 + (number(1) & 3), 2);
        put(block + 6, choice & 32 ? number(2) : 0, 2);
        put(block + 8, generation, 8);
        put(block + 16, used, 8);
        put(block + 24, number(1), 8);
        put(block + 32, choice & 64 ? number(8) : number(1), 8);
        put(block + 40, choice & 64 ? number(8) : number(1), 8);
        put(block + 48, choice & 128 ? number(4) : number(1), 4);
        put(block + 56, 48, 2);
        put(block + 58, number(1) % 3, 1);
        put(block + 59, number(1) % 4, 1);
        put(block + 60, size, 4);
        put(block + 80, number(2), 8);
        put(block + 88, number(2), 8);
        put(block + 96, choice & 64 ? number(8) : 0, 8);
        put(block + 104, pieces, 4);
        for (i = 0; i < pieces * 4; i++)
            put(block + 128 + 8 * i, number(1 + i % 2 * 6), 8);
        len = number(2) % 700;
        put(block + 64, len, 8);
        put(block + 72, choice & 128 ? number(8) : (block[58] | block[59]) == 0 ? len : number(2), 8);
        /* Records, or arbitrary bytes. */
        for (i = 0; i < len;) {
            uint8_t *record = block + size + i;
            if (i + 48 <= len && block[58] == 0 && block[59] == 0 && (number(1) & 15) != 0) {
                memset(record, 0, 48);
                put(record, number(1) % 64, 4);
                put(record + 4, (number(1) & 3) | (number(1) & 1) << 30, 4);
                put(record + 8, block[4] == 2 ? 0xFFFF0000 + number(1) % 8 : number(1), 4);
                put(record + 16, number(1), 8);
                put(record + 24, number(2), 8);
                put(record + 40, number(1), 8);
                i += 48;
            } else {
                *record = (uint8_t)number(1);
                i++;
            }
        }
        put(block + 112, crc32c(seed, block + size, len), 4);
        put(block + 116, 0, 4);
        put(block + 116, crc32c(seed, block, size), 4);
        memset(block + size + len, 0, 63);
        used = (used + size + len + 63) & ~(size_t)63;
        if ((style & 8) != 0 && (choice & 8) != 0) /* one byte is changed */
            to[192 + number(2) % (used - 192)] ^= 1;
    }
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
    unsigned i, j;
    if (!ready) {
        for (i = 0; i < 256; i++) {
            uint32_t crc = i;
            for (j = 0; j < 8; j++)
                crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
            crc_table[i] = crc;
        }
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
