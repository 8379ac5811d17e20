/* What is kept for events with priority: a place in flight, a writer, and the next call where there is one place alone, or an open circuit. */
#include "priority.h"

static int32_t ordinary_pending(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    return PIPELINE_BATCH_EVENT(batch, 0)->flags == 0 ? PIPELINE_STORE_PENDING : PIPELINE_STORE_OK;
}

/* Answers all that is pending, until everything is settled. */
static void answer_all(pipeline_t *p)
{
    size_t answered = 0;
    while (metrics_of(p).stored < metrics_of(p).captured && checks_failed == 0) {
        uint64_t token = 0;
        pthread_mutex_lock(&rec->mutex);
        if (answered < rec->seen.count) {
            token = rec->seen.at[answered].flags == 0 ? rec->seen.at[answered].token : 0;
            answered++;
        }
        pthread_mutex_unlock(&rec->mutex);
        if (token != 0)
            CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_OK);
        else
            pause_a_little();
    }
}

static void a_place_in_flight_is_kept(void)
{
    pipeline_config_t c = small(1);
    pipeline_t *p;
    uint64_t n;
    c.max_in_flight = 4;
    p = begin(&c, 0);
    rec->answer = ordinary_pending;
    CHECK_STATUS(capture(p, 0, PRIORITY), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    for (n = 0; n < 10; n++)
        CHECK_STATUS(capture(p, n, 0), PIPELINE_OK);
    WAIT_FOR(seen_of(0) == 3);
    for (n = 1; n < 50; n++) {
        CHECK_STATUS(capture(p, n, PRIORITY), PIPELINE_OK);
        WAIT_FOR(seen_of(PRIORITY) == n + 1);
    }
    CHECK_U64(seen_of(0), 3);
    CHECK_U64(metrics_of(p).in_flight, 3);
    answer_all(p);
    end(p);
}

/* Nothing can be kept where there is one place: what comes next is theirs. */
static void with_one_place_the_next_batch_is_theirs(void)
{
    pipeline_config_t c = small(1);
    pipeline_t *p;
    uint64_t token;
    c.max_in_flight = 1;
    p = begin(&c, 0);
    rec->answer = ordinary_pending;
    CHECK_STATUS(capture(p, 0, 0), PIPELINE_OK);
    WAIT_FOR(seen_of(0) == 1);
    CHECK_STATUS(capture(p, 1, 0), PIPELINE_OK);
    CHECK_STATUS(capture(p, 0, PRIORITY), PIPELINE_OK);
    pthread_mutex_lock(&rec->mutex);
    token = rec->seen.at[0].token;
    pthread_mutex_unlock(&rec->mutex);
    CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_OK);
    WAIT_FOR(seen_of(0) == 2);
    CHECK_U64(rec->seen.at[1].flags, PRIORITY);
    rec->answer = NULL;
    CHECK_STATUS(pipeline_batch_complete(rec->seen.at[2].token, PIPELINE_STORE_OK), PIPELINE_OK);
    end(p);
}

static void a_writer_is_kept(void)
{
    pipeline_config_t c = small(3);
    pipeline_t *p = begin(&c, PIPELINE_STORAGE_CONCURRENT);
    uint64_t n;
    CHECK_STATUS(capture(p, 0, PRIORITY), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    pthread_mutex_lock(&rec->mutex);
    rec->hold = true;
    pthread_mutex_unlock(&rec->mutex);
    for (n = 0; n < 5; n++)
        CHECK_STATUS(capture(p, n, 0), PIPELINE_OK);
    WAIT_FOR(seen_of(0) == 2);
    /* Each of these may wake the third writer, which leaves them. */
    for (n = 0; n < 200; n++) {
        CHECK_STATUS(capture(p, n, 0), PIPELINE_OK);
        pause_a_little();
    }
    CHECK_U64(seen_of(0), 2);
    CHECK_STATUS(capture(p, 1, PRIORITY), PIPELINE_OK);
    WAIT_FOR(seen_of(PRIORITY) == 2);
    CHECK_U64(seen_of(0), 2);
    recorder_let_go(rec);
    end(p);
}

/* Without events with priority, nothing is kept. */
static void nothing_is_kept_without_them(void)
{
    pipeline_config_t c = small(3);
    pipeline_t *p = begin(&c, PIPELINE_STORAGE_CONCURRENT);
    uint64_t n;
    rec->hold = true;
    for (n = 0; n < 5; n++)
        CHECK_STATUS(capture(p, n, 0), PIPELINE_OK);
    WAIT_FOR(seen_of(0) == 3);
    recorder_let_go(rec);
    end(p);
}

/* The first event with priority fails. */
static int32_t first_fails(recorder_t *r, const pipeline_batch_t *batch)
{
    const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, 0);
    (void)r;
    return e->flags == PRIORITY && e->sequence == 0 ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

/* While the circuit is open, one batch goes to the storage at a time. */
static void the_batch_that_tries_an_open_circuit_is_theirs(void)
{
    pipeline_config_t c = small(1);
    pipeline_t *p;
    c.breaker_failures = 1;
    c.retry_limit = 1;
    p = begin(&c, 0);
    rec->answer = first_fails;
    CHECK_STATUS(capture(p, 0, PRIORITY), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).discarded == 1);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    CHECK_STATUS(capture(p, 1, 0), PIPELINE_OK);
    CHECK_STATUS(capture(p, 2, PRIORITY), PIPELINE_OK);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(rec->seen.count, 3);
    CHECK_U64(rec->seen.at[1].value, 2);
    CHECK_U64(rec->seen.at[2].value, 1);
    end(p);
}

int main(void)
{
    a_place_in_flight_is_kept();
    with_one_place_the_next_batch_is_theirs();
    a_writer_is_kept();
    nothing_is_kept_without_them();
    the_batch_that_tries_an_open_circuit_is_theirs();
    return SUMMARY();
}
