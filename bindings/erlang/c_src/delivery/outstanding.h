/* The table of outstanding batches: those that consumers have not answered, those that are parked until a consumer may have one more, and the
 * consumers. The lock of `struct delivery` guards all of it. Under the lock no message is sent, and no function of the library is called but one
 * that never waits (pipeline_batch_try_complete). */
#ifndef CAPTURE_NIF_OUTSTANDING_H
#define CAPTURE_NIF_OUTSTANDING_H

#include "delivery/held.h"
#include "delivery/marks.h"
#include "delivery/space_waiters.h"

#include <capture_pipeline.h>

struct pipeline;

enum {
    CREDIT = 2,             /* unanswered batches of a consumer: one that it works on, one in its mailbox (with notices: one in all) */
    CHAINS = 64,
    SHOWN_CONSUMERS = 64,
};

/* The message about a batch. The events of a full message are built when the batch arrives, in an environment that becomes the
 * message. A notice has only their number. */
struct message {
    ErlNifEnv *env;                     /* NULL: a notice */
    ERL_NIF_TERM events;
    uint64_t token, batch_id, generation;
    int64_t realtime_offset_ns;
    size_t count;
    struct marks *marks;                /* NULL: none (marks_free) */
    uint32_t attempt;
};

/* A batch whose answer is awaited, found by its token. It is on the list of its consumer, or parked. A thread takes it out of the table under
 * the lock, and then completes its token. */
struct outstanding {
    struct outstanding *chain;
    struct outstanding *next, *previous;
    struct consumer *consumer;          /* NULL: parked, and `message` is ready to be sent */
    uint64_t token;
    const pipeline_batch_t *batch;      /* valid until the token is completed */
    size_t count;
    bool reading;                       /* its consumer copies events out of it: no other thread may complete it */
    bool orphan;                        /* its consumer died while reading, and it is out of the table: the reader returns it */
    struct held held;                   /* released by the answer that the batch is stored */
    struct message message;
};

struct outstanding_list {
    struct outstanding *first, *last;
};

/* A process that has attached. It holds a reference to the pipeline's resource. */
struct consumer {
    struct consumer *next;
    ErlNifPid pid;
    ErlNifMonitor monitor;
    unsigned outstanding_count;
    struct outstanding_list outstanding;
};

/* Has two references: the storage's and the resource's. `pipeline` is valid only while there is a consumer. */
struct delivery {
    ErlNifMutex *lock;
    _Atomic unsigned references;
    bool ring_file;                     /* terms are external ones (term/external.h), and whatever else claims to be a term is bytes */
    _Atomic bool in_flight_given;       /* the caller has set max_in_flight */
    struct pipeline *pipeline;
    struct consumer *consumers;         /* in the order in which they were last given a batch */
    unsigned consumer_count, outstanding_count, parked_count;
    struct outstanding_list parked;
    struct outstanding *chains[CHAINS];
    struct space_waiters space_waiters;
    unsigned credit;                    /* unanswered batches of a consumer, at most */
    unsigned answers_since_wake;        /* batches answered since the last wake of space waiters */
    _Atomic bool exchanges;             /* a consumer that answers a notice claims the next batch in the same call */
    bool notices;                       /* a message has the number of events, which the consumer reads by delivery_events */
    bool stopped;
    _Atomic(ERL_NIF_TERM) shown[SHOWN_CONSUMERS];   /* the pids of consumers, for readers without the lock; 0: none */
};

/* A message to be sent after the lock is released. */
struct outgoing {
    struct message message;
    ErlNifPid pid;
    struct pipeline *pipeline;  /* holds a reference; NULL: nothing to send */
};

/* Called when the NIF is loaded or upgraded. */
void outstanding_load(ErlNifEnv *env);

/* Sets *o to a batch from the library, with a notice as its message; not in the table yet. */
void outstanding_init(struct outstanding *o, const pipeline_batch_t *batch);

/* ---- under the lock ---- */

/* Adds a new batch to the table, for a consumer that may have one more, or parked. */
void outstanding_add(struct delivery *d, struct outstanding *o, struct outgoing *outgoing);

/* Adds a new batch for the consumer that claimed it. */
void outstanding_add_to(struct delivery *d, struct consumer *consumer, struct outstanding *o, struct outgoing *outgoing);

/* Takes a batch out of the table: the caller owns it. */
void outstanding_take(struct delivery *d, struct outstanding *o);

/* Undoes outstanding_take. */
void outstanding_put_back(struct delivery *d, struct outstanding *o);

/* The batch with that token; NULL: there is none, or it is parked, so that no process knows its token. */
struct outstanding *outstanding_find(struct delivery *d, uint64_t token);

/* Gives the oldest parked batch to a consumer that may have one more, if there are both. */
void outstanding_unpark(struct delivery *d, struct outgoing *outgoing);

/* Gives the oldest parked batch to this consumer. False: it may not have one more, or none is parked. */
bool outstanding_unpark_to(struct delivery *d, struct consumer *consumer, struct outgoing *outgoing);

/* The place of the process in the list of consumers; it holds NULL if the process has not attached. */
struct consumer **consumer_find(struct delivery *d, const ErlNifPid *pid);

/* ---- not under the lock ---- */

/* Sends the message that one of the functions above has prepared, if any. `caller`: NULL on the library's threads. */
void outgoing_send(ErlNifEnv *caller, struct outgoing *outgoing);

/* The message itself, as the answer of a NIF. Only for notices. */
ERL_NIF_TERM outgoing_answer(ErlNifEnv *env, struct outgoing *outgoing);

/* Completes the token of a batch that was taken out of the table, and frees it. `rejected`: some of its events were rejected. */
int32_t outstanding_complete(struct outstanding *o, int32_t result, bool rejected);

/* Frees a batch that was taken out of the table and is completed. */
void outstanding_free(struct outstanding *o);

/* Completes each batch of a list with PIPELINE_STORE_RETRY. */
void outstanding_return(struct outstanding *list);

#endif
