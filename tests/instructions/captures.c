/* 1600 captures by each function, for callgrind to count, and the claims of a writer that takes them all: tests/instructions.sh runs it.
 *
 * The pipeline has no writers and room for everything, so that each capture takes the fast path, but for one in 16 KiB (it is the ring's
 * first lap, see src/ring/memory/resident.rs). Instructions are counted inside the functions `counted_...` only, so those of an
 * inlined capture include the function around it. Of the writer at the end, the library's own function for claiming a batch is counted. */
#include <capture_pipeline_fast.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

enum { WARM = 160, EVENTS = 1600, MANY = 16, WAYS = 9 };

static pipeline_t *pipeline;
static pipeline_producer_t *producer;
static pipeline_fast_t *fast;
static unsigned char payload[64];
static volatile size_t not_known = sizeof payload;
static pipeline_event_t events[MANY];

#define COUNTED __attribute__((noinline)) static int32_t

COUNTED counted_handle(void) { return pipeline_producer_capture(producer, 7, payload, sizeof payload); }

COUNTED counted_inlined(void) { return pipeline_fast_capture(producer, fast, 7, payload, sizeof payload); }

COUNTED counted_inlined_of_any_length(void) { return pipeline_fast_capture(producer, fast, 7, payload, not_known); }

COUNTED counted_inlined_event(void) {
    pipeline_event_t event = {.struct_size = sizeof event, .kind = 7, .correlation_id = 1, .node_id = 2, .data = payload, .len = sizeof payload};
    return pipeline_fast_capture_event(producer, fast, &event);
}

COUNTED counted_call(void) { return pipeline_capture(pipeline, 7, payload, sizeof payload); }

COUNTED counted_handle_event(void) {
    pipeline_event_t event = {.struct_size = sizeof event, .kind = 7, .correlation_id = 1, .node_id = 2, .data = payload, .len = sizeof payload};
    return pipeline_producer_capture_event(producer, &event);
}

/* One in MANY of them: the counts are those of an event. */
COUNTED counted_many(void) {
    static unsigned calls;
    if (calls++ % MANY) return PIPELINE_OK;
    return pipeline_producer_capture_many(producer, events, MANY, NULL);
}

COUNTED counted_in_place(void) {
    pipeline_event_t head = {.struct_size = sizeof head, .kind = 7};
    void *place;
    int32_t reserved = pipeline_producer_reserve(producer, &head, sizeof payload, &place);
    if (reserved < 0) return reserved;
    memcpy(place, payload, sizeof payload);
    return pipeline_producer_commit(producer, sizeof payload);
}

/* Called at the end alone: until then there are no writers. */
static int32_t store(void *user_data, const pipeline_batch_t *batch) {
    (void)user_data, (void)batch;
    return PIPELINE_STORE_OK;
}

static void read_figures(void) {
    pipeline_metrics_t metrics;
    metrics.struct_size = sizeof metrics;
    if (pipeline_metrics(pipeline, &metrics) < 0) abort();
}

static void require(int32_t status) {
    if (status != PIPELINE_OK) {
        fprintf(stderr, "%s\n", pipeline_last_error());
        exit(1);
    }
}

/* `counted` WARM times unseen, then EVENTS times, with `between` after every tenth. */
static void count(int32_t (*counted)(void), void (*between)(void)) {
    for (int i = 0; i < WARM; i++) require(counted());
    CALLGRIND_ZERO_STATS;
    for (int i = 0; i < EVENTS; i++) {
        require(counted());
        if (between && i % 10 == 9) between();
    }
}

int main(void) {
    pipeline_config_t config;
    pipeline_storage_t storage;
    pipeline_metrics_t metrics;
    require(pipeline_config_init(&config, sizeof config));
    require(pipeline_storage_init(&storage, sizeof storage));
    storage.store = store;
    config.writers = 0;
    config.ring_bytes = 4 << 20;
    require(pipeline_start(&config, &storage, &pipeline));
    require(pipeline_producer_open(pipeline, &producer));
    if (!(fast = pipeline_fast_of(producer))) require(PIPELINE_ERR_UNSUPPORTED);

    count(counted_handle, NULL);
    CALLGRIND_DUMP_STATS_AT("pipeline_producer_capture");
    count(counted_handle, read_figures);
    CALLGRIND_DUMP_STATS_AT("pipeline_producer_capture, figures read");
    count(counted_handle_event, NULL);
    CALLGRIND_DUMP_STATS_AT("pipeline_producer_capture_event");
    count(counted_inlined, NULL);
    CALLGRIND_DUMP_STATS_AT("pipeline_fast_capture");
    count(counted_inlined_of_any_length, NULL);
    CALLGRIND_DUMP_STATS_AT("pipeline_fast_capture, of any length");
    count(counted_inlined_event, NULL);
    CALLGRIND_DUMP_STATS_AT("pipeline_fast_capture_event");
    for (int i = 0; i < MANY; i++)
        events[i] = (pipeline_event_t){.struct_size = sizeof *events, .kind = 7, .correlation_id = 1, .data = payload, .len = sizeof payload};
    count(counted_many, NULL);
    CALLGRIND_DUMP_STATS_AT("pipeline_producer_capture_many, each of 16");
    count(counted_in_place, NULL);
    CALLGRIND_DUMP_STATS_AT("pipeline_producer_reserve and _commit");
    count(counted_call, NULL);
    CALLGRIND_DUMP_STATS_AT("pipeline_capture");

    CALLGRIND_ZERO_STATS;
    require(pipeline_scale(pipeline, 1));
    require(pipeline_flush(pipeline, -1));
    CALLGRIND_DUMP_STATS_AT("claimed by a writer, in batches of 512");

    metrics.struct_size = sizeof metrics;
    require(pipeline_metrics(pipeline, &metrics));
    require(pipeline_producer_close(producer));
    require(pipeline_close(pipeline, -1));
    require(pipeline_destroy(pipeline));
    if (metrics.captured != WAYS * (WARM + EVENTS) || metrics.stored != metrics.captured) {
        fprintf(stderr, "%d events offered, %llu captured, %llu stored\n", WAYS * (WARM + EVENTS), (unsigned long long)metrics.captured,
                (unsigned long long)metrics.stored);
        return 1;
    }
    return 0;
}
