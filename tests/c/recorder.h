/* A storage for tests. It records every event that it is given, releases and destroy, and whether calls overlapped. It answers as the
 * test tells it, and can be held in the middle of a call.
 *
 * One recorder serves one pipeline and must outlive it, so tests keep it in static memory. */
#ifndef CAPTURE_PIPELINE_RECORDER_H
#define CAPTURE_PIPELINE_RECORDER_H

#include "check.h"

#include <sched.h>

typedef struct {
    uint64_t ring_id, sequence, timestamp_ns, correlation_id, node_id;
    uint32_t kind, flags;
    double weight;
    uint64_t batch_id, token, value; /* value: the first eight bytes of the payload */
    uint32_t attempt, writer_id;
    size_t len;
    int32_t reason; /* of a dead letter */
    void *writer_data;
} recorded_t;

typedef struct {
    recorded_t *at;
    size_t count, room;
} recorded_list_t;

typedef struct recorder recorder_t;
struct recorder {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    recorded_list_t seen;   /* every event of every attempt */
    recorded_list_t stored; /* events of batches answered OK (all of them: for tests that use no prefixes) */
    recorded_list_t dead;
    recorded_list_t released;
    uint64_t store_calls, flush_calls, dead_calls, destroy_calls, opened, closed;
    int inside, most_inside;    /* calls of store, flush, dead_letter that run */
    int waiting;                /* of them: held */
    bool hold;                  /* store waits until it is let go */
    uint64_t open_failures;     /* that many times open_writer fails */
    int32_t flush_answer;
    /* The result of a call; NULL: OK. Called without the mutex. */
    int32_t (*answer)(recorder_t *r, const pipeline_batch_t *batch);
    int32_t (*dead_answer)(recorder_t *r, const pipeline_batch_t *batch, int32_t reason);
    void *extra; /* the test's own */
};

#define RECORDER_INIT                                                                                                  \
    {                                                                                                                  \
        .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                                        \
    }

/* A recorder on the heap, for a case that runs more than once; recorder_free frees its lists too. */
CHECK_UNUSED static recorder_t *recorder_new(void)
{
    recorder_t *r = (recorder_t *)calloc(1, sizeof *r);
    CHECK_OR_STOP(r != NULL);
    pthread_mutex_init(&r->mutex, NULL);
    pthread_cond_init(&r->changed, NULL);
    return r;
}

CHECK_UNUSED static void recorder_free(recorder_t *r)
{
    free(r->seen.at);
    free(r->stored.at);
    free(r->dead.at);
    free(r->released.at);
    free(r);
}

CHECK_UNUSED static void list_add(recorded_list_t *list, recorded_t event)
{
    if (list->count == list->room) {
        list->room = list->room ? list->room * 2 : 256;
        list->at = (recorded_t *)realloc(list->at, list->room * sizeof *list->at);
        CHECK_OR_STOP(list->at != NULL);
    }
    list->at[list->count++] = event;
}

CHECK_UNUSED static recorded_t recorded_of(const pipeline_event_view_t *e, const pipeline_batch_t *batch)
{
    recorded_t r;
    memset(&r, 0, sizeof r);
    r.ring_id = e->ring_id;
    r.sequence = e->sequence;
    r.timestamp_ns = e->timestamp_ns;
    r.correlation_id = e->correlation_id;
    r.node_id = e->node_id;
    r.kind = e->kind;
    r.flags = e->flags;
    r.weight = e->weight;
    r.len = e->len;
    memcpy(&r.value, e->data, e->len < sizeof r.value ? e->len : sizeof r.value);
    if (batch != NULL) {
        r.batch_id = batch->batch_id;
        r.token = batch->token;
        r.attempt = batch->attempt;
        r.writer_id = batch->writer_id;
        r.writer_data = batch->writer_data;
    }
    return r;
}

static void recorder_enter(recorder_t *r)
{
    r->inside++;
    if (r->inside > r->most_inside)
        r->most_inside = r->inside;
    pthread_cond_broadcast(&r->changed);
}

static void recorder_leave(recorder_t *r)
{
    r->inside--;
    pthread_cond_broadcast(&r->changed);
}

static int32_t recorder_store(void *user_data, const pipeline_batch_t *batch)
{
    recorder_t *r = (recorder_t *)user_data;
    int32_t answer = PIPELINE_STORE_OK;
    size_t i, first, count = batch->count;
    pthread_mutex_lock(&r->mutex);
    recorder_enter(r);
    r->store_calls++;
    /* An index, not a copy: the answer may end this thread, and a copy would leak. */
    first = r->seen.count;
    for (i = 0; i < count; i++)
        list_add(&r->seen, recorded_of(PIPELINE_BATCH_EVENT(batch, i), batch));
    r->waiting++;
    pthread_cond_broadcast(&r->changed);
    while (r->hold)
        pthread_cond_wait(&r->changed, &r->mutex);
    r->waiting--;
    pthread_mutex_unlock(&r->mutex);
    if (r->answer != NULL)
        answer = r->answer(r, batch);
    pthread_mutex_lock(&r->mutex);
    if (answer == PIPELINE_STORE_OK)
        for (i = 0; i < count; i++)
            list_add(&r->stored, r->seen.at[first + i]);
    recorder_leave(r);
    pthread_mutex_unlock(&r->mutex);
    return answer;
}

CHECK_UNUSED static int32_t recorder_flush(void *user_data, int64_t timeout_ms)
{
    recorder_t *r = (recorder_t *)user_data;
    int32_t answer;
    (void)timeout_ms;
    pthread_mutex_lock(&r->mutex);
    recorder_enter(r);
    r->flush_calls++;
    pthread_mutex_unlock(&r->mutex);
    sched_yield();
    pthread_mutex_lock(&r->mutex);
    answer = r->flush_answer;
    recorder_leave(r);
    pthread_mutex_unlock(&r->mutex);
    return answer;
}

CHECK_UNUSED static int32_t recorder_dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    recorder_t *r = (recorder_t *)user_data;
    int32_t answer = 0;
    size_t i;
    pthread_mutex_lock(&r->mutex);
    recorder_enter(r);
    r->dead_calls++;
    pthread_mutex_unlock(&r->mutex);
    if (r->dead_answer != NULL)
        answer = r->dead_answer(r, batch, reason);
    pthread_mutex_lock(&r->mutex);
    if (answer == 0)
        for (i = 0; i < batch->count; i++) {
            recorded_t e = recorded_of(PIPELINE_BATCH_EVENT(batch, i), batch);
            e.reason = reason;
            list_add(&r->dead, e);
        }
    recorder_leave(r);
    pthread_mutex_unlock(&r->mutex);
    return answer;
}

CHECK_UNUSED static void recorder_release(void *user_data, const pipeline_event_view_t *event)
{
    recorder_t *r = (recorder_t *)user_data;
    pthread_mutex_lock(&r->mutex);
    list_add(&r->released, recorded_of(event, NULL));
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

/* writer_data of a writer: an address of its own for each writer id below 256. */
static char recorder_words[256];

CHECK_UNUSED static int32_t recorder_open(void *user_data, uint32_t writer_id, void **writer_data)
{
    recorder_t *r = (recorder_t *)user_data;
    int32_t answer = 0;
    pthread_mutex_lock(&r->mutex);
    if (r->open_failures > 0) {
        r->open_failures--;
        answer = -1;
    } else {
        r->opened++;
        *writer_data = &recorder_words[writer_id % 256];
    }
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
    return answer;
}

CHECK_UNUSED static void recorder_close(void *user_data, uint32_t writer_id, void *writer_data)
{
    recorder_t *r = (recorder_t *)user_data;
    CHECK(writer_data == &recorder_words[writer_id % 256]);
    pthread_mutex_lock(&r->mutex);
    r->closed++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

static void recorder_destroy(void *user_data)
{
    recorder_t *r = (recorder_t *)user_data;
    pthread_mutex_lock(&r->mutex);
    r->destroy_calls++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

/* A storage with store and destroy only; tests add the other functions. */
CHECK_UNUSED static pipeline_storage_t recorder_storage(recorder_t *r)
{
    pipeline_storage_t s;
    memset(&s, 0xA5, sizeof s);
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.user_data = r;
    s.store = recorder_store;
    s.destroy = recorder_destroy;
    return s;
}

/* A number of the recorder, read under its lock. */
#define RECORDED(r, what)                                                                                              \
    (__extension__({                                                                                                   \
        pthread_mutex_lock(&(r)->mutex);                                                                               \
        uint64_t value_ = (uint64_t)(r)->what;                                                                         \
        pthread_mutex_unlock(&(r)->mutex);                                                                             \
        value_;                                                                                                        \
    }))

CHECK_UNUSED static void recorder_hold(recorder_t *r)
{
    pthread_mutex_lock(&r->mutex);
    r->hold = true;
    pthread_mutex_unlock(&r->mutex);
}

CHECK_UNUSED static void recorder_let_go(recorder_t *r)
{
    pthread_mutex_lock(&r->mutex);
    r->hold = false;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

CHECK_UNUSED static int by_identity(const void *a, const void *b)
{
    const recorded_t *x = (const recorded_t *)a, *y = (const recorded_t *)b;
    if (x->ring_id != y->ring_id)
        return x->ring_id < y->ring_id ? -1 : 1;
    return x->sequence == y->sequence ? 0 : x->sequence < y->sequence ? -1 : 1;
}

/* No two events have the same identity. Sorts the list. */
CHECK_UNUSED static bool check_distinct(const char *file, int line, const char *what, recorded_list_t *list)
{
    size_t i, twice = 0;
    if (list->count > 1)
        qsort(list->at, list->count, sizeof *list->at, by_identity);
    for (i = 1; i < list->count; i++)
        twice += by_identity(&list->at[i - 1], &list->at[i]) == 0;
    return check_u64(file, line, what, twice, 0);
}
#define CHECK_DISTINCT(list) check_distinct(__FILE__, __LINE__, "events that are twice in " #list, (list))

static int by_value(const void *a, const void *b)
{
    const recorded_t *x = (const recorded_t *)a, *y = (const recorded_t *)b;
    return x->value == y->value ? 0 : x->value < y->value ? -1 : 1;
}

/* The values are exactly from, from + 1, ... to - 1, in any order. Sorts the list. */
CHECK_UNUSED static bool check_values(const char *file, int line, const char *what, recorded_list_t *list,
                                      uint64_t from, uint64_t to)
{
    size_t i, wrong = 0;
    if (list->count > 1)
        qsort(list->at, list->count, sizeof *list->at, by_value);
    for (i = 0; i < list->count; i++)
        wrong += list->at[i].value != from + i;
    return check_u64(file, line, what, list->count, to - from) &&
           check_u64(file, line, "values that are not the expected ones", wrong, 0);
}
#define CHECK_VALUES(list, from, to) check_values(__FILE__, __LINE__, "number of events in " #list, (list), (from), (to))

/* Captures the number n as an event of kind 1. */
CHECK_UNUSED static int32_t capture_number(pipeline_t *p, uint64_t n)
{
    return pipeline_capture(p, 1, &n, sizeof n);
}

CHECK_UNUSED static void capture_numbers(pipeline_t *p, uint64_t from, uint64_t to)
{
    uint64_t n;
    for (n = from; n < to; n++)
        CHECK_STATUS(capture_number(p, n), PIPELINE_OK);
}

/* The same while the pipeline is paused, so that the events are claimed together. */
CHECK_UNUSED static void capture_together(pipeline_t *p, uint64_t from, uint64_t to)
{
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, from, to);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
}

CHECK_UNUSED static pipeline_t *start_pipeline(const pipeline_config_t *config, const pipeline_storage_t *storage)
{
    pipeline_t *p = NULL;
    CHECK_STATUS(pipeline_start(config, storage, &p), PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    return p;
}

#endif
