/* Several threads capture, several writers write small segments, raw and compressed: a reader gives every event once, in the order of time if it is
 * asked to, also while the journal is being written. */
#include "journal.h"

#define THREADS 4
#define EVENTS 6000

static pipeline_t *p;

static void *captures(void *argument)
{
    uint64_t thread = (uint64_t)(uintptr_t)argument, n;
    unsigned char bytes[200];
    memset(bytes, (int)thread, sizeof bytes);
    for (n = 0; n < EVENTS; n++) {
        uint64_t both = thread << 32 | n;
        memcpy(bytes, &both, sizeof both);
        CHECK_STATUS(pipeline_capture(p, (uint32_t)thread, bytes, 8 + n % 190), PIPELINE_OK);
    }
    return NULL;
}

static void start_writing(uint32_t writers, uint32_t encoding)
{
    pipeline_journal_options_t o;
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    CHECK_OR_STOP(pipeline_journal_options_init(&o, sizeof o) == PIPELINE_OK);
    o.segment_bytes = 65536;
    o.encoding = encoding;
    CHECK_OR_STOP(pipeline_storage_journal(JOURNAL, &o, sizeof s, &s) == PIPELINE_OK);
    c.writers = writers;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = 60000000;
    CHECK_OR_STOP(pipeline_start(&c, &s, &p) == PIPELINE_OK);
}

/* Every event once; with its own bytes. */
static void check_events(pipeline_reader_t *reader, bool ordered, uint64_t expected, int64_t timeout_ms)
{
    static unsigned char seen[THREADS][EVENTS];
    pipeline_reader_event_t event;
    uint64_t count = 0, last = 0;
    memset(seen, 0, sizeof seen);
    event.struct_size = sizeof event;
    while (count < expected) {
        uint64_t both, thread, n;
        const unsigned char *bytes;
        int32_t status = pipeline_reader_next(reader, timeout_ms, &event);
        if (!CHECK_STATUS(status, PIPELINE_OK))
            break;
        CHECK_OR_STOP(event.len >= sizeof both);
        bytes = (const unsigned char *)event.data;
        memcpy(&both, bytes, sizeof both);
        thread = both >> 32;
        n = both & 0xFFFFFFFF;
        CHECK_OR_STOP(thread < THREADS && n < EVENTS);
        CHECK(seen[thread][n]++ == 0 && event.kind == thread && event.len == 8 + n % 190);
        CHECK(event.len == 8 || bytes[event.len - 1] == thread);
        CHECK(!ordered || event.timestamp_ns >= last);
        last = event.timestamp_ns;
        count++;
    }
    CHECK_U64(count, expected);
    CHECK_U64(losses_of(reader).any, 0);
}

static void write_and_read(uint32_t encoding)
{
    pipeline_reader_options_t o = reader_defaults();
    pipeline_reader_event_t event;
    pipeline_reader_t *reader;
    pthread_t threads[THREADS];
    size_t i;
    CHECK_OR_STOP(mkdir(JOURNAL, 0700) == 0);
    o.flags = PIPELINE_READER_FOLLOW;
    reader = open_reader(JOURNAL, &o);
    start_writing(3, encoding);
    for (i = 0; i < THREADS; i++)
        threads[i] = start_thread(captures, (void *)(uintptr_t)i);
    check_events(reader, false, THREADS * EVENTS, PATIENCE_MS);
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    END(p);
    event.struct_size = sizeof event;
    CHECK_STATUS(pipeline_reader_next(reader, 0, &event), PIPELINE_ERR_TIMEOUT);
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
    for (i = 0; i < 2; i++) {
        o.flags = i == 0 ? 0 : PIPELINE_READER_TIME_ORDER;
        reader = open_reader(JOURNAL, &o);
        check_events(reader, i == 1, THREADS * EVENTS, 0);
        CHECK_STATUS(pipeline_reader_next(reader, 0, &event), PIPELINE_END);
        CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
    }
    remove_journal();
}

int main(void)
{
    uint32_t encoding;
    for (encoding = PIPELINE_JOURNAL_RAW; encoding <= PIPELINE_JOURNAL_COLUMNS_ZSTD; encoding++)
        write_and_read(encoding);
    return SUMMARY();
}
