/* The loaded module that contains an address, for its call frame information. */
#ifndef ALLOC_TRACE_CFI_MODULE_H
#define ALLOC_TRACE_CFI_MODULE_H

#include <stdbool.h>
#include <stdint.h>

/* A loaded module, as far as it is needed here. */
struct cfi_module {
    uintptr_t first, end;
    uintptr_t header;   /* its .eh_frame_hdr; 0: it has none */
    const void *linked; /* the dynamic linker's entry; NULL: not known */
};

/* The function of the dynamic linker that finds a module without a lock; NULL where there is none. */
void cfi_use(void *dl_find_object);
/* The module that contains the address. Takes a lock only where cfi_use was given NULL. */
bool cfi_find_module(uintptr_t address, struct cfi_module *module);

#endif
