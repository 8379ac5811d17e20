/* Flush and close of a pipeline: see flush.h. */
#include "pipeline/flush.h"
#include "pipeline/status.h"

#include <stdio.h>

enum {
    /* The longest first call of the library, after which the thread removes the requests of dead processes. Each further call in a row may
     * last twice as long, so that a flush under load ends although each call begins it anew. */
    FIRST_FLUSH_MS = 1000,
    FIRST_CLOSE_MS = 5000,
    MAX_CALL_MS = 600000,
};

static ERL_NIF_TERM atom_sent, atom_infinity;

void flush_load(ErlNifEnv *env)
{
    atom_sent = enif_make_atom(env, "sent");
    atom_infinity = enif_make_atom(env, "infinity");
}

/* ---- answers ---- */

/* Text of our own: the library's is about its last call, which may have begun after the process asked. */
static ERL_NIF_TERM answer_timeout(ErlNifEnv *env, const struct flush_queue *queue, int64_t timeout_ms)
{
    pipeline_metrics_t m = { .struct_size = sizeof m };
    char text[200];
    pipeline_metrics(queue->pipeline->native, &m);
    snprintf(text, sizeof text, "%s: after %lld ms, %llu events are unclaimed, %llu in flight, %llu in doubt",
        queue->closes ? "pipeline_close" : "pipeline_flush", (long long)timeout_ms,
        (unsigned long long)(m.buffered + m.left), (unsigned long long)m.in_flight, (unsigned long long)m.in_doubt);
    return answer_detail(env, "timeout", text);
}

/* `answer` is in the request's environment. */
static void send_answer(struct flush_request *request, ERL_NIF_TERM answer)
{
    send_settled(request->env, &request->pid, request->ref, answer);
    flush_request_free(request);
}

/* ---- the thread ---- */

/* The timeout of the next call. A flush may last until the last request's deadline, since a flush that is cut short begins anew. A close may
 * last until the first request's deadline, since it stops the writers at its timeout. 0: there are no requests, and the thread ends its work. */
static int64_t begin_call(struct flush_queues *queues, struct flush_queue *queue, int64_t max_ms)
{
    uint64_t now = flush_now_ms(), until = queue->closes ? FLUSH_NO_DEADLINE : 0;
    enif_mutex_lock(queues->lock);
    struct flush_request *dead = flush_queue_take_dead(queue, NULL);
    for (struct flush_request *r = queue->first; r; r = r->next) {
        r->in_call = true;
        if (queue->closes ? r->deadline_ms < until : r->deadline_ms > until)
            until = r->deadline_ms;
    }
    bool any = queue->served = queue->calling = queue->first != NULL;
    enif_mutex_unlock(queues->lock);
    flush_requests_free(dead);
    if (!any)
        return 0;
    uint64_t left = until > now ? until - now : 1;
    return left < (uint64_t)max_ms ? (int64_t)left : max_ms;
}

/* Answers the requests that the call was for; after a timeout, only those whose deadline has passed. If the pipeline is closed now, every
 * request to close it is answered. */
static void end_call(struct flush_queues *queues, struct flush_queue *queue, int32_t status)
{
    struct flush_request *list = NULL, **end = &list;
    uint64_t now = flush_now_ms();
    bool all = queue->closes && status == PIPELINE_OK;
    enif_mutex_lock(queues->lock);
    queue->calling = false;
    for (struct flush_request **at = &queue->first; *at;) {
        bool answered = all || ((*at)->in_call && (status != PIPELINE_ERR_TIMEOUT || (*at)->deadline_ms <= now));
        if (!answered) {
            at = &(*at)->next;
            continue;
        }
        *end = flush_queue_take(queue, at);
        end = &(*end)->next;
    }
    *end = NULL;
    enif_mutex_unlock(queues->lock);
    while (list) {
        struct flush_request *next = list->next;
        send_answer(list, status == PIPELINE_ERR_TIMEOUT ? answer_timeout(list->env, queue, list->timeout_ms)
                                                         : answer_status(list->env, status));
        list = next;
    }
}

static void serve(struct job *job)
{
    struct flush_queue *queue = (struct flush_queue *)job;
    struct pipeline *p = queue->pipeline;
    int64_t first = queue->closes ? FIRST_CLOSE_MS : FIRST_FLUSH_MS, max_ms = first, ms;
    while ((ms = begin_call(&p->flush_queues, queue, max_ms)) > 0) {
        int32_t status = queue->closes ? pipeline_close(p->native, ms) : pipeline_flush(p->native, ms);
        if (queue->closes && status == PIPELINE_OK)
            p->closed = true;
        end_call(&p->flush_queues, queue, status);
        max_ms = status == PIPELINE_ERR_TIMEOUT ? (max_ms < MAX_CALL_MS / 2 ? max_ms * 2 : MAX_CALL_MS) : first;
    }
    enif_release_resource(p);
}

/* No thread can be started: every request gets this answer. */
static void refuse_all(struct flush_queues *queues, struct flush_queue *queue)
{
    enif_mutex_lock(queues->lock);
    struct flush_request *list = flush_queue_take_all(queue);
    queue->served = false;
    enif_mutex_unlock(queues->lock);
    while (list) {
        struct flush_request *next = list->next;
        send_answer(list, answer_detail(list->env, "system", "no thread can be started to wait for the pipeline"));
        list = next;
    }
    enif_release_resource(queue->pipeline);
}

/* ---- the NIFs ---- */

/* {wait, Ref}: {capture_settled, Ref, Answer} comes, unless pipeline_forget is in time. */
static ERL_NIF_TERM request(ErlNifEnv *env, struct pipeline *p, struct flush_queue *queue, int64_t timeout_ms)
{
    ERL_NIF_TERM ref;
    struct flush_request *request = flush_request_new(env, timeout_ms, &ref), *dead = NULL;
    if (!request)
        return answer_detail(env, "no_memory", "");
    enif_mutex_lock(p->flush_queues.lock);
    if (queue->count >= queue->prune_at)
        dead = flush_queue_take_dead(queue, env);
    flush_queue_add(queue, request);
    bool start = !queue->served;
    queue->served = true;
    enif_mutex_unlock(p->flush_queues.lock);
    flush_requests_free(dead);
    if (start) {
        enif_keep_resource(p);
        queue->job.run = serve;
        if (!job_start(&queue->job))
            refuse_all(&p->flush_queues, queue);
    }
    return answer_wait(env, ref);
}

/* Milliseconds or infinity. */
static bool get_timeout(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifSInt64 *ms)
{
    if (term == atom_infinity) {
        *ms = -1;
        return true;
    }
    return enif_get_int64(env, term, ms) && *ms >= 0;
}

ERL_NIF_TERM pipeline_flush_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifSInt64 ms;
    (void)argc;
    if (!get_timeout(env, argv[1], &ms))
        return answer_badarg(env);
    /* A timeout of 0 only asks. A consumer has no flush function that the library would have to call: with consumers, a pipeline in which
     * everything is settled is flushed. */
    if (ms == 0 || p->delivery) {
        int32_t status = pipeline_flush(p->native, 0);
        if (ms == 0 || status != PIPELINE_ERR_TIMEOUT)
            return answer_status(env, status);
    }
    return request(env, p, &p->flush_queues.flush, ms);
}

ERL_NIF_TERM pipeline_close_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifSInt64 ms;
    (void)argc;
    return get_timeout(env, argv[1], &ms) ? request(env, p, &p->flush_queues.close, ms) : answer_badarg(env);
}

ERL_NIF_TERM pipeline_forget_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    struct flush_queue *queues[] = { &p->flush_queues.flush, &p->flush_queues.close }, *queue = NULL;
    struct flush_request *found = NULL;
    (void)argc;
    if (!enif_is_ref(env, argv[1]))
        return answer_badarg(env);
    enif_mutex_lock(p->flush_queues.lock);
    for (int i = 0; i < 2 && !found; i++) {
        struct flush_request **at = flush_queue_find(queues[i], argv[1]);
        if (*at) {
            queue = queues[i];
            found = flush_queue_take(queue, at);
        }
    }
    bool begin = found && queue->closes && !found->in_call && !queue->calling;
    enif_mutex_unlock(p->flush_queues.lock);
    if (!found)
        return atom_sent;
    if (begin && pipeline_close(p->native, 0) == PIPELINE_OK)
        p->closed = true;
    ERL_NIF_TERM answer = begin && p->closed ? atom_ok : answer_timeout(env, queue, found->timeout_ms);
    flush_request_free(found);
    return answer;
}
