/* The circuit breaker: a storage that fails again and again is probed, one batch at a time and at a bounded pace, not
 * hammered; what waits uses up no attempts, but does grow old; when the storage works again all goes on without help, every
 * event once; and what does not open the circuit. */
#include "recorder.h"

static atomic_bool dead; /* the storage fails every attempt */

static int32_t if_alive(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    return dead ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

/* The same by another value, one that is no answer. */
static int32_t if_alive_or_nonsense(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    return dead ? -7 : PIPELINE_STORE_OK;
}

/* The same, answered by the token while the call still runs. (The recorder may not note it as stored.) */
static _Atomic uint64_t completed_events;
static int32_t if_alive_by_token(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    if (!dead)
        completed_events += batch->count;
    CHECK_STATUS(pipeline_batch_complete(batch->token, dead ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK), PIPELINE_OK);
    return PIPELINE_STORE_PENDING;
}

static atomic_int heard_open, heard_closed;
static void hear(void *user_data, int32_t level, const char *message)
{
    (void)user_data;
    if (level == PIPELINE_LOG_WARN && strstr(message, "the circuit is open") != NULL &&
        strstr(message, "breaker_failures is") != NULL)
        heard_open++;
    if (level == PIPELINE_LOG_INFO && strstr(message, "the circuit is closed") != NULL)
        heard_closed++;
}

#define CIRCUIT(p) metrics_of(p).circuit

static pipeline_config_t config_with(uint32_t failures, uint64_t initial_us, uint64_t longest_us)
{
    pipeline_config_t c = config_defaults();
    c.breaker_failures = failures;
    c.retry_initial_us = initial_us;
    c.retry_max_us = longest_us;
    c.retry_limit = UINT32_MAX;
    c.retry_max_age_ms = 3600000;
    c.poll_interval_ms = 60000;
    return c;
}

/* Thousands of events and dozens of batches wait for a dead storage. */
static void probed_not_hammered(recorder_t *rec, uint32_t writers, uint32_t flags,
                                int32_t (*answer)(recorder_t *, const pipeline_batch_t *))
{
    enum { FAILURES = 40, EVENTS = 4000, LONGEST_MS = 100 };
    pipeline_storage_t s = recorder_storage(rec);
    pipeline_config_t c = config_with(FAILURES, 10000, LONGEST_MS * 1000);
    pipeline_t *p;
    pipeline_metrics_t m;
    pipeline_health_t h;
    uint64_t began, calls, elapsed, most;
    int opened = heard_open, closed = heard_closed;
    c.writers = writers;
    c.batch_size = 10;
    s.flags = flags;
    rec->answer = answer;
    dead = true;
    completed_events = 0;
    CHECK_STATUS(pipeline_log_callback(hear, NULL, PIPELINE_LOG_INFO), PIPELINE_OK);
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 0, EVENTS);
    began = now_ms();
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).circuit_openings == 1);
    CHECK(health_of(p).batches_retrying >= FAILURES / 2);
    WAIT_FOR(metrics_of(p).circuit_probes >= 12);

    /* Before the circuit opened: FAILURES attempts, and what other writers had begun meanwhile. After: probes, no others. */
    m = metrics_of(p);
    calls = RECORDED(rec, store_calls);
    elapsed = now_ms() + 1 - began;
    CHECK(calls >= FAILURES);
    CHECK(m.circuit != PIPELINE_CIRCUIT_CLOSED);
    m = metrics_of(p);
    CHECK(calls <= FAILURES + writers - 1 + m.circuit_probes);
    /* The pauses are 10, 20, 40, 80 ms and then the longest, each shortened by at most half; one probe may just have begun. */
    most = 5 + elapsed / (LONGEST_MS / 2);
    CHECK(calls <= FAILURES + writers - 1 + most);
    CHECK_U64(m.stored, 0);
    CHECK_U64(m.circuit_openings, 1);
    CHECK(m.in_flight >= 200 && m.in_flight < EVENTS);
    CHECK(m.in_flight + m.buffered == EVENTS);
    CHECK_U64(m.dead_lettered + m.discarded, 0);

    h = health_of(p);
    CHECK_U64(h.status, PIPELINE_FAILING);
    CHECK_U64(h.reasons & PIPELINE_HEALTH_CIRCUIT_OPEN, PIPELINE_HEALTH_CIRCUIT_OPEN);
    CHECK(h.circuit == PIPELINE_CIRCUIT_OPEN || h.circuit == PIPELINE_CIRCUIT_HALF_OPEN);
    CHECK_HAS(h.message, "circuit is open");
    CHECK_U64(heard_open, opened + 1);
    CHECK_U64(heard_closed, closed);

    /* Whoever waits keeps his timeout, whoever does not goes on. */
    CHECK_FAILS(pipeline_flush(p, 30), PIPELINE_ERR_TIMEOUT, "30 ms");
    CHECK_STATUS(pipeline_scale(p, writers + 2), PIPELINE_OK);
    CHECK_STATUS(pipeline_scale(p, writers), PIPELINE_OK);
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    capture_numbers(p, EVENTS, EVENTS + 100);

    /* One call at a time, and no other while it lasts. */
    recorder_hold(rec);
    WAIT_FOR(RECORDED(rec, waiting) == 1);
    WAIT_FOR(CIRCUIT(p) == PIPELINE_CIRCUIT_HALF_OPEN);
    calls = RECORDED(rec, store_calls);
    m = metrics_of(p);
    CHECK_HAS(health_of(p).message, "is the probe");
    capture_numbers(p, EVENTS + 100, EVENTS + 200);
    CHECK_FAILS(pipeline_flush(p, 60), PIPELINE_ERR_TIMEOUT, "60 ms");
    CHECK_U64(RECORDED(rec, store_calls), calls);
    CHECK_U64(metrics_of(p).circuit_probes, m.circuit_probes);

    /* It works again: that probe is kept, and all goes on without help. */
    dead = false;
    recorder_let_go(rec);
    WAIT_FOR(metrics_of(p).stored == EVENTS + 200);
    m = metrics_of(p);
    CHECK_U64(m.circuit, PIPELINE_CIRCUIT_CLOSED);
    CHECK_U64(m.circuit_openings, 1);
    CHECK_U64(heard_open, opened + 1);
    CHECK_U64(heard_closed, closed + 1);
    h = health_of(p);
    CHECK_U64(h.status, PIPELINE_HEALTHY);
    CHECK(strcmp(h.message, "healthy") == 0);
    CHECK_LEDGER(p);
    END(p);
    CHECK_STATUS(pipeline_log_callback(NULL, NULL, 0), PIPELINE_OK);
    if (answer == if_alive_by_token)
        CHECK_U64(completed_events, EVENTS + 200);
    else
        CHECK_VALUES(&rec->stored, 0, EVENTS + 200);
}

/* Outage after outage, each with a single batch. The rounds together must end within the patience of one: whoever leaves
 * a probe to the supervisor's look around does not make it. */
static _Atomic uint64_t pending_token;
static int32_t answered_later(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    pending_token = batch->token;
    return PIPELINE_STORE_PENDING;
}

static atomic_bool answering;
static void *answers(void *unused)
{
    while (answering) {
        uint64_t token = atomic_exchange(&pending_token, 0);
        if (token != 0)
            CHECK_STATUS(pipeline_batch_complete(token, dead ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK), PIPELINE_OK);
        sched_yield();
    }
    return unused;
}

static void recovery_without_help(uint32_t writers, uint32_t flags, uint32_t ordering, bool later)
{
    enum { ROUNDS = 60 };
    static recorder_t recs[8];
    static int used;
    static const recorder_t fresh = RECORDER_INIT;
    recorder_t *rec = &recs[used++];
    pipeline_storage_t s;
    pipeline_config_t c = config_with(3, 1000, 2000);
    pipeline_t *p;
    pthread_t thread;
    uint64_t round, deadline;
    *rec = fresh;
    s = recorder_storage(rec);
    s.flags = flags;
    c.writers = writers;
    c.ordering = ordering;
    rec->answer = later ? answered_later : if_alive;
    dead = true;
    answering = later;
    p = start_pipeline(&c, &s);
    if (later)
        thread = start_thread(answers, NULL);
    deadline = now_ms() + PATIENCE_MS;
    for (round = 0; round < ROUNDS && now_ms() < deadline; round++) {
        dead = true;
        CHECK_STATUS(capture_number(p, round), PIPELINE_OK);
        while (metrics_of(p).circuit_openings <= round && now_ms() < deadline)
            pause_a_little();
        dead = false;
        while (metrics_of(p).stored <= round && now_ms() < deadline)
            pause_a_little();
    }
    CHECK_U64(round, ROUNDS);
    CHECK_U64(metrics_of(p).stored, ROUNDS);
    CHECK_U64(metrics_of(p).circuit_openings, ROUNDS);
    CHECK(metrics_of(p).circuit_probes >= ROUNDS);
    END(p);
    if (later) {
        answering = false;
        pthread_join(thread, NULL);
    } else {
        CHECK_VALUES(&rec->stored, 0, ROUNDS);
    }
}

/* Batches that wait for the circuit become too old, at their time and not at a probe's: the next of those would be in half an
 * hour at the earliest. What was never tried does not. */
static void age_leads_to_the_dead_letter(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_with(4, 3600000000u, 3600000000u);
    pipeline_t *p;
    size_t i;
    c.batch_size = 10;
    c.retry_max_age_ms = 100;
    s.dead_letter = recorder_dead_letter;
    rec.answer = if_alive;
    dead = true;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 0, 1000);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    WAIT_FOR(RECORDED(&rec, dead.count) == 40);
    WAIT_FOR(metrics_of(p).dead_lettered == 40);
    CHECK_U64(RECORDED(&rec, store_calls), 4);
    CHECK_U64(metrics_of(p).circuit_probes, 0);
    CHECK_U64(metrics_of(p).buffered, 960);
    CHECK_U64(metrics_of(p).in_flight, 0);
    CHECK_LEDGER(p);
    /* A shorter pause takes effect at once. */
    dead = false;
    c.retry_max_us = 1000;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).stored == 960);
    END(p);
    for (i = 0; i < rec.dead.count; i++)
        CHECK_U64(rec.dead.at[i].reason, PIPELINE_REASON_RETRY_AGE);
    CHECK_VALUES(&rec.dead, 0, 40);
    CHECK_VALUES(&rec.stored, 40, 1000);
}

/* A dead letter that fails as well is not held up by the circuit, nor does it hammer: each batch keeps its back-off and its
 * budget, and is discarded. */
static int32_t dead_letter_is_dead_too(recorder_t *r, const pipeline_batch_t *batch, int32_t reason)
{
    (void)r;
    (void)batch;
    CHECK_U64(reason, PIPELINE_REASON_RETRY_AGE);
    return PIPELINE_STORE_RETRY;
}

static void a_dead_dead_letter(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_with(4, 3600000000u, 3600000000u);
    pipeline_t *p;
    c.batch_size = 10;
    c.retry_max_age_ms = 50;
    s.dead_letter = recorder_dead_letter;
    rec.answer = if_alive;
    rec.dead_answer = dead_letter_is_dead_too;
    dead = true;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 0, 40);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    /* Tried once, then an hour's back-off; the age says that there is no use in a later one, but its budget is its own. */
    WAIT_FOR(RECORDED(&rec, dead_calls) == 4);
    WAIT_FOR(health_of(p).batches_retrying == 4);
    CHECK_U64(RECORDED(&rec, store_calls), 4);
    CHECK_U64(metrics_of(p).in_flight, 40);
    CHECK_FAILS(pipeline_close(p, 20), PIPELINE_ERR_TIMEOUT, "40 in flight");
    CHECK_U64(RECORDED(&rec, dead_calls), 4);
    CHECK_LEDGER(p);
    DESTROY_SOON(p);
}

/* Without a breaker attempts are what counts; it can be turned on and off while the pipeline runs. */
static void off_by_zero(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_with(0, 10, 100);
    pipeline_t *p;
    c.batch_size = 10;
    c.retry_limit = 5;
    s.dead_letter = recorder_dead_letter;
    rec.answer = if_alive;
    dead = true;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 0, 1000);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(rec.store_calls, 500);
    CHECK_U64(metrics_of(p).dead_lettered, 1000);
    CHECK_U64(metrics_of(p).circuit_openings, 0);
    CHECK_U64(metrics_of(p).circuit_probes, 0);

    c.breaker_failures = 3;
    c.retry_initial_us = c.retry_max_us = 3600000000u;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    /* The failures in a row from before count. */
    capture_numbers(p, 1000, 1001);
    WAIT_FOR(CIRCUIT(p) == PIPELINE_CIRCUIT_OPEN);
    dead = false;
    capture_numbers(p, 1001, 1100);
    CHECK_FAILS(pipeline_flush(p, 20), PIPELINE_ERR_TIMEOUT, "");
    CHECK_U64(metrics_of(p).stored, 0);
    c.breaker_failures = 0;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    CHECK_U64(CIRCUIT(p), PIPELINE_CIRCUIT_CLOSED);
    WAIT_FOR(metrics_of(p).stored == 100);
    CHECK_U64(metrics_of(p).circuit_openings, 1);
    END(p);
    CHECK_VALUES(&rec.stored, 1000, 1100);
}

/* A batch that can never be stored opens the circuit when it is alone, but does not keep it open for the others. */
static int32_t never_the_first(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    return batch->batch_id <= 2 ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

static void a_poisoned_batch(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_with(3, 1000, 2000);
    pipeline_t *p;
    c.batch_size = 1;
    s.dead_letter = recorder_dead_letter;
    rec.answer = never_the_first;
    p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 2);
    WAIT_FOR(metrics_of(p).circuit_openings == 1);
    WAIT_FOR(metrics_of(p).circuit_probes >= 5);
    capture_numbers(p, 2, 500);
    WAIT_FOR(metrics_of(p).stored == 498);
    CHECK_U64(metrics_of(p).in_flight, 2);
    c.retry_limit = 1;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).dead_lettered == 2);
    END(p);
    CHECK_VALUES(&rec.stored, 2, 500);
    CHECK_VALUES(&rec.dead, 0, 2);
}

/* What shows that the storage lives, though nothing is acknowledged as a whole: rejected batches, rejected events, a stored
 * prefix. And what is not an answer yet: PENDING. */
static int32_t lives(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    switch (batch->attempt % 4) {
    case 0: CHECK_STATUS(pipeline_batch_set_rejected(batch, batch->count - 1), PIPELINE_OK); break;
    case 2: CHECK_STATUS(pipeline_batch_set_stored(batch, 1), PIPELINE_OK); break;
    }
    return PIPELINE_STORE_RETRY;
}

static int32_t rejects_at_the_second(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    return batch->attempt < 2 ? PIPELINE_STORE_RETRY : PIPELINE_STORE_REJECT;
}

static void signs_of_life(recorder_t *rec, int32_t (*answer)(recorder_t *, const pipeline_batch_t *))
{
    pipeline_storage_t s = recorder_storage(rec);
    pipeline_config_t c = config_with(2, 10, 100);
    pipeline_t *p;
    pipeline_metrics_t m;
    int i;
    rec->answer = answer;
    p = start_pipeline(&c, &s);
    for (i = 0; i < 20; i++) {
        CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
        capture_numbers(p, 0, 10);
        CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    }
    m = metrics_of(p);
    CHECK_U64(m.circuit_openings, 0);
    CHECK_U64(m.stored + m.discarded, 200);
    CHECK(rec->store_calls >= 40);
    END(p);
}

/* A callback that ends its thread fails as well. */
static int32_t deadly(void *user_data, const pipeline_batch_t *batch)
{
    if (dead)
        pthread_exit(NULL);
    return recorder_store(user_data, batch);
}

static void deaths(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_with(4, 1000, 5000);
    pipeline_t *p;
    s.store = deadly;
    dead = true;
    p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 100);
    WAIT_FOR(metrics_of(p).circuit_openings == 1);
    WAIT_FOR(metrics_of(p).circuit_probes >= 2);
    CHECK(metrics_of(p).writer_restarts >= 5);
    dead = false;
    WAIT_FOR(metrics_of(p).stored == 100);
    CHECK_U64(CIRCUIT(p), PIPELINE_CIRCUIT_CLOSED);
    END(p);
    CHECK_VALUES(&rec.stored, 0, 100);
}

/* A probe that is never answered makes way for the next after storage_deadline_ms; its late answer counts. */
static _Atomic uint64_t first_token;
static atomic_bool keeps_waiting;
static int32_t kept_waiting(recorder_t *r, const pipeline_batch_t *batch)
{
    uint64_t none = 0;
    (void)r;
    if (!keeps_waiting)
        return PIPELINE_STORE_RETRY;
    if (atomic_compare_exchange_strong(&first_token, &none, batch->token))
        return PIPELINE_STORE_PENDING;
    return PIPELINE_STORE_RETRY;
}

static void a_probe_without_an_answer(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_with(3, 1000, 5000);
    pipeline_t *p;
    uint64_t probes;
    c.storage_deadline_ms = 20;
    c.batch_size = 10;
    rec.answer = kept_waiting;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 0, 100);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).circuit_openings == 1);
    keeps_waiting = true;
    WAIT_FOR(first_token != 0);
    probes = metrics_of(p).circuit_probes;
    WAIT_FOR(metrics_of(p).circuit_probes >= probes + 3);
    CHECK(CIRCUIT(p) != PIPELINE_CIRCUIT_CLOSED);
    CHECK_U64(metrics_of(p).in_doubt, 10);
    rec.answer = if_alive;
    dead = true;
    CHECK_STATUS(pipeline_batch_complete(first_token, PIPELINE_STORE_OK), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).stored == 10);
    /* It closed the circuit; the dead storage opens it again. */
    WAIT_FOR(metrics_of(p).circuit_openings == 2);
    dead = false;
    WAIT_FOR(metrics_of(p).stored == 100);
    END(p);
}

/* Close keeps its timeout while the circuit is open, and drains by probes. */
static void *heals(void *p)
{
    uint64_t before = metrics_of((pipeline_t *)p).circuit_probes;
    /* Close is at work in the other thread: the storage is probed meanwhile as before. */
    WAIT_FOR(metrics_of((pipeline_t *)p).circuit_probes >= before + 3);
    dead = false;
    return NULL;
}

static void close_drains_by_probes(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_with(5, 1000, 10000);
    pipeline_t *p;
    pthread_t thread;
    c.batch_size = 10;
    rec.answer = if_alive;
    dead = true;
    p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 500);
    WAIT_FOR(metrics_of(p).circuit_openings == 1);
    CHECK_FAILS(pipeline_close(p, 30), PIPELINE_ERR_TIMEOUT, "in flight");
    CHECK_LEDGER(p);
    CHECK_U64(metrics_of(p).stored, 0);
    thread = start_thread(heals, p);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    pthread_join(thread, NULL);
    CHECK_LEDGER(p);
    CHECK_U64(metrics_of(p).stored, 500);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_VALUES(&rec.stored, 0, 500);
}

int main(void)
{
    static recorder_t a = RECORDER_INIT, b = RECORDER_INIT, d = RECORDER_INIT, e = RECORDER_INIT, f = RECORDER_INIT,
                      g = RECORDER_INIT;
    const uint32_t concurrent = PIPELINE_STORAGE_CONCURRENT;
    probed_not_hammered(&a, 1, 0, if_alive);
    probed_not_hammered(&b, 4, concurrent, if_alive);
    probed_not_hammered(&d, 2, 0, if_alive_or_nonsense);
    probed_not_hammered(&e, 3, concurrent, if_alive_by_token);
    recovery_without_help(1, 0, PIPELINE_ORDERING_NONE, false);
    recovery_without_help(3, 0, PIPELINE_ORDERING_PER_PRODUCER, false);
    recovery_without_help(3, concurrent, PIPELINE_ORDERING_NONE, false);
    recovery_without_help(1, 0, PIPELINE_ORDERING_NONE, true);
    recovery_without_help(3, concurrent, PIPELINE_ORDERING_PER_PRODUCER, true);
    age_leads_to_the_dead_letter();
    a_dead_dead_letter();
    off_by_zero();
    a_poisoned_batch();
    signs_of_life(&f, lives);
    signs_of_life(&g, rejects_at_the_second);
    deaths();
    a_probe_without_an_answer();
    close_drains_by_probes();
    return SUMMARY();
}
