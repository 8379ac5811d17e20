/* The parts of a flat term, for the files that make and read it: flat.c and flat_read.c. In this order:
 *   the head word: a one bit, 15 bits with the number of shapes, then 16 bits each with the number of words, of addresses, and of inserts;
 *   the root: the word of the term itself;
 *   the words;
 *   the table of addresses: 16 bits each, the index of a word that is an offset;
 *   the table of shapes: 16 bits each, the index of a word that is a shape's number in place of the tuple of a map's keys;
 *   the inserts: terms that the reader makes by the NIF API (off-heap binaries with their bytes, the empty map, the empty tuple).
 *
 * The root's own words come first: what it is made of lies at index 0, and nothing else refers to it. */
#ifndef CAPTURE_NIF_FLAT_WORDS_H
#define CAPTURE_NIF_FLAT_WORDS_H

#include "term/flat.h"

enum {
    EMPTY_MAP = 1 << 30,            /* in place of the size of a binary */
    EMPTY_TUPLE
};

/* A term that the reader makes and puts into the word with that index. The bytes of a binary follow, padded to whole words. */
struct insert {
    uint32_t word, bytes;
};

/* The empty list, an immediate: in place of a word that is not made yet, and of words to which no term refers. */
extern ERL_NIF_TERM flat_nil;

/* The size of both tables, which lie one after the other. */
static inline size_t tables_bytes(size_t entries)
{
    return (entries * sizeof(uint16_t) + WORD - 1) / WORD * WORD;
}

#endif
