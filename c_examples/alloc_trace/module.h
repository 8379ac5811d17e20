/* The address ranges of loaded modules. */
#ifndef ALLOC_TRACE_MODULE_H
#define ALLOC_TRACE_MODULE_H

#include <stdbool.h>
#include <stdint.h>

struct module {
    uintptr_t first, end;
};

/* The loaded module that contains the address; empty if there is none. */
struct module module_of(const void *address);

static inline bool module_contains(struct module module, const void *address) {
    return (uintptr_t)address - module.first < module.end - module.first;
}

/* This library. Set by the look-up of the real functions. */
extern struct module tracer_module;

#endif
