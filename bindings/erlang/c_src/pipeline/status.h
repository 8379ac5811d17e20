/* The library's statuses as answers. */
#ifndef CAPTURE_NIF_STATUS_H
#define CAPTURE_NIF_STATUS_H

#include "base/resource.h"

/* Called when the NIF is loaded or upgraded. */
void status_load(ErlNifEnv *env);

/* The name of a status. */
ERL_NIF_TERM status_atom(ErlNifEnv *env, int32_t status);

/* ok, or {error, {Name, Detail}} with the text of pipeline_last_error. */
ERL_NIF_TERM answer_status(ErlNifEnv *env, int32_t status);

/* {error, Name}: for captures and answers to batches. */
ERL_NIF_TERM answer_refused(ErlNifEnv *env, int32_t status);

/* {error, {Reason, Detail}}. */
ERL_NIF_TERM answer_detail(ErlNifEnv *env, const char *reason, const char *detail);

#endif
