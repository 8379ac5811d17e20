/* The floor of storages: loops that write prepared bytes to a fresh file and do nothing else.
 *
 * The bytes are those of a raw journal (docs/format.md): blocks of some 256 KiB, each a header and records of 112 bytes with payloads of 64. They
 * are prepared before, and lie in 1 MiB of memory, as in a ring buffer. Checksums and sequences are not kept up to date. */
#define _GNU_SOURCE
#include "../harness/contender.h"
#include "../harness/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PIECE = 256 << 10, PIECES = 4, BLOCK_HEADER = 192, RECORD = 112, RECORD_HEADER = 48, PAYLOAD = 64, ALIGNMENT = 64 };
/* The records of a block: as many as fit into a piece. Of the pwritev loop one less, so that it has to write padding. */
enum { IN_PIECE = (PIECE - BLOCK_HEADER) / RECORD, IN_BLOCK = IN_PIECE - 1, FIRST_SLICE = IN_BLOCK / 2 };
enum { BLOCK_BYTES = BLOCK_HEADER + IN_BLOCK * RECORD, PADDING = (ALIGNMENT - BLOCK_BYTES % ALIGNMENT) % ALIGNMENT };
_Static_assert(PADDING > 0, "the pwritev loop writes padding");

static struct bench_setup setup;
static unsigned char *pieces;
static uint64_t blocks, block_bytes, per_block;
static char path[512];
static int file = -1;

static const char *start(const struct bench_setup *given) {
    const char *under = getenv("TMPDIR");
    setup = *given;
    if (setup.payload != PAYLOAD) return "the loops write payloads of 64 bytes only";
    snprintf(path, sizeof path, "%s/loop-%d", under ? under : "/tmp", (int)getpid());
    if ((file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0) return strerror(errno);
    if (posix_memalign((void **)&pieces, 4096, PIECES * PIECE)) return "out of memory";
    memset(pieces, 0, PIECES * PIECE);
    uint64_t number = 0;
    for (size_t p = 0; p < PIECES; p++) {
        unsigned char *at = pieces + p * PIECE;
        memcpy(at, "CPB1", 4);
        at += BLOCK_HEADER;
        for (size_t i = 0; i < IN_PIECE; i++, at += RECORD) {
            uint64_t value = ++number * 0x9e3779b97f4a7c15u;
            uint32_t head[2] = {PAYLOAD, 0};
            memcpy(at, head, sizeof head);
            memset(at + sizeof head, (int)i, RECORD - sizeof head);
            memcpy(at + RECORD_HEADER, &value, sizeof value);
        }
    }
    return NULL;
}

static void *open_nothing(uint32_t thread) { return (void)thread, &setup; }
static void capture_nothing(void *handle, const struct bench_burst *burst) { (void)handle, (void)burst; }
static void close_nothing(void *handle) { (void)handle; }
static const char *stop(void) { return NULL; }

/* The sum of the first 8 bytes of the first `count` payloads of each piece. */
static void sums(uint64_t count, uint64_t sum[PIECES]) {
    for (size_t p = 0; p < PIECES; p++) {
        sum[p] = 0;
        for (size_t i = 0; i < count; i++) {
            uint64_t value;
            memcpy(&value, pieces + p * PIECE + BLOCK_HEADER + i * RECORD + RECORD_HEADER, sizeof value);
            sum[p] += value;
        }
    }
}

/* Plans blocks of `records` records for at least so many events, and answers what they will contain. */
static void plan(uint64_t records, uint64_t bytes, uint64_t *events, uint64_t *sum) {
    uint64_t of_piece[PIECES];
    per_block = records;
    block_bytes = bytes;
    blocks = (*events + records - 1) / records;
    *events = blocks * records;
    *sum = 0;
    sums(records, of_piece);
    for (size_t p = 0; p < PIECES; p++) *sum += of_piece[p] * (blocks / PIECES + (p < blocks % PIECES));
}

static const char *write_pieces(uint64_t *events, uint64_t *sum) {
    plan(IN_PIECE, PIECE, events, sum);
    for (uint64_t i = 0; i < blocks; i++)
        if (write(file, pieces + i % PIECES * PIECE, PIECE) != PIECE) return errno ? strerror(errno) : "a short write";
    return NULL;
}

static const char *write_blocks(uint64_t *events, uint64_t *sum) {
    static unsigned char padding[PADDING];
    plan(IN_BLOCK, BLOCK_BYTES + PADDING, events, sum);
    for (uint64_t i = 0; i < blocks; i++) {
        unsigned char *head = pieces + i % PIECES * PIECE, *records = head + BLOCK_HEADER;
        struct iovec parts[] = {{head, BLOCK_HEADER},
                                {records, FIRST_SLICE * RECORD},
                                {records + FIRST_SLICE * RECORD, (IN_BLOCK - FIRST_SLICE) * RECORD},
                                {padding, PADDING}};
        if (pwritev(file, parts, 4, (off_t)(i * block_bytes)) != (ssize_t)block_bytes) return errno ? strerror(errno) : "a short write";
    }
    return NULL;
}

static const char *read_back(uint64_t *bytes) {
    unsigned char *block = malloc(block_bytes);
    struct bench_batch batch = batch_begin(setup.store);
    if (!block) return "out of memory";
    for (*bytes = 0; *bytes < blocks * block_bytes; *bytes += block_bytes) {
        if (pread(file, block, block_bytes, (off_t)*bytes) != (ssize_t)block_bytes) return "the file is too short";
        if (memcmp(block, "CPB1", 4)) return "a block does not begin where it should";
        for (size_t i = 0; i < per_block; i++) batch_event(&batch, block + BLOCK_HEADER + i * RECORD + RECORD_HEADER);
    }
    batch_end(&batch);
    free(block);
    return NULL;
}

static void remove_files(void) {
    close(file);
    unlink(path);
}

const struct storage_contender *storage_contenders(size_t *count) {
    static const struct storage_contender all[] = {
        {{"write(2)", "one thread writes prepared bytes in pieces of 256 KiB, aligned in memory and in the file", start, open_nothing, capture_nothing,
          close_nothing, stop, NULL, 1, 0}, NULL, write_pieces, read_back, remove_files, 0},
        {{"pwritev(2)", "one thread writes prepared blocks as the journal has them: a header, two slices of records, padding", start, open_nothing,
          capture_nothing, close_nothing, stop, NULL, 1, 0}, NULL, write_blocks, read_back, remove_files, 0},
    };
    *count = sizeof all / sizeof *all;
    return all;
}
