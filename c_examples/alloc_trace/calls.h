/* The functions that are captured, and their names. */
#ifndef ALLOC_TRACE_CALLS_H
#define ALLOC_TRACE_CALLS_H

#include <stdbool.h>

/* The captured calls. A call's number is the kind of its event and is stored in databases: never change one. */
enum call {
    CALL_MALLOC = 1,
    CALL_CALLOC = 2,
    CALL_REALLOC = 3,
    CALL_FREE = 4,
    CALL_POSIX_MEMALIGN = 5,
    CALL_ALIGNED_ALLOC = 6,
    CALL_MEMALIGN = 7,
    CALL_VALLOC = 8,
    CALL_PVALLOC = 9,
    CALL_REALLOCARRAY = 10,
    CALL_NEW = 11,
    CALL_NEW_ARRAY = 12,
    CALL_NEW_NOTHROW = 13,
    CALL_NEW_ARRAY_NOTHROW = 14,
    CALL_NEW_ALIGNED = 15,
    CALL_NEW_ARRAY_ALIGNED = 16,
    CALL_NEW_ALIGNED_NOTHROW = 17,
    CALL_NEW_ARRAY_ALIGNED_NOTHROW = 18,
    CALL_DELETE = 19,
    CALL_DELETE_ARRAY = 20,
    CALL_DELETE_SIZED = 21,
    CALL_DELETE_ARRAY_SIZED = 22,
    CALL_DELETE_NOTHROW = 23,
    CALL_DELETE_ARRAY_NOTHROW = 24,
    CALL_DELETE_ALIGNED = 25,
    CALL_DELETE_ARRAY_ALIGNED = 26,
    CALL_DELETE_SIZED_ALIGNED = 27,
    CALL_DELETE_ARRAY_SIZED_ALIGNED = 28,
    CALL_DELETE_ALIGNED_NOTHROW = 29,
    CALL_DELETE_ARRAY_ALIGNED_NOTHROW = 30,
    CALL_END = 31,
    CALL_COUNTERS = 32 /* size of an array of counters that is indexed by call */
};

/* The name of the function, or of the operator, as an identifier. It is the name of the kind. */
const char *call_name(unsigned call);

static inline bool call_releases(unsigned call) {
    return call == CALL_FREE || call >= CALL_DELETE;
}

/* Releases one address and allocates another. */
static inline bool call_resizes(unsigned call) {
    return call == CALL_REALLOC || call == CALL_REALLOCARRAY;
}

#endif
