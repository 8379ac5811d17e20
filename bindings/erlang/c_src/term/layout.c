/* Learns the layout of terms from specimens: see layout.h. The order matters: an address in a term is read through only after arithmetic on
 * addresses from the API has confirmed that it is one. */
#include "term/layout.h"

#include <string.h>

struct layout layout;

#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool learn_tags(ErlNifEnv *env)
{
    ERL_NIF_TERM one = enif_make_int(env, 1), list = enif_make_list1(env, one), bytes;
    enif_make_new_binary(env, 3, &bytes);
    ERL_NIF_TERM immediate[] = { one, enif_make_int(env, -7), enif_make_atom(env, "ok"), enif_make_list(env, 0) };
    ERL_NIF_TERM boxed[] = { bytes, enif_make_tuple2(env, one, one), enif_make_new_map(env), enif_make_double(env, 1.5),
                             enif_make_uint64(env, UINT64_MAX), enif_make_ref(env) };
    for (size_t i = 0; i < COUNT(immediate); i++)
        if ((immediate[i] & TAG_BITS) != TAG_IMMEDIATE)
            return false;
    for (size_t i = 0; i < COUNT(boxed); i++)
        if ((boxed[i] & TAG_BITS) != TAG_BOXED)
            return false;
    return (list & TAG_BITS) == TAG_LIST;
}

static bool learn_small_integers(ErlNifEnv *env)
{
    static const uint64_t some[] = { 0, 1, 77, UINT64_C(1) << 32, SMALL_MAX };
    for (size_t i = 0; i < COUNT(some); i++)
        if (enif_make_uint64(env, some[i]) != layout_small(some[i]))
            return false;
    return sizeof(ERL_NIF_TERM) == 8;
}

static const size_t small_sizes[] = { 1, 7, 8, 9, 31, 63, 64 }, large_sizes[] = { 65, 100, 5000 };

static bool learn_heap_binaries(ErlNifEnv *env)
{
    ErlNifBinary seen;
    ERL_NIF_TERM term, slice;
    for (size_t i = 0; i < COUNT(small_sizes); i++) {
        memset(enif_make_new_binary(env, small_sizes[i], &term), 'x', small_sizes[i]);
        if (!enif_inspect_binary(env, term, &seen) || !layout_data_behind(term, seen.data))
            return false;
    }
    for (size_t i = 0; i < COUNT(large_sizes); i++) {
        memset(enif_make_new_binary(env, large_sizes[i], &term), 'x', large_sizes[i]);
        if (!enif_inspect_binary(env, term, &seen) || layout_data_behind(term, seen.data))
            return false;
        slice = enif_make_sub_binary(env, term, 1, large_sizes[i] - 1);
        if (!enif_inspect_binary(env, slice, &seen) || (layout_data_behind(slice, seen.data) && large_sizes[i] > 65))
            return false;
    }
    return true;
}

static bool learn_cells(ErlNifEnv *env)
{
    ERL_NIF_TERM head = enif_make_int(env, 5), tail = enif_make_atom(env, "end"), list = enif_make_list_cell(env, head, tail);
    const ERL_NIF_TERM *cell = layout_words(list, TAG_LIST);
    return (uintptr_t)cell % WORD == 0 && cell[0] == head && cell[1] == tail;
}

/* Checks that all specimens have the same bits in their first word, and no other kind has them. `words`: how many words follow the first one;
 * NULL: not checked. */
static bool learn_kind(struct layout *found, enum kind kind, const ERL_NIF_TERM *specimens, const size_t *words, size_t count)
{
    unsigned bits = *layout_words(specimens[0], TAG_BOXED) & 63;
    for (size_t i = 0; i < count; i++) {
        ERL_NIF_TERM first = *layout_words(specimens[i], TAG_BOXED);
        if ((first & 63) != bits || (words && layout_arity(first) != words[i]))
            return false;
    }
    if (found->kinds[bits] != KIND_UNKNOWN)
        return false;
    found->kinds[bits] = kind;
    return true;
}

static bool learn_kinds(ErlNifEnv *env, struct layout *found)
{
    ERL_NIF_TERM terms[1000], some[COUNT(small_sizes)], one = enif_make_int(env, 1);
    size_t words[COUNT(small_sizes)];

    static const unsigned arities[] = { 1, 2, 3, 14, 100, 1000 };
    for (size_t i = 0; i < COUNT(terms); i++)
        terms[i] = one;
    for (size_t i = 0; i < COUNT(arities); i++) {
        const ERL_NIF_TERM *elements;
        int arity;
        some[i] = enif_make_tuple_from_array(env, terms, arities[i]);
        words[i] = arities[i];
        if (!enif_get_tuple(env, some[i], &arity, &elements) || elements != layout_words(some[i], TAG_BOXED) + 1)
            return false;
    }
    if (!learn_kind(found, KIND_TUPLE, some, words, COUNT(arities)))
        return false;

    for (size_t i = 0; i < COUNT(small_sizes); i++) {
        memset(enif_make_new_binary(env, small_sizes[i], &some[i]), 'x', small_sizes[i]);
        words[i] = 1 + (small_sizes[i] + WORD - 1) / WORD;
    }
    if (!learn_kind(found, KIND_SIZED, some, words, COUNT(small_sizes)))
        return false;

    some[0] = enif_make_double(env, 1.5);
    words[0] = 1;
    if (!learn_kind(found, KIND_SIZED, some, words, 1))
        return false;

    /* Large integers of 64 bits, and of 100 bytes by the external format (version, tag SMALL_BIG, size, sign, bytes). */
    for (unsigned char sign = 0; sign < 2; sign++) {
        unsigned char external[4 + 100] = { 131, 110, 100, sign };
        memset(external + 4, 0xff, 100);
        some[0] = sign ? enif_make_int64(env, INT64_MIN) : enif_make_uint64(env, UINT64_MAX);
        words[0] = 1;
        if (!enif_binary_to_term(env, external, sizeof external, &some[1], 0))
            return false;
        words[1] = (100 + WORD - 1) / WORD;
        if (!learn_kind(found, KIND_SIZED, some, words, 2))
            return false;
    }

    /* The API does not tell the size of a reference. As with the other kinds it is in the first word, if it is plausible. */
    some[0] = enif_make_ref(env);
    words[0] = layout_arity(*layout_words(some[0], TAG_BOXED));
    if (words[0] < 2 || words[0] > 8 || !learn_kind(found, KIND_SIZED, some, words, 1))
        return false;

    for (size_t i = 0; i < COUNT(terms); i++)
        terms[i] = enif_make_int(env, (int)i);
    static const size_t sizes[] = { 0, 1, SMALL_MAP, 1000 };
    for (size_t i = 0; i < COUNT(sizes); i++)
        if (!enif_make_map_from_arrays(env, terms, terms, sizes[i], &some[i]))
            return false;
    if (!learn_kind(found, KIND_MAP, some, NULL, COUNT(sizes)))
        return false;

    /* None of these may have the bits of the kinds above. */
    ERL_NIF_TERM bytes;
    memset(enif_make_new_binary(env, 1000, &bytes), 'x', 1000);
    ERL_NIF_TERM others[] = { bytes, enif_make_sub_binary(env, bytes, 3, 500) };
    for (size_t i = 0; i < COUNT(others); i++)
        if (found->kinds[*layout_words(others[i], TAG_BOXED) & 63] != KIND_UNKNOWN)
            return false;
    return true;
}

/* The first word of small maps, which are {first word, size, tuple of the keys, values...}: checked pair by pair against an iterator. 0: they are
 * laid out differently. The kinds must be known. */
static ERL_NIF_TERM learn_small_map(ErlNifEnv *env, const struct layout *found)
{
    static const size_t sizes[] = { 1, 2, 14, SMALL_MAP, SMALL_MAP + 1, 1000 };
    ERL_NIF_TERM keys[1000], values[1000], map, key, value, first = 0;
    for (int i = 0; i < 1000; i++) {
        keys[i] = enif_make_int(env, i);
        values[i] = enif_make_int(env, 1000 + i);
    }
    for (size_t s = 0; s < COUNT(sizes); s++) {
        ErlNifMapIterator at;
        if (!enif_make_map_from_arrays(env, keys, values, sizes[s], &map))
            return 0;
        const ERL_NIF_TERM *words = layout_words(map, TAG_BOXED);
        if (!first)
            first = words[0];
        if (sizes[s] > SMALL_MAP) {
            if (words[0] == first)
                return 0;
            continue;
        }
        if (words[0] != first || words[1] != sizes[s] || (words[2] & TAG_BITS) != TAG_BOXED)
            return 0;
        const ERL_NIF_TERM *tuple = layout_words(words[2], TAG_BOXED);
        if ((uintptr_t)tuple % WORD != 0 || found->kinds[*tuple & 63] != KIND_TUPLE || layout_arity(*tuple) != sizes[s] ||
            !enif_map_iterator_create(env, map, &at, ERL_NIF_MAP_ITERATOR_FIRST))
            return 0;
        bool same = true;
        for (size_t i = 0; same && i < sizes[s]; i++) {
            same = enif_map_iterator_get_pair(env, &at, &key, &value) && tuple[1 + i] == key && words[3 + i] == value;
            enif_map_iterator_next(env, &at);
        }
        enif_map_iterator_destroy(env, &at);
        if (!same)
            return 0;
    }
    return first;
}

/* Slices: with their size in bytes, or with their first and end bit. */
static void learn_slices(ErlNifEnv *env, struct layout *found)
{
    static const struct { size_t at, size; } parts[] = { { 0, 1999 }, { 3, 500 }, { 70, 65 }, { 1, 1234 } };
    ERL_NIF_TERM bytes, first = 0;
    bool in_bytes = true, in_bits = true;
    memset(enif_make_new_binary(env, 2000, &bytes), 'x', 2000);
    for (size_t i = 0; i < COUNT(parts); i++) {
        const ERL_NIF_TERM *words = layout_words(enif_make_sub_binary(env, bytes, parts[i].at, parts[i].size), TAG_BOXED);
        if (first && *words != first)
            return;
        first = *words;
        if (layout_arity(first) < 3 || found->kinds[first & 63] != KIND_UNKNOWN)
            return;
        in_bytes = in_bytes && words[1] == parts[i].size;
        in_bits = in_bits && words[3] - words[2] == 8 * parts[i].size;
    }
    if (in_bytes == in_bits)
        return;
    found->slice = first;
    found->slice_in_bits = in_bits;
}

void layout_load(ErlNifEnv *env)
{
    struct layout found = { 0 };
    found.tags = learn_tags(env);
    if (found.tags) {
        found.small_integers = learn_small_integers(env);
        found.heap_binaries = learn_heap_binaries(env);
        found.cells = found.heap_binaries && learn_cells(env);
    }
    /* The data of heap binaries has shown where a boxed term points, so that the first word there may be read. */
    if (found.heap_binaries && learn_kinds(env, &found)) {
        found.small_map = learn_small_map(env, &found);
        learn_slices(env, &found);
    } else {
        memset(found.kinds, KIND_UNKNOWN, sizeof found.kinds);
    }
#ifdef LAYOUT_UNKNOWN /* for tests of the paths through the API */
    memset(&found, 0, sizeof found);
#endif
    layout = found;
}
