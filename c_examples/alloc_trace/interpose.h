/* For the interposed functions: what the traced program calls instead of the real ones. exports.map lists them. */
#ifndef ALLOC_TRACE_INTERPOSE_H
#define ALLOC_TRACE_INTERPOSE_H

#include <stdint.h>

#if defined(__x86_64__)
/* Some hand-written code calls with a stack that is aligned to 8 bytes only. libc's functions mostly bear that, the tracer's code does not. */
#define EXPORT __attribute__((visibility("default"), noinline, force_align_arg_pointer))
#else
#define EXPORT __attribute__((visibility("default"), noinline))
#endif
/* The call site and the stack frame of the interposed function. */
#define SITE __builtin_extract_return_addr(__builtin_return_address(0))
#define FRAME ((uintptr_t)__builtin_frame_address(0))
/* The caller of the interposed function. */
#define CALLER ((struct caller){(uintptr_t)SITE, (uintptr_t)__builtin_dwarf_cfa(), FRAME})

#endif
