/* The address ranges of loaded modules.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "module.h"

#include <link.h>
#include <stddef.h>

struct module tracer_module;

struct search {
    const void *address;
    struct module found;
};

static int compare_module(struct dl_phdr_info *object, size_t size, void *argument) {
    (void)size;
    struct search *search = argument;
    struct module module = {UINTPTR_MAX, 0};
    for (unsigned at = 0; at < object->dlpi_phnum; at++) {
        if (object->dlpi_phdr[at].p_type != PT_LOAD) continue;
        uintptr_t first = object->dlpi_addr + object->dlpi_phdr[at].p_vaddr;
        uintptr_t end = first + object->dlpi_phdr[at].p_memsz;
        if (first < module.first) module.first = first;
        if (end > module.end) module.end = end;
    }
    if (module.first >= module.end || !module_contains(module, search->address)) return 0;
    search->found = module;
    return 1;
}

struct module module_of(const void *address) {
    struct search search = {.address = address};
    if (address != NULL) dl_iterate_phdr(compare_module, &search);
    return search.found;
}
