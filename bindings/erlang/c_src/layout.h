/* What is known of this VM's way to lay out terms, learned from specimens when the NIF is loaded. The walk through a term (term.c) may use it
 * instead of the functions of the NIF API, which tell the same at ten times the cost. Whatever a specimen does not confirm is unknown,
 * and the API is asked. */
#ifndef CAPTURE_NIF_LAYOUT_H
#define CAPTURE_NIF_LAYOUT_H

#include "resource.h"

enum { WORD = sizeof(ERL_NIF_TERM), TAG_BITS = 3, TAG_LIST = 1, TAG_BOXED = 2, TAG_IMMEDIATE = 3 };

/* Maps up to this size have their keys in one tuple; beyond, they are trees. */
enum { SMALL_MAP = 32 };

/* What the first word of a boxed term tells. */
enum kind {
    KIND_UNKNOWN,   /* ask the API */
    KIND_SIZED,     /* no terms inside; the word tells its size: floats, large integers, references, heap binaries */
    KIND_TUPLE,     /* the word tells the arity; the elements follow */
    KIND_MAP        /* if it is exactly `small_map`: the size, the tuple of its keys, its values; else ask the API */
};

struct layout {
    bool tags;              /* the lowest bits of a term tell immediates, lists and boxed terms apart */
    bool heap_binaries;     /* the data of a heap binary lies two words behind the address in its term; of others, elsewhere */
    bool small_integers;    /* layout_small makes them */
    bool cells;             /* the address in a list's term is that of its head and tail */
    ERL_NIF_TERM small_map; /* the first word of maps up to SMALL_MAP; 0: unknown */
    ERL_NIF_TERM slice;     /* the first word of a binary that is a slice of another one; 0: unknown */
    bool slice_in_bits;     /* such a term has its first and its end bit in the words 2 and 3; else its size in bytes in word 1 */
    unsigned char kinds[64];/* enum kind, by the six lowest bits of the first word; all unknown unless `tags` and `heap_binaries` */
};

extern struct layout layout;

void layout_learn(ErlNifEnv *env);

static inline bool layout_immediate(ERL_NIF_TERM term)
{
    return (term & TAG_BITS) == TAG_IMMEDIATE;
}

/* Integers that are immediates: up to SMALL_MOST, of those that are not negative. */
#define SMALL_MOST ((UINT64_C(1) << 59) - 1)

static inline ERL_NIF_TERM layout_small(uint64_t value)
{
    return value << 4 | 15;
}

static inline bool layout_is_small(ERL_NIF_TERM term)
{
    return (term & 15) == 15 && !(term >> 63);
}

/* The memory of a list cell or a boxed term. */
static inline const ERL_NIF_TERM *layout_words(ERL_NIF_TERM term, unsigned tag)
{
    return (const ERL_NIF_TERM *)(term - tag);
}

/* How many words follow the first one of a boxed term. */
static inline size_t layout_arity(ERL_NIF_TERM first)
{
    return first >> 6;
}

/* Whether a term is a slice of a binary, and of how many bytes. To ask before its bytes are: the VM copies a slice that does not start at
 * a whole byte when it is asked for them. */
static inline bool layout_slice(ERL_NIF_TERM term, size_t *bytes)
{
    if (!layout.slice || (term & TAG_BITS) != TAG_BOXED)
        return false;
    const ERL_NIF_TERM *words = layout_words(term, TAG_BOXED);
    if (*words != layout.slice)
        return false;
    *bytes = layout.slice_in_bits ? (words[3] - words[2]) / 8 : words[1];
    return true;
}

/* Whether the bytes lie in the term itself, by arithmetic on the addresses: nothing is read. */
static inline bool layout_data_behind(ERL_NIF_TERM term, const unsigned char *data)
{
    return (uintptr_t)data == (uintptr_t)term - TAG_BOXED + 2 * WORD;
}

#endif
