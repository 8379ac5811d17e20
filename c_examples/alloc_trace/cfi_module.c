/* The modules of a process, for their call frame information.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "cfi_module.h"

#include <link.h>
#include <stddef.h>
#include <string.h>

/* As the header of glibc 2.35 and later has it. */
struct found_object {
    unsigned long long flags;
    void *map_start, *map_end;
    struct link_map *link_map;
    void *eh_frame; /* PT_GNU_EH_FRAME */
    unsigned long long reserved[8];
};

static int (*find_object)(void *, struct found_object *);

void cfi_use(void *dl_find_object) {
    memcpy(&find_object, &dl_find_object, sizeof find_object);
}

static int compare_module(struct dl_phdr_info *object, size_t size, void *argument) {
    (void)size;
    struct cfi_module *module = argument;
    uintptr_t address = module->first, header = 0, first = UINTPTR_MAX, end = 0;
    bool inside = false;
    for (unsigned at = 0; at < object->dlpi_phnum; at++) {
        uintptr_t begin = object->dlpi_addr + object->dlpi_phdr[at].p_vaddr, bytes = object->dlpi_phdr[at].p_memsz;
        if (object->dlpi_phdr[at].p_type == PT_GNU_EH_FRAME) header = begin;
        if (object->dlpi_phdr[at].p_type != PT_LOAD) continue;
        if (address - begin < bytes) inside = true;
        if (begin < first) first = begin;
        if (begin + bytes > end) end = begin + bytes;
    }
    if (!inside) return 0;
    *module = (struct cfi_module){first, end, header, NULL};
    return 1;
}

bool cfi_find_module(uintptr_t address, struct cfi_module *module) {
    if (find_object != NULL) {
        struct found_object found;
        if (find_object((void *)address, &found) != 0) return false;
        *module = (struct cfi_module){(uintptr_t)found.map_start, (uintptr_t)found.map_end, (uintptr_t)found.eh_frame, found.link_map};
        return true;
    }
    *module = (struct cfi_module){.first = address};
    return dl_iterate_phdr(compare_module, module) != 0;
}
