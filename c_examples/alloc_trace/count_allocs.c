/* count_allocs: a second, independent preload library. It only counts the calls of each allocation function. It shares no code
 * with alloc_trace and does not use the pipeline, so the two can be compared.
 *
 * It is preloaded before alloc_trace and sees every call first. Each function ends in a tail call of the real one, so that
 * alloc_trace still finds the program's call site as return address.
 *
 * The counts are in a file that is mapped shared (COUNT_ALLOCS_DIR/PID-N.count: 32 words of 64 bits, indexed by call), so they
 * are exact up to the last call, however the process ends. A forked child counts in a file of its own.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default"), noinline, optimize("O2")))

enum { WORDS = 32, PAGE = 4096 };
/* The numbers are those of alloc_trace (calls.h). Those of the operators are below, beside their names. */
enum { MALLOC = 1, CALLOC, REALLOC, FREE, POSIX_MEMALIGN, ALIGNED_ALLOC, MEMALIGN, VALLOC, PVALLOC, REALLOCARRAY };

/* On a separate page, because the file is mapped over it. */
static union {
    _Atomic uint64_t words[WORDS];
    char bytes[PAGE];
} count __attribute__((aligned(PAGE)));

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void *(*next_reallocarray)(void *, size_t, size_t); /* NULL: it is libc's, which only calls array_realloc */
static void *(*array_realloc)(void *, size_t);             /* the realloc that libc's reallocarray calls in an untraced program */
static void (*next_free)(void *);
static int (*next_posix_memalign)(void **, size_t, size_t);
static void *(*next_aligned_alloc)(size_t, size_t);
static void *(*next_memalign)(size_t, size_t);
static void *(*next_valloc)(size_t);
static void *(*next_pvalloc)(size_t);

/* Memory for dlsym, which may allocate during the look-up. */
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

/* The folder of the files, absolute. Read once, because a program may clear its environment or change its directory before it
 * forks. */
static char directory[PATH_MAX];

static void read_directory(void) {
    const char *wanted = environ != NULL ? getenv("COUNT_ALLOCS_DIR") : NULL;
    char here[PATH_MAX] = "";
    if (wanted == NULL || (wanted[0] != '/' && getcwd(here, sizeof here) == NULL)) return;
    int length = snprintf(directory, sizeof directory, "%s%s%s", here, here[0] != '\0' ? "/" : "", wanted);
    if (length >= (int)sizeof directory) directory[0] = '\0';
}

/* Moves the counts to a file. Called while the process has one thread: at its first call, or in a forked child. Makes only system
 * calls. */
static void share(void) {
    if (directory[0] == '\0') return;
    char path[PATH_MAX + 64];
    int fd = -1;
    for (unsigned image = 0; fd < 0 && image < 100000; image++) {
        if (snprintf(path, sizeof path, "%s/%d-%u.count", directory, (int)getpid(), image) >= (int)sizeof path) return;
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EEXIST) return;
    }
    if (fd < 0) return;
    /* A file size limit must not end the program: SIGXFSZ is blocked and consumed. */
    sigset_t one, before;
    const struct timespec now = {0, 0};
    sigemptyset(&one);
    sigaddset(&one, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &one, &before);
    if (write(fd, &count, sizeof count) == (ssize_t)sizeof count)
        mmap(&count, sizeof count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    else if (errno == EFBIG)
        sigtimedwait(&one, NULL, &now);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(fd);
}

static void find(void *slot, const char *name) {
    void *address = dlsym(RTLD_NEXT, name);
    memcpy(slot, &address, sizeof address);
}

/* The path of the module that contains the address; empty if there is none. */
static const char *file_of(const void *address) {
    Dl_info info;
    return address != NULL && dladdr(address, &info) != 0 ? info.dli_fname : "";
}

/* libc's reallocarray calls realloc by its name. In an untraced program that is the first definition in the search order: the
 * program's own, or that of another preload library. */
static void find_array_realloc(void) {
    void *array, *first = dlsym(RTLD_DEFAULT, "realloc");
    memcpy(&array, &next_reallocarray, sizeof array);
    array_realloc = next_realloc;
    if (array != NULL && strstr(file_of(array), "libc.") == NULL) return;
    next_reallocarray = NULL;
    if (first != NULL && strcmp(file_of(first), file_of(&count)) != 0) memcpy(&array_realloc, &first, sizeof first);
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
    find_array_realloc();
    find(&next_malloc, "malloc"); /* last: READY checks it */
    read_directory();
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
    return array_realloc(old, bytes);
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

/* --- C++ operators. The next definition is called: that of libstdc++, another allocator or alloc_trace. --------------- */

/* By dlsym(RTLD_NEXT) or, for a plug-in with a scope of its own, in that scope. The latter is looked up for each call, because the
 * plug-in may be unloaded before the next. */
static void *next_operator(_Atomic(void *) *known, const char *symbol, const void *site) {
    void *function = atomic_load(known);
    if (function != NULL) return function;
    looking_up = 1;
    function = dlsym(RTLD_NEXT, symbol);
    atomic_store(known, function);
    if (function == NULL) {
        void *module = dlopen(file_of(site), RTLD_LAZY | RTLD_NOLOAD);
        if (module != NULL) {
            function = dlsym(module, symbol);
            dlclose(module);
        }
        if (function != NULL && strcmp(file_of(function), file_of(&count)) == 0) function = NULL;
    }
    looking_up = 0;
    return function;
}

#define OPERATOR(result, number, symbol, parameters, arguments, otherwise)                         \
    result symbol parameters;                                                                      \
    EXPORT result symbol parameters {                                                              \
        static _Atomic(void *) known;                                                              \
        if (!READY) return otherwise;                                                              \
        COUNT(number);                                                                             \
        result(*next) parameters;                                                                  \
        *(void **)(void *)&next = next_operator(&known, #symbol, __builtin_return_address(0));   \
        return next != NULL ? next arguments : otherwise;                                          \
    }

#define NEW(number, symbol, parameters, arguments) \
    OPERATOR(void *, number, symbol, parameters, arguments, malloc(size != 0 ? size : 1))
#define NEW_ALIGNED(number, symbol, parameters, arguments) \
    OPERATOR(void *, number, symbol, parameters, arguments, memalign(alignment, size != 0 ? size : 1))
#define DELETE(number, symbol, parameters, arguments) OPERATOR(void, number, symbol, parameters, arguments, free(address))

NEW(11, _Znwm, (size_t size), (size))
NEW(12, _Znam, (size_t size), (size))
NEW(13, _ZnwmRKSt9nothrow_t, (size_t size, const void *tag), (size, tag))
NEW(14, _ZnamRKSt9nothrow_t, (size_t size, const void *tag), (size, tag))
NEW_ALIGNED(15, _ZnwmSt11align_val_t, (size_t size, size_t alignment), (size, alignment))
NEW_ALIGNED(16, _ZnamSt11align_val_t, (size_t size, size_t alignment), (size, alignment))
NEW_ALIGNED(17, _ZnwmSt11align_val_tRKSt9nothrow_t, (size_t size, size_t alignment, const void *tag), (size, alignment, tag))
NEW_ALIGNED(18, _ZnamSt11align_val_tRKSt9nothrow_t, (size_t size, size_t alignment, const void *tag), (size, alignment, tag))
DELETE(19, _ZdlPv, (void *address), (address))
DELETE(20, _ZdaPv, (void *address), (address))
DELETE(21, _ZdlPvm, (void *address, size_t size), (address, size))
DELETE(22, _ZdaPvm, (void *address, size_t size), (address, size))
DELETE(23, _ZdlPvRKSt9nothrow_t, (void *address, const void *tag), (address, tag))
DELETE(24, _ZdaPvRKSt9nothrow_t, (void *address, const void *tag), (address, tag))
DELETE(25, _ZdlPvSt11align_val_t, (void *address, size_t alignment), (address, alignment))
DELETE(26, _ZdaPvSt11align_val_t, (void *address, size_t alignment), (address, alignment))
DELETE(27, _ZdlPvmSt11align_val_t, (void *address, size_t size, size_t alignment), (address, size, alignment))
DELETE(28, _ZdaPvmSt11align_val_t, (void *address, size_t size, size_t alignment), (address, size, alignment))
DELETE(29, _ZdlPvSt11align_val_tRKSt9nothrow_t, (void *address, size_t alignment, const void *tag), (address, alignment, tag))
DELETE(30, _ZdaPvSt11align_val_tRKSt9nothrow_t, (void *address, size_t alignment, const void *tag), (address, alignment, tag))

/* alloc_trace looks up this symbol to recognise count_allocs among the libraries before it. */
EXPORT const void *count_allocs_counts(void);
EXPORT const void *count_allocs_counts(void) {
    return &count;
}

/* --- Start and fork ------------------------------------------------------------------------------------------------ */

static void in_child(void) {
    /* Detaches from the parent's file and counts from zero. */
    mmap(&count, sizeof count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    share();
}

__attribute__((constructor)) static void begin(void) {
    if (!READY) return;
    pthread_atfork(NULL, NULL, in_child);
}
