/* The library's statuses as answers: see status.h. */
#include "pipeline/status.h"
#include "maps/fields.h"
#include "maps/lists.h"

#include <capture_pipeline.h>

enum { STATUSES = sizeof statuses / sizeof *statuses };
static ERL_NIF_TERM status_atoms[STATUSES];

void status_load(ErlNifEnv *env)
{
    for (int i = 0; i < STATUSES; i++)
        status_atoms[i] = enif_make_atom(env, statuses[i]);
}

ERL_NIF_TERM status_atom(ErlNifEnv *env, int32_t status)
{
    if (status == PIPELINE_SAMPLED)
        return enif_make_atom(env, "sampled");
    return status <= 0 && status > -STATUSES ? status_atoms[-status] : enif_make_atom(env, "internal");
}

ERL_NIF_TERM answer_detail(ErlNifEnv *env, const char *reason, const char *detail)
{
    return enif_make_tuple2(env, atom_error,
        enif_make_tuple2(env, enif_make_atom(env, reason), make_text(env, detail)));
}

ERL_NIF_TERM answer_status(ErlNifEnv *env, int32_t status)
{
    if (status == PIPELINE_OK)
        return atom_ok;
    return enif_make_tuple2(env, atom_error,
        enif_make_tuple2(env, status_atom(env, status), make_text(env, pipeline_last_error())));
}

ERL_NIF_TERM answer_refused(ErlNifEnv *env, int32_t status)
{
    return enif_make_tuple2(env, atom_error, status_atom(env, status));
}
