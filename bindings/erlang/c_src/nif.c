/* The NIF as the VM sees it: load, upgrade, unload, and the table of functions, which the other files fill by their ..._FUNCS. */
#include "capture.h"
#include "cursor.h"
#include "delivery.h"
#include "flat.h"
#include "pipeline.h"
#include "resource.h"
#include "ring.h"
#include "term.h"

#include <string.h>

ErlNifResourceType *resource_types[RESOURCE_SORTS];
ERL_NIF_TERM atom_ok, atom_error, atom_badarg, atom_true, atom_false, atom_undefined;

static void destroy(ErlNifEnv *env, void *object)
{
    struct resource *resource = object;
    (void)env;
    if (resource->ops)
        resource->ops->destroy(resource);
}

static void down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *monitor)
{
    struct resource *resource = object;
    if (resource->ops && resource->ops->down)
        resource->ops->down(resource, env, pid, monitor);
}

void *resource_new(enum resource_sort sort, const struct ops *ops, size_t size)
{
    struct resource *resource = enif_alloc_resource(resource_types[sort], size);
    if (!resource)
        return NULL;
    memset(resource, 0, size);
    resource->ops = ops;
    return resource;
}

ERL_NIF_TERM answer_error(ErlNifEnv *env, const char *reason)
{
    return enif_make_tuple2(env, atom_error, enif_make_atom(env, reason));
}

ERL_NIF_TERM answer_ok(ErlNifEnv *env, ERL_NIF_TERM value)
{
    return enif_make_tuple2(env, atom_ok, value);
}

static int open_types(ErlNifEnv *env)
{
    static const char *names[RESOURCE_SORTS] = { "capture_pipeline", "capture_ring", "capture_cursor" };
    ErlNifResourceTypeInit init = { .dtor = destroy, .down = down, .members = 3 };
    for (int sort = 0; sort < RESOURCE_SORTS; sort++) {
        resource_types[sort] =
            enif_init_resource_type(env, names[sort], &init, ERL_NIF_RT_CREATE | ERL_NIF_RT_TAKEOVER, NULL);
        if (!resource_types[sort])
            return 1;
    }
    return 0;
}

static int begin(ErlNifEnv *env)
{
    atom_ok = enif_make_atom(env, "ok");
    atom_error = enif_make_atom(env, "error");
    atom_badarg = enif_make_atom(env, "badarg");
    atom_true = enif_make_atom(env, "true");
    atom_false = enif_make_atom(env, "false");
    atom_undefined = enif_make_atom(env, "undefined");
    if (open_types(env))
        return 1;
    term_load(env);
    flat_load(env);
    ring_load(env);
    cursor_load(env);
    pipeline_load(env);
    capture_load(env);
    delivery_load(env);
    return 0;
}

static int load(ErlNifEnv *env, void **data, ERL_NIF_TERM info)
{
    (void)data;
    (void)info;
    return begin(env);
}

/* A newer version of the module: its resources are those of the old one, which go on through their own tables. */
static int upgrade(ErlNifEnv *env, void **data, void **old_data, ERL_NIF_TERM info)
{
    (void)data;
    (void)old_data;
    (void)info;
    return begin(env);
}

/* The last module instance that used this copy is purged. Nothing to do: what lives on keeps its code (-z nodelete). */
static void unload(ErlNifEnv *env, void *data)
{
    (void)env;
    (void)data;
}

#define ROW(name, arity, function, flags) { name, arity, function, flags },

static ErlNifFunc functions[] = {
    PIPELINE_FUNCS(ROW)
    CAPTURE_FUNCS(ROW)
    DELIVERY_FUNCS(ROW)
    RING_FUNCS(ROW)
    CURSOR_FUNCS(ROW)
    TERM_FUNCS(ROW)
    FLAT_FUNCS(ROW)
};

ERL_NIF_INIT(elixir_scope_capture_pipeline_nif, functions, load, NULL, upgrade, unload)
