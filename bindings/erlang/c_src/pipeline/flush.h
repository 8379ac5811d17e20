/* Flush and close of a pipeline, for any number of processes at the cost of one thread each.
 *
 * The library's calls wait, so a thread makes them (base/jobs.h), and each process waits in Erlang for a message of its own:
 * {capture_settled, Ref, Answer}. One call answers all requests that were there when it began. The next call answers the requests that came
 * meanwhile. */
#ifndef CAPTURE_NIF_FLUSH_H
#define CAPTURE_NIF_FLUSH_H

#include "pipeline/pipeline.h"

/* Called when the NIF is loaded or upgraded. */
void flush_load(ErlNifEnv *env);

/* (Pipeline, Timeout) -> {wait, Ref} | ok | {error, _} */
pipeline_call pipeline_flush_call;
/* (Pipeline, Timeout) -> {wait, Ref} | {error, _} */
pipeline_call pipeline_close_call;
/* (Pipeline, Ref) -> {error, {timeout, _}}: the request is withdrawn, and no message comes
 *                  | ok: the pipeline is closed, and no message comes
 *                  | sent: the message has come or is about to come.
 * A close that the library had not begun yet begins now: new events are refused. */
pipeline_call pipeline_forget_call;

#endif
