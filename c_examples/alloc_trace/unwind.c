/* Unwinding by call frame information.
 *
 * A rule is looked up once for each return address, which takes about a microsecond, and then kept in a table that all threads
 * share. With it a frame costs some nanoseconds. No frame pointers are needed.
 *
 * Of the stack nothing is read but between the stack pointer and the frames above it, and only pages that were found to be readable: a wrong rule, or
 * a stack that the program has overwritten, gives wrong addresses and not a fault.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "unwind.h"

#include "cfi.h"
#include "mapped.h"
#include "platform.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <ucontext.h>

/* --- Memory that may be read --------------------------------------------------------------------------------------- */

/* A part of the stack, whole pages, that may be read. Each thread remembers one: the next stack is mostly there as well. */
struct stack_part {
    uintptr_t first, end;
};

enum { REACH = 16 * MAPPED_PAGE };

static __thread struct {
    struct stack_part part;
    bool unwinding;
} unwinder __attribute__((tls_model("initial-exec")));

/* Makes [first, end) a part of `part`, page by page. */
static bool grow(struct stack_part *part, uintptr_t first, uintptr_t end) {
    while (part->first > first) {
        if (!page_is_readable(part->first - MAPPED_PAGE)) return false;
        part->first -= MAPPED_PAGE;
    }
    while (part->end < end) {
        if (!page_is_readable(part->end)) return false;
        part->end += MAPPED_PAGE;
    }
    return true;
}

/* A part begins anew if it is far away, or if a page between may not be read: there are guard pages between the stacks of coroutines. */
SELDOM static bool extend(struct stack_part *part, uintptr_t first, uintptr_t end) {
    bool near = part->first != part->end && first + REACH >= part->first && end <= part->end + REACH;
    if (near && grow(part, first, end)) return true;
    struct stack_part anew = {page_of(first), page_of(first)};
    if (!grow(&anew, first, end)) return false;
    *part = anew;
    return true;
}

/* What was read last, below this address, has led nowhere. It may lie beyond the stack, in memory that the program unmaps: the next stack must
 * not trust it. */
SELDOM static void distrust(struct stack_part *part, uintptr_t sp) {
    uintptr_t page = page_of(sp - 1);
    if (part->first <= page && page < part->end) part->end = page;
}

/* `end` is above `first`. */
static inline bool may_read(struct stack_part *part, uintptr_t first, uintptr_t end) {
    if (__builtin_expect(first >= part->first && end <= part->end, 1)) return true;
    return extend(part, first, end);
}

/* The same for any address. */
static bool may_read_any(struct stack_part *part, uintptr_t first, size_t bytes) {
    return first <= UINTPTR_MAX - bytes && may_read(part, first, first + bytes);
}

/* --- The rules that are known -------------------------------------------------------------------------------------- */

/* An entry is the address (48 bits) and a code (16 bits):
 *
 *   0fff ffff ffff ssss   a plain rule. f: the CFA is sp + 8f. s: the caller's frame pointer is saved at CFA - 8s; 0: it is not saved
 *   10ff ffff ffff ssss   the same, and the CFA is fp + 8f
 *   11ii iiii iiii iiii   other_rules[i], or one of the codes below
 *
 * In both the return address lies at CFA - 8 (x86-64), or behind the saved frame pointer (AArch64). */
enum { CODE_FP = 0x8000, CODE_OTHER = 0xc000, OTHER_INDEX = 0x3fff, CODE_OUTERMOST = 0xfffd, CODE_UNKNOWN = 0xfffe, CODE_SIGNAL = 0xffff };
enum { RULE_SLOTS = 1 << 16, RULES_MOST = RULE_SLOTS / 4 * 3, OTHER_RULES = 4096, PROBES = 32 };
#define ADDRESS_BITS 48

static _Atomic uint64_t rules[RULE_SLOTS];
static _Atomic uint32_t rules_count;
static struct cfi_rule other_rules[OTHER_RULES];
static _Atomic bool other_rules_ready[OTHER_RULES];
static _Atomic uint32_t other_rules_count;

void unwind_use(void *dl_find_object) {
    mapped_set_up();
    cfi_use(dl_find_object);
}

static inline uint32_t slot_of(uintptr_t address) {
    return (uint32_t)((address * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - 16));
}

static void forget_rules(void) {
    mapped_forget_modules();
    for (uint32_t at = 0; at < RULE_SLOTS; at++) atomic_store_explicit(&rules[at], 0, memory_order_relaxed);
    atomic_store(&rules_count, 0);
}

/* The modules of which there are rules. dlclose is interposed, but libc unloads modules of its own without it: where a module is found in the
 * place of another, the rules are forgotten. */
enum { MODULES = 2048 };
static struct cfi_module modules[MODULES];
static unsigned modules_count;
static atomic_flag modules_in_use = ATOMIC_FLAG_INIT;

/* false: its rules must not be remembered now, because another thread uses the list. */
static bool note_module(const struct cfi_module *module) {
    if (atomic_flag_test_and_set(&modules_in_use)) return false;
    bool known = false, stale = modules_count == MODULES;
    for (unsigned at = 0; at < modules_count && !known; at++) {
        if (memcmp(&modules[at], module, sizeof *module) == 0)
            known = true;
        else if (modules[at].first < module->end && module->first < modules[at].end)
            stale = true;
    }
    if (!known && stale) {
        modules_count = 0;
        forget_rules();
    }
    if (!known) modules[modules_count++] = *module;
    atomic_flag_clear(&modules_in_use);
    return true;
}

void unwind_after_unload(void) {
    if (atomic_load(&rules_count) != 0) forget_rules();
}

void unwind_after_fork(void) {
    atomic_flag_clear(&modules_in_use);
}

static uint16_t other_code(const struct cfi_rule *rule) {
    uint32_t count = atomic_load(&other_rules_count);
    for (uint32_t at = 0; at < count && at < OTHER_RULES; at++)
        if (atomic_load(&other_rules_ready[at]) && memcmp(&other_rules[at], rule, sizeof *rule) == 0) return (uint16_t)(CODE_OTHER | at);
    uint32_t mine = atomic_fetch_add(&other_rules_count, 1);
    if (mine >= OTHER_RULES) {
        atomic_store(&other_rules_count, OTHER_RULES);
        return CODE_UNKNOWN;
    }
    other_rules[mine] = *rule;
    atomic_store(&other_rules_ready[mine], true);
    return (uint16_t)(CODE_OTHER | mine);
}

static uint16_t code_of(const struct cfi_rule *rule) {
    int32_t cfa = rule->cfa_offset;
    bool plain = !rule->cfa_indirect && rule->return_saved && cfa > 0 && cfa % 8 == 0;
    uint32_t saved = 0;
    if (rule->fp_saved) {
        plain = plain && rule->fp_base == CFI_CFA && rule->fp_offset < 0 && rule->fp_offset % 8 == 0 && rule->fp_offset >= -8 * 15;
        saved = (uint32_t)(-rule->fp_offset) / 8;
    }
#if defined(__aarch64__)
    plain = plain && rule->fp_saved && rule->return_offset == rule->fp_offset + 8;
#else
    plain = plain && rule->return_offset == -8;
#endif
    /* What lies below the stack pointer (in the red zone, of a function that was interrupted) is read with more care. */
    if (rule->cfa_base == CFI_SP) plain = plain && (int32_t)(8 * saved) <= cfa;
    uint32_t base = rule->cfa_base == CFI_FP ? CODE_FP : 0, eighths = (uint32_t)cfa / 8;
    if (!plain || eighths > (base ? 0x3ffu : 0x7ffu)) return other_code(rule);
    return (uint16_t)(base | eighths << 4 | saved);
}

static void remember(uintptr_t address, uint16_t code) {
    uint64_t entry = (uint64_t)address << 16 | code;
    if (atomic_load(&rules_count) >= RULES_MOST) forget_rules();
    for (uint32_t probe = 0, at = slot_of(address); probe < PROBES; probe++, at = (at + 1) % RULE_SLOTS) {
        uint64_t empty = 0;
        if (atomic_compare_exchange_strong(&rules[at], &empty, entry)) {
            atomic_fetch_add(&rules_count, 1);
            return;
        }
        if (empty >> 16 == address) return;
    }
}

static uint16_t look_up(uintptr_t address, const struct cfi_module *module) {
    struct cfi_rule rule;
    memset(&rule, 0, sizeof rule);
    switch (cfi_find(address, module, &rule)) {
    case CFI_RULE: return code_of(&rule);
    case CFI_SIGNAL: return CODE_SIGNAL;
    case CFI_OUTERMOST: return CODE_OUTERMOST;
    default: return CODE_UNKNOWN;
    }
}

/* Signals are blocked: a handler that left it by longjmp would leave the list of modules in use. */
SELDOM static uint16_t learn(uintptr_t address) {
    struct cfi_module module;
    memset(&module, 0, sizeof module);
    /* A module may be loaded there later, so this is not remembered. */
    if (!cfi_find_module(address, &module)) return CODE_UNKNOWN;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    bool may_remember = note_module(&module);
    uint16_t code = look_up(address, &module);
    if (may_remember && address >> ADDRESS_BITS == 0) remember(address, code);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static inline uint16_t code_for(uintptr_t address) {
    for (uint32_t probe = 0, at = slot_of(address); probe < PROBES; probe++, at = (at + 1) % RULE_SLOTS) {
        uint64_t entry = atomic_load_explicit(&rules[at], memory_order_acquire);
        if (__builtin_expect(entry >> 16 == address, 1)) return (uint16_t)entry;
        if (entry == 0) break;
    }
    return learn(address);
}

/* --- Steps --------------------------------------------------------------------------------------------------------- */

struct frame {
    uintptr_t pc, sp, fp;
    uintptr_t link;   /* AArch64, in a function that a signal has interrupted: the link register */
    bool interrupted; /* pc is the next instruction to run, not a return address */
};

static inline uintptr_t word_at(uintptr_t address) {
    return *(const uintptr_t *)address;
}

/* Without the signature of pointer authentication. */
static inline uintptr_t plain_address(uintptr_t address) {
#if defined(__aarch64__)
    register uintptr_t link __asm__("x30") = address;
    __asm__("hint 7" : "+r"(link)); /* xpaclri */
    return link;
#else
    return address;
#endif
}

/* Each frame is above the one before, and no larger than a stack is. */
static inline bool plausible(uintptr_t sp, uintptr_t cfa) {
    return cfa > sp && cfa - sp < (UINT64_C(1) << 30) && cfa % 8 == 0;
}

static bool read_word(struct stack_part *part, uintptr_t address, uintptr_t *word) {
    if (address % 8 != 0 || !may_read_any(part, address, 8)) return false;
    *word = word_at(address);
    return true;
}

__attribute__((noinline)) static bool other_step(struct frame *frame, const struct cfi_rule *rule, struct stack_part *part) {
    uintptr_t cfa = (rule->cfa_base == CFI_SP ? frame->sp : frame->fp) + (uintptr_t)(intptr_t)rule->cfa_offset;
    if (rule->cfa_indirect && !read_word(part, cfa, &cfa)) return false;
    if (!plausible(frame->sp, cfa) && !(frame->interrupted && cfa == frame->sp)) return false;
    if (rule->return_saved) {
        if (!read_word(part, cfa + (uintptr_t)(intptr_t)rule->return_offset, &frame->pc)) return false;
    } else {
        if (frame->link == 0) return false;
        frame->pc = frame->link;
    }
    if (rule->fp_saved) {
        uintptr_t base = rule->fp_base == CFI_CFA ? cfa : rule->fp_base == CFI_FP ? frame->fp : frame->sp;
        if (!read_word(part, base + (uintptr_t)(intptr_t)rule->fp_offset, &frame->fp)) return false;
    }
    frame->pc = plain_address(frame->pc);
    frame->sp = cfa;
    frame->link = 0;
    frame->interrupted = false;
    return true;
}

/* The stack pointer of the function that returns from a signal handler points to the ucontext_t (x86-64), or to the siginfo_t that is
 * followed by it (AArch64). */
SELDOM static bool signal_step(struct frame *frame, struct stack_part *part) {
#if defined(__x86_64__)
    const ucontext_t *context = (const ucontext_t *)frame->sp;
#elif defined(__aarch64__)
    const ucontext_t *context = (const ucontext_t *)(frame->sp + 128);
#endif
    if (frame->sp % 8 != 0 || !may_read_any(part, frame->sp, (uintptr_t)(context + 1) - frame->sp)) return false;
#if defined(__x86_64__)
    frame->pc = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
    frame->sp = (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
    frame->fp = (uintptr_t)context->uc_mcontext.gregs[REG_RBP];
#elif defined(__aarch64__)
    frame->pc = (uintptr_t)context->uc_mcontext.pc;
    frame->sp = (uintptr_t)context->uc_mcontext.sp;
    frame->fp = (uintptr_t)context->uc_mcontext.regs[29];
    frame->link = (uintptr_t)context->uc_mcontext.regs[30];
#endif
    frame->interrupted = true;
    /* The handler may have run on a stack of its own. */
    return frame->sp % 8 == 0 && may_read_any(part, frame->sp, 8);
}

static unsigned walk(struct frame frame, uintptr_t *to, unsigned most, enum unwind_end *end, struct stack_part *part) {
    unsigned count = 0;
    to[count++] = frame.pc;
    if (!may_read(part, frame.sp, frame.sp + 8)) goto unknown;
    while (count < most) {
        uint16_t code = code_for(frame.pc - !frame.interrupted);
        if (__builtin_expect(code < CODE_OTHER, 1)) {
            uintptr_t cfa = code & CODE_FP ? frame.fp + ((code & 0x3ff0) >> 1) : frame.sp + ((code & 0x7ff0) >> 1);
            uint32_t saved = code & 15;
            uintptr_t first = cfa - 8 * (saved != 0 ? saved : 1); /* of what is read */
            if (__builtin_expect(!plausible(frame.sp, cfa) || first < frame.sp, 0) || !may_read(part, first, cfa)) goto unknown;
#if defined(__aarch64__)
            frame.fp = word_at(cfa - 8 * saved);
            frame.pc = plain_address(word_at(cfa - 8 * saved + 8));
#else
            if (saved != 0) frame.fp = word_at(cfa - 8 * saved);
            frame.pc = word_at(cfa - 8);
#endif
            frame.sp = cfa;
            frame.interrupted = false;
        } else if (code == CODE_SIGNAL) {
            if (!signal_step(&frame, part)) goto unknown;
        } else if (code == CODE_OUTERMOST) {
            *end = UNWIND_OUTERMOST;
            return count;
        } else if (code == CODE_UNKNOWN || !other_step(&frame, &other_rules[code & OTHER_INDEX], part)) {
            goto unknown;
        }
        if (frame.pc == 0) {
            distrust(part, frame.sp);
            *end = UNWIND_OUTERMOST;
            return count;
        }
        to[count++] = frame.pc;
    }
    *end = UNWIND_DEPTH;
    return count;
unknown:
    if (count > 1) distrust(part, frame.sp);
    *end = UNWIND_UNKNOWN;
    return count;
}

unsigned unwind(const struct caller *caller, uintptr_t *to, unsigned most, enum unwind_end *end) {
    struct frame frame = {.pc = caller->site, .sp = caller->sp, .fp = word_at(caller->frame)};
    struct stack_part part = {0, 0};
    if (unwinder.unwinding) return walk(frame, to, most, end, &part); /* a signal handler has interrupted us */
    unwinder.unwinding = true;
    atomic_signal_fence(memory_order_seq_cst);
    part = unwinder.part;
    unsigned count = walk(frame, to, most, end, &part);
    unwinder.part = part;
    atomic_signal_fence(memory_order_seq_cst);
    unwinder.unwinding = false;
    return count;
}
