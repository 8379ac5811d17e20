/* The circuit breaker: a storage that keeps failing is probed with one batch at a time, at a bounded rate. When it works again, the
 * pipeline recovers by itself, and every event is stored once. */
#include "circuit.h"

/* Fails by a value that is no valid result. */
static int32_t if_alive_or_nonsense(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    return dead ? -7 : PIPELINE_STORE_OK;
}

/* Answers by the token while the call still runs. (The recorder must not count the events as stored.) */
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

/* Thousands of events wait for a storage that fails. */
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
    CHECK(health_of(p).batches_retrying >= 1);
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
    CHECK(m.in_flight >= c.batch_size && m.in_flight < EVENTS);
    CHECK(m.in_flight + m.buffered == EVENTS);
    CHECK_U64(m.dead_lettered + m.discarded, 0);

    h = health_of(p);
    CHECK_U64(h.status, PIPELINE_FAILING);
    CHECK_U64(h.reasons & PIPELINE_HEALTH_CIRCUIT_OPEN, PIPELINE_HEALTH_CIRCUIT_OPEN);
    CHECK(h.circuit == PIPELINE_CIRCUIT_OPEN || h.circuit == PIPELINE_CIRCUIT_HALF_OPEN);
    CHECK_HAS(h.message, "circuit is open");
    CHECK_U64(heard_open, opened + 1);
    CHECK_U64(heard_closed, closed);

    /* Calls that wait keep their timeout; calls that do not wait return at once. */
    CHECK_FAILS(pipeline_flush(p, 30), PIPELINE_ERR_TIMEOUT, "30 ms");
    CHECK_STATUS(pipeline_scale(p, writers + 2), PIPELINE_OK);
    CHECK_STATUS(pipeline_scale(p, writers), PIPELINE_OK);
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    capture_numbers(p, EVENTS, EVENTS + 100);

    /* A probe is a single call; no other call starts before it ends. */
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

    /* The storage works again: the probe succeeds, and the pipeline recovers by itself. */
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

/* Outage after outage, each with a single batch. All rounds together must end within the patience of one: they would not if the supervisor,
 * which looks once a second, had to start the probes. */
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

/* A callback that ends its thread counts as a failure. */
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

/* A probe without an answer is given up after storage_deadline_ms, and the next one follows. A late answer counts. */
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
    capture_together(p, 0, 100);
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
    /* The late answer closed the circuit; the storage still fails, and opens it again. */
    WAIT_FOR(metrics_of(p).circuit_openings == 2);
    dead = false;
    WAIT_FOR(metrics_of(p).stored == 100);
    END(p);
}

/* Close keeps its timeout while the circuit is open, and drains by probes. */
static void *heals(void *p)
{
    uint64_t before = metrics_of((pipeline_t *)p).circuit_probes;
    /* pipeline_close runs in the other thread; the probes go on meanwhile. */
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
    static recorder_t a = RECORDER_INIT, b = RECORDER_INIT, d = RECORDER_INIT, e = RECORDER_INIT;
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
    deaths();
    a_probe_without_an_answer();
    close_drains_by_probes();
    return SUMMARY();
}
