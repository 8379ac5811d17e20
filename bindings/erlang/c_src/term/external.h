/* External terms: how a term that is no binary lies in a ring file. Flat words, handles and encoded terms are made of words that mean something in the VM alone that
 * wrote them, and another one reads the file. So the term is in the external term format, behind a word of its own: EXTERNAL_MARK in the three lowest bits, which
 * tells it from the others (encoded/encoded.h), and the number of bytes that follow in the others. */
#ifndef CAPTURE_NIF_EXTERNAL_H
#define CAPTURE_NIF_EXTERNAL_H

#include "base/resource.h"

#include <string.h>

enum { EXTERNAL_MARK = 4, EXTERNAL_HEAD = sizeof(uint64_t) };

static inline uint64_t external_head(size_t bytes)
{
    return (uint64_t)bytes << 3 | EXTERNAL_MARK;
}

/* The term in these bytes, aligned to 8; 0: they are none, or there is no memory. Another program may have written them. */
static inline ERL_NIF_TERM external_term(ErlNifEnv *env, const void *data, size_t len)
{
    ERL_NIF_TERM term;
    const unsigned char *bytes = data;
    uint64_t head;
    if (len < EXTERNAL_HEAD)
        return 0;
    memcpy(&head, data, sizeof head);
    if ((head & 7) != EXTERNAL_MARK || head >> 3 != len - EXTERNAL_HEAD)
        return 0;
    return enif_binary_to_term(env, bytes + EXTERNAL_HEAD, len - EXTERNAL_HEAD, &term, 0) == len - EXTERNAL_HEAD ? term : 0;
}

#endif
