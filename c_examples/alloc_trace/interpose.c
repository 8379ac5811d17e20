/* The allocation functions as the traced program calls them: each does what the next allocator does, and captures the
 * call. A release is captured before it happens and an allocation after it, so that by the time stamps no address is
 * handed out twice. errno is as the next allocator leaves it.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "trace.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default"), noinline))
#define SITE __builtin_extract_return_addr(__builtin_return_address(0))

/* A signal handler that ends the process while its thread is inside the allocator must know that. Only a handler on this
 * thread looks, so a compiler fence is enough. */
#define ENTER bool was_in = this_thread.in_next; this_thread.in_next = true; atomic_signal_fence(memory_order_seq_cst)
#define LEAVE atomic_signal_fence(memory_order_seq_cst); this_thread.in_next = was_in

static size_t product(size_t count, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? SIZE_MAX : bytes;
}

EXPORT void *malloc(size_t size) {
    const struct next *next = next_functions();
    ENTER;
    void *address = next->malloc(size);
    LEAVE;
    capture_call(CALL_MALLOC, size, address, NULL, 0, SITE);
    return address;
}

EXPORT void *calloc(size_t count, size_t size) {
    const struct next *next = next_functions();
    ENTER;
    void *address = next->calloc(count, size);
    LEAVE;
    capture_call(CALL_CALLOC, product(count, size), address, NULL, 0, SITE);
    return address;
}

EXPORT void free(void *address) {
    capture_call(CALL_FREE, 0, address, NULL, 0, SITE);
    if (in_arena(address)) return; /* the arena is never given back */
    const struct next *next = next_functions();
    ENTER;
    next->free(address);
    LEAVE;
}

/* realloc releases the old address somewhere inside the call, where another thread can be given it before we have
 * captured: the time before the call goes into the event. */
static void *resize(unsigned call, void *old, size_t size, const void *site) {
    const struct next *next = next_functions();
    uint64_t began_ns = old != NULL ? monotonic_ns() : 0;
    void *address;
    ENTER;
    if (in_arena(old)) {
        address = next->malloc(size);
        if (address != NULL) {
            size_t room = arena_room(old);
            memcpy(address, old, size < room ? size : room);
        }
    } else {
        address = next->realloc(old, size);
    }
    LEAVE;
    capture_call(call, size, address, old, began_ns, site);
    return address;
}

EXPORT void *realloc(void *old, size_t size) {
    return resize(CALL_REALLOC, old, size, SITE);
}

/* Not handed to libc's, which calls realloc: the call would be captured twice, once with a call site inside libc. */
EXPORT void *reallocarray(void *old, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        capture_call(CALL_REALLOCARRAY, SIZE_MAX, NULL, old, monotonic_ns(), SITE);
        errno = ENOMEM;
        return NULL;
    }
    return resize(CALL_REALLOCARRAY, old, bytes, SITE);
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t size) {
    const struct next *next = next_functions();
    ENTER;
    int failed = next->posix_memalign(out, alignment, size);
    LEAVE;
    capture_call(CALL_POSIX_MEMALIGN, size, failed ? NULL : *out, NULL, 0, SITE);
    return failed;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
    const struct next *next = next_functions();
    ENTER;
    void *address = next->aligned_alloc(alignment, size);
    LEAVE;
    capture_call(CALL_ALIGNED_ALLOC, size, address, NULL, 0, SITE);
    return address;
}

EXPORT void *memalign(size_t alignment, size_t size) {
    const struct next *next = next_functions();
    ENTER;
    void *address = next->memalign(alignment, size);
    LEAVE;
    capture_call(CALL_MEMALIGN, size, address, NULL, 0, SITE);
    return address;
}

/* musl has neither of these two; a program that runs there does not call them. */
EXPORT void *valloc(size_t size) {
    const struct next *next = next_functions();
    ENTER;
    void *address = next->valloc != NULL ? next->valloc(size) : next->memalign((size_t)sysconf(_SC_PAGESIZE), size);
    LEAVE;
    capture_call(CALL_VALLOC, size, address, NULL, 0, SITE);
    return address;
}

EXPORT void *pvalloc(size_t size) {
    const struct next *next = next_functions();
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    ENTER;
    void *address;
    if (next->pvalloc != NULL) {
        address = next->pvalloc(size);
    } else if (size > SIZE_MAX - page) {
        errno = ENOMEM;
        address = NULL;
    } else {
        address = next->memalign(page, (size + page - 1) / page * page);
    }
    LEAVE;
    capture_call(CALL_PVALLOC, size, address, NULL, 0, SITE);
    return address;
}
