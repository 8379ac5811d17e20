/* The table of what is out. */
#include "handed.h"

static ERL_NIF_TERM atom_capture_batch;

void handed_load(ErlNifEnv *env)
{
    atom_capture_batch = enif_make_atom(env, "capture_batch");
}

static void queue_add(struct queue *queue, struct handed *h)
{
    h->next = NULL;
    h->before = queue->last;
    *(queue->last ? &queue->last->next : &queue->first) = h;
    queue->last = h;
}

static void queue_remove(struct queue *queue, struct handed *h)
{
    *(h->before ? &h->before->next : &queue->first) = h->next;
    *(h->next ? &h->next->before : &queue->last) = h->before;
}

static struct handed **chain_of(struct delivery *d, uint64_t token)
{
    struct handed **at = &d->chains[token % CHAINS];
    while (*at && (*at)->token != token)
        at = &(*at)->chain;
    return at;
}

void handed_take(struct delivery *d, struct handed *h)
{
    *chain_of(d, h->token) = h->chain;
    if (h->face) {
        queue_remove(&h->face->handed, h);
        h->face->out--;
        d->handed_count--;
    } else {
        queue_remove(&d->parked, h);
        d->parked_count--;
    }
}

void handed_put_back(struct delivery *d, struct handed *h)
{
    struct handed **chain = &d->chains[h->token % CHAINS];
    h->chain = *chain;
    *chain = h;
    queue_add(&h->face->handed, h);
    h->face->out++;
    d->handed_count++;
}

/* The face with the most credit left, the one that has waited longest first; NULL: none has any. */
static struct face *face_with_credit(struct delivery *d)
{
    struct face *best = NULL;
    for (struct face *f = d->faces; f && (!best || best->out); f = f->next) {
        if (f->out < d->credit && (!best || f->out < best->out))
            best = f;
    }
    return best;
}

struct face **handed_face(struct delivery *d, const ErlNifPid *pid)
{
    struct face **at = &d->faces;
    while (*at && enif_compare_pids(&(*at)->pid, pid) != 0)
        at = &(*at)->next;
    return at;
}

static void to_the_end(struct delivery *d, struct face *face)
{
    struct face **at = &d->faces;
    while (*at != face)
        at = &(*at)->next;
    *at = face->next;
    while (*at)
        at = &(*at)->next;
    face->next = NULL;
    *at = face;
}

static void hand_to(struct delivery *d, struct face *face, struct handed *h, struct sending *sending)
{
    h->face = face;
    face->out++;
    d->handed_count++;
    queue_add(&face->handed, h);
    if (face->next)
        to_the_end(d, face);
    sending->letter = h->letter;
    h->letter.env = NULL;
    sending->pid = face->pid;
    sending->pipeline = d->pipeline;
    /* The face holds one, so that there is one to add to. */
    enif_keep_resource(d->pipeline);
}

void handed_fill(struct handed *h, const pipeline_batch_t *batch)
{
    *h = (struct handed) { .token = batch->token, .batch = batch, .count = batch->count };
    h->letter = (struct letter) {
        .token = batch->token, .batch_id = batch->batch_id, .generation = batch->generation, .count = batch->count,
        .realtime_offset_ns = batch->realtime_offset_ns, .attempt = batch->attempt,
    };
}

void handed_to(struct delivery *d, struct face *face, struct handed *h, struct sending *sending)
{
    struct handed **chain = &d->chains[h->token % CHAINS];
    h->chain = *chain;
    *chain = h;
    hand_to(d, face, h, sending);
}

static void unpark(struct delivery *d, struct face *face, struct sending *sending)
{
    struct handed *h = d->parked.first;
    queue_remove(&d->parked, h);
    d->parked_count--;
    hand_to(d, face, h, sending);
}

void handed_unpark(struct delivery *d, struct sending *sending)
{
    struct face *face = d->parked.first ? face_with_credit(d) : NULL;
    sending->pipeline = NULL;
    if (face)
        unpark(d, face, sending);
}

bool handed_unpark_to(struct delivery *d, struct face *face, struct sending *sending)
{
    bool both = d->parked.first && face->out < d->credit;
    sending->pipeline = NULL;
    if (both)
        unpark(d, face, sending);
    return both;
}

void handed_add(struct delivery *d, struct handed *h, struct sending *sending)
{
    struct handed **chain = &d->chains[h->token % CHAINS];
    struct face *face = face_with_credit(d);
    h->chain = *chain;
    *chain = h;
    sending->pipeline = NULL;
    if (face) {
        hand_to(d, face, h, sending);
    } else {
        queue_add(&d->parked, h);
        d->parked_count++;
    }
}

struct handed *handed_find(struct delivery *d, uint64_t token)
{
    struct handed *h = *chain_of(d, token);
    return h && h->face ? h : NULL;
}

static ERL_NIF_TERM message(ErlNifEnv *env, const struct sending *sending)
{
    const struct letter *letter = &sending->letter;
    return enif_make_tuple7(env, atom_capture_batch, enif_make_resource(env, sending->pipeline),
        enif_make_uint64(env, letter->token), enif_make_uint64(env, letter->batch_id),
        enif_make_uint(env, letter->attempt), letter->env ? letter->events : enif_make_uint64(env, letter->count),
        enif_make_tuple2(env, enif_make_uint64(env, letter->generation),
            enif_make_int64(env, letter->realtime_offset_ns)));
}

/* The process was not told of its batch: the library is to deliver that again. */
static void recall(struct delivery *d, uint64_t token)
{
    enif_mutex_lock(d->lock);
    struct handed *h = handed_find(d, token);
    if (h && h->taking)
        h = NULL;
    if (h)
        handed_take(d, h);
    enif_mutex_unlock(d->lock);
    if (h)
        handed_finish(h, PIPELINE_STORE_RETRY);
}

/* A process that is gone does not matter: its monitor sees to what it had. But who is killed in a call on a dirty scheduler can send
 * nothing more, to the living neither. (On a normal one that cannot be, and nothing is waited for.) */
void handed_send(ErlNifEnv *caller, struct sending *sending)
{
    if (!sending->pipeline)
        return;
    ErlNifEnv *own = sending->letter.env, *env = own ? own : enif_alloc_env();
    bool sent = enif_send(caller, &sending->pid, env, message(env, sending));
    if (!sent && caller && enif_thread_type() != ERL_NIF_THR_NORMAL_SCHEDULER)
        recall(sending->pipeline->delivery, sending->letter.token);
    enif_free_env(env);
    enif_release_resource(sending->pipeline);
}

ERL_NIF_TERM handed_notice(ErlNifEnv *env, struct sending *sending)
{
    ERL_NIF_TERM notice = message(env, sending);
    enif_release_resource(sending->pipeline);
    return notice;
}

void handed_free(struct handed *h)
{
    if (h->letter.env)
        enif_free_env(h->letter.env);
    enif_free(h);
}

int32_t handed_finish(struct handed *h, int32_t result)
{
    int32_t status = pipeline_batch_complete(h->token, result);
    handed_free(h);
    return status;
}

void handed_give_back(struct handed *list)
{
    while (list) {
        struct handed *next = list->next;
        handed_finish(list, PIPELINE_STORE_RETRY);
        list = next;
    }
}
