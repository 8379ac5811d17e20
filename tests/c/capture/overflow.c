/* The overflow policies: which events a full ring keeps, and what each policy counts. */
#include "../recorder.h"

static void overflow(uint32_t policy)
{
    recorder_t *rec = recorder_new();
    pipeline_storage_t s;
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    pipeline_metrics_t m;
    uint64_t n, ok = 0, first_full = 0;
    size_t i;
    s = recorder_storage(rec);
    c.ring_bytes = 8192;
    c.overflow = policy;
    c.block_timeout_us = 1000;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    for (n = 0; n < 500; n++) {
        int32_t status = capture_number(p, n);
        CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_FULL);
        if (status == PIPELINE_OK)
            ok++;
        else if (first_full == 0)
            first_full = n;
    }
    m = metrics_of(p);
    CHECK_U64(m.offered, 500);
    CHECK_U64(m.captured, ok);
    CHECK_U64(m.dropped_full, 500 - ok);
    CHECK(m.backlog_bytes <= 8192);
    CHECK_LEDGER(p);
    if (policy == PIPELINE_OVERFLOW_DROP_OLDEST) {
        CHECK_U64(ok, 500);
        CHECK(m.overwritten > 0 && m.overwritten + m.buffered == 500);
    } else {
        CHECK(first_full > 0);
        CHECK_U64(ok, first_full);
        CHECK_U64(m.overwritten, 0);
    }
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    /* The ring has space again. */
    CHECK_STATUS(capture_number(p, 500), PIPELINE_OK);
    END(p);
    /* The oldest survive under drop_newest and block, the newest under drop_oldest; the gap shows in the sequence. */
    for (i = 0; i + 1 < rec->stored.count; i++) {
        uint64_t expected = policy == PIPELINE_OVERFLOW_DROP_OLDEST ? m.overwritten + i : i;
        CHECK_U64(rec->stored.at[i].value, expected);
        CHECK_U64(rec->stored.at[i].sequence, expected);
    }
    CHECK_U64(rec->stored.at[rec->stored.count - 1].value, 500);
    CHECK_U64(rec->stored.at[rec->stored.count - 1].sequence, 500);
    recorder_free(rec);
}

int main(void)
{
    overflow(PIPELINE_OVERFLOW_DROP_NEWEST);
    overflow(PIPELINE_OVERFLOW_DROP_OLDEST);
    overflow(PIPELINE_OVERFLOW_BLOCK);
    return SUMMARY();
}
