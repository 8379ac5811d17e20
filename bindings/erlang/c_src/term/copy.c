/* Copies of terms: see copy.h. The VM copies a term whose binaries are all heap binaries. Any other binary may be a slice of a huge one, which a
 * plain copy would keep alive: such a term is rebuilt, with new binaries that hold its bytes only.
 *
 * Rebuilding goes depth first with two stacks in memory: the containers that are being copied (frames), and the copies whose container is not
 * complete (values). The walk that measured the term bounds both. */
#include "term/copy.h"
#include "term/layout.h"

#include <string.h>

enum container { TUPLE, LIST, MAP };

struct frame {
    enum container container;
    const ERL_NIF_TERM *at;   /* tuple, map: the next item */
    ERL_NIF_TERM rest;        /* list: the cells still to be copied; at last the end of the list */
    size_t left;              /* items still to be copied; list: 1 while `rest` is not copied */
    size_t count;             /* copies on the stack of values */
    ERL_NIF_TERM *items;      /* map: the array that `at` points into, to be freed; NULL: only the values are copied */
    const ERL_NIF_TERM *keys; /* map without `items`: its keys, all immediates */
};

enum { FRAMES = 16, VALUES = 128 };

struct rebuild {
    ErlNifEnv *to, *from;
    int needs;
    struct frame *frames;
    ERL_NIF_TERM *values;
    size_t frames_count, frames_capacity, values_count, values_capacity;
    struct frame first_frames[FRAMES];   /* most terms need no more */
    ERL_NIF_TERM first_values[VALUES];
};

/* Doubles a stack that is full. Its first items lie on the C stack, all others in allocated memory. */
static bool grow(void **items, const void *first, size_t *size, size_t each)
{
    void *grown = *items == first ? enif_alloc(*size * 2 * each) : enif_realloc(*items, *size * 2 * each);
    if (!grown)
        return false;
    if (*items == first)
        memcpy(grown, first, *size * each);
    *items = grown;
    *size *= 2;
    return true;
}

static inline bool push_value(struct rebuild *rebuild, ERL_NIF_TERM value)
{
    if (rebuild->values_count == rebuild->values_capacity &&
        !grow((void **)&rebuild->values, rebuild->first_values, &rebuild->values_capacity, sizeof value))
        return false;
    rebuild->values[rebuild->values_count++] = value;
    return true;
}

static bool push_frame(struct rebuild *rebuild, struct frame frame)
{
    if (rebuild->frames_count == rebuild->frames_capacity &&
        !grow((void **)&rebuild->frames, rebuild->first_frames, &rebuild->frames_capacity, sizeof frame)) {
        enif_free(frame.items);
        return false;
    }
    rebuild->frames[rebuild->frames_count++] = frame;
    return true;
}

/* Through the external term format: the copy has bytes of its own, whatever the term is. A native record that is decoded refers to the
 * definition in the module that is loaded then; one that is copied carries its definition. So the term is decoded elsewhere and copied from there,
 * within this call, and outlives the module. */
static ERL_NIF_TERM recode(struct rebuild *rebuild, ERL_NIF_TERM term)
{
    ErlNifBinary encoded;
    ERL_NIF_TERM decoded, copy = 0;
    ErlNifEnv *between = enif_alloc_env();
    if (!between)
        return 0;
    if (enif_term_to_binary(rebuild->from, term, &encoded)) {
        if (enif_binary_to_term(between, encoded.data, encoded.size, &decoded, 0))
            copy = enif_make_copy(rebuild->to, decoded);
        enif_release_binary(&encoded);
    }
    enif_free_env(between);
    return copy;
}

static ERL_NIF_TERM copy_binary(struct rebuild *rebuild, ERL_NIF_TERM term)
{
    ErlNifBinary binary;
    ERL_NIF_TERM copy;
    if (!enif_inspect_binary(rebuild->from, term, &binary))
        return 0;
    if (term_is_heap_binary(term, &binary))
        return enif_make_copy(rebuild->to, term);
    unsigned char *bytes = enif_make_new_binary(rebuild->to, binary.size, &copy);
    if (!bytes)
        return 0;
    memcpy(bytes, binary.data, binary.size);
    return copy;
}

/* A term of a kind that the NIF API has no function for: a bitstring of no whole bytes, or a kind that is newer than this file (native records
 * of OTP 29). It may hold a slice of a large binary, which cannot be seen: so it is encoded and decoded. A kind that comes back as a different
 * term is copied as it is. */
static ERL_NIF_TERM copy_other(struct rebuild *rebuild, ERL_NIF_TERM term)
{
    ERL_NIF_TERM copy = recode(rebuild, term);
    return copy && enif_is_identical(copy, term) ? copy : enif_make_copy(rebuild->to, term);
}

/* A small map whose keys are all immediates, as atoms are (most maps, all structs): only its values are copied. */
static bool keys_are_immediate(ERL_NIF_TERM map, const ERL_NIF_TERM **keys, const ERL_NIF_TERM **values, size_t *pairs)
{
    const ERL_NIF_TERM *words = layout_words(map, TAG_BOXED);
    if (!layout.small_map || *words != layout.small_map)
        return false;
    *pairs = words[1];
    *keys = layout_words(words[2], TAG_BOXED) + 1;
    *values = words + 3;
    for (size_t i = 0; i < *pairs; i++)
        if (!layout_immediate((*keys)[i]))
            return false;
    return *pairs > 0;
}

static bool start_map(struct rebuild *rebuild, ERL_NIF_TERM map)
{
    const ERL_NIF_TERM *keys, *values;
    size_t pairs;
    if (keys_are_immediate(map, &keys, &values, &pairs))
        return push_frame(rebuild, (struct frame){ .container = MAP, .at = values, .left = pairs, .keys = keys });
    ERL_NIF_TERM *items = enif_get_map_size(rebuild->from, map, &pairs) ? term_map_items(rebuild->from, map, pairs) : NULL;
    return items && push_frame(rebuild, (struct frame){ .container = MAP, .at = items, .left = 2 * pairs, .items = items });
}

static ERL_NIF_TERM copy_leaf(struct rebuild *rebuild, ERL_NIF_TERM term)
{
    ErlNifEnv *env = rebuild->from;
    if (enif_is_binary(env, term))
        return copy_binary(rebuild, term);
    if (enif_is_fun(env, term))
        return rebuild->needs & TERM_REBUILD_FUN ? recode(rebuild, term) : enif_make_copy(rebuild->to, term);
    if (enif_is_number(env, term) || enif_is_ref(env, term) || enif_is_pid(env, term) || enif_is_port(env, term) ||
        enif_is_atom(env, term))
        return enif_make_copy(rebuild->to, term);
    return copy_other(rebuild, term);
}

/* Copies a term that is no container and pushes the copy, or opens a frame for a container. Each kind is asked for by its own function, as in
 * walk.c. */
static bool start(struct rebuild *rebuild, ERL_NIF_TERM term)
{
    const ERL_NIF_TERM *elements;
    int arity;
    if (term_is_immediate(rebuild->from, term))
        return push_value(rebuild, term);
    if (enif_get_tuple(rebuild->from, term, &arity, &elements))
        return push_frame(rebuild, (struct frame){ .container = TUPLE, .at = elements, .left = (size_t)arity });
    if (enif_is_list(rebuild->from, term))
        return push_frame(rebuild, (struct frame){ .container = LIST, .rest = term, .left = 1 });
    if (enif_is_map(rebuild->from, term))
        return start_map(rebuild, term);
    ERL_NIF_TERM copy = copy_leaf(rebuild, term);
    return copy && push_value(rebuild, copy);
}

/* The container of the top frame is complete: builds it from its copies. */
static bool finish(struct rebuild *rebuild)
{
    struct frame frame = rebuild->frames[--rebuild->frames_count];
    ERL_NIF_TERM *values = &rebuild->values[rebuild->values_count - frame.count], copy = 0;
    switch (frame.container) {
    case TUPLE:
        copy = enif_make_tuple_from_array(rebuild->to, values, (unsigned)frame.count);
        break;
    case LIST: /* the last value is the end of the list */
        copy = values[frame.count - 1];
        for (size_t i = frame.count - 1; i-- > 0;)
            copy = enif_make_list_cell(rebuild->to, values[i], copy);
        break;
    case MAP: {
        size_t pairs = frame.items ? frame.count / 2 : frame.count;
        ERL_NIF_TERM *keys = frame.items ? values : (ERL_NIF_TERM *)frame.keys; /* only read */
        if (!enif_make_map_from_arrays(rebuild->to, keys, values + frame.count - pairs, pairs, &copy))
            copy = 0;
        enif_free(frame.items);
        break;
    }
    }
    rebuild->values_count -= frame.count;
    return copy && push_value(rebuild, copy);
}

static bool step(struct rebuild *rebuild)
{
    struct frame *top = &rebuild->frames[rebuild->frames_count - 1];
    ERL_NIF_TERM item;
    if (top->container != LIST && layout.tags)
        for (; top->left > 0 && layout_immediate(*top->at); top->at++, top->left--, top->count++)
            if (!push_value(rebuild, *top->at))
                return false;
    if (top->left == 0) {
        if (!finish(rebuild))
            return false;
        if (rebuild->frames_count)
            rebuild->frames[rebuild->frames_count - 1].count++;
        return true;
    }
    if (top->container != LIST) {
        item = *top->at++;
        top->left--;
    } else if (!enif_get_list_cell(rebuild->from, top->rest, &item, &top->rest)) {
        item = top->rest;
        top->left = 0;
    }
    size_t values = rebuild->values_count, at = rebuild->frames_count - 1;
    if (!start(rebuild, item))
        return false;
    if (rebuild->values_count > values)
        rebuild->frames[at].count++;
    return true;
}

ERL_NIF_TERM term_copy(ErlNifEnv *to, ErlNifEnv *from, ERL_NIF_TERM term, int needs)
{
    if (!(needs & (TERM_REBUILD | TERM_OPAQUE)))
        return enif_make_copy(to, term);
    struct rebuild rebuild; /* not cleared, because it is large */
    rebuild.to = to;
    rebuild.from = from;
    rebuild.needs = needs;
    rebuild.frames = rebuild.first_frames;
    rebuild.values = rebuild.first_values;
    rebuild.frames_count = rebuild.values_count = 0;
    rebuild.frames_capacity = FRAMES;
    rebuild.values_capacity = VALUES;
    ERL_NIF_TERM copy = 0;
    bool good = start(&rebuild, term);
    while (good && rebuild.frames_count > 0)
        good = step(&rebuild);
    if (good)
        copy = rebuild.values[0];
    while (rebuild.frames_count > 0)
        enif_free(rebuild.frames[--rebuild.frames_count].items);
    if (rebuild.frames != rebuild.first_frames)
        enif_free(rebuild.frames);
    if (rebuild.values != rebuild.first_values)
        enif_free(rebuild.values);
    return copy;
}
