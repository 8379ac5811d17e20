/* What the pipeline and the SQLite inside this library get instead of some libc functions. The linker's --wrap sends
 * their calls here; the traced program's own calls are not touched.
 *
 *   malloc and its like   straight to the next allocator: the tool's memory is never an event, and no event can recurse
 *   open                  the file descriptor is moved up out of the way: a shell's "exec 3>file" or a daemon that tidies
 *                         up the low descriptors must not end up with its file under our database
 *   atexit                not registered: libc would run the pipeline's exit handler with our destructors, while other
 *                         libraries still have allocations to make. The tool closes the pipeline itself, last of all
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "trace.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

/* Named by the linker. */
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
void __wrap_free(void *address);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_memalign(size_t alignment, size_t size);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_atexit(void (*handler)(void));

void *__wrap_malloc(size_t size) {
    return next_functions()->malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    return next_functions()->calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size) {
    return next_functions()->realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : next_functions()->realloc(old, bytes);
}

void __wrap_free(void *address) {
    if (!in_arena(address)) next_functions()->free(address);
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t size) {
    return next_functions()->posix_memalign(out, alignment, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return next_functions()->aligned_alloc(alignment, size);
}

void *__wrap_memalign(size_t alignment, size_t size) {
    return next_functions()->memalign(alignment, size);
}

/* High, but not so high that the kernel's table of descriptors grows by megabytes. */
enum { HIGHEST_BASE = 4096, ROOM_ABOVE_BASE = 96 };

static int moved_up(int fd) {
    if (fd < 0) return fd;
    struct rlimit limit;
    rlim_t top = HIGHEST_BASE;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < top) top = limit.rlim_cur;
    if (top <= ROOM_ABOVE_BASE || fd >= (int)(top - ROOM_ABOVE_BASE)) return fd;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, (int)(top - ROOM_ABOVE_BASE));
    if (high < 0) return fd;
    close(fd);
    return high;
}

int __wrap_open(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = (mode_t)va_arg(rest, unsigned);
        va_end(rest);
    }
    /* openat: it is not wrapped. */
    return moved_up(openat(AT_FDCWD, path, flags | O_CLOEXEC, mode));
}

int __wrap_open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = (mode_t)va_arg(rest, unsigned);
        va_end(rest);
    }
    return moved_up(openat(AT_FDCWD, path, flags | O_CLOEXEC, mode));
}

int __wrap_atexit(void (*handler)(void)) {
    (void)handler;
    return 0;
}
