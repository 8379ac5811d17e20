/* Reads a fuzzer's input: numbers, and structs in blocks of exactly the claimed size. Also the checks of every status. */
#ifndef CAPTURE_PIPELINE_FUZZ_BYTES_H
#define CAPTURE_PIPELINE_FUZZ_BYTES_H

#include "../tests/c/random/expected.h"

static const uint8_t *at, *end;

static uint64_t number(size_t width)
{
    uint64_t n = 0;
    size_t left = (size_t)(end - at);
    width = width < left ? width : left;
    memcpy(&n, at, width);
    at += width;
    return n;
}

#define MUST(holds)                                                                                                    \
    do {                                                                                                               \
        if (!(holds)) {                                                                                                \
            fprintf(stderr, "%s:%d: FAILED: %s (last error \"%s\")\n", __FILE__, __LINE__, #holds,                     \
                    pipeline_last_error());                                                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Checks that the status is documented; `explained` also checks that an error has a message. */
static int32_t known(int32_t status)
{
    MUST(status >= PIPELINE_ERR_STATE && status <= PIPELINE_END && status != PIPELINE_ERR_INTERNAL);
    MUST(pipeline_status_message(status)[0] != 0);
    MUST(memchr(pipeline_last_error(), 0, 512) != NULL);
    return status;
}

CHECK_UNUSED static int32_t explained(int32_t status)
{
    if (known(status) < 0)
        MUST(pipeline_last_error()[0] != 0);
    return status;
}

/* A heap block with a copy of `from`, padded with zeros to exactly the size that the input claims. Some bytes are overwritten by bytes of
 * the input. If the claimed size is below `first`, the block has four bytes. */
CHECK_UNUSED static void *block_from(size_t first, const void *from, size_t size, uint32_t *claimed)
{
    unsigned choice = (unsigned)number(1), patches = choice >> 4;
    uint32_t room;
    unsigned char *block;
    *claimed = (uint32_t)size;
    if ((choice & 7) == 0)
        *claimed = (uint32_t)number(4);
    else if ((choice & 7) == 1)
        *claimed += (uint32_t)number(1);
    room = *claimed < first || *claimed > 4096 ? 4 : *claimed;
    block = (unsigned char *)calloc(1, room > size ? room : size);
    MUST(block != NULL);
    memcpy(block, from, size);
    while (patches-- > 0 && room >= first && at != end) {
        size_t where = (size_t)number(1) * 4, width = 1 + where / 4 % 8;
        uint64_t value = number(width);
        where %= room;
        memcpy(block + where, &value, width < room - where ? width : room - where);
    }
    memcpy(block, claimed, 4);
    if (room < first) { /* nothing but the size may be read */
        unsigned char *four = (unsigned char *)malloc(4);
        memcpy(four, claimed, 4);
        free(block);
        return four;
    }
    return block;
}

CHECK_UNUSED static void *block_of(const void *from, size_t size, uint32_t *claimed)
{
    return block_from(size, from, size, claimed);
}

#endif
