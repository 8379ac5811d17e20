/* Reads flat terms: see flat.h. Their parts are in flat_words.h. */
#include "term/flat.h"
#include "term/flat_words.h"

#include <string.h>

enum { MAP_WORDS = 3 };     /* of a small map, before its values: the first word, the size, the tuple of the keys */

/* The parts of a flat term in a ring. */
struct parts {
    const ERL_NIF_TERM *words;
    const uint16_t *addresses, *shaped;
    const unsigned char *inserts;
    size_t count, address_count, shaped_count, insert_count;
};

static inline struct parts parts_of(const void *flat)
{
    const uint64_t *from = flat;
    struct parts p = { .shaped_count = (uint16_t)from[0] >> 1, .count = (uint16_t)(from[0] >> 16),
        .address_count = (uint16_t)(from[0] >> 32), .insert_count = from[0] >> 48 };
    p.words = (const ERL_NIF_TERM *)from + 2;
    p.addresses = (const uint16_t *)(p.words + p.count);
    p.shaped = p.addresses + p.address_count;
    p.inserts = (const unsigned char *)p.addresses + tables_bytes(p.address_count + p.shaped_count);
    return p;
}

/* The words from index `from` on, on the heap: index i of the flat term is index i - from there. They are copied as the elements of a tuple to which
 * no term refers. Its first two words become a list cell, for code of the VM that scans the heap from its start to its end. */
static inline ERL_NIF_TERM *copy_words(ErlNifEnv *env, const struct parts *p, size_t from)
{
    ERL_NIF_TERM tuple = enif_make_tuple_from_array(env, p->words + from - 1, (unsigned)(p->count - from) + 1);
    ERL_NIF_TERM *to = (ERL_NIF_TERM *)(tuple - TAG_BOXED);
    to[0] = to[1] = flat_nil;
    return to + 2;
}

/* The next insert as a term, and the index of its word; 0 without memory. */
static ERL_NIF_TERM next_insert(ErlNifEnv *env, const unsigned char **at, size_t *word)
{
    struct insert insert;
    ERL_NIF_TERM term;
    memcpy(&insert, *at, sizeof insert);
    *at += sizeof insert;
    *word = insert.word;
    if (insert.bytes == EMPTY_MAP)
        return enif_make_new_map(env);
    if (insert.bytes == EMPTY_TUPLE)
        return enif_make_tuple(env, 0);
    unsigned char *to = enif_make_new_binary(env, insert.bytes, &term);
    if (!to)
        return 0;
    memcpy(to, *at, insert.bytes);
    *at += (insert.bytes + WORD - 1) / WORD * WORD;
    return term;
}

static __attribute__((noinline)) bool put_inserts(ErlNifEnv *env, const struct parts *p, ERL_NIF_TERM *words)
{
    const unsigned char *at = p->inserts;
    for (size_t i = 0, word; i < p->insert_count; i++) {
        ERL_NIF_TERM term = next_insert(env, &at, &word);
        if (!term)
            return false;
        words[word] = term;
    }
    return true;
}

ERL_NIF_TERM flat_term(ErlNifEnv *env, struct shapes_made *made, const void *flat)
{
    struct parts p = parts_of(flat);
    ERL_NIF_TERM *words = copy_words(env, &p, 0), base = (ERL_NIF_TERM)words;
    for (size_t i = 0; i < p.address_count; i++)
        words[p.addresses[i]] += base;
    for (size_t i = 0; i < p.shaped_count; i++)
        words[p.shaped[i]] = shape_tuple(env, made, words[p.shaped[i]]);
    if (p.insert_count && !put_inserts(env, &p, words))
        return 0;
    return p.words[-1] + base;
}

/* ---- a map and its values ---- */

int flat_map_shape(const void *flat)
{
    struct parts p = parts_of(flat);
    /* The root's words come first, and with them its shape. */
    if (p.words[-1] != TAG_BOXED || p.words[0] != layout.small_map || p.shaped_count == 0 || p.shaped[0] != MAP_WORDS - 1)
        return -1;
    return (int)p.words[MAP_WORDS - 1];
}

static __attribute__((noinline)) bool put_value_inserts(
    ErlNifEnv *env, const struct parts *p, size_t own, ERL_NIF_TERM *values, ERL_NIF_TERM *others)
{
    const unsigned char *at = p->inserts;
    for (size_t i = 0, word; i < p->insert_count; i++) {
        ERL_NIF_TERM term = next_insert(env, &at, &word);
        if (!term)
            return false;
        if (word < own)
            values[word - MAP_WORDS] = term;
        else
            others[word - own] = term;
    }
    return true;
}

bool flat_map_values(ErlNifEnv *env, struct shapes_made *made, const void *flat, ERL_NIF_TERM *values)
{
    struct parts p = parts_of(flat);
    size_t size = p.words[1], own = MAP_WORDS + size;
    /* The root's own words are not copied: nothing refers to them but the root. */
    ERL_NIF_TERM *others = copy_words(env, &p, own), base = (ERL_NIF_TERM)others - own * WORD;
    memcpy(values, p.words + MAP_WORDS, size * WORD);
    for (size_t i = 0; i < p.address_count; i++) {
        size_t word = p.addresses[i];
        *(word < own ? values + word - MAP_WORDS : others + word - own) += base;
    }
    for (size_t i = 1; i < p.shaped_count; i++) {
        ERL_NIF_TERM *word = others + p.shaped[i] - own;
        *word = shape_tuple(env, made, *word);
    }
    return p.insert_count == 0 || put_value_inserts(env, &p, own, values, others);
}

ERL_NIF_TERM flat_map_make(ErlNifEnv *env, ERL_NIF_TERM keys, const ERL_NIF_TERM *values, size_t size)
{
    ERL_NIF_TERM words[MAP_WORDS - 1 + SMALL_MAP]; /* not cleared, because it is large and this is a hot path */
    words[0] = size;
    words[1] = keys;
    memcpy(words + MAP_WORDS - 1, values, size * WORD);
    ERL_NIF_TERM map = enif_make_tuple_from_array(env, words, (unsigned)(MAP_WORDS - 1 + size));
    *(ERL_NIF_TERM *)(map - TAG_BOXED) = layout.small_map;
    return map;
}
