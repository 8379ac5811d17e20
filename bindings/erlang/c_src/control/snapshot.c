/* Snapshots: what lies in the ring buffers, written as a journal. On dirty schedulers, because they write files. */
#include "control/control.h"
#include "maps/config.h"
#include "maps/fields.h"
#include "pipeline/status.h"

static ERL_NIF_TERM map_of(ErlNifEnv *env, const pipeline_snapshot_t *snapshot)
{
    ERL_NIF_TERM map = map_put(env, enif_make_new_map(env), "generation", enif_make_uint64(env, snapshot->generation));
    map = map_put(env, map, "segment", enif_make_uint64(env, snapshot->segment));
    map = map_put(env, map, "events", enif_make_uint64(env, snapshot->events));
    map = map_put(env, map, "rings", enif_make_uint64(env, snapshot->rings));
    map = map_put(env, map, "bytes", enif_make_uint64(env, snapshot->bytes));
    map = map_put(env, map, "left_out", enif_make_uint64(env, snapshot->left_out));
    map = map_put(env, map, "passed_bytes", enif_make_uint64(env, snapshot->passed_bytes));
    map = map_put(env, map, "first_ns", enif_make_uint64(env, snapshot->first_ns));
    map = map_put(env, map, "last_ns", enif_make_uint64(env, snapshot->last_ns));
    return map_put(env, map, "took_ns", enif_make_uint64(env, snapshot->took_ns));
}

ERL_NIF_TERM pipeline_snapshot_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    ERL_NIF_TERM answer;
    pipeline_snapshot_t snapshot = { .struct_size = sizeof snapshot };
    char *path = get_path(env, argv[1], &answer);
    int32_t status;
    (void)argc;
    if (!path)
        return answer;
    status = pipeline_snapshot(p->native, path, NULL, &snapshot);
    enif_free(path);
    return status == PIPELINE_OK ? answer_ok(env, map_of(env, &snapshot)) : answer_status(env, status);
}

ERL_NIF_TERM pipeline_snapshot_on_trigger_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    ERL_NIF_TERM answer;
    char *path;
    (void)argc;
    if (enif_is_atom(env, argv[1]))
        return answer_status(env, pipeline_snapshot_on_trigger(p->native, NULL, NULL));
    path = get_path(env, argv[1], &answer);
    if (!path)
        return answer;
    answer = answer_status(env, pipeline_snapshot_on_trigger(p->native, path, NULL));
    enif_free(path);
    return answer;
}
