/* Reads values of call frame information.
 *
 * Licence: MIT OR Apache-2.0. */
#include "cfi_bytes.h"

#include <string.h>

uint64_t read_fixed(struct bytes *from, size_t size) {
    uint64_t value = 0;
    if ((size_t)(from->end - from->at) < size) {
        from->at = from->end;
        return 0;
    }
    memcpy(&value, from->at, size); /* little-endian, as both processors are */
    from->at += size;
    return value;
}

uint64_t read_uleb(struct bytes *from) {
    uint64_t value = 0;
    for (unsigned shift = 0; from->at < from->end; shift += 7) {
        uint8_t byte = *from->at++;
        if (shift < 64) value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) break;
    }
    return value;
}

int64_t read_sleb(struct bytes *from) {
    uint64_t value = 0;
    for (unsigned shift = 0; from->at < from->end;) {
        uint8_t byte = *from->at++;
        if (shift < 64) value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
        if ((byte & 0x80) != 0) continue;
        if ((byte & 0x40) != 0 && shift < 64) value |= UINT64_MAX << shift;
        break;
    }
    return (int64_t)value;
}

bool read_encoded(struct bytes *from, uint8_t encoding, uintptr_t data_base, uintptr_t *value) {
    uintptr_t place = (uintptr_t)from->at;
    uint64_t read;
    switch (encoding & PE_FORM) {
    case 0x00: case 0x04: case 0x0c: read = read_fixed(from, 8); break;
    case 0x01: read = read_uleb(from); break;
    case 0x02: read = read_fixed(from, 2); break;
    case 0x03: read = read_fixed(from, 4); break;
    case 0x09: read = (uint64_t)read_sleb(from); break;
    case 0x0a: read = (uint64_t)(int16_t)read_fixed(from, 2); break;
    case 0x0b: read = (uint64_t)(int32_t)read_fixed(from, 4); break;
    default: return false;
    }
    switch (encoding & PE_RELATIVE) {
    case 0: break;
    case PE_PCREL: read += place; break;
    case PE_DATAREL: read += data_base; break;
    default: return false;
    }
    *value = (uintptr_t)read;
    return (encoding & PE_INDIRECT) == 0;
}
