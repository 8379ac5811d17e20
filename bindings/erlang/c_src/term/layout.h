/* The layout of terms in this VM, learned from specimens when the NIF is loaded. The walk through a term (walk.c) reads words by it instead of
 * calling the NIF API, which costs ten times as much. A fact that a specimen does not confirm is unknown, and the API is asked. */
#ifndef CAPTURE_NIF_LAYOUT_H
#define CAPTURE_NIF_LAYOUT_H

#include "base/resource.h"

enum { WORD = sizeof(ERL_NIF_TERM), TAG_BITS = 3, TAG_LIST = 1, TAG_BOXED = 2, TAG_IMMEDIATE = 3 };

/* Maps up to this size have their keys in one tuple; beyond, they are trees. */
enum { SMALL_MAP = 32 };

/* The meaning of the first word of a boxed term. */
enum kind {
    KIND_UNKNOWN,   /* nothing: ask the API */
    KIND_SIZED,     /* no terms inside; the word has the size: floats, large integers, references, heap binaries */
    KIND_TUPLE,     /* the word has the arity; the elements follow */
    KIND_MAP        /* if the word is exactly `small_map`: the size, the tuple of the keys, and the values follow; else ask the API */
};

struct layout {
    bool tags;              /* the lowest bits distinguish immediates, lists and boxed terms */
    bool heap_binaries;     /* the data of a heap binary, and of no other binary, lies two words behind the address in its term */
    bool small_integers;    /* layout_small makes small integers */
    bool cells;             /* the address in a list's term is that of its head, and the tail follows */
    ERL_NIF_TERM small_map; /* the first word of maps up to SMALL_MAP keys; 0: unknown */
    ERL_NIF_TERM slice;     /* the first word of a binary that is a slice of another one; 0: unknown */
    bool slice_in_bits;     /* a slice has its first and its end bit in words 2 and 3; otherwise its size in bytes in word 1 */
    unsigned char kinds[64];/* enum kind, by the six lowest bits of the first word; all unknown without `tags` and `heap_binaries` */
};

extern struct layout layout;

/* Called when the NIF is loaded or upgraded. */
void layout_load(ErlNifEnv *env);

static inline bool layout_immediate(ERL_NIF_TERM term)
{
    return (term & TAG_BITS) == TAG_IMMEDIATE;
}

/* The largest integer that layout_small makes. */
#define SMALL_MAX ((UINT64_C(1) << 59) - 1)

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

/* The number of words that follow the first word of a boxed term. */
static inline size_t layout_arity(ERL_NIF_TERM first)
{
    return first >> 6;
}

/* Whether a term is a slice of a binary, and of how many bytes. Asked before enif_inspect_binary, because that copies a slice that does not
 * start at a whole byte. */
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

/* Whether the bytes lie in the term itself: arithmetic on addresses, nothing is read. */
static inline bool layout_data_behind(ERL_NIF_TERM term, const unsigned char *data)
{
    return (uintptr_t)data == (uintptr_t)term - TAG_BOXED + 2 * WORD;
}

#endif
