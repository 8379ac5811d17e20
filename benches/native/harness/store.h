/* The storage that all contenders use: it counts events and adds up the first 8 bytes of each payload.
 *
 * If latencies are wanted, bytes 8 to 15 of a payload are the time in ticks at which the event was due, and the storage records
 * how long ago that was. It can also sleep for each batch. */
#ifndef BENCH_STORE_H
#define BENCH_STORE_H

#include "ticks.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

struct bench_store {
    uint64_t count, sum, batches;
    uint32_t shared;   /* several threads store at the same time */
    uint32_t sleep_us; /* per batch */
    /* NULL: latencies are not wanted. Otherwise the first `latency_limit` latencies, in ticks. */
    uint64_t *latencies;
    uint64_t latency_limit;
} __attribute__((aligned(128)));

/* The totals of a batch while it is stored. */
struct bench_batch {
    struct bench_store *store;
    uint64_t count, sum, now;
};

static inline struct bench_batch batch_begin(struct bench_store *store) {
    struct bench_batch batch = {store, 0, 0, store->latencies ? ticks() : 0};
    return batch;
}

static inline void batch_event(struct bench_batch *batch, const void *payload) {
    uint64_t head[2];
    memcpy(head, payload, 8);
    batch->sum += head[0];
    if (__builtin_expect(batch->now != 0, 0)) {
        uint64_t at = batch->store->count + batch->count;
        memcpy(head, payload, 16);
        if (at < batch->store->latency_limit) batch->store->latencies[at] = batch->now > head[1] ? batch->now - head[1] : 0;
    }
    batch->count++;
}

static inline void batch_end(const struct bench_batch *batch) {
    struct bench_store *store = batch->store;
    if (batch->count == 0) return;
    if (store->shared) {
        __atomic_fetch_add(&store->sum, batch->sum, __ATOMIC_RELAXED);
        __atomic_fetch_add(&store->batches, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&store->count, batch->count, __ATOMIC_RELEASE);
    } else {
        __atomic_store_n(&store->sum, store->sum + batch->sum, __ATOMIC_RELAXED);
        __atomic_store_n(&store->batches, store->batches + 1, __ATOMIC_RELAXED);
        __atomic_store_n(&store->count, store->count + batch->count, __ATOMIC_RELEASE);
    }
    if (store->sleep_us) {
        struct timespec time = {store->sleep_us / 1000000, store->sleep_us % 1000000 * 1000};
        nanosleep(&time, NULL);
    }
}

#endif
