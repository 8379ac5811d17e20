/* A small static arena: memory for calls that arrive before the real allocator is known. It never gets memory back. */
#ifndef ALLOC_TRACE_ARENA_H
#define ALLOC_TRACE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

/* NULL with errno ENOMEM if the arena is full. The memory is zero. */
void *arena_allocate(size_t alignment, size_t size);
bool arena_contains(const void *address);
/* Bytes from the address to the end of the arena: the most that a copy may read. */
size_t arena_bytes_from(const void *address);

#endif
