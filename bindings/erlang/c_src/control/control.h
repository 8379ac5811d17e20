/* The calls that control a pipeline, and those that read its figures. */
#ifndef CAPTURE_NIF_CONTROL_H
#define CAPTURE_NIF_CONTROL_H

#include "pipeline/pipeline.h"

/* (Pipeline, Writers) -> ok | {error, {Name, Detail}} */
pipeline_call pipeline_scale_call;
/* (Pipeline) -> ok | {error, {Name, Detail}} */
pipeline_call pipeline_pause_call;
pipeline_call pipeline_resume_call;
/* (Pipeline, Config) -> ok | {error, _} */
pipeline_call pipeline_update_call;
/* (Pipeline, Kind, Name) -> ok | {error, _} */
pipeline_call pipeline_kind_name_call;
/* (Pipeline, Definition) -> ok | {error, _}. In kinds.c. */
pipeline_call pipeline_kind_define_call;
/* (Pipeline) -> Percent. In pressure.c. */
pipeline_call pipeline_pressure_call;
/* (Pipeline, Low, High, Ref | none) -> ok | {error, {Name, Detail}}. The caller gets {capture_pressure, Ref, Percent, high | low}. In pressure.c. */
pipeline_call pipeline_watch_pressure_call;
/* (Pipeline, [Rule] | Text | Path, Flags) -> ok | {error, {Name, Detail}}. In rules.c, as the calls below. */
pipeline_call pipeline_rules_set_call;
pipeline_call pipeline_rules_text_call;
pipeline_call pipeline_rules_load_call;
/* (Pipeline) -> ok | {error, {Name, Detail}} */
pipeline_call pipeline_rules_clear_call;
/* (Pipeline) -> {ok, [Map]} | {error, {Name, Detail}} */
pipeline_call pipeline_rules_info_call;
/* (Pipeline, Name, Value) -> ok | {error, _} */
pipeline_call pipeline_attribute_call;
/* (Pipeline, Path) -> {ok, Map} | {error, _}. In snapshot.c, as the next one. */
pipeline_call pipeline_snapshot_call;
/* (Pipeline, Path | none) -> ok | {error, _} */
pipeline_call pipeline_snapshot_on_trigger_call;
/* (Permits) -> ok | {error, _}. Of the whole VM. */
ERL_NIF_TERM limit_calls(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* Before the pipeline is abandoned. */
void pressure_end(struct pipeline *p);

#endif
