/* Structs of the C API as maps. */
#include "fields.h"

#include <string.h>

enum { ATOM_BYTES = 256 };

static int set_u32(uint32_t *to, ErlNifUInt64 value)
{
    if (value > UINT32_MAX)
        return 0;
    *to = (uint32_t)value;
    return 1;
}

static int set_named(ErlNifEnv *env, const struct field *field, uint32_t *to, ERL_NIF_TERM value)
{
    char name[ATOM_BYTES];
    if (!enif_get_atom(env, value, name, sizeof name, ERL_NIF_LATIN1))
        return 0;
    for (uint32_t i = 0; field->names[i]; i++) {
        if (strcmp(field->names[i], name) == 0) {
            *to = i;
            return 1;
        }
    }
    return 0;
}

static int set_bool(uint32_t *to, ERL_NIF_TERM value)
{
    *to = value == atom_true;
    return value == atom_true || value == atom_false;
}

int field_set(ErlNifEnv *env, const struct field *table, size_t count, void *to, ERL_NIF_TERM key, ERL_NIF_TERM value)
{
    char name[ATOM_BYTES];
    ErlNifUInt64 number;
    if (!enif_get_atom(env, key, name, sizeof name, ERL_NIF_LATIN1))
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(table[i].name, name) != 0)
            continue;
        void *member = (char *)to + table[i].offset;
        switch (table[i].sort) {
        case FIELD_NAMES:
            return set_named(env, &table[i], member, value);
        case FIELD_BOOL:
            return set_bool(member, value);
        case FIELD_U32:
            return enif_get_uint64(env, value, &number) && set_u32(member, number);
        case FIELD_U64:
            if (!enif_get_uint64(env, value, &number))
                return 0;
            memcpy(member, &number, sizeof number);
            return 1;
        case FIELD_I32:
            return enif_get_int(env, value, (int *)member);
        case FIELD_F64:
        case FIELD_BITS:
            return 0; /* only ever read */
        }
    }
    return 0;
}

static ERL_NIF_TERM make_bits(ErlNifEnv *env, const char *const *names, uint32_t bits)
{
    ERL_NIF_TERM list = enif_make_list(env, 0);
    for (uint32_t i = 0; names[i]; i++) {
        if (bits & (UINT32_C(1) << i))
            list = enif_make_list_cell(env, enif_make_atom(env, names[i]), list);
    }
    enif_make_reverse_list(env, list, &list);
    return list;
}

static ERL_NIF_TERM make_named(ErlNifEnv *env, const char *const *names, uint32_t value)
{
    for (uint32_t i = 0; names[i]; i++) {
        if (i == value)
            return enif_make_atom(env, names[i]);
    }
    return enif_make_uint(env, value);
}

static ERL_NIF_TERM make_member(ErlNifEnv *env, const struct field *field, const void *member)
{
    uint32_t word;
    uint64_t wide;
    double real;
    switch (field->sort) {
    case FIELD_U64:
        memcpy(&wide, member, sizeof wide);
        return enif_make_uint64(env, wide);
    case FIELD_F64:
        memcpy(&real, member, sizeof real);
        return enif_make_double(env, real);
    default:
        memcpy(&word, member, sizeof word);
    }
    switch (field->sort) {
    case FIELD_I32:
        return enif_make_int(env, (int32_t)word);
    case FIELD_BOOL:
        return word ? atom_true : atom_false;
    case FIELD_NAMES:
        return make_named(env, field->names, word);
    case FIELD_BITS:
        return make_bits(env, field->names, word);
    default:
        return enif_make_uint(env, word);
    }
}

ERL_NIF_TERM fields_put(ErlNifEnv *env, const struct field *table, size_t count, const void *from, ERL_NIF_TERM map)
{
    for (size_t i = 0; i < count; i++)
        map = map_put(env, map, table[i].name, make_member(env, &table[i], (const char *)from + table[i].offset));
    return map;
}

ERL_NIF_TERM map_put(ErlNifEnv *env, ERL_NIF_TERM map, const char *key, ERL_NIF_TERM value)
{
    enif_make_map_put(env, map, enif_make_atom(env, key), value, &map);
    return map;
}

ERL_NIF_TERM make_text(ErlNifEnv *env, const char *text)
{
    ERL_NIF_TERM binary;
    size_t length = strlen(text);
    unsigned char *to = enif_make_new_binary(env, length, &binary);
    if (to)
        memcpy(to, text, length);
    return binary;
}

char *get_text(ErlNifEnv *env, ERL_NIF_TERM term, size_t limit)
{
    char atom[4 * ATOM_BYTES];
    ErlNifBinary text = { 0 };
    int length = enif_get_atom(env, term, atom, sizeof atom, ERL_NIF_LATIN1);
    if (length > 0) {
        text.data = (unsigned char *)atom;
        text.size = (size_t)length - 1;
    } else if (enif_is_list(env, term)) {
        unsigned characters;
        /* Not even looked at where it is too long. */
        if (!enif_get_list_length(env, term, &characters) || characters > limit ||
            !enif_inspect_iolist_as_binary(env, term, &text))
            return NULL;
    } else if (!enif_inspect_binary(env, term, &text)) {
        return NULL;
    }
    if (text.size > limit || memchr(text.data, 0, text.size))
        return NULL;
    char *copy = enif_alloc(text.size + 1);
    if (copy) {
        memcpy(copy, text.data, text.size);
        copy[text.size] = 0;
    }
    return copy;
}
