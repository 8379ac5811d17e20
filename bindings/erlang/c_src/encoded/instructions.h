/* The instructions of encoded terms (encoded.h): the two lowest bits of the word are zero, which those of no immediate term are; then six bits with the
 * instruction, then its number. Only encode.c and decode.c use them. */
#ifndef CAPTURE_NIF_INSTRUCTIONS_H
#define CAPTURE_NIF_INSTRUCTIONS_H

#include "base/resource.h"

/* The atom '...'. */
extern ERL_NIF_TERM encoded_cut;

enum instruction {
    IMMEDIATE,      /* pushes the next word */
    CUT,            /* pushes the atom '...' */
    SIGNED,         /* pushes the integer of the next word */
    UNSIGNED,
    FLOAT,
    BINARY,         /* pushes a binary of so many bytes, which follow, padded to whole words */
    EXTERNAL,       /* pushes the term that these bytes are in the external term format */
    TUPLE,          /* takes so many terms */
    LIST,           /* takes so many elements */
    IMPROPER_LIST,  /* takes so many elements and the end */
    MAP,            /* takes so many pairs of a key and a value */
    CUT_MAP,        /* the same, and adds '...' => '...' */
};

static inline uint64_t instruction(enum instruction which, uint64_t number)
{
    return number << 8 | (uint64_t)which << 2;
}

#endif
