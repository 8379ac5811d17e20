/* The NIF's resource types, atoms and answers: see resource.h. */
#include "base/resource.h"

#include <string.h>

ErlNifResourceType *resource_types[RESOURCE_KINDS];
ERL_NIF_TERM atom_ok, atom_error, atom_badarg, atom_true, atom_false;
static ERL_NIF_TERM atom_settled, atom_wait;

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

bool resource_load(ErlNifEnv *env)
{
    /* An upgrade finds the types by these names: they never change. */
    static const char *names[RESOURCE_KINDS] = { "capture_pipeline", "capture_ring", "capture_cursor", "capture_reader",
        "capture_tracer" };
    ErlNifResourceTypeInit init = { .dtor = destroy, .down = down, .members = 3 };
    atom_ok = enif_make_atom(env, "ok");
    atom_error = enif_make_atom(env, "error");
    atom_badarg = enif_make_atom(env, "badarg");
    atom_true = enif_make_atom(env, "true");
    atom_false = enif_make_atom(env, "false");
    atom_settled = enif_make_atom(env, "capture_settled");
    atom_wait = enif_make_atom(env, "wait");
    for (int kind = 0; kind < RESOURCE_KINDS; kind++) {
        resource_types[kind] =
            enif_init_resource_type(env, names[kind], &init, ERL_NIF_RT_CREATE | ERL_NIF_RT_TAKEOVER, NULL);
        if (!resource_types[kind])
            return false;
    }
    return true;
}

void *resource_new(enum resource_kind kind, const struct ops *ops, size_t size)
{
    struct resource *resource = enif_alloc_resource(resource_types[kind], size);
    if (!resource)
        return NULL;
    memset(resource, 0, size);
    resource->ops = ops;
    return resource;
}

ERL_NIF_TERM answer_error(ErlNifEnv *env, const char *reason)
{
    return answer_error_atom(env, enif_make_atom(env, reason));
}

ERL_NIF_TERM answer_ok(ErlNifEnv *env, ERL_NIF_TERM value)
{
    return enif_make_tuple2(env, atom_ok, value);
}

ERL_NIF_TERM answer_wait(ErlNifEnv *env, ERL_NIF_TERM ref)
{
    return enif_make_tuple2(env, atom_wait, ref);
}

void send_settled(ErlNifEnv *env, const ErlNifPid *to, ERL_NIF_TERM ref, ERL_NIF_TERM answer)
{
    enif_send(NULL, to, env, enif_make_tuple3(env, atom_settled, ref, answer));
}
