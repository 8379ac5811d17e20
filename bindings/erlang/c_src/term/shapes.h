/* Shapes: the tuples of keys of small maps. All structs of a module have the same shape, as have all maps that are written with the same atoms. So a
 * flat term (flat.h) has the number of the shape in place of the keys, and the terms that are read into one environment share one tuple for
 * each shape.
 *
 * The table belongs to this copy of the NIF and lives as long as the VM. The same copy makes and reads the flat terms of a pipeline (see
 * base/resource.h). The table holds atoms only, which the VM never frees. It grows up to SHAPES; later shapes are not added, and their maps
 * carry their keys. */
#ifndef CAPTURE_NIF_SHAPES_H
#define CAPTURE_NIF_SHAPES_H

#include "term/layout.h"

enum { SHAPES = 256 };

/* The number of the shape with the keys of this tuple, of at most SMALL_MAP elements. A new shape is added. -1: not all keys are atoms, or the
 * table is full, or another thread is adding a shape right now. Never waits. */
int shape_of(ErlNifEnv *env, const ERL_NIF_TERM *tuple);

/* The keys of a shape that shape_of returned, and their number. They are never changed. */
const ERL_NIF_TERM *shape_keys(size_t number, size_t *count);

/* The tuples made in one environment during one call; all zero at first. */
struct shapes_made {
    ERL_NIF_TERM tuples[SHAPES];
};

/* Makes the tuple of a shape that shape_of returned. */
ERL_NIF_TERM shape_make(ErlNifEnv *env, struct shapes_made *made, size_t number);

/* The same tuple, made at the first use. */
static inline ERL_NIF_TERM shape_tuple(ErlNifEnv *env, struct shapes_made *made, size_t number)
{
    return made->tuples[number] ? made->tuples[number] : shape_make(env, made, number);
}

#endif
