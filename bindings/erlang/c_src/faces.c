/* Faces: processes that attach, answer, detach and die. */
#include "delivery.h"
#include "events.h"
#include "handed.h"

enum {
    MOST_FACES = 4096,
    WORTH_TELLING = 3,      /* batches answered, and there is room worth waking a process for */
    LARGE = 8192,           /* events of a batch from which on its answer is not handled on a normal scheduler */
};

static ERL_NIF_TERM atom_retry;

void delivery_load(ErlNifEnv *env)
{
    atom_retry = enif_make_atom(env, "retry");
    handed_load(env);
    events_load(env);
    room_load(env);
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
    struct face **at = handed_face(d, &pid);
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
        handed_unpark(d, &sending[i]);
    enif_mutex_unlock(d->lock);
    if (refused || attached)
        enif_free(face);
    for (int i = 0; i < CREDIT; i++)
        handed_send(env, &sending[i]);
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
    struct face **at = handed_face(d, pid);
    struct face *face = *at;
    if (face) {
        struct handed *h;
        while ((h = face->handed.last)) {
            handed_take(d, h);
            /* The process copies from it on a dirty scheduler, dead as it is: it gives it back when it is done. */
            h->orphan = h->taking;
            if (h->orphan)
                continue;
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
    handed_give_back(list);
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
    handed_give_back(list);
    delivery_adjust(pipeline, false);
    enif_release_resource(pipeline);
    return atom_ok;
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

/* On a normal scheduler nothing is waited for: neither a lock whose holder the system has taken the processor from, nor the books of the
 * pipeline. Where one is taken, or the batch is large, the answer is given again on a dirty scheduler. */
static ERL_NIF_TERM complete(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[], bool wants_next)
{
    struct delivery *d = pipeline->delivery;
    struct sending sending = { .pipeline = NULL };
    ErlNifUInt64 token;
    unsigned *rejected, count, most;
    int32_t result, status = PIPELINE_ERR_BUSY;
    bool quick = enif_thread_type() == ERL_NIF_THR_NORMAL_SCHEDULER;
    if (!d || !enif_get_uint64(env, argv[1], &token) ||
        !read_result(env, argv[2], &result, &rejected, &count, &most))
        return answer_badarg(env);
    if (!quick)
        enif_mutex_lock(d->lock);
    else if (count > 0 || enif_mutex_trylock(d->lock) != 0)
        goto later;
    struct handed *h = handed_find(d, token);
    /* A batch that its face is just copying is nobody else's to answer. */
    bool known = h && !h->taking, fits = known && (count == 0 || most < h->count);
    if (!fits || (quick && h->count > LARGE)) {
        enif_mutex_unlock(d->lock);
        if (fits)
            goto later;
        if (rejected)
            enif_free(rejected);
        return known ? answer_badarg(env) : answer_refused(env, PIPELINE_ERR_UNKNOWN_TOKEN);
    }
    handed_take(d, h);
    /* A face that asks for it has the next notice in the answer: no message, no process to be woken. */
    ErlNifPid self;
    struct face *face = h->face;
    bool next = false, asks = wants_next && d->notices && enif_self(env, &self) && enif_compare_pids(&face->pid, &self) == 0;
    if (quick) {
        /* Taken out first: as soon as it is answered its batch may come again, under another token. */
        const pipeline_batch_t *given = NULL;
        if (asks && d->exchanges && d->parked_count == 0 && !d->stopped) {
            /* The claim takes its time; the face is the caller's own, and stays. */
            enif_mutex_unlock(d->lock);
            status = pipeline_batch_exchange(token, result, &given);
            enif_mutex_lock(d->lock);
        } else {
            status = pipeline_batch_try_complete(token, result);
        }
        if (status == PIPELINE_ERR_BUSY) {
            handed_put_back(d, h);
            enif_mutex_unlock(d->lock);
            goto later;
        }
        if (given) {
            enif_consume_timeslice(env, (int)(given->count / 500) + 1);
            handed_fill(h, given);
            handed_to(d, face, h, &sending);
            h = NULL;
            next = true;
        }
    }
    if (!next) {
        next = asks && handed_unpark_to(d, face, &sending);
        if (!next)
            handed_unpark(d, &sending);
    }
    bool tell = ++d->untold >= WORTH_TELLING || d->parked_count == 0;
    if (tell)
        d->untold = 0;
    enif_mutex_unlock(d->lock);
    if (quick) {
        if (h)
            handed_free(h);
    } else {
        for (unsigned i = 0; i < count; i++)
            pipeline_batch_set_rejected(h->batch, rejected[i]);
        status = handed_finish(h, result);
    }
    if (!next)
        handed_send(env, &sending);
    if (tell)
        room_tell(&d->room, env);
    if (rejected)
        enif_free(rejected);
    /* What is wrong with the answer is wrong with a batch that is gone; the next one is there all the same. */
    if (next)
        return handed_notice(env, &sending);
    return status == PIPELINE_OK ? atom_ok : answer_refused(env, status);
later:
    if (rejected)
        enif_free(rejected);
    return enif_schedule_nif(env, wants_next ? "delivery_next" : "delivery_complete", ERL_NIF_DIRTY_JOB_IO_BOUND,
        wants_next ? delivery_next_nif : delivery_complete_nif, argc, argv);
}

/* (Pipeline, Token, Result) -> ok | {error, Name} */
ERL_NIF_TERM delivery_complete_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    return complete(env, pipeline, argc, argv, false);
}

/* The same, but where the calling face has room and a batch waits, the answer is that batch's notice. */
ERL_NIF_TERM delivery_next_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    return complete(env, pipeline, argc, argv, true);
}

/* (Pipeline) -> {ok, Ref} | {error, unsupported | limit}: {capture_room, Ref} comes when events have left. */
ERL_NIF_TERM delivery_wait_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    (void)argv;
    return pipeline->delivery ? room_add(env, &pipeline->delivery->room) : answer_error(env, "unsupported");
}

/* (Pipeline, Ref) -> ok | sent. */
ERL_NIF_TERM delivery_cancel_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    if (!pipeline->delivery || !enif_is_ref(env, argv[1]))
        return answer_badarg(env);
    return room_cancel(env, &pipeline->delivery->room, argv[1]);
}
