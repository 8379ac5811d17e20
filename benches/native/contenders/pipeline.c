/* The library itself: the installed shared library, used through its header. */
#include "../harness/contender.h"
#include "../harness/store.h"

#include <capture_pipeline_fast.h>
#include <pthread.h>
#include <stdlib.h>

static pipeline_t *pipeline;
static uint32_t metrics_rate;
static int metrics_end;
static pthread_t metrics_thread;

static int32_t store(void *user_data, const pipeline_batch_t *batch) {
    struct bench_batch seen = batch_begin(user_data);
    for (size_t i = 0; i < batch->count; i++) batch_event(&seen, PIPELINE_BATCH_EVENT(batch, i)->data);
    batch_end(&seen);
    return PIPELINE_STORE_OK;
}

static void *read_metrics(void *unused) {
    struct timespec pause = {0, 1000000000 / metrics_rate};
    while (!__atomic_load_n(&metrics_end, __ATOMIC_RELAXED)) {
        pipeline_metrics_t metrics;
        metrics.struct_size = sizeof metrics;
        pipeline_metrics(pipeline, &metrics);
        nanosleep(&pause, NULL);
    }
    return unused;
}

static const char *start_with(const struct bench_setup *setup, uint32_t slice_us) {
    pipeline_config_t config;
    pipeline_storage_t storage;
    pipeline_config_init(&config, sizeof config);
    pipeline_storage_init(&storage, sizeof storage);
    storage.store = store;
    storage.user_data = setup->store;
    if (setup->writers > 1) storage.flags = PIPELINE_STORAGE_CONCURRENT;
    config.writers = setup->writers;
    config.writer_slice_us = slice_us;
    if (setup->batch) config.batch_size = setup->batch;
    if (setup->store->sleep_us) config.ring_bytes = 8 << 20;
    if (setup->lossless) {
        config.overflow = PIPELINE_OVERFLOW_BLOCK;
        config.block_timeout_us = 60000000;
    }
    if (pipeline_start(&config, &storage, &pipeline) < 0) return pipeline_last_error();
    metrics_rate = setup->metrics;
    if (metrics_rate && pthread_create(&metrics_thread, NULL, read_metrics, NULL)) return "a thread cannot be created";
    return NULL;
}

static const char *start(const struct bench_setup *setup) { return start_with(setup, 0); }
static const char *start_short(const struct bench_setup *setup) { return start_with(setup, 300); }

static const char *stop(void) {
    if (metrics_rate) {
        __atomic_store_n(&metrics_end, 1, __ATOMIC_RELAXED);
        pthread_join(metrics_thread, NULL);
    }
    if (pipeline_close(pipeline, 20000) < 0 || pipeline_destroy(pipeline) < 0) return pipeline_last_error();
    return NULL;
}

/* --- a producer handle --- */
static void *open_handle(uint32_t thread) {
    pipeline_producer_t *producer;
    (void)thread;
    return pipeline_producer_open(pipeline, &producer) < 0 ? NULL : producer;
}

static void capture_handle(void *handle, const struct bench_burst *burst) {
    pipeline_producer_t *producer = handle;
    for (uint32_t i = 0; i < burst->count; i++)
        pipeline_producer_capture(producer, 7, burst->payloads + (size_t)(i & burst->mask) * burst->stride, burst->payload);
}

static void close_handle(void *handle) { pipeline_producer_close(handle); }

/* --- a producer handle with the inlined capture --- */
struct inlined {
    pipeline_producer_t *producer;
    pipeline_fast_t *fast;
};

static void *open_inlined(uint32_t thread) {
    struct inlined *with = malloc(sizeof *with);
    if (!with) return NULL;
    with->producer = open_handle(thread);
    with->fast = with->producer ? pipeline_fast_of(with->producer) : NULL;
    return with->fast ? with : NULL;
}

static void capture_inlined(void *handle, const struct bench_burst *burst) {
    struct inlined with = *(struct inlined *)handle;
    /* As in bare_ring.c: a size known at compile time. */
    if (burst->payload == 64)
        for (uint32_t i = 0; i < burst->count; i++)
            pipeline_fast_capture(with.producer, with.fast, 7, burst->payloads + (size_t)(i & burst->mask) * burst->stride, 64);
    else
        for (uint32_t i = 0; i < burst->count; i++)
            pipeline_fast_capture(with.producer, with.fast, 7, burst->payloads + (size_t)(i & burst->mask) * burst->stride, burst->payload);
}

static void close_inlined(void *handle) {
    close_handle(((struct inlined *)handle)->producer);
    free(handle);
}

/* --- pipeline_capture, which finds the ring buffer of the thread --- */
static void *open_call(uint32_t thread) {
    (void)thread;
    return pipeline;
}

static void capture_call(void *handle, const struct bench_burst *burst) {
    const pipeline_t *p = handle;
    for (uint32_t i = 0; i < burst->count; i++)
        pipeline_capture(p, 7, burst->payloads + (size_t)(i & burst->mask) * burst->stride, burst->payload);
}

static void close_call(void *handle) { (void)handle; }

/* --- payload written in place --- */
static void capture_reserve(void *handle, const struct bench_burst *burst) {
    pipeline_producer_t *producer = handle;
    pipeline_event_t head = {.struct_size = sizeof head, .kind = 7};
    for (uint32_t i = 0; i < burst->count; i++) {
        void *place;
        if (pipeline_producer_reserve(producer, &head, burst->payload, &place) < 0) continue;
        memcpy(place, burst->payloads + (size_t)(i & burst->mask) * burst->stride, burst->payload);
        pipeline_producer_commit(producer, burst->payload);
    }
}

const struct contender *contenders(size_t *count) {
    static const struct contender all[] = {
        {"capture_pipeline, handle", "pipeline_producer_capture; all defaults", start, open_handle, capture_handle, close_handle, stop, NULL, 0, 0},
        {"capture_pipeline, short slices", "pipeline_producer_capture; writer_slice_us = 300, otherwise defaults", start_short, open_handle, capture_handle, close_handle, stop, NULL, 0, 0},
        {"capture_pipeline, inlined", "pipeline_fast_capture (capture_pipeline_fast.h); all defaults", start, open_inlined, capture_inlined, close_inlined, stop, NULL, 0, 0},
        {"capture_pipeline, call", "pipeline_capture; all defaults", start, open_call, capture_call, close_call, stop, NULL, 0, 0},
        {"capture_pipeline, in place", "pipeline_producer_reserve and _commit; all defaults", start, open_handle, capture_reserve, close_handle, stop, NULL, 0, 0},
    };
    *count = sizeof all / sizeof *all;
    return all;
}
