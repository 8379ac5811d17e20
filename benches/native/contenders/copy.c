/* Below the floor: the copy alone, without a consumer thread. */
#include "../harness/contender.h"
#include "../harness/store.h"

#include <stdlib.h>

enum { RING_BYTES = 1 << 20, HEADER = 32 };

struct copies { unsigned char *bytes; uint64_t slots, stride, header, next, drained; };

static struct bench_setup setup;

static const char *start(const struct bench_setup *given) {
    setup = *given;
    return NULL;
}

static void *open_copies(uint32_t header) {
    struct copies *c = malloc(sizeof *c);
    if (!c) return NULL;
    *c = (struct copies){.stride = (setup.payload + header + 7) & ~7u, .header = header, .slots = 1};
    while (c->slots * 2 * c->stride <= RING_BYTES) c->slots *= 2;
    if (!(c->bytes = aligned_alloc(4096, (c->slots * c->stride + 4095) & ~4095ul))) return NULL;
    memset(c->bytes, 0, c->slots * c->stride);
    return c;
}

static void *open_plain(uint32_t thread) { return (void)thread, open_copies(0); }
static void *open_timed(uint32_t thread) { return (void)thread, open_copies(HEADER); }

static inline __attribute__((always_inline)) void copy(struct copies *c, const struct bench_burst *burst, uint32_t bytes, uint64_t stride,
                                                       int timed) {
    for (uint32_t i = 0; i < burst->count; i++) {
        unsigned char *place = c->bytes + (c->next++ & (c->slots - 1)) * stride;
        if (timed) {
            uint64_t header[HEADER / 8] = {bytes, c->next, ticks(), 7};
            memcpy(place, header, HEADER);
            place += HEADER;
        }
        memcpy(place, burst->payloads + (size_t)(i & burst->mask) * burst->stride, bytes);
        /* Keeps the compiler from removing the copy. */
        __asm__ volatile("" : : "r"(place) : "memory");
    }
}

static void capture_plain(void *handle, const struct bench_burst *burst) {
    struct copies *c = handle;
    if (burst->payload == 64) copy(c, burst, 64, 64, 0);
    else copy(c, burst, burst->payload, c->stride, 0);
}

static void capture_timed(void *handle, const struct bench_burst *burst) {
    struct copies *c = handle;
    if (burst->payload == 64) copy(c, burst, 64, 96, 1);
    else copy(c, burst, burst->payload, c->stride, 1);
}

static void drain(void *handle) {
    struct copies *c = handle;
    struct bench_batch batch = batch_begin(setup.store);
    for (; c->drained != c->next; c->drained++) batch_event(&batch, c->bytes + (c->drained & (c->slots - 1)) * c->stride + c->header);
    batch_end(&batch);
}

static void close_copies(void *handle) {
    struct copies *c = handle;
    drain(c);
    free(c->bytes);
    free(c);
}

static const char *stop(void) { return NULL; }

/* --- nothing: the cost of the measurement itself --- */
static void capture_nothing(void *handle, const struct bench_burst *burst) {
    struct copies *c = handle;
    for (uint32_t i = 0; i < burst->count; i++) {
        const unsigned char *payload = burst->payloads + (size_t)(i & burst->mask) * burst->stride;
        __asm__ volatile("" : : "r"(payload) : "memory");
        memcpy(c->bytes + (c->next++ & (c->slots - 1)) * c->stride, payload, 8);
    }
}

const struct contender *contenders(size_t *count) {
    static const struct contender all[] = {
        {"memcpy", "copies the payload into 1 MiB of memory that no other thread reads", start, open_plain, capture_plain, close_copies, stop,
         drain, 0, 0},
        {"memcpy, rdtsc", "copies a record with header and time into 1 MiB of memory that no other thread reads", start, open_timed, capture_timed, close_copies, stop, drain, 0, 0},
        {"nothing", "the cost of the measurement itself", start, open_plain, capture_nothing, close_copies, stop, drain, 0, 0},
    };
    *count = sizeof all / sizeof *all;
    return all;
}
