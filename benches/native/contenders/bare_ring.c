/* The floor: a ring buffer for each thread with records of one size, one consumer, and nothing else.
 *
 * A record is a header of 32 bytes with the time in it, and the payload. Each side keeps what it last saw of the other's index. No
 * ledger, no batches that outlive a failure, no sizes that vary, no bounds on anything but the ring: what is measured here is
 * what the memory and the processor ask for. The consumer polls, or sleeps and is woken; then either it pays for the fence
 * (membarrier), or each capture does. */
#define _GNU_SOURCE
#include "../harness/contender.h"
#include "../harness/store.h"

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RING_BYTES = 1 << 20, MOST_RINGS = 64, LOOKS_BEFORE_SLEEP = 5, SMALL = 512, WAIT_NS = 2000, AHEAD = 64 };

struct header { uint32_t bytes, kind; uint64_t sequence, time, thread; };

/* Each side's words are in lines of their own, what both only read as well. */
struct ring {
    unsigned char *records;
    uint64_t mask, stride, thread;
    /* the producer's */
    uint64_t tail __attribute__((aligned(128)));
    uint64_t seen_head;
    /* the consumer's */
    uint64_t head __attribute__((aligned(128)));
} __attribute__((aligned(128)));

enum rest { POLL, FENCE, MEMBARRIER, PREFETCH };

static struct ring *rings[MOST_RINGS];
static uint32_t ring_count, asleep __attribute__((aligned(128))), ending __attribute__((aligned(128)));
static const struct bench_setup *setup;
static struct bench_setup kept;
static pthread_t consumer;
static enum rest rest_of_it;
static uint64_t wait_ticks;

static void futex(int what, uint32_t value) { syscall(SYS_futex, &asleep, what | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0); }

static uint64_t drain(struct ring *r) {
    uint64_t tail = __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE), head = r->head;
    if (tail == head) return 0;
    struct bench_batch batch = batch_begin(setup->store);
    const unsigned char *payloads = r->records + sizeof(struct header);
    uint64_t mask = r->mask, stride = r->stride;
    for (uint64_t i = head; i != tail; i++) batch_event(&batch, payloads + (i & mask) * stride);
    __atomic_store_n(&r->head, tail, __ATOMIC_RELEASE);
    batch_end(&batch);
    return tail - head;
}

static uint64_t drain_all(void) {
    uint64_t got = 0;
    uint32_t count = __atomic_load_n(&ring_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < count; i++) got += drain(rings[i]);
    return got;
}

static void sleep_until_woken(void) {
    __atomic_store_n(&asleep, 1, __ATOMIC_SEQ_CST);
    if (rest_of_it == MEMBARRIER) syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    else __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!drain_all() && !__atomic_load_n(&ending, __ATOMIC_ACQUIRE)) futex(FUTEX_WAIT, 1);
    __atomic_store_n(&asleep, 0, __ATOMIC_RELAXED);
}

static void *consume(void *unused) {
    uint32_t looks = 0;
    for (;;) {
        bool last = __atomic_load_n(&ending, __ATOMIC_ACQUIRE);
        uint64_t got = drain_all();
        if (got == 0 && last) return unused;
        looks = got ? 0 : looks + 1;
        if (rest_of_it != POLL && rest_of_it != PREFETCH && looks > LOOKS_BEFORE_SLEEP) {
            sleep_until_woken();
            looks = 0;
        }
        /* One that follows too closely takes the lines away that are being written. */
        if (got < SMALL) for (uint64_t until = ticks() + wait_ticks; ticks() < until;) relax();
    }
}

static const char *start(const struct bench_setup *given, enum rest rest) {
    kept = *given;
    setup = &kept;
    rest_of_it = rest;
    wait_ticks = (uint64_t)(WAIT_NS / given->ns_a_tick);
    if (rest == MEMBARRIER && syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0)) return "no membarrier(2)";
    return pthread_create(&consumer, NULL, consume, NULL) ? "no thread" : NULL;
}

static const char *start_polling(const struct bench_setup *given) { return start(given, POLL); }
static const char *start_prefetch(const struct bench_setup *given) { return start(given, PREFETCH); }
static const char *start_fence(const struct bench_setup *given) { return start(given, FENCE); }
static const char *start_membarrier(const struct bench_setup *given) { return start(given, MEMBARRIER); }

static void *open_ring(uint32_t thread) {
    struct ring *r = aligned_alloc(128, sizeof *r);
    uint64_t slots = 1;
    if (!r) return NULL;
    *r = (struct ring){.stride = (sizeof(struct header) + kept.payload + 7) & ~7u, .thread = thread};
    while (slots * 2 * r->stride <= RING_BYTES) slots *= 2;
    r->mask = slots - 1;
    if (!(r->records = aligned_alloc(4096, (slots * r->stride + 4095) & ~4095ul))) return NULL;
    memset(r->records, 0, slots * r->stride);
    static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&opening);
    uint32_t at = ring_count;
    rings[at] = r;
    __atomic_store_n(&ring_count, at + 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&opening);
    return r;
}

static __attribute__((noinline)) void wait_for_room(struct ring *r) {
    for (uint32_t looks = 0; r->tail - (r->seen_head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE)) > r->mask; looks++) {
        if (looks < 100) relax();
        else sched_yield();
    }
}

/* For writing: the line is taken from the consumer's cache before it is needed. */
static inline void prefetch(const unsigned char *line) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*line));
#else
    __builtin_prefetch(line, 1);
#endif
}

static inline __attribute__((always_inline)) void capture(struct ring *r, const unsigned char *payload, uint32_t bytes, uint64_t stride,
                                                          enum rest rest) {
    uint64_t tail = r->tail;
    if (__builtin_expect(tail - r->seen_head > r->mask, 0)) wait_for_room(r);
    unsigned char *record = r->records + (tail & r->mask) * stride;
    if (rest == PREFETCH) {
        const unsigned char *ahead = r->records + ((tail + AHEAD) & r->mask) * stride;
        prefetch(ahead);
        prefetch(ahead + 64);
    }
    struct header header = {bytes, 7, tail, ticks(), r->thread};
    memcpy(record, &header, sizeof header);
    memcpy(record + sizeof header, payload, bytes);
    __atomic_store_n(&r->tail, tail + 1, __ATOMIC_RELEASE);
    if (rest == POLL || rest == PREFETCH) return;
    if (rest == FENCE) __atomic_thread_fence(__ATOMIC_SEQ_CST);
    else __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (__builtin_expect(__atomic_load_n(&asleep, __ATOMIC_RELAXED), 0) && __atomic_exchange_n(&asleep, 0, __ATOMIC_SEQ_CST))
        futex(FUTEX_WAKE, 1);
}

static inline __attribute__((always_inline)) void capture_burst(void *handle, const struct bench_burst *burst, enum rest rest) {
    struct ring *r = handle;
    /* A size that the compiler knows is copied without a call. */
    if (burst->payload == 64)
        for (uint32_t i = 0; i < burst->count; i++)
            capture(r, burst->payloads + (size_t)(i & burst->mask) * burst->stride, 64, 96, rest);
    else
        for (uint32_t i = 0; i < burst->count; i++)
            capture(r, burst->payloads + (size_t)(i & burst->mask) * burst->stride, burst->payload, r->stride, rest);
}

static void capture_polled(void *handle, const struct bench_burst *burst) { capture_burst(handle, burst, POLL); }
static void capture_prefetch(void *handle, const struct bench_burst *burst) { capture_burst(handle, burst, PREFETCH); }
static void capture_fence(void *handle, const struct bench_burst *burst) { capture_burst(handle, burst, FENCE); }
static void capture_membarrier(void *handle, const struct bench_burst *burst) { capture_burst(handle, burst, MEMBARRIER); }

static void close_ring(void *handle) { (void)handle; }

static const char *stop(void) {
    __atomic_store_n(&ending, 1, __ATOMIC_RELEASE);
    if (__atomic_exchange_n(&asleep, 0, __ATOMIC_SEQ_CST)) futex(FUTEX_WAKE, 1);
    return pthread_join(consumer, NULL) ? "the consumer cannot be joined" : NULL;
}

const struct contender *contenders(size_t *count) {
    static const struct contender all[] = {
        {"bare ring, polling", "SPSC ring of 1 MiB per thread, the consumer never sleeps", start_polling, open_ring, capture_polled,
         close_ring, stop, NULL, 0, 0},
        {"bare ring, prefetching", "SPSC ring of 1 MiB per thread, the consumer never sleeps; the lines to be written are fetched 64 records ahead", start_prefetch, open_ring,
         capture_prefetch, close_ring, stop, NULL, 0, 0},
        {"bare ring, fence", "SPSC ring of 1 MiB per thread, the consumer sleeps; each capture pays for a fence", start_fence, open_ring, capture_fence,
         close_ring, stop, NULL, 0, 0},
        {"bare ring, membarrier", "SPSC ring of 1 MiB per thread, the consumer sleeps, and pays for the fence with membarrier", start_membarrier, open_ring,
         capture_membarrier, close_ring, stop, NULL, 0, 0},
    };
    *count = sizeof all / sizeof *all;
    return all;
}
