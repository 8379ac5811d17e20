/* Requests of processes that wait until their pipeline is flushed or closed. Plain data: flush.c serves them. */
#ifndef CAPTURE_NIF_FLUSH_QUEUE_H
#define CAPTURE_NIF_FLUSH_QUEUE_H

#include "base/jobs.h"
#include "base/resource.h"

struct pipeline;

#define FLUSH_NO_DEADLINE UINT64_MAX

struct flush_request {
    struct flush_request *next;
    ErlNifPid pid;
    ErlNifEnv *env;
    ERL_NIF_TERM ref;           /* in env */
    uint64_t deadline_ms;       /* of the monotonic clock, or FLUSH_NO_DEADLINE */
    int64_t timeout_ms;
    bool in_call;               /* the library's call that is under way is for this request too */
};

/* The requests of one kind: to flush, or to close. Guarded by the lock of `struct flush_queues`, but for `job`, which belongs to the thread
 * while `served`. */
struct flush_queue {
    struct job job;             /* must be the first member */
    struct pipeline *pipeline;
    struct flush_request *first, **end;
    unsigned count, prune_at;   /* with `prune_at` requests, those of dead processes are removed */
    bool closes;                /* requests to close */
    bool calling;               /* the thread is in a call of the library */
    bool served;                /* a thread serves the queue; it holds a reference to the pipeline's resource */
};

struct flush_queues {
    ErlNifMutex *lock;
    struct flush_queue flush, close;
};

/* False without memory. */
bool flush_queues_init(struct flush_queues *queues, struct pipeline *pipeline);
/* No process waits any more. */
void flush_queues_destroy(struct flush_queues *queues);

/* The monotonic clock of the deadlines. */
uint64_t flush_now_ms(void);

/* A request of the calling process, with a reference for its message; NULL without memory. `timeout_ms` -1: no deadline. */
struct flush_request *flush_request_new(ErlNifEnv *env, int64_t timeout_ms, ERL_NIF_TERM *ref);
void flush_request_free(struct flush_request *request);
void flush_requests_free(struct flush_request *list);

/* ---- under the lock ---- */

void flush_queue_add(struct flush_queue *queue, struct flush_request *request);

/* Removes the request at `at` from the queue. */
struct flush_request *flush_queue_take(struct flush_queue *queue, struct flush_request **at);

/* Removes all requests: a list. */
struct flush_request *flush_queue_take_all(struct flush_queue *queue);

/* Removes the requests of processes that have died: a list. */
struct flush_request *flush_queue_take_dead(struct flush_queue *queue, ErlNifEnv *env);

/* The place of the request with that reference; it holds NULL if there is none. */
struct flush_request **flush_queue_find(struct flush_queue *queue, ERL_NIF_TERM ref);

#endif
