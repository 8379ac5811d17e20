/* What every resource of the NIF starts with, and what all its files need: atoms, the resource types, and the way from a term to a resource.
 *
 * After an upgrade of the module a newer copy of this shared object is given resources that an older copy made; the older stays
 * mapped (-z nodelete). **A resource is worked on by the copy that made it**: a NIF finds the resource and calls
 * through the table that the resource carries. So tables are append-only, and their first word is their size. */
#ifndef CAPTURE_RESOURCE_H
#define CAPTURE_RESOURCE_H

#include <erl_nif.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct resource;

/* The functions of the copy that made a resource. Each sort of resource has a table of its own that begins like this. */
struct ops {
    size_t size;                                             /* sizeof the whole table in that copy */
    void (*destroy)(struct resource *);                      /* the destructor: never waits */
    void (*down)(struct resource *, ErlNifEnv *, ErlNifPid *, ErlNifMonitor *); /* a monitored process has died; NULL: none is */
};

struct resource {
    const struct ops *ops;
};

/* The sorts of resources. */
enum resource_sort { RESOURCE_PIPELINE, RESOURCE_RING, RESOURCE_CURSOR, RESOURCE_SORTS };

extern ErlNifResourceType *resource_types[RESOURCE_SORTS];

/* A new resource of that sort, all zero but for its table; NULL without memory. The caller owns one reference. */
void *resource_new(enum resource_sort sort, const struct ops *ops, size_t size);

/* The resource behind a term, or NULL. */
static inline void *resource_get(ErlNifEnv *env, ERL_NIF_TERM term, enum resource_sort sort)
{
    void *found;
    return enif_get_resource(env, term, resource_types[sort], &found) ? found : NULL;
}

/* {error, Reason} and {ok, Value}. */
ERL_NIF_TERM answer_error(ErlNifEnv *env, const char *reason);
ERL_NIF_TERM answer_ok(ErlNifEnv *env, ERL_NIF_TERM value);

/* Atoms that hot paths answer with: made once, when the NIF is loaded. */
extern ERL_NIF_TERM atom_ok, atom_error, atom_badarg, atom_true, atom_false, atom_undefined;

#endif
