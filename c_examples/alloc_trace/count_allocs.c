/* count_allocs: the second, independent preload library. It counts the calls of each allocation function and does
 * nothing else; it shares no code with alloc_trace and does not use the pipeline.
 *
 * Put before alloc_trace in LD_PRELOAD, it sees every call first, so that both count the same run. Each function ends in
 * a jump to the next one (a tail call), so that alloc_trace still finds the program's call site as return address.
 *
 * Counts lie in a file that is mapped shared (COUNT_ALLOCS_DIR/PID-N.count: 16 words of 64 bits, by call), so they are
 * right up to the last call, however the process ends. A forked child counts in a file of its own.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default"), noinline, optimize("O2")))

enum { WORDS = 16, PAGE = 4096 };
enum { MALLOC = 1, CALLOC, REALLOC, FREE, POSIX_MEMALIGN, ALIGNED_ALLOC, MEMALIGN, VALLOC, PVALLOC, REALLOCARRAY };

/* A page of its own: the file is mapped over it. */
static union {
    _Atomic uint64_t words[WORDS];
    char bytes[PAGE];
} count __attribute__((aligned(PAGE)));

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void *(*next_reallocarray)(void *, size_t, size_t); /* NULL: libc's, which would call realloc */
static void (*next_free)(void *);
static int (*next_posix_memalign)(void **, size_t, size_t);
static void *(*next_aligned_alloc)(size_t, size_t);
static void *(*next_memalign)(size_t, size_t);
static void *(*next_valloc)(size_t);
static void *(*next_pvalloc)(size_t);

/* What dlsym itself may need while it looks up. */
static __thread int looking_up;
static _Alignas(16) char early[16384];
static size_t early_used;

static void *early_memory(size_t size) {
    size = (size + 15) & ~(size_t)15;
    if (size > sizeof early - early_used) return NULL;
    void *address = early + early_used;
    early_used += size;
    return address;
}

static int is_early(const void *address) {
    return (uintptr_t)address - (uintptr_t)early < sizeof early;
}

/* Moves the counts to a file of this process, while it has one thread: at its first call, or in a forked child. Only
 * system calls. */
static void share(void) {
    const char *directory = environ != NULL ? getenv("COUNT_ALLOCS_DIR") : NULL;
    if (directory == NULL) return;
    char path[1024];
    int fd = -1;
    for (unsigned image = 0; fd < 0 && image < 100000; image++) {
        if (snprintf(path, sizeof path, "%s/%d-%u.count", directory, (int)getpid(), image) >= (int)sizeof path) return;
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) return;
    }
    if (fd < 0) return;
    if (write(fd, &count, sizeof count) == (ssize_t)sizeof count)
        mmap(&count, sizeof count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    close(fd);
}

static void find(void *slot, const char *name) {
    void *address = dlsym(RTLD_NEXT, name);
    memcpy(slot, &address, sizeof address);
}

static void find_all(void) {
    if (looking_up) return;
    looking_up = 1;
    find(&next_calloc, "calloc");
    find(&next_realloc, "realloc");
    find(&next_free, "free");
    find(&next_posix_memalign, "posix_memalign");
    find(&next_aligned_alloc, "aligned_alloc");
    find(&next_memalign, "memalign");
    find(&next_valloc, "valloc");
    find(&next_pvalloc, "pvalloc");
    find(&next_reallocarray, "reallocarray");
    void *realloc_address, *array_address;
    Dl_info of_realloc, of_array;
    memcpy(&realloc_address, &next_realloc, sizeof realloc_address);
    memcpy(&array_address, &next_reallocarray, sizeof array_address);
    if (array_address == NULL || (dladdr(array_address, &of_array) && strstr(of_array.dli_fname, "libc.") != NULL &&
                                  dladdr(realloc_address, &of_realloc)))
        next_reallocarray = NULL;
    find(&next_malloc, "malloc"); /* last: it says that all are there */
    share();
    looking_up = 0;
}

#define READY __builtin_expect(next_malloc != NULL || (find_all(), next_malloc != NULL), 1)
#define COUNT(call) atomic_fetch_add_explicit(&count.words[call], 1, memory_order_relaxed)

EXPORT void *malloc(size_t size) {
    if (!READY) return early_memory(size);
    COUNT(MALLOC);
    return next_malloc(size);
}

EXPORT void *calloc(size_t number, size_t size) {
    if (!READY) return early_memory(number * size);
    COUNT(CALLOC);
    return next_calloc(number, size);
}

EXPORT void *realloc(void *old, size_t size) {
    if (!READY) return early_memory(size);
    COUNT(REALLOC);
    return next_realloc(old, size);
}

EXPORT void *reallocarray(void *old, size_t number, size_t size) {
    size_t bytes;
    if (!READY) return early_memory(number * size);
    COUNT(REALLOCARRAY);
    if (next_reallocarray != NULL) return next_reallocarray(old, number, size);
    if (__builtin_mul_overflow(number, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return next_realloc(old, bytes);
}

EXPORT void free(void *address) {
    if (!READY || is_early(address)) return;
    COUNT(FREE);
    next_free(address);
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t size) {
    if (!READY) return ENOMEM;
    COUNT(POSIX_MEMALIGN);
    return next_posix_memalign(out, alignment, size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
    if (!READY) return NULL;
    COUNT(ALIGNED_ALLOC);
    return next_aligned_alloc(alignment, size);
}

EXPORT void *memalign(size_t alignment, size_t size) {
    if (!READY) return NULL;
    COUNT(MEMALIGN);
    return next_memalign(alignment, size);
}

EXPORT void *valloc(size_t size) {
    if (!READY) return NULL;
    COUNT(VALLOC);
    return next_valloc(size);
}

EXPORT void *pvalloc(size_t size) {
    if (!READY) return NULL;
    COUNT(PVALLOC);
    return next_pvalloc(size);
}

static void in_child(void) {
    /* Off the parent's file, and from zero. */
    mmap(&count, sizeof count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    share();
}

__attribute__((constructor)) static void begin(void) {
    if (!READY) return;
    pthread_atfork(NULL, NULL, in_child);
}
