/* The table of what is out: batches that processes have, batches that wait for one, and the processes. Everything here but sending and
 * finishing is called under the delivery's lock, which is held for no message and for no call of the library but the one that never waits (pipeline_batch_try_complete). */
#ifndef CAPTURE_NIF_HANDED_H
#define CAPTURE_NIF_HANDED_H

#include "delivery.h"
#include "room.h"

enum {
    CREDIT = 2,             /* batches that a face may have unanswered: one in its hands, one in its mailbox (of notices: one) */
    CHAINS = 64,
};

/* What a face is told of a batch. The events of one that is no notice are built when it arrives, in an environment that becomes the message. */
struct letter {
    ErlNifEnv *env;                     /* NULL: a notice, and `count` is all it has of the events */
    ERL_NIF_TERM events;
    uint64_t token, batch_id, generation;
    int64_t realtime_offset_ns;
    size_t count;
    uint32_t attempt;
};

/* A batch whose answer is awaited, by its token; on the list of its face, or parked. Whoever takes it out of the table, under the lock,
 * completes its token, without the lock. */
struct handed {
    struct handed *chain;
    struct handed *next, *before;
    struct face *face;                  /* NULL: parked, and `letter` is there to be sent */
    uint64_t token;
    const pipeline_batch_t *batch;      /* valid until the token is completed */
    size_t count;
    bool taking;                        /* its face is copying events out of it: nobody else finishes it meanwhile */
    bool orphan;                        /* its face has died over that, and it is out of the table: the copier gives it back */
    struct letter letter;
};

/* A list with a head of its own kind. */
struct queue {
    struct handed *first, *last;
};

/* A process that has attached. While there is one, it holds a reference to the resource. */
struct face {
    struct face *next;
    ErlNifPid pid;
    ErlNifMonitor monitor;
    unsigned out;
    struct queue handed;
};

/* Everything under `lock`, as above. `pipeline` is only good while there is a
 * face. Two references: the storage's and the resource's. */
struct delivery {
    ErlNifMutex *lock;
    _Atomic unsigned references;
    _Atomic bool in_flight_given;
    struct pipeline *pipeline;
    struct face *faces;                 /* the one that was given a batch last is the last */
    unsigned face_count, handed_count, parked_count;
    struct queue parked;
    struct handed *chains[CHAINS];
    struct room room;
    unsigned credit;
    unsigned untold;                    /* batches answered since those who wait for room were told */
    _Atomic bool exchanges;             /* whoever answers a notice claims the next batch by itself */
    bool notices;                       /* a message has the number of events, which the face then takes by itself */
    bool stopped;
};

/* A letter on its way. */
struct sending {
    struct letter letter;
    ErlNifPid pid;
    struct pipeline *pipeline;  /* with a reference; NULL: nothing to send */
};

/* Called when the NIF is loaded or upgraded. */
void handed_load(ErlNifEnv *env);

/* A batch as the library gives it, in no table yet; as a notice: no environment. */
void handed_fill(struct handed *h, const pipeline_batch_t *batch);

/* ---- under the lock ---- */

/* Puts a new batch into the table as that face's, which has been asked for by it. */
void handed_to(struct delivery *d, struct face *face, struct handed *h, struct sending *sending);

/* Puts a new batch into the table: to a face that has room, or parked. */
void handed_add(struct delivery *d, struct handed *h, struct sending *sending);

/* Takes a batch out of the table: from here on it is the caller's. */
void handed_take(struct delivery *d, struct handed *h);

/* Undoes that. */
void handed_put_back(struct delivery *d, struct handed *h);

/* The batch with that token; NULL: there is none, or it is parked, and nobody knows its token. */
struct handed *handed_find(struct delivery *d, uint64_t token);

/* The oldest parked batch goes to a face that has room, if there are both. */
void handed_unpark(struct delivery *d, struct sending *sending);

/* The same, but to this face; false: it has no room, or there is no such batch. */
bool handed_unpark_to(struct delivery *d, struct face *face, struct sending *sending);

/* Where the process is on the list of faces, or would be. */
struct face **handed_face(struct delivery *d, const ErlNifPid *pid);

/* ---- without the lock ---- */

/* Sends what one of the above has made ready; nothing, where it has made nothing ready. `caller`: NULL on the library's threads. */
void handed_send(ErlNifEnv *caller, struct sending *sending);

/* The message itself, for whoever answers with it instead. Only for notices. */
ERL_NIF_TERM handed_notice(ErlNifEnv *env, struct sending *sending);

/* Answers for a batch that was taken out of the table. */
int32_t handed_finish(struct handed *h, int32_t result);

/* Frees what was taken out and is answered already. */
void handed_free(struct handed *h);

/* handed_finish with a retry for each of a list. */
void handed_give_back(struct handed *list);

#endif
