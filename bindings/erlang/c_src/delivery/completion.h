/* The answers of consumers to their batches. */
#ifndef CAPTURE_NIF_COMPLETION_H
#define CAPTURE_NIF_COMPLETION_H

#include "pipeline/pipeline.h"

/* Called when the NIF is loaded or upgraded. */
void completion_load(ErlNifEnv *env);

/* (Pipeline, Token, ok | retry | {ok, Indexes}) -> ok | {error, Name} */
pipeline_call delivery_complete_call;
/* The same. But if the caller is a consumer that may have one more batch, and there is one, the answer is the notice of that batch. */
pipeline_call delivery_next_call;

#endif
