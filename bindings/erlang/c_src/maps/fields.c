/* Structs of the C API as maps. */
#include "maps/fields.h"

#include <string.h>

enum { ATOM_BYTES = 256 };

static bool set_unsigned(ErlNifEnv *env, void *to, size_t width, ERL_NIF_TERM value)
{
    ErlNifUInt64 wide;
    if (!enif_get_uint64(env, value, &wide) || (width == sizeof(uint32_t) && wide > UINT32_MAX))
        return false;
    uint32_t narrow = (uint32_t)wide;
    memcpy(to, width == sizeof narrow ? (const void *)&narrow : &wide, width);
    return true;
}

static bool set_named(ErlNifEnv *env, const char *const *names, uint32_t *to, ERL_NIF_TERM value)
{
    char name[ATOM_BYTES];
    if (!enif_get_atom(env, value, name, sizeof name, ERL_NIF_LATIN1))
        return false;
    for (uint32_t i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0) {
            *to = i;
            return true;
        }
    }
    return false;
}

static bool set_bool(uint32_t *to, ERL_NIF_TERM value)
{
    *to = value == atom_true;
    return value == atom_true || value == atom_false;
}

static bool set_text(ErlNifEnv *env, char **to, ERL_NIF_TERM value, size_t limit)
{
    if (*to)
        enif_free(*to);
    *to = get_text(env, value, limit);
    return *to != NULL;
}

const struct field *field_find(ErlNifEnv *env, const struct field *table, size_t count, ERL_NIF_TERM key)
{
    char name[ATOM_BYTES];
    if (!enif_get_atom(env, key, name, sizeof name, ERL_NIF_LATIN1))
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    }
    return NULL;
}

bool field_set(ErlNifEnv *env, const struct field *field, void *to, ERL_NIF_TERM value, size_t text_limit)
{
    void *member = (char *)to + field->offset;
    switch (field->sort) {
    case FIELD_UNSIGNED:
        return set_unsigned(env, member, field->width, value);
    case FIELD_SIGNED:
        return enif_get_int(env, value, member);
    case FIELD_BOOL:
        return set_bool(member, value);
    case FIELD_NAMES:
        return set_named(env, field->names, member, value);
    case FIELD_TEXT:
        return set_text(env, member, value, text_limit);
    case FIELD_FLOAT:
    case FIELD_BITS:
        break; /* only ever read */
    }
    return false;
}

void fields_free(const struct field *table, size_t count, void *from)
{
    for (size_t i = 0; i < count; i++) {
        char **text = (char **)((char *)from + table[i].offset);
        if (table[i].sort == FIELD_TEXT && *text)
            enif_free(*text);
    }
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

static ERL_NIF_TERM make_named(ErlNifEnv *env, const char *const *names, uint64_t value)
{
    for (uint64_t i = 0; names[i]; i++) {
        if (i == value)
            return enif_make_atom(env, names[i]);
    }
    return enif_make_uint64(env, value);
}

static ERL_NIF_TERM make_member(ErlNifEnv *env, const struct field *field, const void *member)
{
    uint32_t narrow = 0;
    uint64_t number = 0;
    double real;
    if (field->width == sizeof narrow) {
        memcpy(&narrow, member, sizeof narrow);
        number = narrow;
    } else {
        memcpy(&number, member, sizeof number);
    }
    switch (field->sort) {
    case FIELD_FLOAT:
        memcpy(&real, member, sizeof real);
        return enif_make_double(env, real);
    case FIELD_SIGNED:
        return enif_make_int(env, (int32_t)narrow);
    case FIELD_BOOL:
        return number ? atom_true : atom_false;
    case FIELD_NAMES:
        return make_named(env, field->names, number);
    case FIELD_BITS:
        return make_bits(env, field->names, narrow);
    default:
        return enif_make_uint64(env, number);
    }
}

ERL_NIF_TERM fields_put(ErlNifEnv *env, const struct field *table, size_t count, const void *from, ERL_NIF_TERM map)
{
    for (size_t i = 0; i < count; i++) {
        if (table[i].sort != FIELD_TEXT)
            map = map_put(env, map, table[i].name, make_member(env, &table[i], (const char *)from + table[i].offset));
    }
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
