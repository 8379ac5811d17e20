/* Structs of the C API as maps: tables of their members, and the way from one to the other. No logic of any pipeline. */
#ifndef CAPTURE_NIF_FIELDS_H
#define CAPTURE_NIF_FIELDS_H

#include "base/resource.h"

/* How a member is kept in C, and how it is written in Erlang. */
enum field_sort {
    FIELD_UNSIGNED, /* uint32_t or uint64_t: an integer */
    FIELD_SIGNED,   /* int32_t: an integer */
    FIELD_FLOAT,    /* double: a float */
    FIELD_BOOL,     /* uint32_t, 0 or 1: true or false */
    FIELD_NAMES,    /* uint32_t or uint64_t: one of `names`, by its place */
    FIELD_BITS,     /* uint32_t: the list of those of `names` whose bit is set */
    FIELD_TEXT,     /* const char *: set from an atom, a binary or a character list; not read */
};

struct field {
    const char *name;
    enum field_sort sort;
    size_t offset, width;       /* in the struct, in bytes */
    const char *const *names;   /* ends with NULL */
};

#define FIELD_AS(name, struct, sort, member, names)                                                                                \
    { name, FIELD_##sort, offsetof(struct, member), sizeof(((struct *)NULL)->member), names }
#define FIELD(struct, sort, member, names) FIELD_AS(#member, struct, sort, member, names)
#define FIELD_COUNT(table) (sizeof(table) / sizeof(*(table)))

/* The member that `key` names, or NULL. */
const struct field *field_find(ErlNifEnv *env, const struct field *table, size_t count, ERL_NIF_TERM key);

/* Sets that member of `to`. false: `value` is none for it. A text of at most `text_limit` bytes is copied; the member's former text is freed
 * (enif_free). */
bool field_set(ErlNifEnv *env, const struct field *field, void *to, ERL_NIF_TERM value, size_t text_limit);

/* Frees the texts of `from`. */
void fields_free(const struct field *table, size_t count, void *from);

/* Puts every member of `from` but the texts into `map`. */
ERL_NIF_TERM fields_put(ErlNifEnv *env, const struct field *table, size_t count, const void *from, ERL_NIF_TERM map);

/* Puts one pair into `map`. */
ERL_NIF_TERM map_put(ErlNifEnv *env, ERL_NIF_TERM map, const char *key, ERL_NIF_TERM value);

/* A binary with that text. */
ERL_NIF_TERM make_text(ErlNifEnv *env, const char *text);

/* The text of an atom, a binary or a character list, NUL-terminated in memory of the caller's (enif_free); NULL: it is none of those, or
 * has a NUL within, or more than `limit` bytes. */
char *get_text(ErlNifEnv *env, ERL_NIF_TERM term, size_t limit);

#endif
