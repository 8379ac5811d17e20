/* The storage that all contenders have: it adds up the first 8 bytes of every payload, and counts.
 *
 * Where latencies are wanted, bytes 8 to 16 of a payload are the ticks at which the event was due, and the storage notes how
 * long ago that is. It can also sleep for each batch. */
#ifndef BENCH_STORE_H
#define BENCH_STORE_H

#include "ticks.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

struct bench_store {
    uint64_t count, sum, batches;
    uint32_t shared;   /* several threads store at a time */
    uint32_t sleep_us; /* for each batch */
    /* NULL: no latencies are wanted. In ticks, the first `room` of them. */
    uint64_t *latencies;
    uint64_t room;
} __attribute__((aligned(128)));

/* What a batch comes to, until it is done. */
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
        if (at < batch->store->room) batch->store->latencies[at] = batch->now > head[1] ? batch->now - head[1] : 0;
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
