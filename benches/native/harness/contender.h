/* What the harness asks of whoever takes part: the library itself, the floors, the peers.
 *
 * A contender is loaded into a process of its own for each measurement. It takes events on the threads that capture and
 * gets them to the storage, which is the same for all (store.h). It exports `contenders()`. */
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
    uint32_t threads; /* that will capture */
    uint32_t payload; /* bytes of each event, 16 to 4096 */
    uint32_t writers; /* that drain, where a contender can have several */
    uint32_t batch;   /* events of a batch; 0: the contender's own choice */
    uint32_t lossless; /* 1: a capture into a full queue waits. 0: the harness never fills it */
    uint32_t metrics;  /* times a second that the contender's figures are read meanwhile */
    double ns_a_tick;
    struct bench_store *store;
    /* For contenders that do not include store.h: `count` payloads, `stride` bytes apart, are with the storage. */
    void (*take)(struct bench_store *store, const void *first, size_t stride, size_t count);
};

/* Events to capture: event i has the payload at payloads + (i & mask) * stride. */
struct bench_burst {
    const unsigned char *payloads;
    uint32_t stride, mask;
    uint32_t count, payload;
};

struct contender {
    const char *name;
    const char *configuration; /* in a sentence */
    /* 0, or a sentence about what failed. */
    const char *(*start)(const struct bench_setup *setup);
    /* On the thread that captures; its number from 0. */
    void *(*open)(uint32_t thread);
    void (*capture)(void *handle, const struct bench_burst *burst);
    void (*close)(void *handle);
    /* 0, or a sentence. Afterwards everything that was captured is with the storage. */
    const char *(*stop)(void);
    /* NULL, or what drains a thread's events on that thread, between the bursts: for contenders that have no consumer. */
    void (*drain)(void *handle);
    /* 1: the storage is filled only by stop(), so the harness cannot see when all is drained. */
    uint32_t blind;
    /* The most events of 64 bytes in a burst that fit without waiting; 0: 1000 do. */
    uint32_t room;
};

/* The contenders of a shared object, `*count` of them. */
const struct contender *contenders(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
