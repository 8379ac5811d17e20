/* The interface of a contender: the library itself, a floor (a lower bound) or a peer.
 *
 * For each measurement a contender is loaded into a new process. It accepts events on the capturing threads and delivers them to
 * the storage, which is the same for all contenders (store.h). A shared object exports `contenders()`. */
#ifndef BENCH_CONTENDER_H
#define BENCH_CONTENDER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench_store;

/* One measurement. */
struct bench_setup {
    uint32_t threads; /* capturing threads */
    uint32_t payload; /* bytes of each event, 16 to 4096 */
    uint32_t writers; /* draining threads, if the contender supports several */
    uint32_t batch;   /* events per batch; 0: the contender's default */
    uint32_t lossless; /* 1: a capture into a full queue blocks. 0: the harness never fills the queue */
    uint32_t metrics;  /* how often per second another thread reads the contender's metrics */
    double ns_per_tick;
    struct bench_store *store;
    /* Stores `count` payloads that are `stride` bytes apart. For contenders that do not include store.h. */
    void (*store_payloads)(struct bench_store *store, const void *first, size_t stride, size_t count);
};

/* Events to capture: event i has the payload at payloads + (i & mask) * stride. */
struct bench_burst {
    const unsigned char *payloads;
    uint32_t stride, mask;
    uint32_t count, payload;
};

struct contender {
    const char *name;
    const char *configuration; /* one sentence */
    /* Returns NULL, or a sentence that says what failed. */
    const char *(*start)(const struct bench_setup *setup);
    /* Called on the capturing thread, with its number from 0. */
    void *(*open)(uint32_t thread);
    void (*capture)(void *handle, const struct bench_burst *burst);
    void (*close)(void *handle);
    /* Stores everything that was captured. Returns NULL, or a sentence that says what failed. */
    const char *(*stop)(void);
    /* For contenders without a consumer thread, else NULL: stores the events of a thread, on that thread, between bursts. */
    void (*drain)(void *handle);
    /* 1: events reach the storage only in stop(), so the harness cannot wait for them. */
    uint32_t stores_at_stop;
    /* The largest burst of 64-byte events that the queue holds; 0: at least 1000. */
    uint32_t burst_limit;
};

/* The contenders of a shared object, `*count` of them. */
const struct contender *contenders(size_t *count);

/* A contender that writes events to files: the storages, the loops that do nothing but write, and tracers. A function may be NULL. */
struct storage_contender {
    struct contender contender;
    /* Waits until everything captured is in the files. NULL: it is when stop() returns. Returns as start() does. */
    const char *(*wait_until_written)(void);
    /* Called instead of capturing: writes `*events` events of the contender's own, or a few more. Sets `*events` and the sum of the first 8
     * bytes of their payloads. Returns as start() does. */
    const char *(*write_own)(uint64_t *events, uint64_t *sum);
    /* Called after stop(): delivers all events of the files to the storage of the setup, and sets `*bytes` to the size of the files. Returns as start() does. */
    const char *(*read_back)(uint64_t *bytes);
    /* Called last: deletes the files. */
    void (*remove_files)(void);
    /* 1: the storage of the setup gets the number of events and no sum. */
    uint32_t counts_only;
};

/* What such an object exports instead of contenders(). */
const struct storage_contender *storage_contenders(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
