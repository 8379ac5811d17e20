/* Shapes: the tuples of keys that small maps have. All structs of a module have one, and every map that is written with the same atoms; so a flat
 * term (flat.h) has the number of the shape instead of the keys, and the terms that are read into one environment share one tuple for
 * each.
 *
 * The table belongs to this copy of the NIF and lives as long as its code, which is for ever; a pipeline's events are made flat and read by the
 * same copy (resource.h). It holds atoms alone, which the VM never frees. It grows only, up to SHAPES: what comes later carries its keys. */
#ifndef CAPTURE_NIF_SHAPES_H
#define CAPTURE_NIF_SHAPES_H

#include "layout.h"

enum { SHAPES = 256 };

/* The number of the shape with the keys of this tuple, of at most SMALL_MAP elements; it is added if it is new. -1: not all of them are atoms,
 * or there is no room, or just now another thread adds one. Never waits. */
int shape_of(ErlNifEnv *env, const ERL_NIF_TERM *tuple);

/* The tuples of one environment, during one call; all zero at first. */
struct shapes_made {
    ERL_NIF_TERM tuples[SHAPES];
};

/* The tuple of a shape whose number shape_of answered, made when it is first asked for. */
ERL_NIF_TERM shape_make(ErlNifEnv *env, struct shapes_made *made, size_t number);

static inline ERL_NIF_TERM shape_tuple(ErlNifEnv *env, struct shapes_made *made, size_t number)
{
    return made->tuples[number] ? made->tuples[number] : shape_make(env, made, number);
}

#endif
