/* The floor: one ring buffer per thread with records of fixed size, one consumer, and nothing else.
 *
 * A record is a header of 32 bytes, which contains the time, and the payload. Each side caches the index of the other side. There
 * is no ledger, no batch that survives a failure, no variable size and no limit except that of the ring. So it measures what the
 * memory and the processor cost. The consumer polls, or it sleeps and is woken. If it sleeps, either each capture executes a fence,
 * or the consumer does it for all threads with membarrier(2). */
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

enum { RING_BYTES = 1 << 20, MAX_RINGS = 64, POLLS_BEFORE_SLEEP = 5, SMALL = 512, WAIT_NS = 2000, AHEAD = 64 };

struct header { uint32_t bytes, kind; uint64_t sequence, time, thread; };

/* Producer, consumer and read-only fields are in separate cache lines. */
struct ring {
    unsigned char *records;
    uint64_t mask, stride, thread;
    /* written by the producer */
    uint64_t tail __attribute__((aligned(128)));
    uint64_t seen_head;
    /* written by the consumer */
    uint64_t head __attribute__((aligned(128)));
} __attribute__((aligned(128)));

enum waiting { POLL, FENCE, MEMBARRIER, PREFETCH };

static struct ring *rings[MAX_RINGS];
static uint32_t ring_count, asleep __attribute__((aligned(128))), ending __attribute__((aligned(128)));
static const struct bench_setup *setup;
static struct bench_setup kept;
static pthread_t consumer;
static enum waiting waiting;
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
    if (waiting == MEMBARRIER) syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    else __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!drain_all() && !__atomic_load_n(&ending, __ATOMIC_ACQUIRE)) futex(FUTEX_WAIT, 1);
    __atomic_store_n(&asleep, 0, __ATOMIC_RELAXED);
}

static void *consume(void *unused) {
    uint32_t polls = 0;
    for (;;) {
        bool last = __atomic_load_n(&ending, __ATOMIC_ACQUIRE);
        uint64_t got = drain_all();
        if (got == 0 && last) return unused;
        polls = got ? 0 : polls + 1;
        if (waiting != POLL && waiting != PREFETCH && polls > POLLS_BEFORE_SLEEP) {
            sleep_until_woken();
            polls = 0;
        }
        /* A consumer that follows too closely takes cache lines from the producer that is writing them. */
        if (got < SMALL) for (uint64_t until = ticks() + wait_ticks; ticks() < until;) relax();
    }
}

static const char *start(const struct bench_setup *given, enum waiting given_waiting) {
    kept = *given;
    setup = &kept;
    waiting = given_waiting;
    wait_ticks = (uint64_t)(WAIT_NS / given->ns_per_tick);
    if (waiting == MEMBARRIER && syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0)) return "membarrier(2) is not available";
    return pthread_create(&consumer, NULL, consume, NULL) ? "a thread cannot be created" : NULL;
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

static __attribute__((noinline)) void wait_for_space(struct ring *r) {
    for (uint32_t polls = 0; r->tail - (r->seen_head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE)) > r->mask; polls++) {
        if (polls < 100) relax();
        else sched_yield();
    }
}

/* Fetches the line for writing, before it is needed: it may be in the consumer's cache. */
static inline void prefetch(const unsigned char *line) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*line));
#else
    __builtin_prefetch(line, 1);
#endif
}

static inline __attribute__((always_inline)) void capture(struct ring *r, const unsigned char *payload, uint32_t bytes, uint64_t stride,
                                                          enum waiting how) {
    uint64_t tail = r->tail;
    if (__builtin_expect(tail - r->seen_head > r->mask, 0)) wait_for_space(r);
    unsigned char *record = r->records + (tail & r->mask) * stride;
    if (how == PREFETCH) {
        const unsigned char *ahead = r->records + ((tail + AHEAD) & r->mask) * stride;
        prefetch(ahead);
        prefetch(ahead + 64);
    }
    struct header header = {bytes, 7, tail, ticks(), r->thread};
    memcpy(record, &header, sizeof header);
    memcpy(record + sizeof header, payload, bytes);
    __atomic_store_n(&r->tail, tail + 1, __ATOMIC_RELEASE);
    if (how == POLL || how == PREFETCH) return;
    if (how == FENCE) __atomic_thread_fence(__ATOMIC_SEQ_CST);
    else __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (__builtin_expect(__atomic_load_n(&asleep, __ATOMIC_RELAXED), 0) && __atomic_exchange_n(&asleep, 0, __ATOMIC_SEQ_CST))
        futex(FUTEX_WAKE, 1);
}

static inline __attribute__((always_inline)) void capture_burst(void *handle, const struct bench_burst *burst, enum waiting how) {
    struct ring *r = handle;
    /* With a size known at compile time, the copy is inlined. */
    if (burst->payload == 64)
        for (uint32_t i = 0; i < burst->count; i++)
            capture(r, burst->payloads + (size_t)(i & burst->mask) * burst->stride, 64, 96, how);
    else
        for (uint32_t i = 0; i < burst->count; i++)
            capture(r, burst->payloads + (size_t)(i & burst->mask) * burst->stride, burst->payload, r->stride, how);
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
        {"bare ring, prefetching", "SPSC ring of 1 MiB per thread, the consumer never sleeps; the producer prefetches 64 records ahead", start_prefetch, open_ring,
         capture_prefetch, close_ring, stop, NULL, 0, 0},
        {"bare ring, fence", "SPSC ring of 1 MiB per thread, the consumer sleeps; each capture executes a fence", start_fence, open_ring, capture_fence,
         close_ring, stop, NULL, 0, 0},
        {"bare ring, membarrier", "SPSC ring of 1 MiB per thread, the consumer sleeps and executes the fence for all threads with membarrier", start_membarrier, open_ring,
         capture_membarrier, close_ring, stop, NULL, 0, 0},
    };
    *count = sizeof all / sizeof *all;
    return all;
}
