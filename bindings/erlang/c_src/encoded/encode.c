/* The writer of encoded terms: see encoded.h. It only reads terms. */
#include "encoded/encoded.h"
#include "encoded/instructions.h"
#include "term/layout.h"
#include "term/walk.h"

#include <string.h>

enum {
    SHOWN_BYTES = 64,       /* of the text in place of a fun */
    PIECE_BYTES = 64,       /* what is shown of a binary that does not fit */
    MAX_COPIED = 32768,     /* bytes of a slice that may have to be copied to be read */
};

ERL_NIF_TERM encoded_cut;

void encoded_load(ErlNifEnv *env)
{
    encoded_cut = enif_make_atom(env, "...");
}

/* Whether lists, tuples and small maps are read by their words instead of by the NIF API, as in term/walk.c. */
static inline bool words_known(void)
{
    return layout.small_map && layout.cells;
}

static inline size_t left(const struct encoder *e)
{
    return (size_t)(e->end - e->at);
}

static inline void put(struct encoder *e, uint64_t word)
{
    *e->at++ = word;
}

static inline size_t words_of(size_t bytes)
{
    return (bytes + WORD - 1) / WORD;
}

/* ---- terms without terms inside; one word is left, at least ---- */

/* A term that is one word in every environment. Where the layout of terms is not known it takes two words. */
static inline void put_word(struct encoder *e, ERL_NIF_TERM term)
{
    if (layout.tags) {
        put(e, term);
    } else if (left(e) >= 2) {
        put(e, instruction(IMMEDIATE, 0));
        put(e, term);
    } else {
        put(e, instruction(CUT, 0));
    }
}

static inline void put_cut(struct encoder *e)
{
    put(e, instruction(CUT, 0));
}

static void put_bytes(struct encoder *e, enum instruction which, const void *data, size_t bytes)
{
    put(e, instruction(which, bytes));
    if (bytes)
        e->at[words_of(bytes) - 1] = 0; /* no old bytes behind the last one */
    if (bytes)
        memcpy(e->at, data, bytes);
    e->at += words_of(bytes);
}

static void put_number(struct encoder *e, enum instruction which, const void *eight_bytes)
{
    if (left(e) < 2) {
        put_cut(e);
        return;
    }
    put(e, instruction(which, 0));
    memcpy(e->at++, eight_bytes, 8);
}

/* enif_inspect_binary copies a slice that does not begin at a whole byte. Where it is not known whether one does, a large one is not looked at. */
static inline bool begins_at_byte(ERL_NIF_TERM slice)
{
    return layout.slice_in_bits && layout_words(slice, TAG_BOXED)[2] % 8 == 0;
}

/* {'...', First, Size} in place of a binary that does not fit: the atom, its first bytes, the size, and the tuple. */
static void put_piece(struct encoder *e, const void *data, size_t bytes, uint64_t size)
{
    if (left(e) < 1 + 1 + words_of(bytes) + 2 + 1) {
        put_cut(e);
        return;
    }
    put_cut(e);
    put_bytes(e, BINARY, data, bytes);
    put_number(e, UNSIGNED, &size);
    encode_tuple(e, 3);
}

static void put_binary(struct encoder *e, ERL_NIF_TERM term)
{
    ErlNifBinary binary;
    size_t slice;
    if (layout_slice(term, &slice) && slice > MAX_COPIED && !begins_at_byte(term)) {
        put_piece(e, NULL, 0, slice);
    } else if (!enif_inspect_binary(e->env, term, &binary)) {
        put_cut(e);
    } else if (1 + words_of(binary.size) <= left(e)) {
        put_bytes(e, BINARY, binary.data, binary.size);
    } else {
        put_piece(e, binary.data, binary.size < PIECE_BYTES ? 0 : PIECE_BYTES, binary.size);
    }
}

/* A term that the NIF API cannot see into: its text. */
static void put_shown(struct encoder *e, ERL_NIF_TERM term)
{
    char text[SHOWN_BYTES];
    if (left(e) < 1 + 1 + words_of(SHOWN_BYTES) + 1) {
        put_cut(e);
        return;
    }
    if (enif_snprintf(text, sizeof text, "%.16T", term) < 0)
        *text = 0;
    text[sizeof text - 1] = 0;
    put_cut(e);
    put_bytes(e, BINARY, text, strlen(text));
    encode_tuple(e, 2);
}

/* Large integers, references, processes of other nodes: in the external term format. */
static void put_external(struct encoder *e, ERL_NIF_TERM term)
{
    ErlNifBinary encoded;
    if (layout.tags && (term & TAG_BITS) == TAG_BOXED && layout_arity(*layout_words(term, TAG_BOXED)) > left(e)) {
        put_cut(e);
        return;
    }
    if (!enif_term_to_binary(e->env, term, &encoded)) {
        put_cut(e);
        return;
    }
    if (1 + words_of(encoded.size) <= left(e))
        put_bytes(e, EXTERNAL, encoded.data, encoded.size);
    else
        put_cut(e);
    enif_release_binary(&encoded);
}

static bool put_if_number(struct encoder *e, ERL_NIF_TERM term)
{
    double floating;
    ErlNifSInt64 with_sign;
    ErlNifUInt64 without;
    if (!enif_is_number(e->env, term))
        return false;
    if (enif_get_int64(e->env, term, &with_sign))
        put_number(e, SIGNED, &with_sign);
    else if (enif_get_uint64(e->env, term, &without))
        put_number(e, UNSIGNED, &without);
    else if (enif_get_double(e->env, term, &floating))
        put_number(e, FLOAT, &floating);
    else
        put_external(e, term);
    return true;
}

/* Processes and ports of this node are immediates. */
static bool put_if_process(struct encoder *e, ERL_NIF_TERM term)
{
    ErlNifPid pid;
    ErlNifPort port;
    if (enif_get_local_pid(e->env, term, &pid) || enif_get_local_port(e->env, term, &port))
        put_word(e, term);
    else if (enif_is_pid(e->env, term) || enif_is_port(e->env, term) || enif_is_ref(e->env, term))
        put_external(e, term);
    else
        return false;
    return true;
}

/* ---- containers: two words are set aside while they are open, for a mark and the instruction ---- */

enum { ASIDE = 2 };

void encode_tuple(struct encoder *e, size_t arity)
{
    put(e, instruction(TUPLE, arity));
}

static void put_elements(struct encoder *e, const ERL_NIF_TERM *elements, size_t arity, unsigned depth)
{
    size_t i = 0;
    while (i < arity && left(e) > 0)
        encode_term(e, elements[i++], depth);
    encode_release(e, ASIDE);
    if (i < arity) {
        put_cut(e);
        i++;
    }
    encode_tuple(e, i);
}

static inline bool next_cell(struct encoder *e, ERL_NIF_TERM list, ERL_NIF_TERM *head, ERL_NIF_TERM *tail)
{
    if (!words_known())
        return enif_get_list_cell(e->env, list, head, tail);
    if ((list & TAG_BITS) != TAG_LIST)
        return false;
    const ERL_NIF_TERM *cell = layout_words(list, TAG_LIST);
    *head = cell[0];
    *tail = cell[1];
    return true;
}

static void put_list(struct encoder *e, ERL_NIF_TERM list, unsigned depth)
{
    ERL_NIF_TERM head, tail;
    size_t count = 0;
    while (left(e) > 0 && next_cell(e, list, &head, &tail)) {
        encode_term(e, head, depth);
        count++;
        list = tail;
    }
    encode_release(e, ASIDE);
    /* One word is for the instruction, the other for the end of the list, which may be any term. */
    if (enif_is_empty_list(e->env, list)) {
        put(e, instruction(LIST, count));
        return;
    }
    e->end--;
    if (enif_is_list(e->env, list) || left(e) == 0)
        put_cut(e);
    else
        encode_term(e, list, depth);
    e->end++;
    put(e, instruction(IMPROPER_LIST, count));
}

static inline void put_pair(struct encoder *e, ERL_NIF_TERM key, ERL_NIF_TERM value, unsigned depth)
{
    e->end--;
    encode_term(e, key, depth);
    e->end++;
    encode_term(e, value, depth);
}

/* `words`: of a map whose keys are in a tuple. */
static void put_small_map(struct encoder *e, const ERL_NIF_TERM *words, unsigned depth)
{
    const ERL_NIF_TERM *keys = layout_words(words[2], TAG_BOXED) + 1, *values = words + 3;
    size_t pairs = words[1], i = 0;
    for (; i < pairs && left(e) >= 2; i++)
        put_pair(e, keys[i], values[i], depth);
    encode_release(e, ASIDE);
    put(e, instruction(i < pairs ? CUT_MAP : MAP, i));
}

static void put_map(struct encoder *e, ERL_NIF_TERM map, unsigned depth)
{
    ErlNifMapIterator each;
    ERL_NIF_TERM key, value;
    size_t count = 0;
    bool more = false;
    if (enif_map_iterator_create(e->env, map, &each, ERL_NIF_MAP_ITERATOR_FIRST)) {
        while ((more = enif_map_iterator_get_pair(e->env, &each, &key, &value)) && left(e) >= 2) {
            put_pair(e, key, value, depth);
            count++;
            enif_map_iterator_next(e->env, &each);
        }
        enif_map_iterator_destroy(e->env, &each);
    }
    encode_release(e, ASIDE);
    put(e, instruction(more ? CUT_MAP : MAP, count));
}

/* A container, by its words. False: it is none, or the NIF API must tell. */
static inline bool put_words(struct encoder *e, ERL_NIF_TERM term, unsigned depth)
{
    const ERL_NIF_TERM *words = NULL;
    enum kind kind = KIND_UNKNOWN;
    bool list = (term & TAG_BITS) == TAG_LIST;
    if (!list) {
        words = layout_words(term, TAG_BOXED);
        kind = layout.kinds[*words & 63];
        if (kind != KIND_TUPLE && (kind != KIND_MAP || *words != layout.small_map || words[1] == 0))
            return false;
    }
    /* One word is for the first element. */
    if (depth == 0 || !encode_reserve(e, ASIDE + 1)) {
        put_cut(e);
        return true;
    }
    encode_release(e, 1);
    if (list)
        put_list(e, term, depth - 1);
    else if (kind == KIND_TUPLE)
        put_elements(e, words + 1, layout_arity(*words), depth - 1);
    else
        put_small_map(e, words, depth - 1);
    return true;
}

/* By the NIF API: each kind is asked for by its own function, as in term/walk.c. */
static void put_other(struct encoder *e, ERL_NIF_TERM term, unsigned depth)
{
    const ERL_NIF_TERM *elements;
    int arity;
    if (enif_is_binary(e->env, term)) {
        put_binary(e, term);
        return;
    }
    bool tuple = enif_get_tuple(e->env, term, &arity, &elements), list = !tuple && enif_is_list(e->env, term);
    if (tuple || list || enif_is_map(e->env, term)) {
        if (depth == 0 || !encode_reserve(e, ASIDE + 1)) {
            put_cut(e);
            return;
        }
        encode_release(e, 1);
        if (tuple)
            put_elements(e, elements, (size_t)arity, depth - 1);
        else if (list)
            put_list(e, term, depth - 1);
        else
            put_map(e, term, depth - 1);
        return;
    }
    if (!put_if_number(e, term) && !put_if_process(e, term))
        put_shown(e, term);
}

void encode_term(struct encoder *e, ERL_NIF_TERM term, unsigned depth)
{
    if (words_known()) {
        if (layout_immediate(term))
            put(e, term);
        else if (!put_words(e, term, depth))
            put_other(e, term, depth);
    } else if (term_is_immediate(e->env, term)) {
        put_word(e, term);
    } else {
        put_other(e, term, depth);
    }
}

void encode_arguments(struct encoder *e, ERL_NIF_TERM term, unsigned depth)
{
    unsigned length;
    ERL_NIF_TERM head, tail;
    /* The VM has at most 255 arguments. A word for each, and one for the list. */
    if (!enif_is_list(e->env, term) || !enif_get_list_length(e->env, term, &length) || !encode_reserve(e, length + 1)) {
        encode_term(e, term, depth);
        return;
    }
    for (unsigned i = 0; i < length && enif_get_list_cell(e->env, term, &head, &tail); i++, term = tail) {
        encode_release(e, 1);
        encode_term(e, head, depth);
    }
    encode_release(e, 1);
    put(e, instruction(LIST, length));
}

/* ---- begin and end ---- */

void encode_begin(struct encoder *e, ErlNifEnv *env, void *to, size_t bytes, unsigned depth)
{
    e->env = env;
    e->first = to;
    e->at = e->first + 1;
    e->end = e->first + bytes / WORD;
    e->depth = depth;
}

size_t encode_end(struct encoder *e)
{
    size_t bytes = (size_t)(e->at - e->first) * WORD;
    *e->first = (uint64_t)bytes << 3 | ENCODED_MARK;
    return bytes;
}
