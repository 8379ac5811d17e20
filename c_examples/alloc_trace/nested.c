/* Nested calls.
 *
 * libstdc++'s operators call malloc, free and each other, and those calls reach the interposed functions. An allocation must be
 * one event, and its call site should be in the program. Therefore the event is that of the outermost operator, and a call
 * that the operator makes is counted as `nested`. Other calls inside an operator are captured as usual: a new_handler may
 * allocate and free.
 *
 *   new      an allocation is nested if it comes from the module of the real operator (or from this library, by a tail call)
 *            and asks for the operator's size. If the program's own operator made it (libstdc++'s new[] calls that), it is
 *            captured already, and the outer operator is counted as nested
 *   delete   a release is nested if it is of the operator's address
 *
 * Licence: MIT OR Apache-2.0. */
#include "nested.h"

#include "calls.h"
#include "ledger.h"
#include "lifecycle.h"
#include "module.h"
#include "this_thread.h"

void count_nested(unsigned call) {
    check_for_fork();
    atomic_fetch_add_explicit(&ledger->nested[call], 1, memory_order_relaxed);
}

/* The stack grows downwards: functions that the operator calls have lower frames. */
bool is_inside_operator(uintptr_t frame) {
    if (frame < this_thread.operator_call.frame) return true;
    capture_unfinished_operator();
    return false;
}

/* new of 0 bytes asks for 1; an aligned new may round up. */
static bool size_fits(unsigned call, uint64_t size, uint64_t wanted) {
    bool aligned = call == CALL_ALIGNED_ALLOC || call == CALL_POSIX_MEMALIGN || call == CALL_MEMALIGN;
    return size == wanted || (wanted == 0 && size == 1) || (aligned && size > wanted);
}

bool is_nested_allocation(unsigned call, uint64_t size, const void *site, uintptr_t frame) {
    if (this_thread.in_tracer || !is_inside_operator(frame)) return false;
    const struct operator_call *outer = &this_thread.operator_call;
    struct module provider = {outer->first, outer->end};
    bool by_operator = module_contains(provider, site) || module_contains(tracer_module, site);
    if (outer->address != 0 || !by_operator || !size_fits(call, size, outer->size)) return false;
    count_nested(call);
    return true;
}

bool is_nested_release(unsigned call, const void *address, uintptr_t frame) {
    if (this_thread.in_tracer || address == NULL || !is_inside_operator(frame)) return false;
    if (this_thread.operator_call.address != (uintptr_t)address) return false;
    count_nested(call);
    return true;
}
