/* How big a term is, found by a walk that stops at a limit; and a copy of it into another environment that pins nothing. */
#ifndef CAPTURE_NIF_TERM_H
#define CAPTURE_NIF_TERM_H

#include "resource.h"

/* What the walk found. A copy must be made with the `needs` of its own walk. */
enum {
    TERM_REBUILD = 1,      /* holds a binary that a plain copy would share, and with it the binary that it is a slice of */
    TERM_OPAQUE = 2,       /* holds a fun, whose environment no native function can see, or a bitstring of no whole bytes: these are
                              not in the size. The Erlang side (elixir_scope_capture_pipeline_term:bound/2) measures them and calls again */
    TERM_REBUILD_FUN = 4,  /* a binary as above is in the environment of a fun: set by the Erlang side only */
    TERM_NEEDS = TERM_REBUILD | TERM_OPAQUE | TERM_REBUILD_FUN
};

/* Learns how this VM tags terms, and checks it; where a check fails the public functions are asked instead. */
void term_load(ErlNifEnv *env);

/* The size in bytes of a copy of the term, off-heap binaries included. Answers 0 as soon as it is known to exceed the limit (or without
 * memory); the time is bounded by the limit, the C stack by a constant, whatever the term is. Any scheduler. */
int term_size(ErlNifEnv *env, ERL_NIF_TERM term, size_t limit, size_t *bytes, int *needs);

/* The same; everything opaque that was met is put in front of the list *opaque. */
int term_size_opaque(ErlNifEnv *env, ERL_NIF_TERM term, size_t limit, size_t *bytes, int *needs, ERL_NIF_TERM *opaque);

/* A copy in `to` that shares no binary with anyone (=== holds). 0 without memory. Bounded as the walk was. (rebuild.c) */
ERL_NIF_TERM term_copy(ErlNifEnv *to, ErlNifEnv *from, ERL_NIF_TERM term, int needs);

/* NIF: term_walk(Term, Limit) -> {Bytes, Needs, Opaque} | too_large | {error, badarg}. For the Erlang side's bound/2. */
ERL_NIF_TERM term_walk(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#define TERM_FUNCS(ROW) ROW("term_walk", 2, term_walk, 0)

/* ---- for rebuild.c ---- */

/* A term that is a word of its own: nothing lies behind it. False negatives are allowed. */
bool term_is_immediate(ErlNifEnv *env, ERL_NIF_TERM term);

/* A binary whose bytes lie in the term itself. `binary` is what enif_inspect_binary told. */
bool term_is_heap_binary(ERL_NIF_TERM term, const ErlNifBinary *binary);

/* All keys and values of a map in one new array (enif_free), `pairs` of each: keys first. NULL without memory. */
ERL_NIF_TERM *term_map_items(ErlNifEnv *env, ERL_NIF_TERM map, size_t pairs);

#endif
