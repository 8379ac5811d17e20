/* Inlined captures return what the calls do while the pipeline is paused, while the handle has a reservation, once the pipeline is closed
 * or destroyed, in a forked child, and where captures cannot be inlined. */
#include "inlined_sides.h"

static void alike_while(void (*are)(side_t *side), int32_t status)
{
    pipeline_config_t c = small(PIPELINE_OVERFLOW_DROP_NEWEST);
    side_t *sides[] = {&inlined, &called};
    size_t i;
    begin_both(&c);
    for (i = 0; i < 2; i++) {
        pipeline_event_t e = event_of(5, "whole", 5);
        CHECK_STATUS(plain(sides[i], 5, "first", 5), PIPELINE_OK);
        are(sides[i]);
        CHECK_STATUS(plain(sides[i], 5, "second", 6), status);
        CHECK_STATUS(with_all(sides[i], &e), status);
        CHECK_STATUS(plain(sides[i], PIPELINE_KIND_RESERVED, "x", 1), status == PIPELINE_OK ? PIPELINE_ERR_INVALID : status);
        pipeline_producer_abort(sides[i]->r);
        pipeline_resume(sides[i]->p);
    }
    if (status != PIPELINE_ERR_CLOSED)
        drain(0);
    compare();
    for (i = 0; i < 2; i++) {
        CHECK_STATUS(pipeline_close(sides[i]->p, PATIENCE_MS), status == PIPELINE_ERR_CLOSED ? PIPELINE_ERR_CLOSED : PIPELINE_OK);
        CHECK_LEDGER(sides[i]->p);
        CHECK_STATUS(pipeline_destroy(sides[i]->p), PIPELINE_OK);
        /* A handle outlives its pipeline. */
        CHECK_STATUS(plain(sides[i], 5, "late", 4), PIPELINE_ERR_CLOSED);
        CHECK_STATUS(pipeline_producer_close(sides[i]->r), PIPELINE_OK);
    }
}

static void paused(side_t *side) { CHECK_STATUS(pipeline_pause(side->p), PIPELINE_OK); }
static void reserved(side_t *side)
{
    void *room;
    CHECK_STATUS(pipeline_producer_reserve(side->r, NULL, 8, &room), PIPELINE_OK);
}
static void closed(side_t *side)
{
    CHECK_STATUS(pipeline_scale(side->p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_close(side->p, PATIENCE_MS), PIPELINE_OK);
}

static void in_a_child(void)
{
    pipeline_config_t c = config_defaults();
    pid_t child;
    begin(&inlined, &c, false);
    CHECK_STATUS(plain(&inlined, 5, "first", 5), PIPELINE_OK);
    CHECK_STATUS(plain(&inlined, 5, "second", 6), PIPELINE_OK);
    child = fork();
    if (child == 0) {
        pipeline_event_t e = event_of(5, "third", 5);
        pipeline_fast_t *another = NULL;
        begin_child();
        CHECK_STATUS(plain(&inlined, 5, "third", 5), PIPELINE_ERR_FORKED);
        CHECK_STATUS(with_all(&inlined, &e), PIPELINE_ERR_FORKED);
        CHECK_FAILS(pipeline_producer_fast(inlined.r, PIPELINE_FAST_VERSION, &another), PIPELINE_ERR_FORKED, "parent");
        CHECK(another == NULL);
        CHECK_STATUS(pipeline_producer_wake(inlined.r), PIPELINE_ERR_FORKED);
        if (inlined.fast != NULL)
            CHECK_U64(inlined.fast->captured, 2);
        end_child();
    }
    AWAIT_CHILD(child);
    CHECK_STATUS(pipeline_flush(inlined.p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(inlined.p).stored, 2);
    end(&inlined);
}

/* Where captures cannot be inlined, there are no words, and with NULL captures are calls. */
static void where_there_is_none(void)
{
    pipeline_config_t c = config_defaults();
    pipeline_fast_t *fast = NULL;
    pipeline_event_t e = event_of(5, "event", 5);
    size_t before = calls;
    c.clock = PIPELINE_CLOCK_MONOTONIC;
    begin(&called, &c, true);
    CHECK_FAILS(pipeline_producer_fast(called.r, PIPELINE_FAST_VERSION, &fast), PIPELINE_ERR_UNSUPPORTED, "clock");
    CHECK_FAILS(pipeline_producer_fast(called.r, PIPELINE_FAST_VERSION + 1, &fast), PIPELINE_ERR_UNSUPPORTED, "version");
    CHECK_FAILS(pipeline_producer_fast(called.r, PIPELINE_FAST_VERSION, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_producer_fast(NULL, PIPELINE_FAST_VERSION, &fast), PIPELINE_ERR_NULL, "producer");
    CHECK_FAILS(pipeline_producer_wake(NULL), PIPELINE_ERR_NULL, "producer");
    CHECK(fast == NULL && pipeline_fast_of(called.r) == NULL);
    CHECK_FAILS(pipeline_fast_capture(NULL, NULL, 5, "x", 1), PIPELINE_ERR_NULL, "producer");
    CHECK_STATUS(pipeline_fast_capture(called.r, fast, 5, "plain", 5), PIPELINE_OK);
    CHECK_STATUS(pipeline_fast_capture_event(called.r, fast, &e), PIPELINE_OK);
    CHECK_U64(calls - before, 3);
    CHECK_STATUS(pipeline_producer_wake(called.r), PIPELINE_OK);
    end(&called);
}

int main(void)
{
    alike_while(paused, PIPELINE_OK);
    alike_while(reserved, PIPELINE_ERR_BUSY);
    alike_while(closed, PIPELINE_ERR_CLOSED);
    in_a_child();
    where_there_is_none();
    return SUMMARY();
}
