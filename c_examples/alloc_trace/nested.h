/* Nested calls: calls that an operator new or delete makes, and whose event is the operator's. */
#ifndef ALLOC_TRACE_NESTED_H
#define ALLOC_TRACE_NESTED_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the thread still executes its outermost operator; `frame` is the caller's stack frame. If an exception has left the
 * operator, captures it as failed. */
bool is_inside_operator(uintptr_t frame);
/* Whether the call belongs to the operator new, or the operator delete, that the thread is executing. It is then counted. */
bool is_nested_allocation(unsigned call, uint64_t size, const void *site, uintptr_t frame);
bool is_nested_release(unsigned call, const void *address, uintptr_t frame);
void count_nested(unsigned call);

#endif
