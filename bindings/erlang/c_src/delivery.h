/* The storage whose batches go to processes (delivery.c; the table of what is out is in handed.c, the processes are in faces.c, what they see of
 * events in events.c). A process that has attached (a *face*) gets a message for each batch, with its events or, as a notice, with their number, and
 * answers it with delivery_complete; until then the batch is pending.
 *
 * A notice costs less: the face copies the events from where they were captured into its own heap (delivery_events), where a message is
 * copied by the library's thread into an environment and by the collector into the heap. */
#ifndef CAPTURE_NIF_DELIVERY_H
#define CAPTURE_NIF_DELIVERY_H

#include "pipeline.h"

/* The bit of an event's kind that says that its payload is a flat term (flat.h) or a handle. A caller's kind stays below what is reserved with that bit. */
#define KIND_TERM UINT32_C(0x80000000)
#define KIND_MOST (PIPELINE_KIND_RESERVED - KIND_TERM)

/* The payload of one that is no flat term: a term, and the block that it is in (NULL: the term is an immediate, and is in none). The
 * event's length is what the term takes in memory, so that a ring is charged with it; only this much of it is ever written or
 * read. */
struct handle {
    struct block *block;
    ERL_NIF_TERM term;
};

/* The storage of a pipeline that is about to start. Its destroy frees the delivery. False: no memory. */
bool delivery_storage(bool notices, pipeline_storage_t *storage, struct delivery **out);

/* The pipeline runs: from here on processes may attach. `in_flight_given`: max_in_flight is the caller's. */
void delivery_begin(struct pipeline *pipeline, bool in_flight_given);

/* The owner has paused or resumed the pipeline or changed its configuration, or the number of faces has changed: brings the library to the
 * state that this calls for. Never waits. `in_flight_given`: as above, from now on. */
void delivery_adjust(struct pipeline *pipeline, bool in_flight_given);

/* A face has died. */
void delivery_down(struct pipeline *pipeline, ErlNifEnv *env, ErlNifPid *pid);

/* The pipeline's resource is being destroyed: first nothing is sent any more; then, the pipeline being abandoned, whatever is out is given
 * back, and the delivery is the storage's alone. */
void delivery_stop(struct delivery *delivery);
void delivery_end(struct delivery *delivery);

struct delivery_figures {
    unsigned faces;    /* attached processes */
    unsigned handed;   /* batches that they have not answered */
    unsigned parked;   /* batches that wait for a process that has room */
};
void delivery_figures(struct delivery *delivery, struct delivery_figures *out);

/* Called when the NIF is loaded or upgraded. */
void delivery_load(ErlNifEnv *env);

/* Rows of the function table: name, arity, function, flags. */
#define DELIVERY_FUNCS(ROW) \
    ROW("pipeline_attach", 1, pipeline_attach_nif, ERL_NIF_DIRTY_JOB_IO_BOUND) \
    ROW("pipeline_detach", 1, pipeline_detach_nif, ERL_NIF_DIRTY_JOB_IO_BOUND) \
    ROW("delivery_complete", 3, delivery_complete_nif, 0) \
    ROW("delivery_next", 3, delivery_next_nif, 0) \
    ROW("delivery_events", 3, delivery_events_nif, 0) \
    ROW("delivery_wait", 1, delivery_wait_nif, 0) \
    ROW("delivery_cancel", 2, delivery_cancel_nif, 0)

#endif
