/* Limits of the circuit breaker: a batch that waits for the circuit uses up no attempts but does age. Also: the failures that do not
 * open the circuit, and the configuration without a breaker. */
#include "circuit.h"

/* Batches that wait for the circuit reach their maximum age on time; they do not wait for the next probe, which would come in half an hour
 * at the earliest. Events that were never tried do not age. */
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
    capture_together(p, 0, 1000);
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

/* A dead_letter that fails as well does not wait for the circuit: each batch keeps its back-off and its retry limit, and is discarded. */
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
    capture_together(p, 0, 40);
    /* Tried once, then an hour of back-off. The batch is too old for a later attempt, but the dead letter has its own limits. */
    WAIT_FOR(RECORDED(&rec, dead_calls) == 4);
    WAIT_FOR(health_of(p).batches_retrying == 4);
    CHECK_U64(RECORDED(&rec, store_calls), 4);
    CHECK_U64(metrics_of(p).in_flight, 40);
    CHECK_FAILS(pipeline_close(p, 20), PIPELINE_ERR_TIMEOUT, "40 in flight");
    CHECK_U64(RECORDED(&rec, dead_calls), 4);
    CHECK_LEDGER(p);
    DESTROY_SOON(p);
}

/* Without a breaker the retry limit applies; the breaker can be turned on and off while the pipeline runs. */
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
    capture_together(p, 0, 1000);
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

/* A ring full of such batches does not keep the circuit open for another ring: the rings take turns as the probe. */
static int32_t never_of_kind_0(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    return PIPELINE_BATCH_EVENT(batch, 0)->kind == 0 ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

static void a_poisoned_ring(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_with(3, 20000, 20000);
    pipeline_producer_t *poisoned, *other;
    pipeline_t *p;
    uint64_t n, before, fresh = 0;
    c.batch_size = 1;
    rec.answer = never_of_kind_0;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_open(p, &poisoned), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_open(p, &other), PIPELINE_OK);
    for (n = 0; n < 40; n++)
        CHECK_STATUS(pipeline_producer_capture(poisoned, 0, &n, sizeof n), PIPELINE_OK);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).circuit_openings == 1);
    CHECK_STATUS(pipeline_producer_capture(other, 1, &n, sizeof n), PIPELINE_OK);
    before = RECORDED(&rec, seen.count);
    WAIT_FOR(metrics_of(p).stored == 1);
    pthread_mutex_lock(&rec.mutex);
    for (n = before; n < rec.seen.count && rec.seen.at[n].kind == 0; n++)
        fresh += rec.seen.at[n].attempt == 1;
    CHECK(n < rec.seen.count);
    pthread_mutex_unlock(&rec.mutex);
    /* One may have been under way, and one was the probe. */
    CHECK(fresh <= 2);
    CHECK_STATUS(pipeline_producer_close(poisoned), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_close(other), PIPELINE_OK);
    c.retry_limit = 1;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).discarded == 40);
    END(p);
}

/* Results that show that the storage works, although no batch is acknowledged as a whole: rejected batches, rejected events, a stored
 * prefix. PENDING shows nothing yet. */
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
        capture_together(p, 0, 10);
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    }
    m = metrics_of(p);
    CHECK_U64(m.circuit_openings, 0);
    CHECK_U64(m.stored + m.discarded, 200);
    CHECK(rec->store_calls >= 40);
    END(p);
}

int main(void)
{
    static recorder_t f = RECORDER_INIT, g = RECORDER_INIT;
    age_leads_to_the_dead_letter();
    a_dead_dead_letter();
    off_by_zero();
    a_poisoned_batch();
    a_poisoned_ring();
    signs_of_life(&f, lives);
    signs_of_life(&g, rejects_at_the_second);
    return SUMMARY();
}
