/* The values that call frame information consists of. */
#ifndef ALLOC_TRACE_CFI_BYTES_H
#define ALLOC_TRACE_CFI_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A part of a module. Reading past the end gives 0 and empties it. */
struct bytes {
    const uint8_t *at, *end;
};

uint64_t read_fixed(struct bytes *from, size_t size);
uint64_t read_uleb(struct bytes *from);
int64_t read_sleb(struct bytes *from);

/* DW_EH_PE_...: a value in one of some forms, relative to nothing or to its own address. */
enum { PE_OMIT = 0xff, PE_FORM = 0x0f, PE_RELATIVE = 0x70, PE_PCREL = 0x10, PE_DATAREL = 0x30, PE_INDIRECT = 0x80 };

/* false: a form that does not occur here. */
bool read_encoded(struct bytes *from, uint8_t encoding, uintptr_t data_base, uintptr_t *value);

#endif
