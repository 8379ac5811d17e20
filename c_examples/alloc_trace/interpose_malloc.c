/* The allocation functions, as the traced program calls them. Each calls the real function and captures the call.
 *
 * An allocation is captured after it has happened, a release before. So by the timestamps no address is in use twice at a
 * time. errno is as the real function leaves it.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "arena.h"
#include "calls.h"
#include "capture.h"
#include "interpose.h"
#include "nested.h"
#include "platform.h"
#include "real_functions.h"
#include "this_thread.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A signal handler that ends the process must know whether it has interrupted the allocator. Only handlers on this thread
 * read the flag, so a compiler fence suffices. */
#define ENTER_ALLOCATOR                               \
    bool was_in_allocator = this_thread.in_allocator; \
    this_thread.in_allocator = true;                  \
    atomic_signal_fence(memory_order_seq_cst)
#define LEAVE_ALLOCATOR                        \
    atomic_signal_fence(memory_order_seq_cst); \
    this_thread.in_allocator = was_in_allocator

static size_t product(size_t count, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? SIZE_MAX : bytes;
}

/* An allocation inside an operator new may be nested; the event is then the operator's. */
INLINED void capture_allocation(unsigned call, uint64_t size, const void *address, struct caller caller) {
    if (IN_OPERATOR && is_nested_allocation(call, size, (const void *)caller.site, caller.frame)) return;
    capture_call(call, size, address, NULL, 0, caller);
}

EXPORT void *malloc(size_t size) {
    const struct real_functions *real = real_functions();
    ENTER_ALLOCATOR;
    void *address = real->malloc(size);
    LEAVE_ALLOCATOR;
    capture_allocation(CALL_MALLOC, size, address, CALLER);
    return address;
}

EXPORT void *calloc(size_t count, size_t size) {
    const struct real_functions *real = real_functions();
    ENTER_ALLOCATOR;
    void *address = real->calloc(count, size);
    LEAVE_ALLOCATOR;
    capture_allocation(CALL_CALLOC, product(count, size), address, CALLER);
    return address;
}

EXPORT void free(void *address) {
    if (!IN_OPERATOR || !is_nested_release(CALL_FREE, address, FRAME)) capture_call(CALL_FREE, 0, address, NULL, 0, CALLER);
    if (arena_contains(address)) return; /* arena memory is not reused */
    const struct real_functions *real = real_functions();
    ENTER_ALLOCATOR;
    real->free(address);
    LEAVE_ALLOCATOR;
}

/* realloc releases the old address during the call, and another thread may get it before this call is captured. Therefore the
 * event has the time that the call took as well. */
INLINED void *resize(unsigned call, void *old, size_t size, void *(*real_realloc)(void *, size_t), struct caller caller) {
    const struct real_functions *real = real_functions();
    uint64_t began_ns = old != NULL ? monotonic_ns() : 0;
    void *address;
    ENTER_ALLOCATOR;
    if (arena_contains(old)) {
        address = real->malloc(size);
        if (address != NULL) {
            size_t most = arena_bytes_from(old);
            memcpy(address, old, size < most ? size : most);
        }
    } else {
        address = real_realloc(old, size);
    }
    LEAVE_ALLOCATOR;
    capture_call(call, size, address, old, old != NULL ? monotonic_ns() - began_ns : 0, caller);
    return address;
}

EXPORT void *realloc(void *old, size_t size) {
    if (IN_OPERATOR) is_inside_operator(FRAME);
    return resize(CALL_REALLOC, old, size, real_functions()->realloc, CALLER);
}

/* libc's reallocarray is not called: it calls realloc, so the call would be captured twice, the second time with a call site
 * inside libc. Instead the realloc that it would call is called. Another allocator's reallocarray is called. */
EXPORT void *reallocarray(void *old, size_t count, size_t size) {
    if (IN_OPERATOR) is_inside_operator(FRAME);
    const struct real_functions *real = real_functions();
    size_t bytes = product(count, size);
    if (real->reallocarray != NULL && !arena_contains(old)) {
        uint64_t began_ns = old != NULL ? monotonic_ns() : 0;
        ENTER_ALLOCATOR;
        void *address = real->reallocarray(old, count, size);
        LEAVE_ALLOCATOR;
        capture_call(CALL_REALLOCARRAY, bytes, address, old, old != NULL ? monotonic_ns() - began_ns : 0, CALLER);
        return address;
    }
    if (__builtin_mul_overflow(count, size, &bytes)) {
        capture_call(CALL_REALLOCARRAY, SIZE_MAX, NULL, old, 0, CALLER);
        errno = ENOMEM;
        return NULL;
    }
    return resize(CALL_REALLOCARRAY, old, bytes, real->array_realloc, CALLER);
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t size) {
    const struct real_functions *real = real_functions();
    ENTER_ALLOCATOR;
    int failed = real->posix_memalign(out, alignment, size);
    LEAVE_ALLOCATOR;
    capture_allocation(CALL_POSIX_MEMALIGN, size, failed ? NULL : *out, CALLER);
    return failed;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
    const struct real_functions *real = real_functions();
    ENTER_ALLOCATOR;
    void *address = real->aligned_alloc(alignment, size);
    LEAVE_ALLOCATOR;
    capture_allocation(CALL_ALIGNED_ALLOC, size, address, CALLER);
    return address;
}

EXPORT void *memalign(size_t alignment, size_t size) {
    const struct real_functions *real = real_functions();
    ENTER_ALLOCATOR;
    void *address = real->memalign(alignment, size);
    LEAVE_ALLOCATOR;
    capture_allocation(CALL_MEMALIGN, size, address, CALLER);
    return address;
}

/* musl has neither of the next two functions. */
EXPORT void *valloc(size_t size) {
    const struct real_functions *real = real_functions();
    ENTER_ALLOCATOR;
    void *address = real->valloc != NULL ? real->valloc(size) : real->memalign((size_t)sysconf(_SC_PAGESIZE), size);
    LEAVE_ALLOCATOR;
    capture_allocation(CALL_VALLOC, size, address, CALLER);
    return address;
}

EXPORT void *pvalloc(size_t size) {
    const struct real_functions *real = real_functions();
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    ENTER_ALLOCATOR;
    void *address;
    if (real->pvalloc != NULL) {
        address = real->pvalloc(size);
    } else if (size > SIZE_MAX - page) {
        errno = ENOMEM;
        address = NULL;
    } else {
        address = real->memalign(page, (size + page - 1) / page * page);
    }
    LEAVE_ALLOCATOR;
    capture_allocation(CALL_PVALLOC, size, address, CALLER);
    return address;
}
