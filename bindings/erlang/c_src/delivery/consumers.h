/* Processes that attach to a pipeline, detach from it and die. */
#ifndef CAPTURE_NIF_CONSUMERS_H
#define CAPTURE_NIF_CONSUMERS_H

#include "pipeline/pipeline.h"

/* (Pipeline) -> ok | {error, {unsupported | closed | limit | state | no_memory, _}}: the calling process is a consumer from here on. */
pipeline_call pipeline_attach_call;
/* (Pipeline) -> ok: it no longer is. Its batches go to other consumers. */
pipeline_call pipeline_detach_call;

/* A monitored process has died. */
void consumer_down(struct pipeline *pipeline, ErlNifPid *pid);

#endif
