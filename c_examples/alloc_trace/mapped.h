/* Whether memory may be read. */
#ifndef ALLOC_TRACE_MAPPED_H
#define ALLOC_TRACE_MAPPED_H

#include <stdbool.h>
#include <stdint.h>

enum { MAPPED_PAGE = 4096 }; /* larger pages consist of several */

/* The first address of a page. */
static inline uintptr_t page_of(uintptr_t address) {
    return address & ~(uintptr_t)(MAPPED_PAGE - 1);
}

/* Once, before the others. Where the kernel does not tell whether memory may be read, none may. */
void mapped_set_up(void);
/* Whether the page of an address may be read now. A system call; errno stays as it is. */
bool page_is_readable(uintptr_t address);
/* The same for a page of a module, which stays as it is while the module is loaded: the answer is remembered. */
bool module_page_is_readable(uintptr_t address);
/* A module may have been unloaded. */
void mapped_forget_modules(void);

#endif
