/* malloc and its relatives, and anonymous mmap, that fail at the n-th call, or from the n-th call on, while they are armed. `least` leaves
 * out the calls for fewer bytes. Only glibc has the names under which these functions reach the C library's own. Include it in one file
 * of a program. */
#ifndef FAILING_MALLOC_H
#define FAILING_MALLOC_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t align, size_t size);

static atomic_int armed;          /* calls are counted and may fail */
static atomic_long calls;         /* calls so far, while armed */
static atomic_long fail_at;       /* which call fails */
static atomic_int fail_from;      /* and all after it */
static atomic_size_t least;       /* calls for fewer bytes are not counted, and succeed */

static bool fails(size_t size)
{
    long n;
    if (!atomic_load(&armed) || size < atomic_load(&least))
        return false;
    n = atomic_fetch_add(&calls, 1) + 1;
    if (n != atomic_load(&fail_at) && !(atomic_load(&fail_from) && n > atomic_load(&fail_at)))
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return fails(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(count * size) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    return fails(size) ? NULL : __libc_realloc(block, size);
}

void *memalign(size_t align, size_t size)
{
    return fails(size) ? NULL : __libc_memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    return fails(size) ? NULL : __libc_memalign(align, size);
}

int posix_memalign(void **block, size_t align, size_t size)
{
    int kept = errno;
    void *at = fails(size) ? NULL : __libc_memalign(align, size);
    errno = kept;
    if (at == NULL)
        return ENOMEM;
    *block = at;
    return 0;
}

void *mmap(void *at, size_t len, int access, int flags, int fd, off_t offset)
{
    if ((flags & MAP_ANONYMOUS) && fails(len))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, len, access, flags, fd, offset);
}

static void arm(void)
{
    atomic_store(&armed, 1);
}

static void disarm(void)
{
    atomic_store(&armed, 0);
}

#endif
