/* The bounded walk through a term: see walk.h. Where the layout of terms is known (layout.h) it reads their words; everything else it asks the NIF
 * API. */
#include "term/walk.h"
#include "term/layout.h"

#include <string.h>

/* Words on a heap. Where the API does not tell the size, these err on the large side. */
enum { WORDS_CONS = 2, WORDS_FLOAT = 2, WORDS_INTEGER = 2, WORDS_REFERENCE = 6, WORDS_EXTERNAL = 6, WORDS_FUN = 8, WORDS_BINARY = 2,
       WORDS_OFF_HEAP_BINARY = 14 /* the term and the header of its memory */ };

bool term_is_immediate(ErlNifEnv *env, ERL_NIF_TERM term)
{
    if (layout.tags)
        return layout_immediate(term);
    return enif_is_atom(env, term) || enif_is_empty_list(env, term);
}

bool term_is_heap_binary(ERL_NIF_TERM term, const ErlNifBinary *binary)
{
    return layout.heap_binaries && layout_data_behind(term, binary->data);
}

ERL_NIF_TERM *term_map_items(ErlNifEnv *env, ERL_NIF_TERM map, size_t pairs)
{
    ERL_NIF_TERM *items = enif_alloc((pairs ? pairs : 1) * 2 * WORD);
    ErlNifMapIterator at;
    if (!items)
        return NULL;
    if (!enif_map_iterator_create(env, map, &at, ERL_NIF_MAP_ITERATOR_FIRST)) {
        enif_free(items);
        return NULL;
    }
    size_t i = 0;
    while (i < pairs && enif_map_iterator_get_pair(env, &at, &items[i], &items[pairs + i])) {
        i++;
        enif_map_iterator_next(env, &at);
    }
    enif_map_iterator_destroy(env, &at);
    if (i < pairs) {
        enif_free(items);
        return NULL;
    }
    return items;
}

/* ---- the walk ---- */

/* Terms still to be walked: an array of them, or one. */
struct frame {
    const ERL_NIF_TERM *at;   /* NULL: `one` is the term */
    size_t left;
    ERL_NIF_TERM one;
};

enum { FRAMES = 32 };

/* An array that the walk allocated, kept until its end. */
struct items {
    struct items *next;
    ERL_NIF_TERM *terms;
};

struct walk {
    ErlNifEnv *env;
    size_t limit, bytes;     /* bytes <= limit, or the walk ends */
    int needs;
    ERL_NIF_TERM *opaque;    /* a list; NULL: not wanted */
    struct frame *frames;    /* at first on the C stack; then in memory that grows with the depth, at most in proportion to the limit */
    size_t depth, capacity;
    struct items *items;
    struct frame first[FRAMES];
};

static inline bool charge(struct walk *walk, size_t bytes)
{
    if (bytes > walk->limit - walk->bytes)
        return false;
    walk->bytes += bytes;
    return true;
}

static bool grow(struct walk *walk)
{
    size_t capacity = walk->capacity * 2;
    struct frame *frames = walk->frames == walk->first ? enif_alloc(capacity * sizeof *frames)
                                                       : enif_realloc(walk->frames, capacity * sizeof *frames);
    if (!frames)
        return false;
    if (walk->frames == walk->first)
        memcpy(frames, walk->first, sizeof walk->first);
    walk->frames = frames;
    walk->capacity = capacity;
    return true;
}

static inline bool push(struct walk *walk, const ERL_NIF_TERM *at, size_t left, ERL_NIF_TERM one)
{
    if (left == 0)
        return true;
    if (walk->depth == walk->capacity && !grow(walk))
        return false;
    walk->frames[walk->depth++] = (struct frame){ at, left, one };
    return true;
}

/* Each of these returns false when the limit is exceeded. */

static bool walk_map(struct walk *walk, ERL_NIF_TERM map)
{
    size_t pairs;
    if (!enif_get_map_size(walk->env, map, &pairs) || pairs > walk->limit || !charge(walk, (4 + 4 * pairs) * WORD))
        return false;
    struct items *items = enif_alloc(sizeof *items);
    if (!items)
        return false;
    items->next = walk->items;
    walk->items = items;
    items->terms = term_map_items(walk->env, map, pairs);
    return items->terms && push(walk, items->terms, 2 * pairs, 0);
}

static bool met_opaque(struct walk *walk, ERL_NIF_TERM term)
{
    walk->needs |= TERM_OPAQUE;
    if (walk->opaque)
        *walk->opaque = enif_make_list_cell(walk->env, term, *walk->opaque);
    return charge(walk, WORDS_FUN * WORD);
}

static bool walk_binary(struct walk *walk, ERL_NIF_TERM term)
{
    ErlNifBinary binary;
    if (!enif_inspect_binary(walk->env, term, &binary))
        return met_opaque(walk, term);
    if (term_is_heap_binary(term, &binary))
        return charge(walk, WORDS_BINARY * WORD + (binary.size + WORD - 1) / WORD * WORD);
    walk->needs |= TERM_REBUILD;
    return binary.size <= walk->limit && charge(walk, WORDS_OFF_HEAP_BINARY * WORD + binary.size);
}

static bool walk_number(struct walk *walk, ERL_NIF_TERM term)
{
    double floating;
    ErlNifSInt64 small;
    ErlNifUInt64 large;
    if (enif_get_double(walk->env, term, &floating))
        return charge(walk, WORDS_FLOAT * WORD);
    if (enif_get_int64(walk->env, term, &small) || enif_get_uint64(walk->env, term, &large))
        return charge(walk, WORDS_INTEGER * WORD);
    /* A larger integer is encoded to find its size, which the VM bounds to some megabytes. */
    ErlNifBinary encoded;
    if (!enif_term_to_binary(walk->env, term, &encoded))
        return false;
    size_t size = encoded.size;
    enif_release_binary(&encoded);
    return charge(walk, size + 2 * WORD);
}

static bool walk_list(struct walk *walk, ERL_NIF_TERM list)
{
    ERL_NIF_TERM head, tail;
    while (enif_get_list_cell(walk->env, list, &head, &tail)) {
        if (!charge(walk, WORDS_CONS * WORD))
            return false;
        if (!term_is_immediate(walk->env, head)) /* the head first, then the tail */
            return (term_is_immediate(walk->env, tail) || push(walk, NULL, 1, tail)) && push(walk, NULL, 1, head);
        list = tail;
    }
    /* The end of the list: of an improper list it may be any term. */
    return term_is_immediate(walk->env, list) || push(walk, NULL, 1, list);
}

/* By the NIF API alone. Each kind is asked for by its own function, because enif_term_type aborts the VM on a kind of term that is newer than
 * the API (native records of OTP 29). A term that none of these functions knows is opaque: bound/2 measures it. */
static bool walk_unknown(struct walk *walk, ERL_NIF_TERM term)
{
    ErlNifEnv *env = walk->env;
    const ERL_NIF_TERM *elements;
    size_t slice;
    int arity;
    if (layout_slice(term, &slice) && slice > walk->limit - walk->bytes)
        return false;
    if (enif_is_binary(env, term))
        return walk_binary(walk, term);
    if (enif_is_map(env, term))
        return walk_map(walk, term);
    if (enif_get_tuple(env, term, &arity, &elements))
        return charge(walk, (1 + (size_t)arity) * WORD) && push(walk, elements, (size_t)arity, 0);
    if (enif_is_list(env, term))
        return walk_list(walk, term);
    if (enif_is_atom(env, term))
        return charge(walk, WORD);
    if (enif_is_number(env, term))
        return walk_number(walk, term);
    if (enif_is_ref(env, term))
        return charge(walk, WORDS_REFERENCE * WORD);
    if (enif_is_pid(env, term) || enif_is_port(env, term))
        return charge(walk, WORDS_EXTERNAL * WORD);
    return met_opaque(walk, term);
}

/* The whole walk where all of the layout is known. The terms of a container are an array: the elements of a tuple, the head and tail of a list
 * cell, the tuple of a map's keys together with its values. Other terms go through the API. */
static bool walk_known(struct walk *walk, ERL_NIF_TERM term)
{
    const ERL_NIF_TERM *at = &term, *end = at + 1, *words, *items;
    size_t count, bytes = 0, limit = walk->limit;
    for (;;) {
        while (at < end) {
            ERL_NIF_TERM next = *at++;
            if (layout_immediate(next))
                continue;
            enum kind kind = KIND_UNKNOWN;
            if ((next & TAG_BITS) == TAG_LIST) {
                items = layout_words(next, TAG_LIST);
                count = WORDS_CONS;
                bytes += WORDS_CONS * WORD;
                kind = KIND_TUPLE;
                while (layout_immediate(items[0]) && (items[1] & TAG_BITS) == TAG_LIST && bytes <= limit) {
                    items = layout_words(items[1], TAG_LIST);
                    bytes += WORDS_CONS * WORD;
                }
            } else {
                words = layout_words(next, TAG_BOXED);
                kind = layout.kinds[*words & 63];
                items = words + 1;
                count = layout_arity(*words);
                if (kind == KIND_MAP) {
                    items = words + 2;
                    count = *words == layout.small_map ? 1 + words[1] : 0;
                    kind = count ? KIND_TUPLE : KIND_UNKNOWN;
                    bytes += 2 * WORD + count * WORD;
                } else if (kind != KIND_UNKNOWN) {
                    bytes += WORD + count * WORD;
                }
            }
            if (bytes > limit)
                return false;
            if (kind == KIND_SIZED)
                continue;
            if (kind == KIND_TUPLE) {
                for (; count > 0 && layout_immediate(*items); count--)
                    items++;
                if (count == 0)
                    continue;
            }
            while (at < end && layout_immediate(*at))
                at++;
            if (!push(walk, at, (size_t)(end - at), 0))
                return false;
            if (kind == KIND_TUPLE) {
                at = items;
                end = at + count;
            } else {
                walk->bytes = bytes;
                if (!walk_unknown(walk, next))
                    return false;
                bytes = walk->bytes;
                break;
            }
        }
        /* The rest of the array, if any, is on the stack. */
        if (walk->depth == 0)
            break;
        struct frame *top = &walk->frames[--walk->depth];
        term = top->one;
        at = top->at ? top->at : &term;
        end = at + top->left;
    }
    walk->bytes = bytes;
    return true;
}

/* The whole walk by the API. */
static bool walk_by_api(struct walk *walk, ERL_NIF_TERM term)
{
    if (!push(walk, NULL, 1, term))
        return false;
    while (walk->depth > 0) {
        struct frame *top = &walk->frames[walk->depth - 1];
        ERL_NIF_TERM next = top->at ? *top->at++ : top->one;
        if (--top->left == 0)
            walk->depth--;
        if (!term_is_immediate(walk->env, next) && !walk_unknown(walk, next))
            return false;
    }
    return true;
}

int term_size_opaque(ErlNifEnv *env, ERL_NIF_TERM term, size_t limit, size_t *bytes, int *needs, ERL_NIF_TERM *opaque)
{
    struct walk walk; /* not cleared, because it is large and this is a hot path */
    walk.env = env;
    walk.limit = limit;
    walk.bytes = 0;
    walk.needs = 0;
    walk.opaque = opaque;
    walk.frames = walk.first;
    walk.depth = 0;
    walk.capacity = FRAMES;
    walk.items = NULL;
    int within = layout.small_map && layout.cells ? walk_known(&walk, term) : walk_by_api(&walk, term);
    if (walk.frames != walk.first)
        enif_free(walk.frames);
    while (walk.items) {
        struct items *items = walk.items;
        walk.items = items->next;
        enif_free(items->terms);
        enif_free(items);
    }
    *bytes = walk.bytes;
    *needs = walk.needs;
    return within;
}

int term_size(ErlNifEnv *env, ERL_NIF_TERM term, size_t limit, size_t *bytes, int *needs)
{
    return term_size_opaque(env, term, limit, bytes, needs, NULL);
}

ERL_NIF_TERM term_walk(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifUInt64 limit;
    size_t bytes;
    int needs;
    ERL_NIF_TERM opaque = enif_make_list(env, 0);
    (void)argc;
    if (!enif_get_uint64(env, argv[1], &limit))
        return answer_error(env, "badarg");
    if (!term_size_opaque(env, argv[0], limit, &bytes, &needs, &opaque))
        return enif_make_atom(env, "too_large");
    return enif_make_tuple3(env, enif_make_uint64(env, bytes), enif_make_int(env, needs), opaque);
}
