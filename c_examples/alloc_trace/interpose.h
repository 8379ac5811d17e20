/* For the interposed functions: what the traced program calls instead of the real ones. exports.map lists them. */
#ifndef ALLOC_TRACE_INTERPOSE_H
#define ALLOC_TRACE_INTERPOSE_H

#include <stdint.h>

#define EXPORT __attribute__((visibility("default"), noinline))
/* The call site and the stack frame of the interposed function. */
#define SITE __builtin_extract_return_addr(__builtin_return_address(0))
#define FRAME ((uintptr_t)__builtin_frame_address(0))
/* The caller of the interposed function. */
#define CALLER ((struct caller){(uintptr_t)SITE, (uintptr_t)__builtin_dwarf_cfa(), FRAME})

#endif
