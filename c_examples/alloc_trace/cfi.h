/* Call frame information: how a function's frame leads to its caller's, as the compiler has written it down (.eh_frame). */
#ifndef ALLOC_TRACE_CFI_H
#define ALLOC_TRACE_CFI_H

#include "cfi_module.h"

#include <stdbool.h>
#include <stdint.h>

/* A place in memory, or a value, beside a register that is known. CFA: the canonical frame address, which is the caller's stack
 * pointer. */
enum cfi_base { CFI_SP, CFI_FP, CFI_CFA };

/* What holds at one address of the code. */
struct cfi_rule {
    enum cfi_base cfa_base;  /* the CFA is this register plus cfa_offset ... */
    bool cfa_indirect;       /* ... or what lies there (functions that align their stack) */
    bool fp_saved;           /* the caller's frame pointer lies at fp_base plus fp_offset; else the register still has it */
    enum cfi_base fp_base;
    bool return_saved;       /* the return address lies at the CFA plus return_offset; else in the link register */
    int32_t cfa_offset, fp_offset, return_offset;
};

enum cfi_result {
    CFI_RULE,    /* the rule was found */
    CFI_SIGNAL,  /* the frame of a signal: the interrupted registers are in its ucontext_t */
    CFI_OUTERMOST, /* there is no caller */
    CFI_UNKNOWN  /* there is no information for this address, or none of a known form */
};

/* Finds the rule for the instruction at an address of the module. */
enum cfi_result cfi_find(uintptr_t address, const struct cfi_module *module, struct cfi_rule *rule);

#endif
