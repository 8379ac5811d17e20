/* Whether memory may be read.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "mapped.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A process has no memory above. The kernel is not asked for addresses there, because it warns in its log of some. */
#if defined(__x86_64__)
#define ADDRESSES_END (UINT64_C(1) << 47)
#else
#define ADDRESSES_END (UINT64_C(1) << 48)
#endif

static bool kernel_tells;

/* rt_sigprocmask copies the set from user memory before it looks at `how`. Address 0 would mean: no set. */
static bool can_be_copied(uintptr_t address) {
    return syscall(SYS_rt_sigprocmask, ~0, address & ~(uintptr_t)7, NULL, (size_t)8) == 0 || errno != EFAULT;
}

void mapped_set_up(void) {
    int saved_errno = errno;
    void *page = mmap(NULL, MAPPED_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    kernel_tells = page != MAP_FAILED && !can_be_copied((uintptr_t)page);
    if (page != MAP_FAILED) munmap(page, MAPPED_PAGE);
    errno = saved_errno;
}

bool page_is_readable(uintptr_t address) {
    if (!kernel_tells || address < MAPPED_PAGE || address >= ADDRESSES_END) return false;
    int saved_errno = errno;
    bool readable = can_be_copied(address);
    errno = saved_errno;
    return readable;
}

/* A table in which each page has one place. 0: none. */
enum { KNOWN_PAGES = 1024 };
static _Atomic uintptr_t known_pages[KNOWN_PAGES];

bool module_page_is_readable(uintptr_t address) {
    uintptr_t page = page_of(address);
    _Atomic uintptr_t *known = &known_pages[page / MAPPED_PAGE % KNOWN_PAGES];
    if (page != 0 && atomic_load_explicit(known, memory_order_relaxed) == page) return true;
    if (!page_is_readable(page)) return false;
    atomic_store_explicit(known, page, memory_order_relaxed);
    return true;
}

void mapped_forget_modules(void) {
    for (unsigned at = 0; at < KNOWN_PAGES; at++) atomic_store_explicit(&known_pages[at], 0, memory_order_relaxed);
}
