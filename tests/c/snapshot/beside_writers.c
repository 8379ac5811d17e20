/* Snapshots of a pipeline whose writers run: each has what is not stored yet. Every event that was captured before a snapshot is in it or was stored by its
 * end, and what both have is the same. In a callback of the storage it works as elsewhere. */
#include "../recorder.h"
#include "snapshots.h"

enum { THREADS = 2, EACH = 20000, ROUNDS = 20 };

typedef struct {
    pipeline_t *p;
    pthread_t thread;
    uint64_t who;
    _Atomic uint64_t done;
} capturer_t;

static capturer_t capturers[THREADS];

/* Of event n of a thread: the sequence under which the storage has got it, plus one; 0: it has not, yet. */
static _Atomic uint64_t stored[THREADS][EACH];
static _Atomic uint64_t stored_ring[THREADS][EACH];
static uint64_t generation;

static bool to_who_and_n(const void *data, size_t len, uint64_t *who, uint64_t *n)
{
    if (len < 16)
        return false;
    memcpy(who, data, 8);
    memcpy(n, (const char *)data + 8, 8);
    return *who < THREADS && *n < EACH;
}

static int32_t note(recorder_t *r, const pipeline_batch_t *batch)
{
    size_t i;
    uint64_t who = 0, n = 0;
    if (batch->batch_id % 5 == 0 && batch->attempt == 1)
        return PIPELINE_STORE_RETRY;
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        CHECK_OR_STOP(to_who_and_n(e->data, e->len, &who, &n));
        CHECK_U64(stored[who][n], 0);
        stored_ring[who][n] = e->ring_id;
        stored[who][n] = e->sequence + 1;
    }
    (void)r;
    return PIPELINE_STORE_OK;
}

static void *capture(void *argument)
{
    capturer_t *c = argument;
    uint64_t words[MOST_WORDS], n;
    for (n = 0; n < EACH; n++) {
        pipeline_event_t e = proving_event(c->who, n, words);
        if (!CHECK_STATUS(pipeline_capture_event(c->p, &e), PIPELINE_OK))
            break;
        c->done = n + 1;
    }
    return NULL;
}

typedef struct {
    bool has[THREADS][EACH];
    uint64_t ring[THREADS][EACH], sequence[THREADS][EACH];
} found_t;

static void see(void *with, const pipeline_reader_event_t *e)
{
    found_t *found = with;
    uint64_t who = 0, n = 0;
    CHECK_OR_STOP(proves_itself(e, &who, &n) && to_who_and_n(e->data, e->len, &who, &n));
    CHECK(!found->has[who][n]);
    found->has[who][n] = true;
    found->ring[who][n] = e->ring_id;
    found->sequence[who][n] = e->sequence;
    CHECK_U64(e->generation, generation);
}

static void beside_writers(uint32_t ordering, uint64_t ring_bytes)
{
    static recorder_t recorder = RECORDER_INIT;
    static found_t all;
    int round, rounds = count_of(ROUNDS, 2);
    uint64_t i, n, missing = 0, differ = 0, snapshots_had = 0;
    pipeline_t *p = NULL;
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s = recorder_storage(&recorder);
    memset(&all, 0, sizeof all);
    memset(stored, 0, sizeof stored);
    recorder.answer = note;
    c.writers = 2;
    c.batch_size = 50;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = 60000000;
    c.ring_bytes = ring_bytes;
    c.ordering = ordering;
    c.retry_limit = 1000;
    c.retry_initial_us = 100;
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK));
    for (i = 0; i < THREADS; i++) {
        capturers[i] = (capturer_t){.p = p, .who = i};
        capturers[i].thread = start_thread(capture, &capturers[i]);
    }
    for (round = 0; round < rounds; round++) {
        static found_t found;
        uint64_t before[THREADS];
        pipeline_snapshot_t made;
        memset(&found, 0, sizeof found);
        WAIT_FOR(capturers[0].done >= (uint64_t)round * (EACH / ROUNDS));
        for (i = 0; i < THREADS; i++)
            before[i] = capturers[i].done;
        made = snapshot(p, "snap", NULL);
        generation = made.generation;
        CHECK_U64(each_event("snap", see, &found), made.events);
        CHECK_U64(remove_snapshots("snap"), 1);
        snapshots_had += made.events;
        for (i = 0; i < THREADS; i++)
            for (n = 0; n < EACH; n++) {
                if (found.has[i][n]) {
                    all.has[i][n] = true;
                    all.ring[i][n] = found.ring[i][n];
                    all.sequence[i][n] = found.sequence[i][n];
                } else if (n < before[i]) {
                    missing += stored[i][n] == 0;
                }
            }
    }
    CHECK_U64(missing, 0);
    CHECK(snapshots_had > 0);
    for (i = 0; i < THREADS; i++)
        CHECK_OR_STOP(pthread_join(capturers[i].thread, NULL) == 0);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, THREADS * EACH);
    CHECK_LEDGER(p);
    for (i = 0; i < THREADS; i++)
        for (n = 0; n < EACH; n++)
            differ += all.has[i][n] && (all.ring[i][n] != stored_ring[i][n] || all.sequence[i][n] + 1 != stored[i][n]);
    CHECK_U64(differ, 0);
    END(p);
}

/* What a storage holds is in flight, and in the snapshot. */
static void while_a_call_is_held(void)
{
    static recorder_t recorder = RECORDER_INIT;
    uint64_t words[MOST_WORDS], n;
    pipeline_t *p = NULL;
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s = recorder_storage(&recorder);
    static found_t found;
    memset(&found, 0, sizeof found);
    c.writers = 1;
    c.batch_size = 10;
    recorder_hold(&recorder);
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK));
    for (n = 0; n < 100; n++) {
        pipeline_event_t e = proving_event(0, n, words);
        CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK);
    }
    WAIT_FOR(metrics_of(p).in_flight > 0);
    generation = snapshot(p, "held", NULL).generation;
    CHECK_U64(each_event("held", see, &found), 100);
    recorder_let_go(&recorder);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(snapshot(p, "held", NULL).events, 0);
    CHECK_U64(each_event("held", NULL, NULL), 100);
    CHECK_U64(remove_snapshots("held"), 2);
    END(p);
}

static int32_t snapshot_inside(recorder_t *r, const pipeline_batch_t *batch)
{
    static found_t found;
    pipeline_snapshot_t made = snapshot(r->extra, "inside", NULL);
    memset(&found, 0, sizeof found);
    generation = batch->generation;
    CHECK_U64(made.generation, generation);
    CHECK(made.events >= batch->count);
    CHECK_U64(each_event("inside", see, &found), made.events);
    CHECK_U64(remove_snapshots("inside"), 1);
    return PIPELINE_STORE_OK;
}

static void in_a_callback(void)
{
    static recorder_t recorder = RECORDER_INIT;
    uint64_t words[MOST_WORDS], n;
    pipeline_t *p = NULL;
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s = recorder_storage(&recorder);
    c.writers = 0;
    recorder.answer = snapshot_inside;
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK));
    recorder.extra = p;
    for (n = 0; n < 100; n++) {
        pipeline_event_t e = proving_event(1, n, words);
        CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 100);
    END(p);
}

int main(void)
{
    while_a_call_is_held();
    in_a_callback();
    beside_writers(PIPELINE_ORDERING_PER_PRODUCER, 1 << 16);
    beside_writers(PIPELINE_ORDERING_NONE, 1 << 20);
    return SUMMARY();
}
