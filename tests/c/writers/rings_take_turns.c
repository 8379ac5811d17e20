/* A writer that finds several full rings serves them in turn. If the storage returns and answers quickly, it may claim a bounded number
 * of batches in a row from one ring; no ring is passed over. */
#include "../recorder.h"

#define RINGS 3
#define BATCH 16
#define BATCHES 64 /* that each ring holds at the beginning */
#define IN_A_ROW 8

static int row_of(uint64_t ring_id, const uint64_t *ids)
{
    int i;
    for (i = 0; i < RINGS; i++)
        if (ids[i] == ring_id)
            return i;
    return -1;
}

/* An answer that comes after a while: the storage's calls are short, but it is not quick. */
static _Atomic uint64_t awaited;
static int32_t later(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    awaited = batch->token;
    return PIPELINE_STORE_PENDING;
}

static void answer(uint64_t batches)
{
    uint64_t token;
    for (; batches > 0; batches--) {
        WAIT_FOR(awaited != 0);
        token = atomic_exchange(&awaited, 0);
        pause_a_little(); /* the while after which the answer comes */
        CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_OK);
    }
}

/* The batches of full rings: from which each came, in order. */
static void in_turn(recorder_t *r, int32_t (*answers)(recorder_t *, const pipeline_batch_t *))
{
    pipeline_config_t config = config_defaults();
    pipeline_storage_t storage = recorder_storage(r);
    pipeline_producer_t *producers[RINGS];
    pipeline_t *p = NULL;
    uint64_t ids[RINGS] = {0}, left[RINGS], missed[RINGS] = {0}, row = 0, n;
    int i, last = -1;
    size_t at;
    config.writers = 0;
    config.batch_size = BATCH;
    config.max_in_flight = 1;
    r->answer = answers;
    CHECK_STATUS(pipeline_start(&config, &storage, &p), PIPELINE_OK);
    for (i = 0; i < RINGS; i++) {
        CHECK_STATUS(pipeline_producer_open(p, &producers[i]), PIPELINE_OK);
        left[i] = BATCHES;
        for (n = 0; n < BATCH * BATCHES; n++)
            CHECK_STATUS(pipeline_producer_capture(producers[i], (uint32_t)i, &n, sizeof n), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    if (answers == later)
        answer(RINGS * BATCHES);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(r->seen.count, RINGS * BATCH * BATCHES);
    for (at = 0; at < r->seen.count; at++) {
        recorded_t *e = &r->seen.at[at];
        CHECK_OR_STOP(e->kind < RINGS);
        if (!ids[e->kind])
            ids[e->kind] = e->ring_id;
    }
    for (at = 0; at < r->seen.count; at += BATCH) {
        int here = row_of(r->seen.at[at].ring_id, ids);
        /* How long the first answers take is not known before they are there. */
        uint64_t most = answers == later && at >= IN_A_ROW * BATCH ? 1 : IN_A_ROW;
        /* Nor has what a ring has missed until then to do with what comes after. */
        if (answers == later && at == IN_A_ROW * BATCH)
            memset(missed, 0, sizeof missed), row = 0, last = -1;
        CHECK_OR_STOP(here >= 0);
        CHECK_U64(r->seen.at[at + BATCH - 1].ring_id, r->seen.at[at].ring_id);
        row = here == last ? row + 1 : 1;
        last = here;
        left[here]--;
        for (i = 0; i < RINGS; i++) {
            missed[i] = i == here || left[i] == 0 ? 0 : missed[i] + 1;
            CHECK(missed[i] <= (RINGS - 1) * most);
            CHECK(i == here || left[i] == 0 || row <= most);
        }
    }
    for (i = 0; i < RINGS; i++)
        CHECK_STATUS(pipeline_producer_close(producers[i]), PIPELINE_OK);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
}

int main(void)
{
    static recorder_t quick = RECORDER_INIT, slow = RECORDER_INIT;
    in_turn(&quick, NULL);
    in_turn(&slow, later);
    return SUMMARY();
}
