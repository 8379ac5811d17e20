/* Fields of a struct of the API by name and offset, so that a table can hold values for them. */
#ifndef CAPTURE_PIPELINE_FIELDS_H
#define CAPTURE_PIPELINE_FIELDS_H

#include "check.h"

#define FIELD_OF(type, name) #name, offsetof(type, name), sizeof(((type *)0)->name)

/* A field, and a value for it. */
typedef struct field_value_t {
    const char *field;
    size_t offset, size;
    uint64_t value;
} field_value_t;

/* The same for a value that must be refused, with the limit that the message must name. */
typedef struct bad_value_t {
    const char *field;
    size_t offset, size;
    uint64_t value;
    const char *limit;
} bad_value_t;

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* Little-endian and big-endian alike: through a value of the field's own width. */
CHECK_UNUSED static void put(void *to, size_t offset, size_t size, uint64_t value)
{
    uint32_t narrow = (uint32_t)value;
    memcpy((char *)to + offset, size == 8 ? (const void *)&value : (const void *)&narrow, size);
}

CHECK_UNUSED static uint64_t get(const void *from, size_t offset, size_t size)
{
    uint64_t wide = 0;
    uint32_t narrow = 0;
    memcpy(size == 8 ? (void *)&wide : (void *)&narrow, (const char *)from + offset, size);
    return size == 8 ? wide : narrow;
}

#endif
