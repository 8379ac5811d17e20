/* The table of stacks.
 *
 * It is a cache of a fixed size, shared by all threads without a lock. An entry tells stacks apart by 96 bits of their hash, so two of a
 * million stacks are taken for one with a probability of 2^-57. An entry is made after the stack's event has been captured: whoever finds
 * a number may use it. Threads that meet a new stack at the same time, and stacks whose entry was replaced, are captured again under
 * another number.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "stacks.h"

#include "ledger.h"

#include <stddef.h>
#include <sys/mman.h>

enum { WAYS = 4, BUCKETS = 1 << 17 };

/* 0: empty. The value is 32 more bits of the hash, and the number in the lower half. */
struct entry {
    _Atomic uint64_t hash, value;
};
struct bucket {
    _Alignas(64) struct entry entries[WAYS];
};

static struct bucket *table;
static _Atomic uint64_t last_number;

bool stacks_open(void) {
    if (table != NULL) return true;
    void *memory = mmap(NULL, sizeof *table * BUCKETS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    table = memory;
    return true;
}

void stacks_after_fork(void) {
    atomic_store(&last_number, 0);
    if (table != NULL) madvise(table, sizeof *table * BUCKETS, MADV_DONTNEED); /* all 0 again */
}

static inline uint64_t mix(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Two hashes that are computed side by side. */
static uint64_t hash_of(const struct stack *stack, uint32_t *check) {
    uint64_t hash = stack->count * UINT64_C(0x9e3779b97f4a7c15) + stack->end, sum = hash, factor = UINT64_C(0xd6e8feb86659fd93);
    uint32_t pairs = stack->count & ~1u;
    for (uint32_t at = 0; at < pairs; at += 2) hash = mix(hash ^ stack->addresses[at], stack->addresses[at + 1] ^ UINT64_C(0xa0761d6478bd642f));
    if (pairs != stack->count) hash = mix(hash ^ stack->addresses[pairs], UINT64_C(0xa0761d6478bd642f));
    for (uint32_t at = 0; at < stack->count; at++) {
        sum += mix(stack->addresses[at] ^ UINT64_C(0xe7037ed1a0b428db), factor);
        factor += UINT64_C(0x8ebc6af09c88c6e4); /* stays odd, and differs from place to place */
    }
    *check = (uint32_t)(sum >> 32);
    return hash | 1; /* never 0 */
}

static uint32_t known_number(struct bucket *bucket, uint64_t hash, uint32_t check) {
    for (unsigned way = 0; way < WAYS; way++) {
        struct entry *entry = &bucket->entries[way];
        if (atomic_load_explicit(&entry->hash, memory_order_acquire) != hash) continue;
        uint64_t value = atomic_load_explicit(&entry->value, memory_order_acquire);
        /* The entry may be replaced between the two. */
        if (atomic_load_explicit(&entry->hash, memory_order_relaxed) == hash && value >> 32 == check) return (uint32_t)value;
    }
    return 0;
}

/* The value is 0 while the two words do not belong together. */
static void remember(struct bucket *bucket, uint64_t hash, uint64_t value) {
    struct entry *entry = NULL;
    for (unsigned way = 0; way < WAYS && entry == NULL; way++)
        if (atomic_load_explicit(&bucket->entries[way].hash, memory_order_relaxed) == 0) entry = &bucket->entries[way];
    if (entry == NULL) entry = &bucket->entries[(uint32_t)value % WAYS];
    atomic_store(&entry->value, 0);
    atomic_store(&entry->hash, hash);
    atomic_store(&entry->value, value);
}

/* 0: the event of the stack was lost. */
static uint32_t number_of(const struct stack *stack, uint64_t timestamp_ns) {
    uint32_t check;
    uint64_t hash = hash_of(stack, &check);
    struct bucket *bucket = &table[(hash >> 32) % BUCKETS];
    uint32_t number = known_number(bucket, hash, check);
    if (__builtin_expect(number != 0, 1)) return number;
    uint64_t next = atomic_fetch_add(&last_number, 1) + 1;
    if (next <= UINT32_MAX) {
        atomic_fetch_add_explicit(&ledger->records, 1, memory_order_relaxed);
        if (event_capture_stack((uint32_t)next, stack, timestamp_ns) == PIPELINE_OK) {
            remember(bucket, hash, (uint64_t)check << 32 | next);
            return (uint32_t)next;
        }
    }
    atomic_fetch_add_explicit(&ledger->stacks_lost, 1, memory_order_relaxed);
    return 0;
}

void capture_with_number(struct call_event *event, const struct stack *stack) {
    if (stack != NULL) event->stack = number_of(stack, event->timestamp_ns);
    event_capture(event);
}
