/* Blocks of a journal from a fuzzer's input: magic numbers, offsets and checksums are right, so that what lies behind the checksums is reached, unless the input wants them
 * otherwise. */
#ifndef CAPTURE_PIPELINE_FUZZ_BLOCKS_H
#define CAPTURE_PIPELINE_FUZZ_BLOCKS_H

#include "bytes.h"

#define MOST_BYTES 65536

static uint32_t crc_table[256];

static void crc_prepare(void)
{
    unsigned i, j;
    for (i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (j = 0; j < 8; j++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
        crc_table[i] = crc;
    }
}

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

/* Blocks of `generation` in `to`, which has room for MOST_BYTES and 4,096 more, from `first` on. Returns where they end. With 8 in `style`, bytes are changed. */
static size_t make_blocks(uint8_t *to, size_t first, uint64_t generation, uint64_t salt, uint8_t style)
{
    const uint32_t seed = crc32c(0, (const uint8_t *)&salt, 8);
    size_t used = first;
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
            to[first + number(2) % (used - first)] ^= 1;
    }
    return used;
}

#endif
