/* The reader of encoded terms: see encoded.h. */
#include "encoded/encoded.h"
#include "encoded/instructions.h"
#include "term/layout.h"

#include <string.h>

enum { TERMS = ENCODED_BYTES / WORD };

struct decoder {
    ErlNifEnv *env;
    const uint64_t *at;
    size_t count;
    ERL_NIF_TERM terms[TERMS];      /* each word pushes one term at most */
};

static bool push(struct decoder *d, ERL_NIF_TERM term)
{
    d->terms[d->count++] = term;
    return term != 0;
}

static bool push_binary(struct decoder *d, size_t bytes)
{
    ERL_NIF_TERM term;
    unsigned char *to = enif_make_new_binary(d->env, bytes, &term);
    if (!to)
        return false;
    memcpy(to, d->at, bytes);
    d->at += (bytes + WORD - 1) / WORD;
    return push(d, term);
}

static bool push_external(struct decoder *d, size_t bytes)
{
    ERL_NIF_TERM term;
    if (!enif_binary_to_term(d->env, (const unsigned char *)d->at, bytes, &term, 0))
        return false;
    d->at += (bytes + WORD - 1) / WORD;
    return push(d, term);
}

static bool push_number(struct decoder *d, enum instruction which)
{
    int64_t with_sign;
    double floating;
    uint64_t word = *d->at++;
    memcpy(&with_sign, &word, 8);
    memcpy(&floating, &word, 8);
    return push(d, which == SIGNED ? enif_make_int64(d->env, with_sign)
                   : which == UNSIGNED ? enif_make_uint64(d->env, word) : enif_make_double(d->env, floating));
}

static bool push_list(struct decoder *d, size_t count)
{
    d->count -= count;
    return push(d, enif_make_list_from_array(d->env, d->terms + d->count, (unsigned)count));
}

static bool push_improper_list(struct decoder *d, size_t count)
{
    ERL_NIF_TERM list = d->terms[--d->count];
    while (count-- > 0)
        list = enif_make_list_cell(d->env, d->terms[--d->count], list);
    return push(d, list);
}

/* All at once where no two keys are equal. Keys that were cut may be: then the later one stays. */
static bool push_map(struct decoder *d, size_t pairs, bool cut)
{
    ERL_NIF_TERM keys[SMALL_MAP], values[SMALL_MAP], map;
    d->count -= 2 * pairs;
    const ERL_NIF_TERM *terms = d->terms + d->count;
    for (size_t i = 0; pairs <= SMALL_MAP && i < pairs; i++) {
        keys[i] = terms[2 * i];
        values[i] = terms[2 * i + 1];
    }
    if (pairs > SMALL_MAP || !enif_make_map_from_arrays(d->env, keys, values, pairs, &map)) {
        map = enif_make_new_map(d->env);
        for (size_t i = 0; i < pairs; i++)
            if (!enif_make_map_put(d->env, map, terms[2 * i], terms[2 * i + 1], &map))
                return false;
    }
    if (cut && !enif_make_map_put(d->env, map, encoded_cut, encoded_cut, &map))
        return false;
    return push(d, map);
}

static bool step(struct decoder *d)
{
    uint64_t word = *d->at++;
    if (word & 3)
        return push(d, (ERL_NIF_TERM)word);
    size_t number = word >> 8;
    enum instruction which = (word >> 2) & 63;
    switch (which) {
    case IMMEDIATE: return push(d, (ERL_NIF_TERM)*d->at++);
    case CUT: return push(d, encoded_cut);
    case SIGNED:
    case UNSIGNED:
    case FLOAT: return push_number(d, which);
    case BINARY: return push_binary(d, number);
    case EXTERNAL: return push_external(d, number);
    case TUPLE:
        d->count -= number;
        return push(d, enif_make_tuple_from_array(d->env, d->terms + d->count, (unsigned)number));
    case LIST: return push_list(d, number);
    case IMPROPER_LIST: return push_improper_list(d, number);
    case MAP: return push_map(d, number, false);
    case CUT_MAP: return push_map(d, number, true);
    }
    return false;
}

ERL_NIF_TERM encoded_term(ErlNifEnv *env, const void *words)
{
    struct decoder d; /* not cleared, because it is large */
    const uint64_t *first = words, *end = first + (*first >> 3) / WORD;
    d.env = env;
    d.at = first + 1;
    d.count = 0;
    while (d.at < end)
        if (!step(&d))
            return 0;
    return d.count == 1 ? d.terms[0] : 0;
}
