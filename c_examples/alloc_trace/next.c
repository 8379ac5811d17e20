/* The functions behind the interposed ones, looked up once with dlsym(RTLD_NEXT), and a small arena.
 *
 * RTLD_NEXT rather than glibc's __libc_malloc: the program may bring another allocator (jemalloc, tcmalloc), or another
 * preload library may stand behind us, and memory must be freed by the allocator that gave it. dlsym itself may allocate
 * (its error text, in some releases); those calls come back to us before there is an allocator to call, and get memory
 * from the arena. It is bounded and never given back; a look-up needs a few hundred bytes.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "trace.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

__thread struct thread_words this_thread __attribute__((tls_model("initial-exec")));

/* --- The arena ----------------------------------------------------------------------------------------------------- */

enum { ARENA_BYTES = 32768 };
static _Alignas(64) char arena[ARENA_BYTES];
static _Atomic size_t arena_used;

bool in_arena(const void *address) {
    return (uintptr_t)address - (uintptr_t)arena < ARENA_BYTES;
}

size_t arena_room(const void *address) {
    return (size_t)(arena + ARENA_BYTES - (const char *)address);
}

static void *arena_aligned(size_t alignment, size_t size) {
    if (alignment < 16) alignment = 16;
    if (size > ARENA_BYTES || alignment > 4096) goto full;
    size_t used = atomic_load(&arena_used);
    for (;;) {
        size_t begin = (((uintptr_t)arena + used + alignment - 1) & ~(alignment - 1)) - (uintptr_t)arena;
        if (begin + size > ARENA_BYTES) goto full;
        if (atomic_compare_exchange_weak(&arena_used, &used, begin + size)) return arena + begin;
    }
full:
    errno = ENOMEM;
    return NULL;
}

static void *arena_malloc(size_t size) {
    return arena_aligned(16, size);
}

static void *arena_calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return arena_aligned(16, bytes); /* never used before, so zero */
}

static void *arena_realloc(void *old, size_t size) {
    void *address = arena_aligned(16, size);
    if (address != NULL && old != NULL) {
        size_t room = in_arena(old) ? arena_room(old) : size;
        memmove(address, old, size < room ? size : room);
    }
    return address;
}

static void arena_free(void *address) {
    (void)address;
}

static int arena_posix_memalign(void **out, size_t alignment, size_t size) {
    void *address = arena_aligned(alignment, size);
    if (address == NULL) return ENOMEM;
    *out = address;
    return 0;
}

static void *arena_valloc(size_t size) {
    return arena_aligned(4096, size);
}

static const struct next arena_functions = {
    .malloc = arena_malloc,
    .calloc = arena_calloc,
    .realloc = arena_realloc,
    .free = arena_free,
    .posix_memalign = arena_posix_memalign,
    .aligned_alloc = arena_aligned,
    .memalign = arena_aligned,
    .valloc = arena_valloc,
    .pvalloc = arena_valloc,
};

/* --- The look-up --------------------------------------------------------------------------------------------------- */

enum { UNKNOWN, LOOKING_UP, KNOWN };
static _Atomic int known;
static struct next functions;

/* A function pointer from dlsym's object pointer, which ISO C has no cast for. */
static void look_up(void *slot, const char *name) {
    void *address = dlsym(RTLD_NEXT, name);
    memcpy(slot, &address, sizeof address);
}

static const struct next *look_up_all(void) {
    if (this_thread.looking_up) return &arena_functions;
    int expected = UNKNOWN;
    if (!atomic_compare_exchange_strong(&known, &expected, LOOKING_UP)) {
        /* Another thread is at it: the first allocation of a process happens long before its second thread. */
        while (atomic_load_explicit(&known, memory_order_acquire) != KNOWN) sched_yield();
        return &functions;
    }
    bool was_own = this_thread.own;
    this_thread.looking_up = this_thread.own = true;
    look_up(&functions.malloc, "malloc");
    look_up(&functions.calloc, "calloc");
    look_up(&functions.realloc, "realloc");
    look_up(&functions.free, "free");
    look_up(&functions.posix_memalign, "posix_memalign");
    look_up(&functions.aligned_alloc, "aligned_alloc");
    look_up(&functions.memalign, "memalign");
    look_up(&functions.valloc, "valloc");
    look_up(&functions.pvalloc, "pvalloc");
    look_up(&functions.exit_now, "_exit");
    look_up(&functions.exit_now_c, "_Exit");
    look_up(&functions.quick_exit, "quick_exit");
    look_up(&functions.execve, "execve");
    look_up(&functions.execv, "execv");
    look_up(&functions.execvp, "execvp");
    look_up(&functions.execvpe, "execvpe");
    look_up(&functions.fexecve, "fexecve");
    look_up(&functions.execveat, "execveat");
    this_thread.looking_up = false;
    this_thread.own = was_own;
    atomic_store_explicit(&known, KNOWN, memory_order_release);
    return &functions;
}

const struct next *next_functions(void) {
    if (__builtin_expect(atomic_load_explicit(&known, memory_order_acquire) == KNOWN, 1)) return &functions;
    return look_up_all();
}
