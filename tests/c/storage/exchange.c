/* pipeline_batch_exchange: an answer returns the next batch. The batches and their order are the same as through store, they belong to
 * the same writer, and they are counted the same. No batch is returned if a writer would not claim one either. */
#include "kept_batches.h"

static bool any_in_call(pipeline_t *p)
{
    pipeline_writer_metrics_t m;
    uint32_t i;
    m.struct_size = sizeof m;
    for (i = 0; pipeline_writer_metrics(p, i, &m) == PIPELINE_OK; i++)
        if (m.state == PIPELINE_WRITER_IN_CALL)
            return true;
    return false;
}

/* The oldest, once store has returned: before that an exchange returns no batch. */
static const pipeline_batch_t *next_kept(pipeline_t *p)
{
    const pipeline_batch_t *batch;
    WAIT_FOR(count_kept() > 0);
    batch = take_kept(0);
    CHECK_OR_STOP(batch != NULL);
    WAIT_FOR(!any_in_call(p));
    return batch;
}

static const pipeline_batch_t nothing;

/* Exchanges, and repeats while the lock is busy; &nothing if the result is not OK. */
static const pipeline_batch_t *exchange_for(uint64_t token, int32_t result, int32_t *status)
{
    const pipeline_batch_t *next = &nothing;
    do
        *status = pipeline_batch_exchange(token, result, &next);
    while (*status == PIPELINE_ERR_BUSY && next == &nothing);
    return next;
}

static const pipeline_batch_t *exchange(uint64_t token, int32_t result)
{
    int32_t status;
    const pipeline_batch_t *next = exchange_for(token, result, &status);
    CHECK_STATUS(status, PIPELINE_OK);
    return next;
}

static uint64_t value_of(const pipeline_batch_t *batch, size_t at)
{
    uint64_t value;
    memcpy(&value, PIPELINE_BATCH_EVENT(batch, at)->data, sizeof value);
    return value;
}

/* One batch may be out at a time. */
static pipeline_config_t one_out(void)
{
    pipeline_config_t c = config_defaults();
    c.batch_size = 10;
    c.max_in_flight = 1;
    return c;
}

/* All batches, each by an exchange, in order; store is called for the first one only. */
static void one_for_the_other(uint32_t ordering)
{
    static recorder_t recs[2];
    recorder_t *rec = &recs[ordering];
    pipeline_storage_t s;
    pipeline_config_t c = one_out();
    const pipeline_batch_t *batch, *next;
    pipeline_metrics_t m;
    pipeline_t *p;
    uint64_t sum = 0, batches = 0, calls = 0;
    *rec = (recorder_t)RECORDER_INIT;
    rec->answer = keep;
    s = recorder_storage(rec);
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    s.open_writer = recorder_open;
    s.close_writer = recorder_close;
    c.ordering = ordering;
    p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 1);
    batch = next_kept(p);
    capture_numbers(p, 1, 1001);
    for (;;) {
        const uint64_t token = batch->token, id = batch->batch_id;
        const uint32_t writer = batch->writer_id;
        void *data = batch->writer_data;
        for (size_t i = 0; i < batch->count; i++)
            CHECK_U64(value_of(batch, i), sum++);
        batches++;
        CHECK_U64(batch->attempt, 1);
        CHECK_U64(metrics_of(p).in_flight, batch->count);
        next = exchange(token, PIPELINE_STORE_OK);
        CHECK_FAILS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
        if (sum == 1001)
            break;
        if (ordering == PIPELINE_ORDERING_PER_PRODUCER) {
            CHECK(next == NULL);
            next = next_kept(p);
            calls++;
        }
        CHECK_OR_STOP(next != NULL);
        CHECK_U64(next->batch_id, id + 1);
        CHECK(next->token != token);
        CHECK_U64(next->writer_id, writer);
        CHECK(next->writer_data == data && data != NULL);
        CHECK(next->processed_at_ns >= PIPELINE_BATCH_EVENT(next, next->count - 1)->timestamp_ns);
        CHECK_U64(next->count, 10);
        batch = next;
    }
    CHECK(next == NULL);
    CHECK_U64(RECORDED(rec, store_calls), 1 + calls);
    CHECK_U64(batches, 101);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.stored, 1001);
    CHECK_U64(m.batches, batches);
    CHECK_U64(m.retries, 0);
    CHECK_U64(m.bytes_stored, 1001 * sizeof(uint64_t));
    CHECK_LEDGER(p);
    /* The next event goes to store again. */
    capture_numbers(p, 1001, 1002);
    batch = next_kept(p);
    CHECK(exchange(batch->token, PIPELINE_STORE_OK) == NULL);
    END(p);
}

/* A batch from an exchange is like any other: it can be retried, late, in doubt, rejected; nothing is destroyed while it is out. */
static void given_is_pending(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = one_out();
    const pipeline_batch_t *batch, *next;
    pipeline_t *p;
    uint64_t token, id;
    rec.answer = keep;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    s.dead_letter = recorder_dead_letter;
    c.max_in_doubt = 4;
    p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 1);
    batch = next_kept(p);
    capture_numbers(p, 1, 31);
    next = exchange(batch->token, PIPELINE_STORE_OK);
    CHECK_OR_STOP(next != NULL && next != &nothing);
    id = next->batch_id;
    /* Answered with RETRY: the same batch comes again by store. It stays in flight, so the exchange returns no batch. */
    CHECK(exchange(next->token, PIPELINE_STORE_RETRY) == NULL);
    batch = next_kept(p);
    CHECK_U64(batch->batch_id, id);
    CHECK_U64(batch->attempt, 2);
    CHECK_U64(value_of(batch, 0), 1);
    /* Two events rejected: the batch stays in flight until the dead letter has stored them. */
    CHECK_STATUS(pipeline_batch_set_rejected(batch, 3), PIPELINE_OK);
    CHECK_STATUS(pipeline_batch_set_rejected(batch, 4), PIPELINE_OK);
    CHECK(exchange(batch->token, PIPELINE_STORE_OK) == NULL);
    batch = next_kept(p);
    CHECK_U64(value_of(batch, 0), 11);
    CHECK_U64(RECORDED(&rec, dead.count), 2);
    next = exchange(batch->token, PIPELINE_STORE_OK);
    CHECK_OR_STOP(next != NULL && next != &nothing);
    /* Too late: in doubt, and the late answer is honoured. */
    c.storage_deadline_ms = 100;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).in_doubt == 10);
    CHECK_U64(metrics_of(p).stored, 19);
    token = next->token;
    CHECK_FAILS(pipeline_close(p, 0), PIPELINE_ERR_TIMEOUT, "in doubt");
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_ERR_BUSY);
    CHECK(exchange(token, PIPELINE_STORE_OK) == NULL);
    CHECK_U64(metrics_of(p).stored, 29);
    CHECK_U64(metrics_of(p).dead_lettered, 2);
    CHECK_U64(metrics_of(p).retries, 1);
    CHECK_LEDGER(p);
    DESTROY_SOON(p);
    CHECK_U64(RECORDED(&rec, destroy_calls), 1);
}

/* Where a writer would not claim, an exchange returns no batch; afterwards the batches come by store. */
static void nothing_is_given(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = one_out();
    const pipeline_batch_t *batch, *next = &nothing;
    pipeline_t *p;
    rec.answer = keep;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 1);
    batch = next_kept(p);
    capture_numbers(p, 1, 101);
    CHECK_FAILS(pipeline_batch_exchange(batch->token, PIPELINE_STORE_OK, NULL), PIPELINE_ERR_NULL, "next");
    CHECK_FAILS(pipeline_batch_exchange(batch->token + 1, PIPELINE_STORE_OK, &next), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
    CHECK(next == &nothing);
    CHECK_U64(metrics_of(p).in_flight, 1);
    /* Paused. */
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    CHECK(exchange(batch->token, PIPELINE_STORE_OK) == NULL);
    CHECK_U64(metrics_of(p).buffered, 100);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    batch = next_kept(p);
    CHECK_U64(value_of(batch, 0), 1);
    /* Its writer is gone. */
    CHECK_STATUS(pipeline_scale(p, 0), PIPELINE_OK);
    CHECK(exchange(batch->token, PIPELINE_STORE_OK) == NULL);
    CHECK_U64(metrics_of(p).buffered, 90);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    batch = next_kept(p);
    CHECK_U64(value_of(batch, 0), 11);
    /* Abandoned: the remaining events are left, and the last answer tears the pipeline down. */
    pipeline_abandon(p);
    CHECK_U64(RECORDED(&rec, destroy_calls), 0);
    CHECK(exchange(batch->token, PIPELINE_STORE_OK) == NULL);
    WAIT_FOR(RECORDED(&rec, destroy_calls) == 1);
}

/* Events wait for linger here as well, and a flush ends that. */
static void lingering(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = one_out();
    const pipeline_batch_t *batch, *next;
    pipeline_t *p;
    rec.answer = keep;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    c.linger_us = 60u * 1000 * 1000;
    p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 10);
    batch = next_kept(p);
    capture_numbers(p, 10, 14);
    CHECK(exchange(batch->token, PIPELINE_STORE_OK) == NULL);
    CHECK_U64(metrics_of(p).buffered, 4);
    capture_numbers(p, 14, 20);
    batch = next_kept(p);
    CHECK_U64(batch->count, 10);
    capture_numbers(p, 20, 30);
    next = exchange(batch->token, PIPELINE_STORE_OK);
    CHECK_OR_STOP(next != NULL && next != &nothing);
    CHECK_U64(value_of(next, 0), 20);
    CHECK(exchange(next->token, PIPELINE_STORE_OK) == NULL);
    END(p);
}

/* Four threads exchange batches, three capture, one reads the metrics: every event comes once. */
enum { STORING = 4, CAPTURING = 3, EACH = 60000 };

static _Atomic int over;
static _Atomic uint64_t exchanged, got_sum, got_count;

static void *store_by_exchange(void *unused)
{
    uint64_t sum = 0, count = 0;
    (void)unused;
    while (!over) {
        const pipeline_batch_t *batch = take_kept(0);
        if (batch == NULL) {
            sched_yield();
            continue;
        }
        while (batch != NULL) {
            int32_t status;
            for (size_t i = 0; i < batch->count; i++)
                sum += value_of(batch, i);
            count += batch->count;
            batch = exchange_for(batch->token, PIPELINE_STORE_OK, &status);
            CHECK_STATUS(status, PIPELINE_OK);
            exchanged += batch != NULL;
        }
    }
    got_sum += sum;
    got_count += count;
    return NULL;
}

static void *capture_each(void *p)
{
    capture_numbers(p, 0, EACH);
    return NULL;
}

static void *read_books(void *p)
{
    while (!over)
        CHECK(metrics_of(p).stored <= (uint64_t)CAPTURING * EACH);
    return NULL;
}

static void under_load(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pthread_t storing[STORING], capturing[CAPTURING], reading;
    pipeline_t *p;
    rec.answer = keep;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    c.batch_size = 64;
    c.max_in_flight = STORING;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = 60u * 1000 * 1000;
    p = start_pipeline(&c, &s);
    for (int i = 0; i < STORING; i++)
        CHECK_U64(pthread_create(&storing[i], NULL, store_by_exchange, NULL), 0);
    for (int i = 0; i < CAPTURING; i++)
        CHECK_U64(pthread_create(&capturing[i], NULL, capture_each, p), 0);
    CHECK_U64(pthread_create(&reading, NULL, read_books, p), 0);
    for (int i = 0; i < CAPTURING; i++)
        pthread_join(capturing[i], NULL);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    over = 1;
    for (int i = 0; i < STORING; i++)
        pthread_join(storing[i], NULL);
    pthread_join(reading, NULL);
    CHECK_U64(got_count, (uint64_t)CAPTURING * EACH);
    CHECK_U64(got_sum, (uint64_t)CAPTURING * EACH * (EACH - 1) / 2);
    CHECK_U64(metrics_of(p).stored, (uint64_t)CAPTURING * EACH);
    CHECK(exchanged > 0);
    printf("%llu batches by exchange, %llu by store\n", (unsigned long long)exchanged,
           (unsigned long long)RECORDED(&rec, store_calls));
    END(p);
}

int main(void)
{
    one_for_the_other(PIPELINE_ORDERING_NONE);
    one_for_the_other(PIPELINE_ORDERING_PER_PRODUCER);
    given_is_pending();
    nothing_is_given();
    lingering();
    under_load();
    return SUMMARY();
}
