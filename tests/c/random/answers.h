/* How the storage of random_calls.c checks a batch, and answers it by its token: from any thread, in whole or in part, or in exchange
 * for the next batch. */
#ifndef CAPTURE_PIPELINE_RANDOM_ANSWERS_H
#define CAPTURE_PIPELINE_RANDOM_ANSWERS_H

#include "model.h"

#include <sched.h>

static void enter(void *user_data, bool exclusive)
{
    CHECK(user_data == &world);
    CHECK_U64(world.destroyed, 0);
    world.inside++;
    if (exclusive && world.exclusive++ > 0)
        CHECK(world.concurrent);
}

static void leave(bool exclusive)
{
    if (exclusive)
        world.exclusive--;
    world.inside--;
}

static rng_t callback_rng(uint64_t what)
{
    return seeded(world.seed ^ what * UINT64_C(0xA24BAED4963EE407), 1000);
}

/* Calls back into the library, while the handle is valid. */
static void reenter(rng_t *rng)
{
    pipeline_metrics_t m;
    if (world.calm || below(rng, 4) || pthread_rwlock_tryrdlock(&world.holding) != 0)
        return;
    if (world.p != NULL && !world.calm) {
        switch (below(rng, 10)) {
        case 0:
            CHECK_STATUS(pipeline_flush(world.p, -1), PIPELINE_ERR_WOULD_DEADLOCK);
            break;
        case 1:
            CHECK_STATUS(pipeline_close(world.p, -1), PIPELINE_ERR_WOULD_DEADLOCK);
            break;
        case 2:
            CHECK_STATUS(pipeline_destroy(world.p), PIPELINE_ERR_WOULD_DEADLOCK);
            break;
        case 3:
            CHECK_AMONG(pipeline_scale(world.p, below(rng, 5)), PIPELINE_OK, closed());
            break;
        case 4:
            CHECK_AMONG(below(rng, 2) ? pipeline_pause(world.p) : pipeline_resume(world.p), PIPELINE_OK, closed());
            break;
        case 5:
            memset(&m, 0, sizeof m);
            m.struct_size = sizeof m;
            CHECK_STATUS(pipeline_metrics(world.p, &m), PIPELINE_OK);
            break;
        default: {
            uint32_t number = world.callback_events++;
            if (number < EVENTS) {
                unsigned char payload[64];
                uint64_t key = key_of(WORKERS, number);
                size_t len = 8 + below(rng, 56);
                memcpy(payload, &key, 8);
                fill_payload(payload, key, 8, len);
                offered(key, pipeline_capture(world.p, kind_of(key), payload, len), CAPTURED);
            }
        }
        }
    }
    pthread_rwlock_unlock(&world.holding);
}

static ring_t *ring_of(uint64_t id)
{
    size_t at = (size_t)(id * UINT64_C(0x9E3779B97F4A7C15) >> 52) % RINGS;
    while (world.rings[at].used && world.rings[at].ring_id != id)
        at = (at + 1) % RINGS;
    world.rings[at].used = true;
    world.rings[at].ring_id = id;
    return &world.rings[at];
}

/* Whether a batch holds the library's own events. All other events are as they were offered, and in order. */
static bool check_batch(const pipeline_batch_t *batch, bool first)
{
    size_t i;
    bool meta = PIPELINE_BATCH_EVENT(batch, 0)->kind >= PIPELINE_KIND_RESERVED;
    uint64_t expected = 0;
    CHECK_OR_STOP(batch->count > 0);
    CHECK(batch->struct_size == sizeof *batch && batch->attempt >= 1);
    CHECK(atomic_compare_exchange_strong(&world.generation, &expected, batch->generation) ||
          expected == batch->generation);
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        CHECK_OR_STOP((e->kind >= PIPELINE_KIND_RESERVED) == meta);
        if (!meta)
            fate_of(e);
        if (world.ordered && i > 0) {
            CHECK_U64(e->ring_id, PIPELINE_BATCH_EVENT(batch, 0)->ring_id);
            CHECK(e->sequence > PIPELINE_BATCH_EVENT(batch, i - 1)->sequence);
        }
    }
    CHECK(!meta || world.meta);
    if (world.ordered && !meta) {
        ring_t *ring;
        pthread_mutex_lock(&world.mutex);
        ring = ring_of(PIPELINE_BATCH_EVENT(batch, 0)->ring_id);
        if (first && batch->attempt == 1)
            CHECK(ring->last <= PIPELINE_BATCH_EVENT(batch, 0)->sequence);
        CHECK(ring->open == 0 || ring->open == batch->batch_id + 1);
        ring->open = batch->batch_id + 1;
        ring->last = PIPELINE_BATCH_EVENT(batch, batch->count - 1)->sequence + 1;
        pthread_mutex_unlock(&world.mutex);
    }
    return meta;
}

/* Notes, before the answer, that the storage no longer works on a batch. */
static void put_down(const pipeline_batch_t *batch)
{
    if (!world.ordered || PIPELINE_BATCH_EVENT(batch, 0)->kind >= PIPELINE_KIND_RESERVED)
        return;
    pthread_mutex_lock(&world.mutex);
    ring_of(PIPELINE_BATCH_EVENT(batch, 0)->ring_id)->open = 0;
    pthread_mutex_unlock(&world.mutex);
}

static void mark_stored(const pipeline_batch_t *batch, size_t to, const bool *rejected)
{
    size_t i;
    if (PIPELINE_BATCH_EVENT(batch, 0)->kind >= PIPELINE_KIND_RESERVED)
        return;
    for (i = 0; i < to; i++)
        if (rejected == NULL || !rejected[i]) {
            CHECK_U64(fate_of(PIPELINE_BATCH_EVENT(batch, i))->stored++, 0);
            world.stored++;
        }
}

/* Rejects some events of a batch, one by one. */
static bool *reject_some(rng_t *rng, const pipeline_batch_t *batch)
{
    bool *rejected = (bool *)calloc(batch->count, sizeof *rejected);
    size_t i;
    CHECK_OR_STOP(rejected != NULL);
    for (i = 0; i < batch->count; i++)
        if (below(rng, 4) == 0) {
            rejected[i] = true;
            CHECK_STATUS(pipeline_batch_set_rejected(batch, i), PIPELINE_OK);
        }
    return rejected;
}

static int32_t some_answer(rng_t *rng, bool pending)
{
    int32_t answer = below(rng, 8) ? (int32_t)below(rng, 3) : (int32_t)next(rng);
    if (answer == PIPELINE_STORE_OK || (!pending && answer == PIPELINE_STORE_PENDING))
        answer = PIPELINE_STORE_RETRY;
    return answer;
}

/* ---- answers in exchange for the next batch ---- */

/* From where a batch is answered: from outside callbacks, in a call of `store` for some batch, or in the one for this batch. */
typedef enum { OUTSIDE, IN_STORE, IN_ITS_STORE } where_t;

static const pipeline_batch_t untouched;
static atomic_uint_fast64_t given_in_all, contests_in_all, contests_lost;

/* Repeats the exchange while another thread holds the pool's lock. A call that returns BUSY changes and writes nothing. */
static int32_t exchange_soon(uint64_t token, int32_t result, const pipeline_batch_t **given)
{
    const uint64_t deadline = now_ms() + PATIENCE_MS;
    int32_t status;
    *given = &untouched;
    while ((status = pipeline_batch_exchange(token, result, given)) == PIPELINE_ERR_BUSY && now_ms() < deadline) {
        CHECK(*given == &untouched);
        sched_yield();
    }
    CHECK((*given == &untouched) == (status != PIPELINE_OK));
    return status;
}

static int32_t try_complete_soon(uint64_t token, int32_t result)
{
    const uint64_t deadline = now_ms() + PATIENCE_MS;
    int32_t status;
    while ((status = pipeline_batch_try_complete(token, result)) == PIPELINE_ERR_BUSY && now_ms() < deadline)
        sched_yield();
    return status;
}

/* Exchanges that must be refused, whether or not another thread holds the lock. */
static void exchange_wrongly(uint64_t right, int32_t result)
{
    const uint64_t wrong[] = {0, right | UINT64_C(1) << 62, ~right | UINT64_C(1) << 63};
    const pipeline_batch_t *given;
    size_t i;
    CHECK_STATUS(pipeline_batch_exchange(right, result, NULL), PIPELINE_ERR_NULL);
    for (i = 0; i < 3; i++) {
        CHECK_STATUS(exchange_soon(wrong[i], result, &given), PIPELINE_ERR_UNKNOWN_TOKEN);
        CHECK_STATUS(try_complete_soon(wrong[i], result), PIPELINE_ERR_UNKNOWN_TOKEN);
    }
}

static void wait_for_answer(const pipeline_batch_t *batch)
{
    pthread_mutex_lock(&world.mutex);
    CHECK_OR_STOP(world.waiting_count < sizeof world.waiting / sizeof *world.waiting);
    world.waiting[world.waiting_count++] = batch;
    pthread_mutex_unlock(&world.mutex);
}

/* Checks the batch that an exchange returned, if it did: it is a new one of the same writer, and awaits an answer like any other. None
 * is returned where a writer would not claim. */
static void take_given(const pipeline_batch_t *given, uint32_t writer_id, const void *writer_data, where_t where)
{
    if (given == NULL || given == &untouched)
        return;
    CHECK_U64(world.destroyed, 0);
    CHECK(!world.ordered && where != IN_ITS_STORE && (world.concurrent || where == OUTSIDE));
    CHECK_U64(given->attempt, 1);
    CHECK_U64(given->writer_id, writer_id);
    CHECK(given->writer_data == writer_data);
    check_batch(given, true);
    given_in_all++;
    wait_for_answer(given);
}

/* A token that two threads answer at once, in the same way. */
static struct {
    pthread_mutex_t turn;
    uint32_t writer_id;
    const void *writer_data;
    atomic_uint_fast64_t token; /* 0: none */
    atomic_int rivals;          /* that look at it, or answer */
    atomic_uint lost;           /* to a rival */
} contest = {.turn = PTHREAD_MUTEX_INITIALIZER};

/* The side of the other threads, which try to answer the same token. */
static void contend(where_t where)
{
    const pipeline_batch_t *given;
    uint64_t token;
    contest.rivals++;
    token = contest.token;
    if (token != 0) {
        int32_t status = exchange_soon(token, PIPELINE_STORE_OK, &given);
        CHECK_AMONG(status, PIPELINE_OK, PIPELINE_ERR_UNKNOWN_TOKEN);
        if (status == PIPELINE_OK) {
            contest.lost++;
            take_given(given, contest.writer_id, contest.writer_data, where);
        }
    }
    contest.rivals--;
}

/* Of the threads that answer the token, exactly one succeeds. */
static void exchange_in_contest(const pipeline_batch_t *batch, where_t where)
{
    const uint64_t token = batch->token;
    const pipeline_batch_t *given;
    int32_t status;
    int i;
    contest.writer_id = batch->writer_id;
    contest.writer_data = batch->writer_data;
    contest.lost = 0;
    contest.token = token;
    for (i = 0; i < 50 && contest.rivals == 0; i++)
        sched_yield();
    status = exchange_soon(token, PIPELINE_STORE_OK, &given);
    contest.token = 0;
    while (contest.rivals > 0)
        sched_yield();
    CHECK_AMONG(status, PIPELINE_OK, PIPELINE_ERR_UNKNOWN_TOKEN);
    CHECK_U64((status == PIPELINE_OK) + contest.lost, 1);
    contests_in_all++;
    contests_lost += contest.lost;
    take_given(given, contest.writer_id, contest.writer_data, where);
}

/* Answers without waiting, most often by an exchange for the next batch. */
static void exchange(rng_t *rng, const pipeline_batch_t *batch, where_t where)
{
    const uint64_t token = batch->token;
    const uint32_t writer_id = batch->writer_id;
    const void *writer_data = batch->writer_data;
    const pipeline_batch_t *given;
    int32_t result = PIPELINE_STORE_OK;
    bool *rejected = NULL;
    size_t prefix = batch->count;
    switch (world.calm ? 9 : below(rng, 8)) {
    case 0:
        prefix = below(rng, (uint32_t)batch->count + 1);
        CHECK_STATUS(pipeline_batch_set_stored(batch, prefix), PIPELINE_OK);
        result = some_answer(rng, true);
        break;
    case 1:
        prefix = 0;
        result = some_answer(rng, true);
        break;
    case 2:
        rejected = reject_some(rng, batch);
    }
    mark_stored(batch, prefix, rejected);
    if (below(rng, 4) == 0)
        exchange_wrongly(token, result);
    if (below(rng, 4) == 0) {
        CHECK_STATUS(try_complete_soon(token, result), PIPELINE_OK);
    } else if (result == PIPELINE_STORE_OK && below(rng, 2) && pthread_mutex_trylock(&contest.turn) == 0) {
        exchange_in_contest(batch, where);
        pthread_mutex_unlock(&contest.turn);
    } else {
        CHECK_STATUS(exchange_soon(token, result, &given), PIPELINE_OK);
        take_given(given, writer_id, writer_data, where);
    }
    CHECK_STATUS(exchange_soon(token, result, &given), PIPELINE_ERR_UNKNOWN_TOKEN);
    CHECK_STATUS(try_complete_soon(token, result), PIPELINE_ERR_UNKNOWN_TOKEN);
    free(rejected);
}

/* ---- answers ---- */

/* Answers a batch by its token: one that store has answered with PENDING, or is about to. */
static void complete(rng_t *rng, const pipeline_batch_t *batch, where_t where)
{
    uint64_t token = batch->token;
    size_t count = batch->count, prefix = below(rng, (uint32_t)count + 1), first = 0;
    if (below(rng, 8) == 0) {
        CHECK_STATUS(pipeline_batch_complete_at(token, count + 1 + below(rng, 9), PIPELINE_STORE_OK),
                     PIPELINE_ERR_INVALID);
        CHECK_STATUS(pipeline_batch_set_stored(batch, count + 1), PIPELINE_ERR_INVALID);
        CHECK_STATUS(pipeline_batch_set_rejected(batch, count), PIPELINE_ERR_INVALID);
    }
    put_down(batch);
    if (below(rng, 4) < (world.exchanges ? 3 : 1)) {
        exchange(rng, batch, where);
        return;
    }
    switch (world.calm ? 9 : below(rng, 8)) {
    case 0:
    case 1:
        if (below(rng, 2)) {
            first = below(rng, (uint32_t)count + 1);
            CHECK_STATUS(pipeline_batch_set_stored(batch, first), PIPELINE_OK);
        }
        mark_stored(batch, prefix > first ? prefix : first, NULL);
        CHECK_STATUS(pipeline_batch_complete_at(token, prefix, some_answer(rng, true)), PIPELINE_OK);
        break;
    case 2:
        CHECK_STATUS(pipeline_batch_complete(token, some_answer(rng, true)), PIPELINE_OK);
        break;
    case 3: {
        bool *rejected = reject_some(rng, batch);
        mark_stored(batch, count, rejected);
        free(rejected);
        CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_OK);
        break;
    }
    default:
        mark_stored(batch, count, NULL);
        CHECK_STATUS(pipeline_batch_complete_at(token, prefix, PIPELINE_STORE_OK), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN);
}

/* Completes one of the batches that wait for it. */
static bool complete_one(rng_t *rng, where_t where)
{
    const pipeline_batch_t *batch = NULL;
    contend(where);
    pthread_mutex_lock(&world.mutex);
    if (world.waiting_count > 0) {
        size_t at = below(rng, (uint32_t)world.waiting_count);
        batch = world.waiting[at];
        world.waiting[at] = world.waiting[--world.waiting_count];
    }
    pthread_mutex_unlock(&world.mutex);
    if (batch != NULL)
        complete(rng, batch, where);
    return batch != NULL;
}

#endif
