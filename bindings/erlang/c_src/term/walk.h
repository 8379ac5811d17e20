/* The size of a term, found by a walk that stops at a limit. */
#ifndef CAPTURE_NIF_WALK_H
#define CAPTURE_NIF_WALK_H

#include "base/resource.h"

/* The needs of a copy, as found by the walk. term_copy must get the needs of the same term. */
enum {
    TERM_REBUILD = 1,      /* has a binary that a plain copy would share, together with the binary that it may be a slice of */
    TERM_OPAQUE = 2,       /* has what the NIF API does not show: the environment of a fun, a bitstring of no whole bytes, a native record (OTP 29). The
                              size does not include these: elixir_scope_capture_pipeline_term:bound/2 measures them in Erlang and calls again */
    TERM_REBUILD_FUN = 4,  /* such a binary is in the environment of a fun: only bound/2 sets it */
    TERM_NEEDS = TERM_REBUILD | TERM_OPAQUE | TERM_REBUILD_FUN
};

/* The size in bytes of a copy of the term, off-heap binaries included. Returns 0 as soon as the size is known to exceed the limit, or without
 * memory. For any term the limit bounds the time, and a constant bounds the C stack. May run on any scheduler. */
int term_size(ErlNifEnv *env, ERL_NIF_TERM term, size_t limit, size_t *bytes, int *needs);

/* The same; puts every opaque term that it meets in front of the list *opaque. */
int term_size_opaque(ErlNifEnv *env, ERL_NIF_TERM term, size_t limit, size_t *bytes, int *needs, ERL_NIF_TERM *opaque);

/* NIF: term_walk(Term, Limit) -> {Bytes, Needs, Opaque} | too_large | {error, badarg}. For bound/2. */
ERL_NIF_TERM term_walk(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* ---- for copy.c ---- */

/* A term that is one word, without memory of its own. False negatives are allowed. */
bool term_is_immediate(ErlNifEnv *env, ERL_NIF_TERM term);

/* A binary whose bytes lie in the term itself. `binary`: from enif_inspect_binary. */
bool term_is_heap_binary(ERL_NIF_TERM term, const ErlNifBinary *binary);

/* All keys, then all values of a map of `pairs` pairs, in one new array (enif_free). NULL without memory. */
ERL_NIF_TERM *term_map_items(ErlNifEnv *env, ERL_NIF_TERM map, size_t pairs);

#endif
