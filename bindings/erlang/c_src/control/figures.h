/* The figures of a pipeline as maps. These calls run on normal schedulers and take some 10 to 40 us, so that they answer also when all dirty
 * schedulers are busy. */
#ifndef CAPTURE_NIF_FIGURES_H
#define CAPTURE_NIF_FIGURES_H

#include "pipeline/pipeline.h"

/* (Pipeline) -> {ok, Map} | {error, _} */
pipeline_call pipeline_config_call;
pipeline_call pipeline_metrics_call;
pipeline_call pipeline_health_call;
/* (Pipeline, Index) -> {ok, Map} | {error, _} */
pipeline_call pipeline_writer_metrics_call;

/* (Pipeline, Pipelines, Format) -> {ok, Text} | {error, _}: the metrics of all Pipelines, of which the first one is Pipeline */
pipeline_call pipeline_metrics_text_call;

/* () -> {Number, Text} */
ERL_NIF_TERM version(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
