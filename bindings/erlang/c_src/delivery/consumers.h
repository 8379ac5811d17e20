/* Processes that attach to a pipeline, detach from it and die. */
#ifndef CAPTURE_NIF_CONSUMERS_H
#define CAPTURE_NIF_CONSUMERS_H

#include "delivery/outstanding.h"
#include "pipeline/pipeline.h"

/* (Pipeline) -> ok | {error, {unsupported | closed | limit | state | no_memory, _}}: the calling process is a consumer from here on. */
pipeline_call pipeline_attach_call;
/* (Pipeline) -> ok: it no longer is. Its batches go to other consumers. */
pipeline_call pipeline_detach_call;

/* Whether the process is a consumer: one of the first SHOWN_CONSUMERS. Takes no lock: a tracer asks. */
static inline bool consumer_is_shown(struct delivery *d, ERL_NIF_TERM pid)
{
    for (unsigned i = 0; i < SHOWN_CONSUMERS; i++) {
        ERL_NIF_TERM shown = atomic_load_explicit(&d->shown[i], memory_order_relaxed);
        if (shown == pid)
            return true;
        if (!shown)
            return false;
    }
    return false;
}

/* A monitored process has died. */
void consumer_down(struct pipeline *pipeline, ErlNifPid *pid);

#endif
