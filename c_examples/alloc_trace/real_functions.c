/* Looks up the real functions, once, with dlsym(RTLD_NEXT).
 *
 * RTLD_NEXT is used instead of glibc's __libc_malloc because memory must be freed by the allocator that returned it, and that
 * may be another one: jemalloc, tcmalloc, or another preload library. dlsym itself may allocate (for an error text, in some
 * releases). Those calls arrive here before an allocator is known and get memory from the arena. A look-up needs a few hundred
 * bytes.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "real_functions.h"

#include "arena.h"
#include "module.h"
#include "real_operators.h"
#include "this_thread.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

/* --- Functions for the time of the look-up: they use the arena ------------------------------------------------------ */

static void *arena_malloc(size_t size) {
    return arena_allocate(16, size);
}

static void *arena_calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return arena_allocate(16, bytes); /* the arena's memory is zero */
}

static void *arena_realloc(void *old, size_t size) {
    void *address = arena_allocate(16, size);
    if (address != NULL && old != NULL) {
        size_t most = arena_contains(old) ? arena_bytes_from(old) : size;
        memmove(address, old, size < most ? size : most);
    }
    return address;
}

static void arena_free(void *address) {
    (void)address;
}

static int arena_posix_memalign(void **out, size_t alignment, size_t size) {
    void *address = arena_allocate(alignment, size);
    if (address == NULL) return ENOMEM;
    *out = address;
    return 0;
}

static void *arena_valloc(size_t size) {
    return arena_allocate(4096, size);
}

static const struct real_functions arena_functions = {
    .malloc = arena_malloc,
    .calloc = arena_calloc,
    .realloc = arena_realloc,
    .free = arena_free,
    .posix_memalign = arena_posix_memalign,
    .aligned_alloc = arena_allocate,
    .memalign = arena_allocate,
    .valloc = arena_valloc,
    .pvalloc = arena_valloc,
    .array_realloc = arena_realloc,
};

/* --- The look-up --------------------------------------------------------------------------------------------------- */

_Alignas(64) struct real_functions real_known;

/* A function pointer from dlsym's object pointer, which ISO C has no cast for. */
static void look_up(void *slot, const char *name) {
    void *address = dlsym(RTLD_NEXT, name);
    memcpy(slot, &address, sizeof address);
}

/* libc's reallocarray calls realloc by its name. In an untraced program that may be a definition before ours in the search
 * order: the program's own, or that of an allocator that is preloaded before us. It must not be that of count_allocs, which
 * is before us as well and would count a call that the program has not made. */
static void look_up_reallocarray(void) {
    look_up(&real_known.reallocarray, "reallocarray");
    void *in_libc, *real, *first, *counter;
    memcpy(&real, &real_known.reallocarray, sizeof real);
    look_up(&in_libc, "__libc_start_main"); /* a symbol that only libc defines */
    if (real == NULL || module_contains(module_of(in_libc), real)) real_known.reallocarray = NULL;

    real_known.array_realloc = real_known.realloc;
    first = dlsym(RTLD_DEFAULT, "realloc");
    counter = dlsym(RTLD_DEFAULT, "count_allocs_counts");
    if (first == NULL || module_contains(tracer_module, first)) return;
    if (counter != NULL && module_contains(module_of(counter), first)) return;
    memcpy(&real_known.array_realloc, &first, sizeof first);
}

const struct real_functions *real_look_up(void) {
    if (this_thread.looking_up) return &arena_functions;
    int expected = REAL_UNKNOWN;
    if (!atomic_compare_exchange_strong(&real_known.state, &expected, REAL_LOOKING_UP)) {
        /* Another thread does the look-up. Rare: the first allocation comes long before the second thread. */
        while (atomic_load_explicit(&real_known.state, memory_order_acquire) != REAL_KNOWN) sched_yield();
        return &real_known;
    }
    bool was_in_tracer = this_thread.in_tracer;
    this_thread.looking_up = this_thread.in_tracer = true;
    look_up(&real_known.malloc, "malloc");
    look_up(&real_known.calloc, "calloc");
    look_up(&real_known.realloc, "realloc");
    look_up(&real_known.free, "free");
    look_up(&real_known.posix_memalign, "posix_memalign");
    look_up(&real_known.aligned_alloc, "aligned_alloc");
    look_up(&real_known.memalign, "memalign");
    look_up(&real_known.valloc, "valloc");
    look_up(&real_known.pvalloc, "pvalloc");
    tracer_module = module_of(&real_known);
    look_up_reallocarray();
    look_up_operators();
    look_up(&real_known.exit_now, "_exit");
    look_up(&real_known.exit_now_c, "_Exit");
    look_up(&real_known.quick_exit, "quick_exit");
    look_up(&real_known.abort, "abort");
    look_up(&real_known.daemon, "daemon");
    look_up(&real_known.pthread_exit, "pthread_exit");
    look_up(&real_known.thrd_exit, "thrd_exit");
    look_up(&real_known.execve, "execve");
    look_up(&real_known.execv, "execv");
    look_up(&real_known.execvp, "execvp");
    look_up(&real_known.execvpe, "execvpe");
    look_up(&real_known.fexecve, "fexecve");
    look_up(&real_known.execveat, "execveat");
    look_up(&real_known.posix_spawn, "posix_spawn");
    look_up(&real_known.posix_spawnp, "posix_spawnp");
    look_up(&real_known.dlclose, "dlclose");
    real_known.find_object = dlsym(RTLD_DEFAULT, "_dl_find_object");
    this_thread.looking_up = false;
    this_thread.in_tracer = was_in_tracer;
    atomic_store_explicit(&real_known.state, REAL_KNOWN, memory_order_release);
    return &real_known;
}
