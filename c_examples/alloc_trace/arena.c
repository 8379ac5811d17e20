/* A small static arena.
 *
 * Licence: MIT OR Apache-2.0. */
#include "arena.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

enum { ARENA_BYTES = 32768 };
static _Alignas(64) char arena[ARENA_BYTES];
static _Atomic size_t used_bytes;

bool arena_contains(const void *address) {
    return (uintptr_t)address - (uintptr_t)arena < ARENA_BYTES;
}

size_t arena_bytes_from(const void *address) {
    return (size_t)(arena + ARENA_BYTES - (const char *)address);
}

void *arena_allocate(size_t alignment, size_t size) {
    if (alignment < 16) alignment = 16;
    if (size > ARENA_BYTES || alignment > 4096) goto full;
    size_t used = atomic_load(&used_bytes);
    for (;;) {
        size_t begin = (((uintptr_t)arena + used + alignment - 1) & ~(alignment - 1)) - (uintptr_t)arena;
        if (begin + size > ARENA_BYTES) goto full;
        if (atomic_compare_exchange_weak(&used_bytes, &used, begin + size)) return arena + begin;
    }
full:
    errno = ENOMEM;
    return NULL;
}
