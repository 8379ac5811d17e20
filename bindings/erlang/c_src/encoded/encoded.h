/* Encoded terms: how a trace lies in a ring. The encoding has a bound in bytes and in depth, and what is beyond them is left out and marked, so that the
 * time of a trace and its room in the ring are bounded whatever the traced call's arguments are. The encoding holds no reference and no memory of
 * the VM, and is freed by being overwritten. It needs nothing of the VM's layout of terms, but is shorter where the layout is known.
 *
 * An encoded term is a sequence of words that is read from its start with a stack: a word that is an immediate term is pushed, any other word is an
 * instruction that takes terms from the stack and pushes one. The first word of all has ENCODED_MARK in its three lowest bits, which tells it from a
 * flat term and from a handle (pipeline/payload.h), and the number of bytes in the others.
 *
 * What is left out is marked with the atom '...', as io_lib's ~P does:
 *   a list             [1,2|'...']               some elements, then the atom in place of the rest
 *   a tuple, a map     {a,b,'...'}, #{a => 1, '...' => '...'}
 *   a binary           {'...', <<"its first 64 bytes, or none">>, Size}
 *   a term below the depth, or without room      '...'
 *   a fun, a bitstring of no whole bytes         {'...', <<"what io_lib's ~p prints of it, at most 64 bytes">>}, because the NIF API cannot see inside */
#ifndef CAPTURE_NIF_ENCODED_H
#define CAPTURE_NIF_ENCODED_H

#include "base/resource.h"

enum {
    ENCODED_MARK = 2,       /* of the three lowest bits of the first word; those of a flat term are odd, those of a handle are zero */
    ENCODED_BYTES = 8192,   /* of the longest encoded term */
    ENCODED_DEPTH = 32,     /* the greatest depth */
};

/* The writer of one encoded term. */
struct encoder {
    ErlNifEnv *env;
    uint64_t *first, *at, *end;     /* [at, end): the words that are left, but those that are set aside for open containers */
    unsigned depth;                 /* of the terms inside an argument */
};

/* Called when the NIF is loaded or upgraded. */
void encoded_load(ErlNifEnv *env);

/* Begins an encoded term in these bytes: a multiple of 8, at least ENCODED_LEAST, aligned to 8 bytes. */
void encode_begin(struct encoder *encoder, ErlNifEnv *env, void *to, size_t bytes, unsigned depth);
enum { ENCODED_LEAST = 256 };

/* Adds a term. `depth`: how many levels of containers may follow. Always leaves what is set aside. */
void encode_term(struct encoder *encoder, ERL_NIF_TERM term, unsigned depth);

/* Adds a list of arguments: each gets at least a word, so that the number of them is always right. Any other term is added as encode_term does. */
void encode_arguments(struct encoder *encoder, ERL_NIF_TERM term, unsigned depth);

/* Sets words aside, for what follows later. False: there are not that many. */
static inline bool encode_reserve(struct encoder *encoder, size_t words)
{
    if ((size_t)(encoder->end - encoder->at) < words)
        return false;
    encoder->end -= words;
    return true;
}

static inline void encode_release(struct encoder *encoder, size_t words)
{
    encoder->end += words;
}

/* Makes a tuple of the last `arity` terms. One word must be left. */
void encode_tuple(struct encoder *encoder, size_t arity);

/* Ends the term: the number of its bytes, a multiple of 8. */
size_t encode_end(struct encoder *encoder);

static inline bool encoded_is(uint64_t first_word)
{
    return (first_word & 7) == ENCODED_MARK;
}

/* The term, in the environment; 0 without memory. `words`: aligned to 8 bytes. */
ERL_NIF_TERM encoded_term(ErlNifEnv *env, const void *words);

#endif
