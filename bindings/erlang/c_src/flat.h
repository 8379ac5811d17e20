/* A term as flat words: the words that it has on a heap, copied once, with offsets where addresses would be and, for the keys of a map, the number
 * of its shape (shapes.h). They lie in a ring as they are, belong to nobody, pin nothing and are freed by being overwritten; a reader
 * gets the term by copying the words to where it wants it and adding that address to those that are offsets.
 *
 * So copies the VM itself between heaps and into messages (and Cheney's collector, 1970, from which the layout of the copy comes); what the NIF API
 * offers takes two walks and an allocation to get the same into an environment. It needs to know the layout of terms (layout.h) and
 * is used only where specimens of all of them came back from it as they went. */
#ifndef CAPTURE_NIF_FLAT_H
#define CAPTURE_NIF_FLAT_H

#include "shapes.h"

enum {
    FLAT_WORDS = 2048,      /* the largest term that is made flat, 16 KiB */
    FLAT_BYTES = FLAT_WORDS * 8 /* and what it may have of other bytes: of binaries that are not on the heap, and of its tables */
};

/* One flat term: the head word, the term, its words, then the tables. */
struct flat {
    uint64_t words[2 + FLAT_WORDS + FLAT_BYTES / 8];
    size_t bytes;           /* in use, from the first word on */
};

/* Learns whether terms may be made flat in this VM. After term_load. */
void flat_load(ErlNifEnv *env);

/* Whether they may. */
bool flat_known(void);

/* Makes the term flat. False: it is an immediate, too large or too deep, or holds what can only be copied by the VM (funs, bitstrings of no whole
 * bytes, resources, terms of other nodes, maps of more than 32 keys); then nothing is known of it, and *flat is unspecified. */
bool flat_make(ErlNifEnv *env, ERL_NIF_TERM term, struct flat *flat);

/* Whether a payload of at least one word is a flat term. No handle looks like one. */
static inline bool flat_is(uint64_t first_word)
{
    return first_word & 1;
}

/* The term, in the environment's memory. `made`: the environment's. `words`: what flat_make wrote, aligned to 8 bytes; only read. 0 without
 * memory. */
ERL_NIF_TERM flat_term(ErlNifEnv *env, struct shapes_made *made, const void *words);

/* NIF: term_flat(Term) -> {ok, Bytes, Copy} | no. For tests. */
ERL_NIF_TERM term_flat(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#define FLAT_FUNCS(ROW) ROW("term_flat", 1, term_flat, 0)

#endif
