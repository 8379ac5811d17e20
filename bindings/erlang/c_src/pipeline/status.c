/* The library's statuses as answers: see status.h. */
#include "pipeline/status.h"
#include "maps/fields.h"
#include "maps/lists.h"

#include <capture_pipeline.h>

enum { STATUSES = sizeof statuses / sizeof *statuses };
static ERL_NIF_TERM status_atoms[STATUSES];

/* Those that inform: from 1 on. */
static const char *const informing[] = { "sampled", "dropped_by_rule", "end" };
enum { INFORMING = sizeof informing / sizeof *informing };
_Static_assert(PIPELINE_SAMPLED == 1 && PIPELINE_DROPPED_BY_RULE == 2 && PIPELINE_END == 3, "the order of the names");
static ERL_NIF_TERM informing_atoms[INFORMING];

void status_load(ErlNifEnv *env)
{
    for (int i = 0; i < STATUSES; i++)
        status_atoms[i] = enif_make_atom(env, statuses[i]);
    for (int i = 0; i < INFORMING; i++)
        informing_atoms[i] = enif_make_atom(env, informing[i]);
}

ERL_NIF_TERM status_atom(ErlNifEnv *env, int32_t status)
{
    if (status > 0 && status <= INFORMING)
        return informing_atoms[status - 1];
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
