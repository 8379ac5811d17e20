/* The C++ operators new and delete, as the traced program calls them.
 *
 * They are interposed because an allocator that is preloaded after us (jemalloc, tcmalloc, mimalloc) has operators of its own,
 * which never call malloc. Calls that an operator makes itself are nested: see nested.c.
 *
 * The names are those of the C++ ABI for a size_t that is unsigned long. No C++ library is needed.
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
#include "real_operators.h"
#include "this_thread.h"

#include <stdlib.h>

_Static_assert(sizeof(size_t) == sizeof(unsigned long) && sizeof(size_t) == 8, "the mangled names have m for size_t");

/* --- new ----------------------------------------------------------------------------------------------------------- */

/* The real operator. real_functions() comes first, because it looks up the operators of the global scope. */
static void *find_operator(unsigned call, const void *site, struct module *module) {
    real_functions();
    return real_operator(call, site, module);
}

/* Used if there is no real operator. As the standard's default, except that it aborts where that throws. */
static void *default_new(size_t size, size_t alignment, bool may_fail) {
    const struct real_functions *real = real_functions();
    void *address = NULL;
    if (size == 0) size = 1;
    if (alignment <= 16)
        address = real->malloc(size);
    else if (real->posix_memalign(&address, alignment, size) != 0)
        address = NULL;
    if (address == NULL && !may_fail) abort();
    return address;
}

INLINED void begin_new(struct operator_call *saved, unsigned call, size_t size, struct module module, struct caller caller) {
    *saved = this_thread.operator_call;
    this_thread.operator_call = (struct operator_call){.call = call, .frame = caller.frame, .size = size, .site = caller.site,
                                                       .first = module.first, .end = module.end};
}

INLINED void end_new(const struct operator_call *saved, unsigned call, size_t size, const void *address, struct caller caller) {
    struct operator_call ended = this_thread.operator_call;
    this_thread.operator_call = *saved;
    /* The program's own operator may return an address inside the block that it has allocated. */
    if (address != NULL && (uintptr_t)address - ended.captured < ended.captured_size)
        count_nested(call);
    else
        capture_call(call, size, address, NULL, 0, caller);
}

#define NEW(symbol, CALL, alignment, may_fail, parameters, arguments)                          \
    void *symbol parameters;                                                                   \
    EXPORT void *symbol parameters {                                                           \
        struct module module = {0, 0};                                                         \
        struct operator_call saved;                                                            \
        struct caller caller = CALLER;                                                         \
        void *(*real) parameters;                                                              \
        *(void **)(void *)&real = find_operator(CALL, SITE, &module);                          \
        if (IN_OPERATOR && is_nested_allocation(CALL, size, SITE, FRAME))                      \
            return real != NULL ? real arguments : default_new(size, alignment, may_fail);       \
        begin_new(&saved, CALL, size, module, caller);                                         \
        void *address = real != NULL ? real arguments : default_new(size, alignment, may_fail);  \
        end_new(&saved, CALL, size, address, caller);                                          \
        return address;                                                                        \
    }

NEW(_Znwm, CALL_NEW, 0, false, (size_t size), (size))
NEW(_Znam, CALL_NEW_ARRAY, 0, false, (size_t size), (size))
NEW(_ZnwmRKSt9nothrow_t, CALL_NEW_NOTHROW, 0, true, (size_t size, const void *tag), (size, tag))
NEW(_ZnamRKSt9nothrow_t, CALL_NEW_ARRAY_NOTHROW, 0, true, (size_t size, const void *tag), (size, tag))
NEW(_ZnwmSt11align_val_t, CALL_NEW_ALIGNED, alignment, false, (size_t size, size_t alignment), (size, alignment))
NEW(_ZnamSt11align_val_t, CALL_NEW_ARRAY_ALIGNED, alignment, false, (size_t size, size_t alignment), (size, alignment))
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, CALL_NEW_ALIGNED_NOTHROW, alignment, true,
    (size_t size, size_t alignment, const void *tag), (size, alignment, tag))
NEW(_ZnamSt11align_val_tRKSt9nothrow_t, CALL_NEW_ARRAY_ALIGNED_NOTHROW, alignment, true,
    (size_t size, size_t alignment, const void *tag), (size, alignment, tag))

/* --- delete: captured before the release, like free ---------------------------------------------------------------- */

INLINED void begin_delete(struct operator_call *saved, unsigned call, void *address, struct caller caller) {
    if (!(IN_OPERATOR && is_nested_release(call, address, caller.frame))) capture_call(call, 0, address, NULL, 0, caller);
    *saved = this_thread.operator_call;
    this_thread.operator_call = (struct operator_call){.call = address == NULL ? 0 : call, .frame = caller.frame,
                                                       .address = (uintptr_t)address, .site = caller.site};
}

#define DELETE(symbol, CALL, parameters, arguments)                                            \
    void symbol parameters;                                                                    \
    EXPORT void symbol parameters {                                                            \
        struct module module;                                                                  \
        struct operator_call saved;                                                            \
        struct caller caller = CALLER;                                                         \
        void (*real) parameters;                                                               \
        *(void **)(void *)&real = find_operator(CALL, SITE, &module);                          \
        begin_delete(&saved, CALL, address, caller);                                           \
        if (!arena_contains(address)) {                                                        \
            if (real != NULL)                                                                  \
                real arguments;                                                                \
            else                                                                               \
                real_functions()->free(address);                                               \
        }                                                                                      \
        this_thread.operator_call = saved;                                                         \
    }

DELETE(_ZdlPv, CALL_DELETE, (void *address), (address))
DELETE(_ZdaPv, CALL_DELETE_ARRAY, (void *address), (address))
DELETE(_ZdlPvm, CALL_DELETE_SIZED, (void *address, size_t size), (address, size))
DELETE(_ZdaPvm, CALL_DELETE_ARRAY_SIZED, (void *address, size_t size), (address, size))
DELETE(_ZdlPvRKSt9nothrow_t, CALL_DELETE_NOTHROW, (void *address, const void *tag), (address, tag))
DELETE(_ZdaPvRKSt9nothrow_t, CALL_DELETE_ARRAY_NOTHROW, (void *address, const void *tag), (address, tag))
DELETE(_ZdlPvSt11align_val_t, CALL_DELETE_ALIGNED, (void *address, size_t alignment), (address, alignment))
DELETE(_ZdaPvSt11align_val_t, CALL_DELETE_ARRAY_ALIGNED, (void *address, size_t alignment), (address, alignment))
DELETE(_ZdlPvmSt11align_val_t, CALL_DELETE_SIZED_ALIGNED, (void *address, size_t size, size_t alignment),
       (address, size, alignment))
DELETE(_ZdaPvmSt11align_val_t, CALL_DELETE_ARRAY_SIZED_ALIGNED, (void *address, size_t size, size_t alignment),
       (address, size, alignment))
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, CALL_DELETE_ALIGNED_NOTHROW,
       (void *address, size_t alignment, const void *tag), (address, alignment, tag))
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, CALL_DELETE_ARRAY_ALIGNED_NOTHROW,
       (void *address, size_t alignment, const void *tag), (address, alignment, tag))
