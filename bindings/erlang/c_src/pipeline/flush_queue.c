/* Requests of processes that wait for a flush or a close: see flush_queue.h. */
#include "pipeline/flush_queue.h"

#include <time.h>

/* With this many requests those of dead processes are removed; then with twice as many as are left. */
enum { PRUNE_AT = 64 };

static void init(struct flush_queue *queue, struct pipeline *pipeline, bool closes)
{
    *queue = (struct flush_queue) { .pipeline = pipeline, .prune_at = PRUNE_AT, .closes = closes };
    queue->end = &queue->first;
}

bool flush_queues_init(struct flush_queues *queues, struct pipeline *pipeline)
{
    init(&queues->flush, pipeline, false);
    init(&queues->close, pipeline, true);
    queues->lock = enif_mutex_create("capture_pipeline_flush");
    return queues->lock != NULL;
}

void flush_queues_destroy(struct flush_queues *queues)
{
    if (queues->lock)
        enif_mutex_destroy(queues->lock);
}

uint64_t flush_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct flush_request *flush_request_new(ErlNifEnv *env, int64_t timeout_ms, ERL_NIF_TERM *ref)
{
    struct flush_request *request = enif_alloc(sizeof *request);
    if (!request)
        return NULL;
    *request = (struct flush_request) { .env = enif_alloc_env(), .deadline_ms = FLUSH_NO_DEADLINE, .timeout_ms = timeout_ms };
    if (!request->env || !enif_self(env, &request->pid)) {
        if (request->env)
            enif_free_env(request->env);
        enif_free(request);
        return NULL;
    }
    *ref = enif_make_ref(env);
    request->ref = enif_make_copy(request->env, *ref);
    uint64_t now = flush_now_ms();
    if (timeout_ms >= 0 && (uint64_t)timeout_ms < FLUSH_NO_DEADLINE - now)
        request->deadline_ms = now + (uint64_t)timeout_ms;
    return request;
}

void flush_request_free(struct flush_request *request)
{
    enif_free_env(request->env);
    enif_free(request);
}

void flush_requests_free(struct flush_request *list)
{
    while (list) {
        struct flush_request *next = list->next;
        flush_request_free(list);
        list = next;
    }
}

void flush_queue_add(struct flush_queue *queue, struct flush_request *request)
{
    request->next = NULL;
    *queue->end = request;
    queue->end = &request->next;
    queue->count++;
}

struct flush_request *flush_queue_take(struct flush_queue *queue, struct flush_request **at)
{
    struct flush_request *taken = *at;
    *at = taken->next;
    if (!*at)
        queue->end = at;
    queue->count--;
    return taken;
}

struct flush_request *flush_queue_take_all(struct flush_queue *queue)
{
    struct flush_request *list = queue->first;
    queue->first = NULL;
    queue->end = &queue->first;
    queue->count = 0;
    return list;
}

struct flush_request *flush_queue_take_dead(struct flush_queue *queue, ErlNifEnv *env)
{
    struct flush_request *dead = NULL, **at = &queue->first;
    while (*at) {
        if (enif_is_process_alive(env, &(*at)->pid)) {
            at = &(*at)->next;
            continue;
        }
        struct flush_request *taken = flush_queue_take(queue, at);
        taken->next = dead;
        dead = taken;
    }
    queue->prune_at = queue->count < PRUNE_AT / 2 ? PRUNE_AT : queue->count * 2;
    return dead;
}

struct flush_request **flush_queue_find(struct flush_queue *queue, ERL_NIF_TERM ref)
{
    struct flush_request **at = &queue->first;
    while (*at && !enif_is_identical((*at)->ref, ref))
        at = &(*at)->next;
    return at;
}
