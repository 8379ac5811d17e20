/* The names of the captured functions.
 *
 * Licence: MIT OR Apache-2.0. */
#include "calls.h"

const char *call_name(unsigned call) {
    static const char *const names[CALL_END] = {
        [CALL_MALLOC] = "malloc",
        [CALL_CALLOC] = "calloc",
        [CALL_REALLOC] = "realloc",
        [CALL_FREE] = "free",
        [CALL_POSIX_MEMALIGN] = "posix_memalign",
        [CALL_ALIGNED_ALLOC] = "aligned_alloc",
        [CALL_MEMALIGN] = "memalign",
        [CALL_VALLOC] = "valloc",
        [CALL_PVALLOC] = "pvalloc",
        [CALL_REALLOCARRAY] = "reallocarray",
        [CALL_NEW] = "operator_new",
        [CALL_NEW_ARRAY] = "operator_new_array",
        [CALL_NEW_NOTHROW] = "operator_new_nothrow",
        [CALL_NEW_ARRAY_NOTHROW] = "operator_new_array_nothrow",
        [CALL_NEW_ALIGNED] = "operator_new_align",
        [CALL_NEW_ARRAY_ALIGNED] = "operator_new_array_align",
        [CALL_NEW_ALIGNED_NOTHROW] = "operator_new_align_nothrow",
        [CALL_NEW_ARRAY_ALIGNED_NOTHROW] = "operator_new_array_align_nothrow",
        [CALL_DELETE] = "operator_delete",
        [CALL_DELETE_ARRAY] = "operator_delete_array",
        [CALL_DELETE_SIZED] = "operator_delete_size",
        [CALL_DELETE_ARRAY_SIZED] = "operator_delete_array_size",
        [CALL_DELETE_NOTHROW] = "operator_delete_nothrow",
        [CALL_DELETE_ARRAY_NOTHROW] = "operator_delete_array_nothrow",
        [CALL_DELETE_ALIGNED] = "operator_delete_align",
        [CALL_DELETE_ARRAY_ALIGNED] = "operator_delete_array_align",
        [CALL_DELETE_SIZED_ALIGNED] = "operator_delete_size_align",
        [CALL_DELETE_ARRAY_SIZED_ALIGNED] = "operator_delete_array_size_align",
        [CALL_DELETE_ALIGNED_NOTHROW] = "operator_delete_align_nothrow",
        [CALL_DELETE_ARRAY_ALIGNED_NOTHROW] = "operator_delete_array_align_nothrow",
    };
    return names[call];
}
