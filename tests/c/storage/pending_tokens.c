/* PENDING and its tokens: batches completed later, from other threads, before store returned, in part, twice, with a token never
 * issued, and in random order. */
#include "kept_batches.h"

/* `issued` is the last token that was issued in this process. */
static void never_issued(uint64_t issued)
{
    const uint64_t tokens[] = {0, issued + 1, issued + 12345, UINT64_C(1) << 63, INT64_MAX, UINT64_MAX - 1, UINT64_MAX};
    size_t i;
    for (i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        CHECK_FAILS(pipeline_batch_complete(tokens[i], PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
        CHECK_FAILS(pipeline_batch_complete(tokens[i], 99), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
        CHECK_FAILS(pipeline_batch_try_complete(tokens[i], PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
        CHECK_FAILS(pipeline_batch_complete_at(tokens[i], 0, PIPELINE_STORE_RETRY), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
        CHECK_FAILS(pipeline_batch_complete_at(tokens[i], SIZE_MAX, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN,
                    "token");
    }
}

static void twice(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p;
    const pipeline_batch_t *batch;
    uint64_t token;
    pipeline_metrics_t m;
    rec.answer = keep;
    p = start_pipeline(NULL, &s);
    capture_numbers(p, 0, 1);
    WAIT_FOR(count_kept() == 1);
    batch = take_kept(0);
    token = batch->token;
    CHECK_U64(metrics_of(p).in_flight, 1);
    CHECK_LEDGER(p);
    never_issued(token);
    CHECK_U64(metrics_of(p).in_flight, 1);
    /* An invalid result counts as RETRY. Before that: a prefix longer than the batch is refused. */
    CHECK_FAILS(pipeline_batch_complete_at(token, 2, PIPELINE_STORE_OK), PIPELINE_ERR_INVALID, "1");
    CHECK_HAS(pipeline_last_error(), "2");
    CHECK_FAILS(pipeline_batch_complete_at(token, SIZE_MAX, PIPELINE_STORE_RETRY), PIPELINE_ERR_INVALID, "1");
    CHECK_FAILS(pipeline_batch_set_stored(batch, 2), PIPELINE_ERR_INVALID, "1");
    CHECK_FAILS(pipeline_batch_set_stored(batch, SIZE_MAX), PIPELINE_ERR_INVALID, "1");
    CHECK_FAILS(pipeline_batch_set_rejected(batch, 1), PIPELINE_ERR_INVALID, "1");
    CHECK_FAILS(pipeline_batch_set_rejected(batch, SIZE_MAX), PIPELINE_ERR_INVALID, "1");
    CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_PENDING), PIPELINE_OK);
    CHECK_FAILS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
    WAIT_FOR(count_kept() == 1);
    batch = take_kept(0);
    CHECK(batch->token != token);
    CHECK_U64(batch->attempt, 2);
    CHECK_U64(metrics_of(p).bad_results, 1);
    CHECK_FAILS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
    token = batch->token;
    CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_OK);
    CHECK_FAILS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
    CHECK_FAILS(pipeline_batch_complete_at(token, 1, PIPELINE_STORE_REJECT), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.stored, 1);
    CHECK_U64(m.batches, 1);
    END(p);
    CHECK_FAILS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
}

/* The answer given inside store, before it returns. */
static int32_t at_once(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    if (batch->attempt == 1) {
        CHECK_STATUS(pipeline_batch_complete_at(batch->token, 1, PIPELINE_STORE_RETRY), PIPELINE_OK);
        CHECK_FAILS(pipeline_batch_complete(batch->token, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
    } else {
        CHECK_STATUS(pipeline_batch_complete(batch->token, PIPELINE_STORE_OK), PIPELINE_OK);
    }
    return PIPELINE_STORE_PENDING;
}

/* Answered inside store, which then returns another result: the first answer stands. */
static int32_t at_once_then_rejected(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    CHECK_STATUS(pipeline_batch_complete(batch->token, PIPELINE_STORE_OK), PIPELINE_OK);
    return PIPELINE_STORE_REJECT;
}

static void before_store_returned(int32_t (*answer)(recorder_t *, const pipeline_batch_t *))
{
    recorder_t *rec = recorder_new();
    pipeline_storage_t s;
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    s = recorder_storage(rec);
    c.retry_initial_us = 100;
    rec->answer = answer;
    p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 2000);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 2000);
    CHECK_U64(metrics_of(p).discarded, 0);
    END(p);
    recorder_free(rec);
}

/* A batch is stored a prefix at a time, each by the completion; each retry starts behind it, ends at the same event
 * and has the same id. */
static void in_part(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    uint64_t next = 0, id = 0;
    uint32_t attempt;
    c.retry_initial_us = 1;
    c.retry_limit = 100;
    rec.answer = keep;
    p = start_pipeline(&c, &s);
    capture_together(p, 0, 10);
    for (attempt = 1; next < 10; attempt++) {
        const pipeline_batch_t *batch;
        uint64_t first = 0, last = 0;
        WAIT_FOR(count_kept() == 1);
        batch = take_kept(0);
        CHECK_OR_STOP(batch != NULL);
        memcpy(&first, PIPELINE_BATCH_EVENT(batch, 0)->data, 8);
        memcpy(&last, PIPELINE_BATCH_EVENT(batch, batch->count - 1)->data, 8);
        CHECK_U64(first, next);
        CHECK_U64(last, 9);
        CHECK_U64(batch->count, 10 - next);
        CHECK_U64(batch->attempt, attempt);
        CHECK(attempt == 1 || batch->batch_id == id);
        id = batch->batch_id;
        if (attempt % 2 == 1) {
            CHECK_STATUS(pipeline_batch_complete_at(batch->token, 3, PIPELINE_STORE_RETRY), PIPELINE_OK);
            next += 3;
        } else if (batch->count == 4) {
            CHECK_STATUS(pipeline_batch_set_stored(batch, 1), PIPELINE_OK);
            CHECK_STATUS(pipeline_batch_complete(batch->token, PIPELINE_STORE_RETRY), PIPELINE_OK);
            next += 1;
        } else {
            CHECK_STATUS(pipeline_batch_complete(batch->token, PIPELINE_STORE_RETRY), PIPELINE_OK);
        }
        /* (An answer that comes before `store` has returned counts when it returns.) */
        WAIT_FOR(metrics_of(p).stored == next);
        CHECK_U64(metrics_of(p).in_flight, 10 - next);
    }
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 10);
    CHECK_U64(metrics_of(p).batches, 1);
    END(p);
}

/* Answers in random order from two threads, OK, RETRY, and with a prefix; everything is stored once in the end. */
static atomic_bool stop;
static unsigned char acknowledged[20000]; /* how often each number was acknowledged */

static void *answering(void *seed)
{
    unsigned rng = (unsigned)(uintptr_t)seed;
    while (!stop || count_kept() > 0) {
        const pipeline_batch_t *batch = take_kept((size_t)rand_r(&rng) % 8);
        size_t i, prefix;
        uint64_t n;
        if (batch == NULL && (batch = take_kept(0)) == NULL) {
            pause_a_little();
            continue;
        }
        prefix = rand_r(&rng) % 2 ? 0 : (size_t)rand_r(&rng) % (batch->count + 1);
        if (rand_r(&rng) % 4 != 0) {
            for (i = 0; i < batch->count; i++) {
                memcpy(&n, PIPELINE_BATCH_EVENT(batch, i)->data, 8);
                acknowledged[n]++;
            }
            CHECK_STATUS(pipeline_batch_complete_at(batch->token, prefix, PIPELINE_STORE_OK), PIPELINE_OK);
        } else {
            for (i = 0; i < prefix; i++) {
                memcpy(&n, PIPELINE_BATCH_EVENT(batch, i)->data, 8);
                acknowledged[n]++;
            }
            CHECK_STATUS(pipeline_batch_complete_at(batch->token, prefix, PIPELINE_STORE_RETRY), PIPELINE_OK);
        }
    }
    return NULL;
}

static void in_random_order(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    pthread_t threads[2];
    uint64_t n, wrong = 0;
    c.batch_size = 20;
    c.writers = 2;
    c.retry_initial_us = 10;
    c.retry_max_us = 100;
    c.retry_limit = 1000;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = PATIENCE_MS * 1000;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    rec.answer = keep;
    p = start_pipeline(&c, &s);
    threads[0] = start_thread(answering, (void *)1);
    threads[1] = start_thread(answering, (void *)2);
    capture_numbers(p, 0, sizeof acknowledged);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    stop = true;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    for (n = 0; n < sizeof acknowledged; n++)
        wrong += acknowledged[n] != 1;
    CHECK_U64(wrong, 0);
    CHECK_U64(metrics_of(p).stored, sizeof acknowledged);
    END(p);
}

/* pipeline_batch_try_complete never waits: it answers the batch, or returns BUSY without any effect. Another thread reads the metrics all
 * the while. */
static _Atomic int reading;

static void *reader(void *p)
{
    while (reading)
        metrics_of(p);
    return NULL;
}

static void without_waiting(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    pthread_t thread;
    uint64_t given = 0, busy = 0;
    rec.answer = keep;
    c.batch_size = 1;
    p = start_pipeline(&c, &s);
    reading = 1;
    CHECK_U64(pthread_create(&thread, NULL, reader, p), 0);
    for (uint32_t i = 0; i < 300; i++) {
        capture_numbers(p, i, i + 1);
        WAIT_FOR(count_kept() == 1);
        const pipeline_batch_t *batch = take_kept(0);
        const uint64_t token = batch->token;
        for (;;) {
            const int32_t status = pipeline_batch_try_complete(token, PIPELINE_STORE_OK);
            if (status == PIPELINE_OK)
                break;
            if (status != PIPELINE_ERR_BUSY)
                CHECK_STATUS(status, PIPELINE_OK);
            busy++;
        }
        given++;
        /* While the lock is busy the call returns BUSY; then it returns UNKNOWN_TOKEN. */
        int32_t again;
        do
            again = pipeline_batch_try_complete(token, PIPELINE_STORE_OK);
        while (again == PIPELINE_ERR_BUSY);
        CHECK_STATUS(again, PIPELINE_ERR_UNKNOWN_TOKEN);
    }
    reading = 0;
    pthread_join(thread, NULL);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, given);
    CHECK_U64(metrics_of(p).retries, 0);
    printf("%llu answers, busy %llu times\n", (unsigned long long)given, (unsigned long long)busy);
    END(p);
}

int main(void)
{
    never_issued(0);
    without_waiting();
    twice();
    before_store_returned(at_once);
    before_store_returned(at_once_then_rejected);
    in_part();
    in_random_order();
    return SUMMARY();
}
