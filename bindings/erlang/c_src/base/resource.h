/* The NIF's resources, and the atoms and answers that every file uses.
 *
 * After an upgrade of the module, a newer copy of this shared object is given resources that an older copy made. The older copy stays mapped
 * (-z nodelete). **The copy that made a resource does all work on it**: a NIF finds the resource and calls through the table that the
 * resource carries. Therefore the tables are append-only, and their first word is their size. */
#ifndef CAPTURE_NIF_RESOURCE_H
#define CAPTURE_NIF_RESOURCE_H

#include <erl_nif.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct resource;

/* The functions of the copy that made a resource. Each kind of resource has a table of its own, which begins with this. */
struct ops {
    size_t size;                                             /* sizeof the whole table in that copy */
    void (*destroy)(struct resource *);                      /* the destructor: never waits */
    void (*down)(struct resource *, ErlNifEnv *, ErlNifPid *, ErlNifMonitor *); /* a monitored process died; NULL: none is monitored */
};

struct resource {
    const struct ops *ops;
};

enum resource_kind { RESOURCE_PIPELINE, RESOURCE_RING, RESOURCE_CURSOR, RESOURCE_READER, RESOURCE_TRACER, RESOURCE_KINDS };

extern ErlNifResourceType *resource_types[RESOURCE_KINDS];

/* Called when the NIF is loaded or upgraded: makes the atoms, and opens the resource types or takes them over. False: the VM refused. */
bool resource_load(ErlNifEnv *env);

/* A new resource of that kind, all zero but for its table; NULL without memory. The caller owns one reference. */
void *resource_new(enum resource_kind kind, const struct ops *ops, size_t size);

/* The resource of a term, or NULL. */
static inline void *resource_get(ErlNifEnv *env, ERL_NIF_TERM term, enum resource_kind kind)
{
    void *found;
    return enif_get_resource(env, term, resource_types[kind], &found) ? found : NULL;
}

/* Atoms that the hot paths return. */
extern ERL_NIF_TERM atom_ok, atom_error, atom_badarg, atom_true, atom_false;

/* {error, Reason}. */
ERL_NIF_TERM answer_error(ErlNifEnv *env, const char *reason);
static inline ERL_NIF_TERM answer_error_atom(ErlNifEnv *env, ERL_NIF_TERM reason)
{
    return enif_make_tuple2(env, atom_error, reason);
}

/* {error, badarg}. */
static inline ERL_NIF_TERM answer_badarg(ErlNifEnv *env)
{
    return answer_error_atom(env, atom_badarg);
}

/* {ok, Value}. */
ERL_NIF_TERM answer_ok(ErlNifEnv *env, ERL_NIF_TERM value);

/* {wait, Ref}: the calling process waits for the message that send_settled sends. */
ERL_NIF_TERM answer_wait(ErlNifEnv *env, ERL_NIF_TERM ref);

/* Sends {capture_settled, Ref, Answer}, from any thread. `ref` and `answer` are in `env`, which is cleared. */
void send_settled(ErlNifEnv *env, const ErlNifPid *to, ERL_NIF_TERM ref, ERL_NIF_TERM answer);

static inline bool on_normal_scheduler(void)
{
    return enif_thread_type() == ERL_NIF_THR_NORMAL_SCHEDULER;
}

#endif
