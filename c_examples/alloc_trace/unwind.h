/* The return addresses on the stack of the current thread. */
#ifndef ALLOC_TRACE_UNWIND_H
#define ALLOC_TRACE_UNWIND_H

#include <stdint.h>

enum { MAX_FRAMES = 64 };

/* Why a list of return addresses ends. */
enum unwind_end {
    UNWIND_OUTERMOST = 1, /* at the outermost function of the thread */
    UNWIND_DEPTH = 2,     /* at the number of frames that was asked for */
    UNWIND_UNKNOWN = 3    /* at code without information for unwinding (generated code, hand-written assembly) */
};

/* Where to begin: the call site of an interposed function, the stack pointer of its caller, and the interposed function's own frame, where
 * it has saved the caller's frame pointer. */
struct caller {
    uintptr_t site, sp, frame;
};

void unwind_use(void *dl_find_object);
/* Writes the return addresses to `to`, the call site first, and returns their number, at least 1 and at most `most`. Any thread; also
 * in a signal handler that has interrupted this function. Allocates nothing, and waits for nothing. */
unsigned unwind(const struct caller *caller, uintptr_t *to, unsigned most, enum unwind_end *end);
/* Forgets what was learnt of the code of all modules: one may have been unloaded. */
void unwind_after_unload(void);
void unwind_after_fork(void);

#endif
