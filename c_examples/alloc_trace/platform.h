/* What the tracer needs of the system: the clock, futexes, threads, stderr; and of the compiler. */
#ifndef ALLOC_TRACE_PLATFORM_H
#define ALLOC_TRACE_PLATFORM_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* For functions of a capture: those that are a part of it, and those that it seldom calls. */
#define INLINED static inline __attribute__((always_inline))
#define SELDOM __attribute__((noinline, cold))

uint64_t monotonic_ns(void);

/* Waits while *word has the value, for at most timeout_ns (negative: without a limit). May return early. A system call, so no
 * cancellation point. */
void futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t timeout_ns);
void futex_wake(_Atomic uint32_t *word);

/* Starts a detached thread with this signal mask, on a stack of fixed size. 0 or an errno value. */
int start_thread(void *(*run)(void *), void *argument, const sigset_t *signals);

/* The text of a problem: the limit on the size of files. */
void file_size_problem(char *problem, size_t problem_size);

/* false: so little memory is left below a limit of the process that the tracer would take it from the program; problem says which limit. */
bool memory_suffices(char *problem, size_t problem_size);

/* Writes one line to stderr that says why the program runs untraced. */
void write_untraced_message(const char *subject, const char *reason);

#endif
