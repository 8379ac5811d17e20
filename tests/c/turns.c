/* Whose turn it is: a writer that finds several full rings serves each in turn. Where the storage is quick it may take some
 * batches in a row from one, but only so many, and nobody is passed over. */
#include "recorder.h"

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

/* The batches of full rings: from which each came, in order. */
static void in_turn(recorder_t *r)
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
    CHECK_STATUS(pipeline_start(&config, &storage, &p), PIPELINE_OK);
    for (i = 0; i < RINGS; i++) {
        CHECK_STATUS(pipeline_producer_open(p, &producers[i]), PIPELINE_OK);
        left[i] = BATCHES;
        for (n = 0; n < BATCH * BATCHES; n++)
            CHECK_STATUS(pipeline_producer_capture(producers[i], (uint32_t)i, &n, sizeof n), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(r->stored.count, RINGS * BATCH * BATCHES);
    for (at = 0; at < r->stored.count; at++) {
        recorded_t *e = &r->stored.at[at];
        CHECK_OR_STOP(e->kind < RINGS);
        if (!ids[e->kind])
            ids[e->kind] = e->ring_id;
    }
    for (at = 0; at < r->stored.count; at += BATCH) {
        int here = row_of(r->stored.at[at].ring_id, ids);
        CHECK_OR_STOP(here >= 0);
        CHECK_U64(r->stored.at[at + BATCH - 1].ring_id, r->stored.at[at].ring_id);
        row = here == last ? row + 1 : 1;
        last = here;
        left[here]--;
        for (i = 0; i < RINGS; i++) {
            missed[i] = i == here || left[i] == 0 ? 0 : missed[i] + 1;
            CHECK(missed[i] <= (RINGS - 1) * IN_A_ROW);
            CHECK(i == here || left[i] == 0 || row <= IN_A_ROW);
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
    static recorder_t r = RECORDER_INIT;
    in_turn(&r);
    return SUMMARY();
}
