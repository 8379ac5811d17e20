/* Call frame information.
 *
 * The DWARF standard (6.4) and the LSB (.eh_frame, .eh_frame_hdr) describe the format. Read is what a return address, the stack
 * pointer and the frame pointer need; the compilers' rules for those two registers are few.
 *
 * A file may say anything: a damaged one, or one of a tool that moves code. So each part is read only where it lies in its module and in
 * pages that may be read; a module has gaps between its segments.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "cfi.h"

#include "cfi_bytes.h"
#include "mapped.h"

#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)
enum { REGISTER_FP = 6, REGISTER_SP = 7, REGISTER_RETURN = 16 };
#elif defined(__aarch64__)
enum { REGISTER_FP = 29, REGISTER_SP = 31, REGISTER_RETURN = 30 };
#else
enum { REGISTER_FP = -1, REGISTER_SP = -2, REGISTER_RETURN = -3 };
#endif

/* --- The entry of a function --------------------------------------------------------------------------------------- */

/* A part of a module. false: it is not inside the module, or may not be read. */
static bool part_of(const struct cfi_module *module, uintptr_t first, uint64_t length, struct bytes *part) {
    if (first < module->first || first > module->end || length > module->end - first) return false;
    for (uintptr_t page = page_of(first); page < first + length; page += MAPPED_PAGE)
        if (!module_page_is_readable(page)) return false;
    *part = (struct bytes){(const uint8_t *)first, (const uint8_t *)first + length};
    return true;
}

/* An entry, behind its length. */
enum { LARGEST_ENTRY = 1 << 20 };

static bool read_entry(const struct cfi_module *module, uintptr_t at, struct bytes *entry) {
    struct bytes from;
    if (!part_of(module, at, 4, &from)) return false;
    uint64_t length = read_fixed(&from, 4);
    at += 4;
    if (length == UINT32_MAX) {
        if (!part_of(module, at, 8, &from)) return false;
        length = read_fixed(&from, 8);
        at += 8;
    }
    return length != 0 && length <= LARGEST_ENTRY && part_of(module, at, length, entry);
}

/* The table in .eh_frame_hdr: pairs of 4 bytes each, relative to the header's begin, sorted. */
enum { TABLE_ENCODING = 0x3b, PAIR_BYTES = 8, LEAST_HEADER = 12 + PAIR_BYTES };

static bool read_pair(const struct cfi_module *module, uintptr_t table, size_t index, int32_t pair[2]) {
    struct bytes from;
    if (!part_of(module, table + index * PAIR_BYTES, PAIR_BYTES, &from)) return false;
    memcpy(pair, from.at, PAIR_BYTES);
    return true;
}

static bool find_entry(uintptr_t address, const struct cfi_module *module, struct bytes *entry) {
    const uintptr_t base = module->header;
    struct bytes from;
    uintptr_t frames, count;
    if (base == 0 || !part_of(module, base, LEAST_HEADER, &from)) return false;
    uint8_t version = (uint8_t)read_fixed(&from, 1), frames_encoding = (uint8_t)read_fixed(&from, 1);
    uint8_t count_encoding = (uint8_t)read_fixed(&from, 1), table_encoding = (uint8_t)read_fixed(&from, 1);
    if (version != 1 || table_encoding != TABLE_ENCODING || count_encoding == PE_OMIT) return false;
    if (!read_encoded(&from, frames_encoding, base, &frames)) return false;
    if (!read_encoded(&from, count_encoding, base, &count)) return false;
    const uintptr_t table = (uintptr_t)from.at;
    if (count == 0 || count > (module->end - table) / PAIR_BYTES) return false;
    size_t low = 0, high = count; /* the last pair whose address is not above ours lies in [low, high) */
    int32_t pair[2];
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (!read_pair(module, table, middle, pair)) return false;
        if (base + (uintptr_t)(intptr_t)pair[0] <= address)
            low = middle;
        else
            high = middle;
    }
    if (!read_pair(module, table, low, pair) || base + (uintptr_t)(intptr_t)pair[0] > address) return false;
    return read_entry(module, base + (uintptr_t)(intptr_t)pair[1], entry);
}

/* --- The program of an entry --------------------------------------------------------------------------------------- */

enum how { SAME, AT_CFA, AT_FP, AT_SP, NOWHERE, UNKNOWN_PLACE };
struct place {
    enum how how;
    int64_t offset;
};
struct row {
    uint64_t cfa_register;
    int64_t cfa_offset;
    bool cfa_indirect, cfa_unknown;
    struct place fp, back;
};
enum { REMEMBERED = 8 };

struct common {
    uint64_t code_align;
    int64_t data_align;
    uint8_t encoding;
    bool augmented, signal;
    struct bytes program;
};

/* `at`: the entry that others have in common, behind its length. */
static bool read_common(struct bytes at, struct common *common) {
    *common = (struct common){.encoding = 0};
    if (read_fixed(&at, 4) != 0) return false;
    uint8_t version = (uint8_t)read_fixed(&at, 1);
    if (version != 1 && version != 3) return false;
    const char *augmentation = (const char *)at.at;
    size_t letters = strnlen(augmentation, (size_t)(at.end - at.at));
    at.at += letters + ((size_t)(at.end - at.at) > letters);
    common->code_align = read_uleb(&at);
    common->data_align = read_sleb(&at);
    uint64_t back = version == 1 ? read_fixed(&at, 1) : read_uleb(&at);
    if (back != REGISTER_RETURN) return false;
    if (letters > 0 && augmentation[0] != 'z') return false;
    if (letters > 0) {
        struct bytes data = at;
        uint64_t length = read_uleb(&data);
        if (length > (size_t)(data.end - data.at)) return false;
        at.at = data.at + length;
        data.end = at.at;
        common->augmented = true;
        for (size_t letter = 1; letter < letters; letter++) {
            uintptr_t unused;
            switch (augmentation[letter]) {
            case 'R': common->encoding = (uint8_t)read_fixed(&data, 1); break;
            case 'L': read_fixed(&data, 1); break;
            case 'P': {
                uint8_t encoding = (uint8_t)read_fixed(&data, 1);
                if (!read_encoded(&data, encoding & (uint8_t)~PE_INDIRECT, 0, &unused)) return false;
                break;
            }
            case 'S': common->signal = true; break;
            case 'B': break; /* return addresses are signed */
            default: return false;
            }
        }
    }
    common->program = at;
    return true;
}

/* An expression of one of two forms: a register plus an offset; what lies there. */
static enum how read_expression(struct bytes *from, int64_t *offset, bool *indirect) {
    enum { BREG0 = 0x70, BREG31 = 0x8f, DEREF = 0x06 };
    uint64_t length = read_uleb(from);
    struct bytes words = *from;
    if (length > (size_t)(from->end - from->at)) length = (uint64_t)(from->end - from->at);
    from->at += length;
    words.end = from->at;
    uint8_t first = (uint8_t)read_fixed(&words, 1);
    *offset = read_sleb(&words);
    *indirect = false;
    if (words.at < words.end) {
        *indirect = read_fixed(&words, 1) == DEREF;
        if (!*indirect || words.at < words.end) return UNKNOWN_PLACE;
    }
    if (first == BREG0 + REGISTER_FP) return AT_FP;
    return first == BREG0 + REGISTER_SP ? AT_SP : UNKNOWN_PLACE;
}

/* The products wrap around: the factors are what the file says. */
static int64_t factored(uint64_t factor, int64_t align) {
    return (int64_t)(factor * (uint64_t)align);
}

static void set_place(struct row *row, uint64_t number, struct place place) {
    if (number == (uint64_t)REGISTER_FP) row->fp = place;
    if (number == (uint64_t)REGISTER_RETURN) row->back = place;
}

static void restore_place(struct row *row, uint64_t number, const struct row *initial) {
    if (number == (uint64_t)REGISTER_FP) row->fp = initial->fp;
    if (number == (uint64_t)REGISTER_RETURN) row->back = initial->back;
}

/* Runs a program up to the row of the address. `at` is the address of the row in hand. */
static bool run_program(struct bytes from, const struct common *common, uintptr_t at, uintptr_t address, struct row *row,
                        const struct row *initial) {
    struct row remembered[REMEMBERED];
    unsigned depth = 0;
    while (from.at < from.end) {
        uint8_t code = *from.at++;
        uint64_t low = code & 0x3f, number;
        int64_t offset;
        bool indirect;
        enum how how;
        switch (code >> 6) {
        case 1: /* advance_loc */
            at += low * common->code_align;
            if (at > address) return true;
            continue;
        case 2: /* offset */
            set_place(row, low, (struct place){AT_CFA, factored(read_uleb(&from), common->data_align)});
            continue;
        case 3: /* restore */
            restore_place(row, low, initial);
            continue;
        default: break;
        }
        switch (code) {
        case 0x00: break; /* nop */
        case 0x01: /* set_loc */
            if (!read_encoded(&from, common->encoding, 0, &at)) return false;
            if (at > address) return true;
            break;
        case 0x02: case 0x03: case 0x04: /* advance_loc1, 2, 4 */
            at += read_fixed(&from, (size_t)1 << (code - 2)) * common->code_align;
            if (at > address) return true;
            break;
        case 0x05: /* offset_extended */
            number = read_uleb(&from);
            set_place(row, number, (struct place){AT_CFA, factored(read_uleb(&from), common->data_align)});
            break;
        case 0x06: /* restore_extended */
            restore_place(row, read_uleb(&from), initial);
            break;
        case 0x07: /* undefined */
            set_place(row, read_uleb(&from), (struct place){NOWHERE, 0});
            break;
        case 0x08: /* same_value */
            set_place(row, read_uleb(&from), (struct place){SAME, 0});
            break;
        case 0x09: /* register */
            number = read_uleb(&from);
            read_uleb(&from);
            set_place(row, number, (struct place){UNKNOWN_PLACE, 0});
            break;
        case 0x0a: /* remember_state */
            if (depth == REMEMBERED) return false;
            remembered[depth++] = *row;
            break;
        case 0x0b: /* restore_state */
            if (depth == 0) return false;
            *row = remembered[--depth];
            break;
        case 0x0c: /* def_cfa */
            row->cfa_register = read_uleb(&from);
            row->cfa_offset = (int64_t)read_uleb(&from);
            row->cfa_indirect = row->cfa_unknown = false;
            break;
        case 0x0d: /* def_cfa_register */
            row->cfa_register = read_uleb(&from);
            break;
        case 0x0e: /* def_cfa_offset */
            row->cfa_offset = (int64_t)read_uleb(&from);
            break;
        case 0x0f: /* def_cfa_expression */
            how = read_expression(&from, &row->cfa_offset, &row->cfa_indirect);
            row->cfa_unknown = how == UNKNOWN_PLACE;
            row->cfa_register = how == AT_FP ? (uint64_t)REGISTER_FP : (uint64_t)REGISTER_SP;
            break;
        case 0x10: /* expression */
            number = read_uleb(&from);
            how = read_expression(&from, &offset, &indirect);
            set_place(row, number, (struct place){indirect ? UNKNOWN_PLACE : how, offset});
            break;
        case 0x16: /* val_expression */
            number = read_uleb(&from);
            read_expression(&from, &offset, &indirect);
            set_place(row, number, (struct place){UNKNOWN_PLACE, 0});
            break;
        case 0x11: /* offset_extended_sf */
            number = read_uleb(&from);
            set_place(row, number, (struct place){AT_CFA, factored((uint64_t)read_sleb(&from), common->data_align)});
            break;
        case 0x12: /* def_cfa_sf */
            row->cfa_register = read_uleb(&from);
            row->cfa_offset = factored((uint64_t)read_sleb(&from), common->data_align);
            row->cfa_indirect = row->cfa_unknown = false;
            break;
        case 0x13: /* def_cfa_offset_sf */
            row->cfa_offset = factored((uint64_t)read_sleb(&from), common->data_align);
            break;
        case 0x14: case 0x15: /* val_offset, val_offset_sf */
            number = read_uleb(&from);
            read_uleb(&from);
            set_place(row, number, (struct place){UNKNOWN_PLACE, 0});
            break;
        case 0x2d: break; /* AArch64: the signing of the return address changes; it is removed from all of them */
        case 0x2e: /* GNU_args_size */
            read_uleb(&from);
            break;
        default: return false;
        }
    }
    return true;
}

/* --- The rule ------------------------------------------------------------------------------------------------------ */

static bool fits(int64_t offset) {
    return offset >= INT32_MIN && offset <= INT32_MAX;
}

static enum cfi_result rule_of(const struct row *row, struct cfi_rule *rule) {
    if (row->back.how == NOWHERE) return CFI_OUTERMOST;
    if (row->cfa_unknown || !fits(row->cfa_offset) || !fits(row->fp.offset) || !fits(row->back.offset)) return CFI_UNKNOWN;
    if (row->cfa_register != (uint64_t)REGISTER_SP && row->cfa_register != (uint64_t)REGISTER_FP) return CFI_UNKNOWN;
    if (row->back.how != AT_CFA && row->back.how != SAME) return CFI_UNKNOWN;
    if (row->fp.how == UNKNOWN_PLACE) return CFI_UNKNOWN;
    *rule = (struct cfi_rule){
        .cfa_base = row->cfa_register == (uint64_t)REGISTER_SP ? CFI_SP : CFI_FP,
        .cfa_indirect = row->cfa_indirect,
        .cfa_offset = (int32_t)row->cfa_offset,
        .fp_saved = row->fp.how != SAME && row->fp.how != NOWHERE,
        .fp_base = row->fp.how == AT_CFA ? CFI_CFA : row->fp.how == AT_FP ? CFI_FP : CFI_SP,
        .fp_offset = (int32_t)row->fp.offset,
        .return_saved = row->back.how == AT_CFA,
        .return_offset = (int32_t)row->back.offset,
    };
    return CFI_RULE;
}

enum cfi_result cfi_find(uintptr_t address, const struct cfi_module *module, struct cfi_rule *rule) {
    struct bytes entry, common_entry;
    struct common common;
    uintptr_t first, count;
    if (!find_entry(address, module, &entry)) return CFI_UNKNOWN;
    const uintptr_t place = (uintptr_t)entry.at;
    uint64_t distance = read_fixed(&entry, 4); /* to the common entry, backwards from here */
    if (distance == 0 || !read_entry(module, place - distance, &common_entry) || !read_common(common_entry, &common)) return CFI_UNKNOWN;
    if (!read_encoded(&entry, common.encoding, 0, &first) || !read_encoded(&entry, common.encoding & PE_FORM, 0, &count))
        return CFI_UNKNOWN;
    if (address - first >= count) return CFI_UNKNOWN;
    if (common.signal) return CFI_SIGNAL;
    if (common.augmented) {
        uint64_t length = read_uleb(&entry);
        if (length > (size_t)(entry.end - entry.at)) return CFI_UNKNOWN;
        entry.at += length;
    }
    struct row row = {.fp = {SAME, 0}, .back = {SAME, 0}}, initial;
    if (!run_program(common.program, &common, 0, UINTPTR_MAX, &row, &row)) return CFI_UNKNOWN;
    initial = row;
    if (!run_program(entry, &common, first, address, &row, &initial)) return CFI_UNKNOWN;
    return rule_of(&row, rule);
}
