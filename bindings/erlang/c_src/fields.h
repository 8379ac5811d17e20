/* Structs of the C API as maps: tables of their members, and the way from one to the other. No logic of any pipeline. */
#ifndef CAPTURE_NIF_FIELDS_H
#define CAPTURE_NIF_FIELDS_H

#include "resource.h"

/* How a member is kept, and how it is written in Erlang. */
enum field_sort {
    FIELD_U32,      /* uint32_t: an integer */
    FIELD_I32,      /* int32_t: an integer */
    FIELD_U64,      /* uint64_t: an integer */
    FIELD_F64,      /* double: a float */
    FIELD_BOOL,     /* uint32_t, 0 or 1: true or false */
    FIELD_NAMES,    /* uint32_t: one of `names` */
    FIELD_BITS,     /* uint32_t: the list of those of `names` whose bit is set */
};

struct field {
    const char *name;
    enum field_sort sort;
    size_t offset;
    const char *const *names; /* ends with NULL */
};

#define FIELD(struct, sort, member) { #member, FIELD_##sort, offsetof(struct, member), NULL }
#define FIELD_NAMED(struct, sort, member, names) { #member, FIELD_##sort, offsetof(struct, member), names }
#define FIELD_COUNT(table) (sizeof(table) / sizeof(*(table)))

/* Sets the member of `to` that `key` names. 1: done; 0: no such member, or `value` is none for it. */
int field_set(ErlNifEnv *env, const struct field *table, size_t count, void *to, ERL_NIF_TERM key, ERL_NIF_TERM value);

/* Puts every member of `from` into `map`. */
ERL_NIF_TERM fields_put(ErlNifEnv *env, const struct field *table, size_t count, const void *from, ERL_NIF_TERM map);

/* Puts one pair into `map`. */
ERL_NIF_TERM map_put(ErlNifEnv *env, ERL_NIF_TERM map, const char *key, ERL_NIF_TERM value);

/* A binary with that text. */
ERL_NIF_TERM make_text(ErlNifEnv *env, const char *text);

/* The text of an atom, a binary or a character list, NUL-terminated in memory of the caller's (enif_free); NULL: it is none of those, or
 * has a NUL within, or more than `limit` bytes. */
char *get_text(ErlNifEnv *env, ERL_NIF_TERM term, size_t limit);

#endif
