/* The overflow policies: what happens if the storage is slower than the captures. Each policy gets the same burst, and the ledger
 * shows the outcome of every event.
 *
 *   drop_newest  a capture never waits; new events are dropped while the ring buffer is full
 *   drop_oldest  a capture never waits; old events are overwritten. Events that a writer has claimed are not overwritten, and
 *                while they are the oldest, new events are dropped
 *   block        a capture waits for space, for at most block_timeout_us
 *
 * For the first two policies the pipeline is paused during the burst, as if the storage were away. For the third the storage is
 * slow. */
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include <capture_pipeline.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#define BURST 3000

struct slow {
    unsigned long events, last;
};

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    struct slow *slow = user_data;
    struct timespec ms = {0, 1000000};
    nanosleep(&ms, NULL);
    slow->events += batch->count;
    memcpy(&slow->last, PIPELINE_BATCH_EVENT(batch, batch->count - 1)->data, sizeof slow->last);
    return PIPELINE_STORE_OK;
}

static int run(const char *name, uint32_t overflow, uint64_t block_timeout_us)
{
    struct slow slow = {0, 0};
    pipeline_config_t config;
    pipeline_storage_t storage;
    pipeline_metrics_t m;
    pipeline_t *pipeline = NULL;
    unsigned long number, captured = 0, full = 0;
    int good;

    pipeline_config_init(&config, sizeof config);
    config.ring_bytes = 16384; /* about 290 events of 8 bytes */
    config.batch_size = 64;
    config.overflow = overflow;
    config.block_timeout_us = block_timeout_us;
    pipeline_storage_init(&storage, sizeof storage);
    storage.store = store;
    storage.user_data = &slow;
    if (pipeline_start(&config, &storage, &pipeline) < 0) {
        fprintf(stderr, "start: %s\n", pipeline_last_error());
        return 0;
    }
    if (overflow != PIPELINE_OVERFLOW_BLOCK)
        pipeline_pause(pipeline);
    for (number = 0; number < BURST; number++) {
        int32_t status = pipeline_capture(pipeline, 1, &number, sizeof number);
        captured += status == PIPELINE_OK;
        full += status == PIPELINE_ERR_FULL;
    }
    pipeline_close(pipeline, 20000); /* ends the pause and drains the ring buffer */
    memset(&m, 0, sizeof m);
    m.struct_size = sizeof m;
    pipeline_metrics(pipeline, &m);
    pipeline_destroy(pipeline);

    printf("%-11s offered %llu = captured %llu + dropped_full %llu; captured = stored %llu + overwritten %llu\n", name,
           (unsigned long long)m.offered, (unsigned long long)m.captured, (unsigned long long)m.dropped_full,
           (unsigned long long)m.stored, (unsigned long long)m.overwritten);
    good = m.offered == BURST && m.captured == captured && m.dropped_full == full && captured + full == BURST &&
           m.captured == m.stored + m.overwritten && m.stored == slow.events;
    if (overflow == PIPELINE_OVERFLOW_DROP_NEWEST)
        good = good && m.overwritten == 0 && m.dropped_full > 0 && slow.last == captured - 1; /* the oldest survive */
    if (overflow == PIPELINE_OVERFLOW_DROP_OLDEST)
        good = good && m.overwritten > 0 && m.dropped_full == 0 && slow.last == BURST - 1; /* the newest survive */
    if (overflow == PIPELINE_OVERFLOW_BLOCK)
        good = good && m.overwritten == 0 && m.dropped_full == 0; /* the timeout is longer than the storage needs */
    return good;
}

int main(void)
{
    int good = run("drop_newest", PIPELINE_OVERFLOW_DROP_NEWEST, 0);
    good = run("drop_oldest", PIPELINE_OVERFLOW_DROP_OLDEST, 0) && good;
    good = run("block", PIPELINE_OVERFLOW_BLOCK, 10000000) && good;
    return good ? 0 : 1;
}
