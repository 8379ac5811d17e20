/* The start and the end of a pipeline. */
#ifndef CAPTURE_NIF_LIFECYCLE_H
#define CAPTURE_NIF_LIFECYCLE_H

#include "pipeline/pipeline.h"

/* Called when the NIF is loaded or upgraded. */
void lifecycle_load(ErlNifEnv *env);

/* (Config, Storage) -> {ok, Pipeline} | {error, _} | {wait, Ref}. `ops`: the table of the new pipeline. */
ERL_NIF_TERM lifecycle_start(ErlNifEnv *env, const struct ops *ops, const ERL_NIF_TERM argv[]);

/* The destructor of the resource. */
void lifecycle_destroy(struct resource *resource);

/* A process that the resource monitors has died. */
void lifecycle_down(struct resource *resource, ErlNifEnv *env, ErlNifPid *pid, ErlNifMonitor *monitor);

#endif
