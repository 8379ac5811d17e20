/* Replacements for libc functions that the pipeline and SQLite inside this library call. The linker's --wrap redirects their
 * calls to here; calls of the traced program are not affected. open and close are in descriptors.c.
 *
 *   malloc and related   the real allocator directly: the tracer's memory is never an event, and a capture cannot recurse
 *   realpath             allocates its result with the real allocator, because it is freed there
 *   atexit               does nothing. libc would run the pipeline's exit handler together with our destructors, while other
 *                        libraries still allocate. The tracer closes the pipeline itself, after all other handlers
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "arena.h"
#include "real_functions.h"

#include <errno.h>
#include <limits.h>

/* The linker fixes these names. */
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
void __wrap_free(void *address);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_memalign(size_t alignment, size_t size);
char *__wrap_realpath(const char *path, char *resolved);
char *__real_realpath(const char *path, char *resolved);
int __wrap_atexit(void (*handler)(void));

void *__wrap_malloc(size_t size) {
    return real_functions()->malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    return real_functions()->calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size) {
    return real_functions()->realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : real_functions()->realloc(old, bytes);
}

void __wrap_free(void *address) {
    if (!arena_contains(address)) real_functions()->free(address);
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t size) {
    return real_functions()->posix_memalign(out, alignment, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return real_functions()->aligned_alloc(alignment, size);
}

void *__wrap_memalign(size_t alignment, size_t size) {
    return real_functions()->memalign(alignment, size);
}

/* If the program defines malloc, libc would take the result from there, and our free would give it to another allocator. */
char *__wrap_realpath(const char *path, char *resolved) {
    char *to = resolved != NULL ? resolved : real_functions()->malloc(PATH_MAX);
    char *result = to != NULL ? __real_realpath(path, to) : NULL;
    if (result == NULL && resolved == NULL && to != NULL) {
        int saved_errno = errno;
        real_functions()->free(to);
        errno = saved_errno;
    }
    return result;
}

int __wrap_atexit(void (*handler)(void)) {
    (void)handler;
    return 0;
}
