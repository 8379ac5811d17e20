/* The storage whose batches go to consumers: Erlang processes that have attached.
 *
 * A consumer gets a message for each batch, with its events or, as a notice, with their number, and answers it by delivery_complete. Until then
 * the batch is pending in the library. A notice costs less: the consumer copies the events from the ring to its own heap (delivery_events),
 * while a full message is copied by the library's thread into an environment and by the VM into the heap.
 *
 * outstanding.c has the table of batches and consumers, consumers.c attaches and detaches, completion.c takes the answers, reading.c the events of
 * notices, space_waiters.c the processes that wait for space. */
#ifndef CAPTURE_NIF_DELIVERY_H
#define CAPTURE_NIF_DELIVERY_H

#include "delivery/outstanding.h"
#include "pipeline/pipeline.h"

/* The storage of a pipeline that is about to start. Its destroy frees the delivery. False without memory. */
bool delivery_storage(bool notices, pipeline_storage_t *storage, struct delivery **out);

/* The pipeline runs: from here on processes may attach. `in_flight_given`: the caller has set max_in_flight. */
void delivery_start(struct pipeline *pipeline, bool in_flight_given);

/* The owner has paused, resumed or updated the pipeline, or the number of consumers has changed: adjusts the library's configuration. Never
 * waits. `in_flight_given`: the caller has set max_in_flight now. */
void delivery_adjust(struct pipeline *pipeline, bool in_flight_given);

/* The end of the pipeline's resource. First delivery_stop: no message is sent any more. After pipeline_abandon, delivery_end: returns all parked
 * batches, and leaves the delivery to the storage. */
void delivery_stop(struct delivery *d);
void delivery_end(struct delivery *d);

struct delivery_figures {
    unsigned consumers;
    unsigned outstanding;   /* batches that consumers have not answered */
    unsigned parked;        /* batches that no consumer may have yet */
};
void delivery_figures(struct delivery *d, struct delivery_figures *out);

/* (Pipeline) -> {ok, Ref} | {error, unsupported | limit}: {capture_room, Ref} comes when events have left. */
pipeline_call delivery_wait_call;
/* (Pipeline, Ref) -> ok | sent. */
pipeline_call delivery_cancel_call;

#endif
