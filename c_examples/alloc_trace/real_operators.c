/* The operator new or delete that an untraced program would call.
 *
 * dlsym(RTLD_NEXT) finds a definition in the global scope (libstdc++, an allocator). A C program may load a C++ plug-in with
 * RTLD_LOCAL: its libstdc++ is then in the scope of the plug-in, which RTLD_NEXT does not search. In that case the symbol is
 * looked up in the scope of the calling module. The result is cached per thread until a module is loaded or unloaded.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "real_operators.h"

#include "calls.h"
#include "this_thread.h"

#include <dlfcn.h>
#include <link.h>
#include <stdatomic.h>
#include <stddef.h>

static const char *const symbols[CALL_END] = {
    [CALL_NEW] = "_Znwm",
    [CALL_NEW_ARRAY] = "_Znam",
    [CALL_NEW_NOTHROW] = "_ZnwmRKSt9nothrow_t",
    [CALL_NEW_ARRAY_NOTHROW] = "_ZnamRKSt9nothrow_t",
    [CALL_NEW_ALIGNED] = "_ZnwmSt11align_val_t",
    [CALL_NEW_ARRAY_ALIGNED] = "_ZnamSt11align_val_t",
    [CALL_NEW_ALIGNED_NOTHROW] = "_ZnwmSt11align_val_tRKSt9nothrow_t",
    [CALL_NEW_ARRAY_ALIGNED_NOTHROW] = "_ZnamSt11align_val_tRKSt9nothrow_t",
    [CALL_DELETE] = "_ZdlPv",
    [CALL_DELETE_ARRAY] = "_ZdaPv",
    [CALL_DELETE_SIZED] = "_ZdlPvm",
    [CALL_DELETE_ARRAY_SIZED] = "_ZdaPvm",
    [CALL_DELETE_NOTHROW] = "_ZdlPvRKSt9nothrow_t",
    [CALL_DELETE_ARRAY_NOTHROW] = "_ZdaPvRKSt9nothrow_t",
    [CALL_DELETE_ALIGNED] = "_ZdlPvSt11align_val_t",
    [CALL_DELETE_ARRAY_ALIGNED] = "_ZdaPvSt11align_val_t",
    [CALL_DELETE_SIZED_ALIGNED] = "_ZdlPvmSt11align_val_t",
    [CALL_DELETE_ARRAY_SIZED_ALIGNED] = "_ZdaPvmSt11align_val_t",
    [CALL_DELETE_ALIGNED_NOTHROW] = "_ZdlPvSt11align_val_tRKSt9nothrow_t",
    [CALL_DELETE_ARRAY_ALIGNED_NOTHROW] = "_ZdaPvSt11align_val_tRKSt9nothrow_t",
};

static struct {
    _Atomic(void *) function;
    struct module module;
} global[CALL_END]; /* found by RTLD_NEXT; the module is written before the function */

struct local {
    void *function;
    struct module module, caller;
    unsigned long long loads, unloads; /* counts of dl_iterate_phdr at the look-up */
};
static __thread struct local locals[CALL_END] __attribute__((tls_model("initial-exec")));

static int read_changes(struct dl_phdr_info *object, size_t size, void *argument) {
    (void)size;
    unsigned long long *changes = argument;
    changes[0] = object->dlpi_adds;
    changes[1] = object->dlpi_subs;
    return 1;
}

/* The definition in the scope of the calling module. */
static void *in_scope_of(const void *site, const char *symbol) {
    Dl_info caller;
    if (dladdr(site, &caller) == 0) return NULL;
    void *handle = dlopen(caller.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (handle == NULL) {
        dlerror();
        return NULL;
    }
    void *function = dlsym(handle, symbol);
    if (function == NULL) dlerror();
    dlclose(handle);
    return module_contains(tracer_module, function) ? NULL : function;
}

static void *in_global_scope(unsigned call) {
    void *function = dlsym(RTLD_NEXT, symbols[call]);
    if (function == NULL) {
        dlerror();
        return NULL;
    }
    /* Two threads may do this at once: they write the same values. */
    global[call].module = module_of(function);
    atomic_store_explicit(&global[call].function, function, memory_order_release);
    return function;
}

void look_up_operators(void) {
    for (unsigned call = CALL_NEW; call < CALL_END; call++) in_global_scope(call);
}

static void *look_up(unsigned call, const void *site, struct module *module) {
    void *function = in_global_scope(call);
    if (function != NULL) {
        *module = global[call].module;
        return function;
    }
    unsigned long long changes[2] = {0, 0};
    function = in_scope_of(site, symbols[call]);
    dl_iterate_phdr(read_changes, changes);
    *module = module_of(function);
    locals[call] = (struct local){.function = function, .module = *module, .caller = module_of(site),
                                  .loads = changes[0], .unloads = changes[1]};
    return function;
}

void *real_operator(unsigned call, const void *site, struct module *module) {
    void *function = atomic_load_explicit(&global[call].function, memory_order_acquire);
    if (__builtin_expect(function != NULL, 1)) {
        *module = global[call].module;
        return function;
    }
    const struct local *cached = &locals[call];
    if (module_contains(cached->caller, site)) {
        unsigned long long changes[2] = {0, 0};
        dl_iterate_phdr(read_changes, changes);
        if (cached->loads == changes[0] && cached->unloads == changes[1]) {
            *module = cached->module;
            return cached->function;
        }
    }
    bool was_in_tracer = this_thread.in_tracer;
    this_thread.in_tracer = true; /* the look-up may allocate */
    function = look_up(call, site, module);
    this_thread.in_tracer = was_in_tracer;
    return function;
}
