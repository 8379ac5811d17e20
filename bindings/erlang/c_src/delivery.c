/* The storage whose batches go to processes. */
#include "delivery.h"

#include <string.h>

enum {
    CREDIT = 2,             /* batches that a face may have unanswered: one in its hands, one in its mailbox */
    MOST_FACES = 4096,
    CHAINS = 64,
    LARGE = 8192,           /* events of a batch from which on its answer is not handled on a normal scheduler */
    LETTER_PARTS = 5,
};

/* A message that is built but for its pipeline. */
struct letter {
    ErlNifEnv *env;
    ERL_NIF_TERM part[LETTER_PARTS];
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

/* Everything under `lock`, which is held for no call of the library and no message. `pipeline` is only good while there is a
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
    bool stopped;
};

static ERL_NIF_TERM atom_capture_batch, atom_retry;

void delivery_load(ErlNifEnv *env)
{
    atom_capture_batch = enif_make_atom(env, "capture_batch");
    atom_retry = enif_make_atom(env, "retry");
}

/* ---- the table, under the lock ---- */

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

/* Takes a batch out of the table: from here on it is the caller's. */
static void take(struct delivery *d, struct handed *h)
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

/* The face with the most credit left, the one that has waited longest first; NULL: none has any. */
static struct face *face_with_credit(struct delivery *d)
{
    struct face *best = NULL;
    for (struct face *f = d->faces; f && (!best || best->out); f = f->next) {
        if (f->out < CREDIT && (!best || f->out < best->out))
            best = f;
    }
    return best;
}

static struct face **place_of(struct delivery *d, const ErlNifPid *pid)
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

/* A letter on its way. */
struct sending {
    struct letter letter;
    ErlNifPid pid;
    struct pipeline *pipeline;  /* with a reference; NULL: nothing to send */
};

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

/* The oldest parked batch, if a face has room for it. */
static void unpark(struct delivery *d, struct sending *sending)
{
    struct handed *h = d->parked.first;
    struct face *face = h ? face_with_credit(d) : NULL;
    sending->pipeline = NULL;
    if (!face)
        return;
    queue_remove(&d->parked, h);
    d->parked_count--;
    hand_to(d, face, h, sending);
}

/* ---- without the lock ---- */

/* A process that is gone does not matter: its monitor sees to what it had. */
static void send(ErlNifEnv *caller, struct sending *sending)
{
    struct letter *letter = &sending->letter;
    if (!sending->pipeline)
        return;
    ERL_NIF_TERM pipeline = enif_make_resource(letter->env, sending->pipeline);
    ERL_NIF_TERM message = enif_make_tuple(letter->env, 7, atom_capture_batch, pipeline, letter->part[0],
        letter->part[1], letter->part[2], letter->part[3], letter->part[4]);
    enif_send(caller, &sending->pid, letter->env, message);
    enif_free_env(letter->env);
    enif_release_resource(sending->pipeline);
}

/* Answers for a batch that was taken out of the table. */
static int32_t finish(struct handed *h, int32_t result)
{
    int32_t status = pipeline_batch_complete(h->token, result);
    if (h->letter.env)
        enif_free_env(h->letter.env);
    enif_free(h);
    return status;
}

static void give_back(struct handed *list)
{
    while (list) {
        struct handed *next = list->next;
        finish(list, PIPELINE_STORE_RETRY);
        list = next;
    }
}

static ERL_NIF_TERM event_term(ErlNifEnv *env, const pipeline_event_view_t *event)
{
    ERL_NIF_TERM term;
    if (event->kind & KIND_TERM) {
        const struct handle *handle = event->data;
        return handle->block ? enif_make_copy(env, handle->term) : handle->term;
    }
    unsigned char *to = enif_make_new_binary(env, event->len, &term);
    if (to)
        memcpy(to, event->data, event->len);
    return term;
}

static bool write_letter(struct letter *letter, const pipeline_batch_t *batch)
{
    ErlNifEnv *env = letter->env = enif_alloc_env();
    if (!env)
        return false;
    ERL_NIF_TERM events = enif_make_list(env, 0);
    for (size_t i = batch->count; i-- > 0;) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        ERL_NIF_TERM event = enif_make_tuple7(env, event_term(env, e), enif_make_uint64(env, e->ring_id),
            enif_make_uint64(env, e->sequence), enif_make_uint64(env, e->timestamp_ns),
            enif_make_uint(env, e->kind & ~KIND_TERM), enif_make_uint64(env, e->correlation_id),
            enif_make_uint64(env, e->node_id));
        events = enif_make_list_cell(env, event, events);
    }
    letter->part[0] = enif_make_uint64(env, batch->token);
    letter->part[1] = enif_make_uint64(env, batch->batch_id);
    letter->part[2] = enif_make_uint(env, batch->attempt);
    letter->part[3] = events;
    letter->part[4] = enif_make_tuple2(env, enif_make_uint64(env, batch->generation),
        enif_make_int64(env, batch->realtime_offset_ns));
    return true;
}

/* ---- the storage's functions, on writer threads ---- */

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    struct delivery *d = user_data;
    struct sending sending = { .pipeline = NULL };
    struct handed *h = enif_alloc(sizeof *h);
    if (!h)
        return PIPELINE_STORE_RETRY;
    *h = (struct handed) { .token = batch->token, .batch = batch, .count = batch->count };
    if (!write_letter(&h->letter, batch)) {
        enif_free(h);
        return PIPELINE_STORE_RETRY;
    }
    enif_mutex_lock(d->lock);
    bool stopped = d->stopped;
    if (!stopped) {
        struct handed **chain = &d->chains[h->token % CHAINS];
        h->chain = *chain;
        *chain = h;
        struct face *face = face_with_credit(d);
        if (face) {
            hand_to(d, face, h, &sending);
        } else {
            queue_add(&d->parked, h);
            d->parked_count++;
        }
    }
    enif_mutex_unlock(d->lock);
    if (stopped) {
        enif_free_env(h->letter.env);
        enif_free(h);
        return PIPELINE_STORE_RETRY;
    }
    /* From here on the batch may be answered, and h is gone. */
    send(NULL, &sending);
    return PIPELINE_STORE_PENDING;
}

/* What a process has rejected it has kept elsewhere; what was only tried too often nobody has kept. */
static int32_t dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    (void)user_data;
    (void)batch;
    return reason == PIPELINE_REASON_REJECTED ? 0 : PIPELINE_STORE_REJECT;
}

static void release(void *user_data, const pipeline_event_view_t *event)
{
    (void)user_data;
    if (event->kind & KIND_TERM) {
        const struct handle *handle = event->data;
        if (handle->block)
            block_unref(handle->block);
    }
}

static void let_go(struct delivery *d)
{
    if (atomic_fetch_sub(&d->references, 1) == 1) {
        enif_mutex_destroy(d->lock);
        enif_free(d);
    }
}

static void destroy(void *user_data)
{
    let_go(user_data);
}

bool delivery_storage(pipeline_storage_t *storage, struct delivery **out)
{
    struct delivery *d = enif_alloc(sizeof *d);
    if (!d)
        return false;
    memset(d, 0, sizeof *d);
    d->lock = enif_mutex_create("capture_pipeline_delivery");
    if (!d->lock) {
        enif_free(d);
        return false;
    }
    atomic_init(&d->references, 2);
    pipeline_storage_init(storage, sizeof *storage);
    storage->flags = PIPELINE_STORAGE_CONCURRENT | PIPELINE_STORAGE_RELEASE_ANYWHERE;
    storage->user_data = d;
    storage->store = store;
    storage->dead_letter = dead_letter;
    storage->release = release;
    storage->destroy = destroy;
    *out = d;
    return true;
}

/* ---- faces ---- */

void delivery_begin(struct pipeline *pipeline, bool in_flight_given)
{
    pipeline->delivery->pipeline = pipeline;
    delivery_adjust(pipeline, in_flight_given);
}

/* No face: the pipeline is paused, so that nothing is in doubt, and has one writer, which releases what is overwritten. Otherwise a writer
 * for each face, and batches for each: what it may have, and one that is ready when it answers. */
static void apply(struct pipeline *pipeline)
{
    struct delivery *d = pipeline->delivery;
    pipeline_config_t config = { .struct_size = sizeof config };
    enif_mutex_lock(d->lock);
    unsigned faces = d->face_count;
    enif_mutex_unlock(d->lock);
    if (pipeline->paused || faces == 0)
        pipeline_pause(pipeline->native);
    if (pipeline_config_read(pipeline->native, &config) == PIPELINE_OK) {
        config.writers = faces == 0 ? 1 : faces < PIPELINE_MAX_WRITERS ? faces : PIPELINE_MAX_WRITERS;
        if (!d->in_flight_given)
            config.max_in_flight = faces == 0 ? 1 : faces < 4096 / (CREDIT + 1) ? faces * (CREDIT + 1) : 4096;
        pipeline_update(pipeline->native, &config);
    }
    if (!pipeline->paused && faces > 0)
        pipeline_resume(pipeline->native);
}

void delivery_adjust(struct pipeline *pipeline, bool in_flight_given)
{
    if (in_flight_given)
        pipeline->delivery->in_flight_given = true;
    pipeline->stale = true;
    /* Whoever has it looks again when he has given it back. */
    while (pipeline->stale && enif_mutex_trylock(pipeline->control) == 0) {
        pipeline->stale = false;
        apply(pipeline);
        enif_mutex_unlock(pipeline->control);
    }
}

ERL_NIF_TERM pipeline_attach_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    struct delivery *d = pipeline->delivery;
    struct sending sending[CREDIT];
    const char *refused = NULL;
    ErlNifPid pid;
    (void)argc;
    (void)argv;
    if (!d)
        return answer_detail(env, "unsupported", "the pipeline's storage is a native one");
    if (!enif_self(env, &pid))
        return answer_badarg(env);
    struct face *face = enif_alloc(sizeof *face);
    if (!face)
        return answer_detail(env, "no_memory", "");
    *face = (struct face) { .pid = pid };
    enif_mutex_lock(d->lock);
    struct face **at = place_of(d, &pid);
    bool attached = *at != NULL;
    if (d->stopped || pipeline->closed)
        refused = "closed";
    else if (!attached && d->face_count >= MOST_FACES)
        refused = "limit";
    else if (!attached && enif_monitor_process(env, pipeline, &pid, &face->monitor) != 0)
        refused = "state"; /* it is being killed */
    if (!refused && !attached) {
        *at = face;
        d->face_count++;
        enif_keep_resource(pipeline);
    }
    for (int i = 0; i < CREDIT; i++)
        unpark(d, &sending[i]);
    enif_mutex_unlock(d->lock);
    if (refused || attached)
        enif_free(face);
    for (int i = 0; i < CREDIT; i++)
        send(env, &sending[i]);
    if (refused)
        return answer_detail(env, refused, "");
    delivery_adjust(pipeline, false);
    return atom_ok;
}

/* Takes a face away; what it had goes to others, or to whoever attaches next. NULL: it was none. */
static struct face *remove_face(struct delivery *d, const ErlNifPid *pid, struct handed **list)
{
    *list = NULL;
    enif_mutex_lock(d->lock);
    struct face **at = place_of(d, pid);
    struct face *face = *at;
    if (face) {
        struct handed *h;
        while ((h = face->handed.last)) {
            take(d, h);
            h->next = *list;
            *list = h;
        }
        *at = face->next;
        d->face_count--;
    }
    enif_mutex_unlock(d->lock);
    return face;
}

void delivery_down(struct pipeline *pipeline, ErlNifEnv *env, ErlNifPid *pid)
{
    struct handed *list;
    (void)env;
    struct face *face = remove_face(pipeline->delivery, pid, &list);
    if (!face)
        return;
    enif_free(face);
    give_back(list);
    delivery_adjust(pipeline, false);
    enif_release_resource(pipeline);
}

ERL_NIF_TERM pipeline_detach_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    struct handed *list;
    ErlNifPid pid;
    (void)argc;
    (void)argv;
    struct face *face = pipeline->delivery && enif_self(env, &pid) ? remove_face(pipeline->delivery, &pid, &list) : NULL;
    if (!face)
        return atom_ok;
    enif_demonitor_process(env, pipeline, &face->monitor);
    enif_free(face);
    give_back(list);
    delivery_adjust(pipeline, false);
    enif_release_resource(pipeline);
    return atom_ok;
}

void delivery_stop(struct delivery *d)
{
    enif_mutex_lock(d->lock);
    d->stopped = true;
    enif_mutex_unlock(d->lock);
}

void delivery_end(struct delivery *d)
{
    struct handed *h, *list = NULL;
    enif_mutex_lock(d->lock);
    while ((h = d->parked.first)) {
        take(d, h);
        h->next = list;
        list = h;
    }
    enif_mutex_unlock(d->lock);
    give_back(list);
    let_go(d);
}

void delivery_figures(struct delivery *d, struct delivery_figures *out)
{
    enif_mutex_lock(d->lock);
    *out = (struct delivery_figures) { d->face_count, d->handed_count, d->parked_count };
    enif_mutex_unlock(d->lock);
}

/* ---- answers ---- */

/* Reads a list of indexes into memory of its own; NULL with *count 0 for an empty one. False: it is none. */
static bool read_indexes(ErlNifEnv *env, ERL_NIF_TERM list, unsigned **indexes, unsigned *count, unsigned *most)
{
    ERL_NIF_TERM head;
    *indexes = NULL;
    *most = 0;
    if (!enif_get_list_length(env, list, count) || *count > 65536)
        return false;
    if (*count && !(*indexes = enif_alloc(*count * sizeof **indexes)))
        return false;
    for (unsigned i = 0; enif_get_list_cell(env, list, &head, &list); i++) {
        if (!enif_get_uint(env, head, &(*indexes)[i])) {
            enif_free(*indexes);
            return false;
        }
        if ((*indexes)[i] > *most)
            *most = (*indexes)[i];
    }
    return true;
}

/* ok | retry | {ok, Indexes}. */
static bool read_result(ErlNifEnv *env, ERL_NIF_TERM term, int32_t *result, unsigned **rejected, unsigned *count, unsigned *most)
{
    int arity;
    const ERL_NIF_TERM *parts;
    *rejected = NULL;
    *count = *most = 0;
    *result = term == atom_retry ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
    if (term == atom_ok || term == atom_retry)
        return true;
    return enif_get_tuple(env, term, &arity, &parts) && arity == 2 && parts[0] == atom_ok &&
        read_indexes(env, parts[1], rejected, count, most);
}

ERL_NIF_TERM delivery_complete_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    struct delivery *d = pipeline->delivery;
    struct sending sending = { .pipeline = NULL };
    ErlNifUInt64 token;
    unsigned *rejected, count, most;
    int32_t result, status;
    if (!d || !enif_get_uint64(env, argv[1], &token) ||
        !read_result(env, argv[2], &result, &rejected, &count, &most))
        return answer_badarg(env);
    enif_mutex_lock(d->lock);
    struct handed *h = *chain_of(d, token);
    bool known = h && h->face, fits = known && (count == 0 || most < h->count);
    bool large = fits && h->count > LARGE && enif_thread_type() == ERL_NIF_THR_NORMAL_SCHEDULER;
    if (fits && !large) {
        take(d, h);
        unpark(d, &sending);
    }
    enif_mutex_unlock(d->lock);
    if (fits && !large) {
        for (unsigned i = 0; i < count; i++)
            pipeline_batch_set_rejected(h->batch, rejected[i]);
        status = finish(h, result);
        send(env, &sending);
    } else {
        status = known ? PIPELINE_ERR_INVALID : PIPELINE_ERR_UNKNOWN_TOKEN;
    }
    if (rejected)
        enif_free(rejected);
    if (large)
        return enif_schedule_nif(env, "delivery_complete", ERL_NIF_DIRTY_JOB_CPU_BOUND, delivery_complete_nif, argc, argv);
    if (known && !fits)
        return answer_badarg(env);
    return status == PIPELINE_OK ? atom_ok : answer_refused(env, status);
}
