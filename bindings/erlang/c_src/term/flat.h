/* Flat terms: the words that a term has on a heap, with offsets in place of addresses and, in place of a small map's keys, the number of their
 * shape (shapes.h). The words lie in a ring, hold no reference, and are freed by being overwritten. A reader copies the words to its heap and
 * adds their address to the offsets.
 *
 * The VM copies terms between heaps and into messages in the same way (the layout of the copy is that of Cheney's collector, 1970). The NIF API
 * takes two walks and an allocation to copy a term into an environment. Flat terms need the layout of terms (layout.h), and are used only where
 * all tests have passed on that version of the VM, and specimens of all kinds of terms came back unchanged when the NIF was loaded. */
#ifndef CAPTURE_NIF_FLAT_H
#define CAPTURE_NIF_FLAT_H

#include "term/shapes.h"

enum {
    FLAT_WORDS = 2048,      /* of the largest flat term, 16 KiB */
    FLAT_BYTES = FLAT_WORDS * 8 /* for the bytes of its off-heap binaries, and for its tables */
};

/* One flat term: the head word, the term, its words, then the tables. */
struct flat {
    uint64_t words[2 + FLAT_WORDS + FLAT_BYTES / 8];
    size_t bytes;           /* in use, from the first word on */
};

/* Learns whether terms may be made flat in this VM. Called when the NIF is loaded or upgraded, after layout_load. */
void flat_load(ErlNifEnv *env);

/* Why terms are made flat, or are not. */
enum flat_reason {
    FLAT_TESTED,    /* they are: the version is one of those that were tested, and its layout is as it was then */
    FLAT_VERSION,   /* the version was not tested */
    FLAT_LAYOUT     /* the version was tested, but its layout is not as it was then: the VM was built with other options */
};

/* Whether they may be. */
bool flat_known(void);

/* Makes the term flat. False: the term is an immediate, too large or too deep, or has a part that only the VM can copy (a fun, a bitstring of no
 * whole bytes, a resource, a term of another node, a map of more than 32 keys). *flat is then unspecified. */
bool flat_make(ErlNifEnv *env, ERL_NIF_TERM term, struct flat *flat);

/* Whether a payload of at least one word is a flat term. The first word of a handle is an address or NULL, which is even. */
static inline bool flat_is(uint64_t first_word)
{
    return first_word & 1;
}

/* The term, in the environment. `made`: the shapes of the environment. `words`: as flat_make wrote them, aligned to 8 bytes. 0 without memory. */
ERL_NIF_TERM flat_term(ErlNifEnv *env, struct shapes_made *made, const void *words);

/* The shape of a flat term that is a small map with a shape; otherwise -1. */
int flat_map_shape(const void *words);

/* The values of such a map, in the environment, in the order of the shape's keys. `values` has room for SMALL_MAP. False without memory. */
bool flat_map_values(ErlNifEnv *env, struct shapes_made *made, const void *words, ERL_NIF_TERM *values);

/* A small map of a tuple of keys, which must be of this environment and in the VM's order of keys, and as many values. */
ERL_NIF_TERM flat_map_make(ErlNifEnv *env, ERL_NIF_TERM keys, const ERL_NIF_TERM *values, size_t size);

/* NIF: capture_info() -> {flat | blocks, tested | version | layout, Version of erts}. */
ERL_NIF_TERM capture_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* NIF: term_flat(Term) -> {ok, Bytes, Copy} | no. For tests. */
ERL_NIF_TERM term_flat(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
