/* Reserve, commit and abort: payloads written in place, committed shorter than reserved, aborted, left open; and calls in the wrong
 * order. */
#include "../recorder.h"

static recorder_t rec = RECORDER_INIT;

static void *reserve(pipeline_producer_t *r, uint32_t kind, size_t len)
{
    pipeline_event_t head = event_of(kind, NULL, 0);
    void *payload = NULL;
    CHECK_STATUS(pipeline_producer_reserve(r, &head, len, &payload), PIPELINE_OK);
    CHECK_OR_STOP(payload != NULL);
    CHECK_U64((uintptr_t)payload % 8, 0);
    return payload;
}

int main(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = start_pipeline(NULL, &s);
    pipeline_producer_t *r = NULL, *other = NULL;
    pipeline_metrics_t m;
    uint64_t n = 1, again = 0;
    void *payload, *none = &n;
    CHECK_STATUS(pipeline_producer_open(p, &r), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_open(p, &other), PIPELINE_OK);

    /* Out of order. */
    CHECK_FAILS(pipeline_producer_commit(r, 0), PIPELINE_ERR_STATE, "");
    CHECK_FAILS(pipeline_producer_commit(r, SIZE_MAX), PIPELINE_ERR_STATE, "");
    CHECK_FAILS(pipeline_producer_abort(r), PIPELINE_ERR_STATE, "");
    CHECK_U64(metrics_of(p).offered, 0);

    /* In place. */
    payload = reserve(r, 10, 8);
    memcpy(payload, &n, 8);
    CHECK_U64(metrics_of(p).offered, 0);
    CHECK_STATUS(pipeline_producer_commit(r, 8), PIPELINE_OK);
    CHECK_FAILS(pipeline_producer_commit(r, 8), PIPELINE_ERR_STATE, "");
    CHECK_U64(metrics_of(p).offered, 1);

    /* One reservation per producer. Other captures into the same ring are refused as busy, and counted; other rings are free. */
    payload = reserve(r, 11, 64);
    CHECK_STATUS(pipeline_producer_reserve(r, NULL, 8, &none), PIPELINE_ERR_BUSY);
    CHECK(none == &n);
    CHECK_STATUS(pipeline_producer_capture(r, 1, &n, 8), PIPELINE_ERR_BUSY);
    CHECK_STATUS(pipeline_producer_capture(other, 12, &n, 8), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p, 13, &n, 8), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.refused_busy, 2);
    CHECK_U64(m.offered, 5);
    /* More than reserved: refused, and the reservation stays. */
    CHECK_FAILS(pipeline_producer_commit(r, 65), PIPELINE_ERR_INVALID, "64");
    CHECK_HAS(pipeline_last_error(), "65");
    CHECK_FAILS(pipeline_producer_commit(r, SIZE_MAX), PIPELINE_ERR_INVALID, "64");
    /* Shorter than reserved. */
    n = 2;
    memcpy(payload, &n, 8);
    CHECK_STATUS(pipeline_producer_commit(r, 8), PIPELINE_OK);
    CHECK_LEDGER(p);

    /* To nothing at all. */
    reserve(r, 14, 100);
    CHECK_STATUS(pipeline_producer_commit(r, 0), PIPELINE_OK);
    reserve(r, 15, 0);
    CHECK_STATUS(pipeline_producer_commit(r, 0), PIPELINE_OK);

    /* Aborted: never offered, and its space is there for the next. */
    m = metrics_of(p);
    for (again = 0; again < 100000; again++) {
        reserve(r, 16, 1000);
        CHECK_STATUS(pipeline_producer_abort(r), PIPELINE_OK);
    }
    CHECK_FAILS(pipeline_producer_abort(r), PIPELINE_ERR_STATE, "");
    CHECK_U64(metrics_of(p).offered, m.offered);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    CHECK_U64(metrics_of(p).stored, 6);

    /* The largest reservation, committed in part, over and over: a shorter commit gives the rest back. */
    for (again = 0; again < 2000; again++) {
        payload = reserve(r, 17, 65536);
        memcpy(payload, &again, 8);
        while (pipeline_producer_commit(r, 8) != PIPELINE_OK)
            CHECK_OR_STOP(false);
        if (again % 8 == 7)
            CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    CHECK_U64(metrics_of(p).stored, 2006);

    /* A producer closed with a reservation open: aborted. */
    reserve(other, 18, 16);
    m = metrics_of(p);
    CHECK_STATUS(pipeline_producer_close(other), PIPELINE_OK);
    CHECK_U64(metrics_of(p).offered, m.offered);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);

    /* A pipeline closed with a reservation open: its commit is refused, counted, and the reservation is gone. */
    payload = reserve(r, 19, 16);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    memset(payload, 0, 16); /* the memory is still valid */
    CHECK_STATUS(pipeline_producer_commit(r, 16), PIPELINE_ERR_CLOSED);
    CHECK_FAILS(pipeline_producer_commit(r, 16), PIPELINE_ERR_STATE, "");
    CHECK_U64(metrics_of(p).refused_closed, 1);
    CHECK_STATUS(pipeline_producer_reserve(r, NULL, 8, &none), PIPELINE_ERR_CLOSED);
    CHECK(none == &n);
    CHECK_U64(metrics_of(p).refused_closed, 2);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);

    {
        size_t i;
        uint64_t kinds[20] = {0};
        for (i = 0; i < rec.stored.count; i++) {
            const recorded_t *e = &rec.stored.at[i];
            CHECK_OR_STOP(e->kind < 20);
            if (e->kind == 11)
                CHECK_U64(e->value, 2);
            if (e->kind == 14 || e->kind == 15)
                CHECK_U64(e->len, 0);
            if (e->kind == 17) {
                CHECK_U64(e->value, kinds[17]);
                CHECK_U64(e->len, 8);
            }
            kinds[e->kind]++;
        }
        for (i = 10; i <= 15; i++)
            CHECK_U64(kinds[i], 1);
        CHECK_U64(kinds[16], 0);
        CHECK_U64(kinds[17], 2000);
        CHECK_U64(kinds[18] + kinds[19], 0);
    }
    return SUMMARY();
}
