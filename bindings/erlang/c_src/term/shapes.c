/* The table of shapes: see shapes.h. A hash table: a slot has the number of a shape whose keys never change, so that a look-up takes no lock. The
 * keys are compared, never the address of their tuple, because other terms may lie there after code is purged. */
#include "term/shapes.h"

#include <stdatomic.h>
#include <string.h>

enum {
    SLOTS = 1024,       /* a power of two, so large that most searches end at the first slot */
    SEARCHED = 8        /* slots, from the hashed one on; a shape that finds no free slot among them is not added */
};

static struct {
    atomic_flag adding;
    _Atomic uint16_t count;                 /* of shapes; grows under `adding` */
    _Atomic uint16_t slots[SLOTS];          /* a shape's number and one; 0: free */
    ERL_NIF_TERM tuples[SHAPES][1 + SMALL_MAP]; /* as on a heap; never changed once a slot has the number */
} shapes = { .adding = ATOMIC_FLAG_INIT };

/* A hash of some of the keys: those of two structs differ in most places. */
static inline size_t first_slot(const ERL_NIF_TERM *tuple, size_t arity)
{
    uint64_t some = tuple[arity] * UINT64_C(0x9e3779b97f4a7c15) + tuple[1 + arity / 2] * UINT64_C(0xc2b2ae3d27d4eb4f) +
        tuple[1 + arity / 4] * UINT64_C(0x165667b19e3779f9) + arity;
    return (some * UINT64_C(0x9e3779b97f4a7c15)) >> 54;
}

/* The shape; or -1 and the first free slot (SLOTS: there is none among those searched). */
static inline int find(const ERL_NIF_TERM *tuple, size_t arity, size_t *free_slot)
{
    size_t slot = first_slot(tuple, arity);
    for (size_t i = 0; i < SEARCHED; i++, slot++) {
        unsigned found = atomic_load_explicit(&shapes.slots[slot % SLOTS], memory_order_acquire);
        if (!found) {
            *free_slot = slot % SLOTS;
            return -1;
        }
        /* The first word has the arity. */
        if (memcmp(shapes.tuples[found - 1], tuple, (1 + arity) * WORD) == 0)
            return (int)found - 1;
    }
    *free_slot = SLOTS;
    return -1;
}

static bool all_atoms(ErlNifEnv *env, const ERL_NIF_TERM *tuple, size_t arity)
{
    /* The keys are sorted, numbers before atoms before the rest: if one is no atom, it is mostly the last one. */
    for (size_t i = arity; i > 0; i--)
        if (!layout_immediate(tuple[i]) || !enif_is_atom(env, tuple[i]))
            return false;
    return true;
}

static __attribute__((noinline, cold)) int add(ErlNifEnv *env, const ERL_NIF_TERM *tuple, size_t arity)
{
    size_t slot;
    if (!all_atoms(env, tuple, arity) || atomic_flag_test_and_set_explicit(&shapes.adding, memory_order_acquire))
        return -1;
    int number = find(tuple, arity, &slot);
    if (number < 0 && slot < SLOTS && shapes.count < SHAPES) {
        number = shapes.count;
        memcpy(shapes.tuples[number], tuple, (1 + arity) * WORD);
        atomic_store_explicit(&shapes.slots[slot], (uint16_t)(number + 1), memory_order_release);
        shapes.count++;
    }
    atomic_flag_clear_explicit(&shapes.adding, memory_order_release);
    return number;
}

int shape_of(ErlNifEnv *env, const ERL_NIF_TERM *tuple)
{
    size_t arity = layout_arity(*tuple), slot;
    int number = find(tuple, arity, &slot);
    if (number >= 0 || slot == SLOTS || atomic_load_explicit(&shapes.count, memory_order_relaxed) == SHAPES)
        return number;
    return add(env, tuple, arity);
}

__attribute__((noinline)) ERL_NIF_TERM shape_make(ErlNifEnv *env, struct shapes_made *made, size_t number)
{
    const ERL_NIF_TERM *tuple = shapes.tuples[number];
    return made->tuples[number] = enif_make_tuple_from_array(env, tuple + 1, (unsigned)layout_arity(*tuple));
}

const ERL_NIF_TERM *shape_keys(size_t number, size_t *count)
{
    *count = layout_arity(*shapes.tuples[number]);
    return shapes.tuples[number] + 1;
}
