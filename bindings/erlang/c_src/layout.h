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
    KIND_SIZED,     /* no terms inside; the word tells its size: floats, large integers, heap binaries */
    KIND_TUPLE,     /* the word tells the arity; the elements follow */
    KIND_MAP        /* if it is exactly `small_map`: the size, the tuple of its keys, its values; else ask the API */
};

struct layout {
    bool tags;              /* the lowest bits of a term tell immediates, lists and boxed terms apart */
    bool heap_binaries;     /* the data of a heap binary lies two words behind the address in its term; of others, elsewhere */
    bool cells;             /* the address in a list's term is that of its head and tail */
    ERL_NIF_TERM small_map; /* the first word of maps up to SMALL_MAP; 0: unknown */
    unsigned char kinds[64];/* enum kind, by the six lowest bits of the first word; all unknown unless `tags` and `heap_binaries` */
};

extern struct layout layout;

void layout_learn(ErlNifEnv *env);

static inline bool layout_immediate(ERL_NIF_TERM term)
{
    return (term & TAG_BITS) == TAG_IMMEDIATE;
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

/* Whether the bytes lie in the term itself, by arithmetic on the addresses: nothing is read. */
static inline bool layout_data_behind(ERL_NIF_TERM term, const unsigned char *data)
{
    return (uintptr_t)data == (uintptr_t)term - TAG_BOXED + 2 * WORD;
}

#endif
