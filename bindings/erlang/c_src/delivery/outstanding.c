/* The table of outstanding batches: see outstanding.h. */
#include "delivery/outstanding.h"
#include "pipeline/pipeline.h"

static ERL_NIF_TERM atom_capture_batch;

void outstanding_load(ErlNifEnv *env)
{
    atom_capture_batch = enif_make_atom(env, "capture_batch");
}

void outstanding_init(struct outstanding *o, const pipeline_batch_t *batch)
{
    o->chain = o->next = o->previous = NULL;
    o->consumer = NULL;
    o->token = batch->token;
    o->batch = batch;
    o->count = batch->count;
    o->reading = o->orphan = false;
    /* Without memory it is tried again before the batch is answered. */
    (void)held_note(&o->held, batch);
    o->message = (struct message) {
        .token = batch->token, .batch_id = batch->batch_id, .generation = batch->generation, .count = batch->count,
        .realtime_offset_ns = batch->realtime_offset_ns, .attempt = batch->attempt,
        /* Copied, because the batch may be answered before its message is sent. */
        .marks = o->held.marked ? marks_make(batch) : NULL,
    };
}

/* ---- lists and the hash table; under the lock ---- */

static void list_add(struct outstanding_list *list, struct outstanding *o)
{
    o->next = NULL;
    o->previous = list->last;
    *(list->last ? &list->last->next : &list->first) = o;
    list->last = o;
}

static void list_remove(struct outstanding_list *list, struct outstanding *o)
{
    *(o->previous ? &o->previous->next : &list->first) = o->next;
    *(o->next ? &o->next->previous : &list->last) = o->previous;
}

static void chain_add(struct delivery *d, struct outstanding *o)
{
    struct outstanding **chain = &d->chains[o->token % CHAINS];
    o->chain = *chain;
    *chain = o;
}

static struct outstanding **chain_find(struct delivery *d, uint64_t token)
{
    struct outstanding **at = &d->chains[token % CHAINS];
    while (*at && (*at)->token != token)
        at = &(*at)->chain;
    return at;
}

struct outstanding *outstanding_find(struct delivery *d, uint64_t token)
{
    struct outstanding *o = *chain_find(d, token);
    return o && o->consumer ? o : NULL;
}

void outstanding_take(struct delivery *d, struct outstanding *o)
{
    *chain_find(d, o->token) = o->chain;
    if (o->consumer) {
        list_remove(&o->consumer->outstanding, o);
        o->consumer->outstanding_count--;
        d->outstanding_count--;
    } else {
        list_remove(&d->parked, o);
        d->parked_count--;
    }
}

void outstanding_put_back(struct delivery *d, struct outstanding *o)
{
    chain_add(d, o);
    list_add(&o->consumer->outstanding, o);
    o->consumer->outstanding_count++;
    d->outstanding_count++;
}

/* ---- consumers; under the lock ---- */

struct consumer **consumer_find(struct delivery *d, const ErlNifPid *pid)
{
    struct consumer **at = &d->consumers;
    while (*at && enif_compare_pids(&(*at)->pid, pid) != 0)
        at = &(*at)->next;
    return at;
}

/* The consumer with the fewest outstanding batches, among those the one that has waited longest; NULL: all have as many as they may have. */
static struct consumer *consumer_with_credit(struct delivery *d)
{
    struct consumer *best = NULL;
    for (struct consumer *c = d->consumers; c && (!best || best->outstanding_count); c = c->next) {
        if (c->outstanding_count < d->credit && (!best || c->outstanding_count < best->outstanding_count))
            best = c;
    }
    return best;
}

static void move_to_end(struct delivery *d, struct consumer *consumer)
{
    struct consumer **at = &d->consumers;
    while (*at != consumer)
        at = &(*at)->next;
    *at = consumer->next;
    while (*at)
        at = &(*at)->next;
    consumer->next = NULL;
    *at = consumer;
}

static void assign(struct delivery *d, struct consumer *consumer, struct outstanding *o, struct outgoing *outgoing)
{
    o->consumer = consumer;
    consumer->outstanding_count++;
    d->outstanding_count++;
    list_add(&consumer->outstanding, o);
    if (consumer->next)
        move_to_end(d, consumer);
    outgoing->message = o->message;
    o->message.env = NULL;
    o->message.marks = NULL;
    outgoing->pid = consumer->pid;
    outgoing->pipeline = d->pipeline;
    /* The consumer holds a reference, so that the resource is alive. */
    enif_keep_resource(d->pipeline);
}

void outstanding_add(struct delivery *d, struct outstanding *o, struct outgoing *outgoing)
{
    struct consumer *consumer = consumer_with_credit(d);
    outgoing->pipeline = NULL;
    chain_add(d, o);
    if (consumer) {
        assign(d, consumer, o, outgoing);
    } else {
        list_add(&d->parked, o);
        d->parked_count++;
    }
}

void outstanding_add_to(struct delivery *d, struct consumer *consumer, struct outstanding *o, struct outgoing *outgoing)
{
    chain_add(d, o);
    assign(d, consumer, o, outgoing);
}

static void unpark(struct delivery *d, struct consumer *consumer, struct outgoing *outgoing)
{
    struct outstanding *o = d->parked.first;
    list_remove(&d->parked, o);
    d->parked_count--;
    assign(d, consumer, o, outgoing);
}

void outstanding_unpark(struct delivery *d, struct outgoing *outgoing)
{
    struct consumer *consumer = d->parked.first ? consumer_with_credit(d) : NULL;
    outgoing->pipeline = NULL;
    if (consumer)
        unpark(d, consumer, outgoing);
}

bool outstanding_unpark_to(struct delivery *d, struct consumer *consumer, struct outgoing *outgoing)
{
    bool both = d->parked.first && consumer->outstanding_count < d->credit;
    outgoing->pipeline = NULL;
    if (both)
        unpark(d, consumer, outgoing);
    return both;
}

/* ---- completion; not under the lock ---- */

void outstanding_free(struct outstanding *o)
{
    if (o->message.env)
        enif_free_env(o->message.env);
    marks_free(o->message.marks);
    held_forget(&o->held);
    enif_free(o);
}

int32_t outstanding_complete(struct outstanding *o, int32_t result, bool rejected)
{
    int32_t status = pipeline_batch_complete(o->token, result);
    if (status == PIPELINE_OK && result == PIPELINE_STORE_OK && !rejected)
        held_release(&o->held);
    outstanding_free(o);
    return status;
}

void outstanding_return(struct outstanding *list)
{
    while (list) {
        struct outstanding *next = list->next;
        outstanding_complete(list, PIPELINE_STORE_RETRY, false);
        list = next;
    }
}

/* ---- messages; not under the lock ---- */

/* Frees the marks. */
static ERL_NIF_TERM message_term(ErlNifEnv *env, struct outgoing *outgoing)
{
    struct message *m = &outgoing->message;
    ERL_NIF_TERM generation = enif_make_uint64(env, m->generation), offset = enif_make_int64(env, m->realtime_offset_ns);
    ERL_NIF_TERM origin = m->marks ? enif_make_tuple3(env, generation, offset, marks_term(env, m->marks))
                                   : enif_make_tuple2(env, generation, offset);
    marks_free(m->marks);
    m->marks = NULL;
    return enif_make_tuple7(env, atom_capture_batch, enif_make_resource(env, outgoing->pipeline),
        enif_make_uint64(env, m->token), enif_make_uint64(env, m->batch_id),
        enif_make_uint(env, m->attempt), m->env ? m->events : enif_make_uint64(env, m->count), origin);
}

/* The consumer did not get the message: returns the batch to the library, which delivers it again. */
static void recall(struct delivery *d, uint64_t token)
{
    enif_mutex_lock(d->lock);
    struct outstanding *o = outstanding_find(d, token);
    if (o && o->reading)
        o = NULL;
    if (o)
        outstanding_take(d, o);
    enif_mutex_unlock(d->lock);
    if (o)
        outstanding_complete(o, PIPELINE_STORE_RETRY, false);
}

/* A message to a dead process may fail: the monitor returns its batches. But a caller that was killed in a call on a dirty scheduler cannot send
 * to a living process either, so that its batch is recalled. On a normal scheduler a caller is not killed during a call, and nothing may wait. */
void outgoing_send(ErlNifEnv *caller, struct outgoing *outgoing)
{
    if (!outgoing->pipeline)
        return;
    ErlNifEnv *own = outgoing->message.env, *env = own ? own : enif_alloc_env();
    bool sent = enif_send(caller, &outgoing->pid, env, message_term(env, outgoing));
    if (!sent && caller && !on_normal_scheduler())
        recall(outgoing->pipeline->delivery, outgoing->message.token);
    enif_free_env(env);
    enif_release_resource(outgoing->pipeline);
}

ERL_NIF_TERM outgoing_answer(ErlNifEnv *env, struct outgoing *outgoing)
{
    ERL_NIF_TERM notice = message_term(env, outgoing);
    enif_release_resource(outgoing->pipeline);
    return notice;
}
