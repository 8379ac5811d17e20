/* Autoscaling keeps its bounds, including a minimum of 0, and is turned off and on as documented. */
#include "autoscale.h"

/* The first number of writers is clamped to the bounds; contradicting bounds are refused with both values. */
static void bounds(void)
{
    static const struct {
        uint32_t writers, min, max, got;
    } starts[] = {
        {1, 0, 1, 1}, {1, 2, 8, 2}, {0, 2, 8, 2}, {9, 2, 8, 8}, {5, 2, 8, 5}, {1, 3, 3, 3}, {256, 3, 3, 3}, {0, 0, 4, 0},
    };
    static const struct {
        uint32_t min, max;
        const char *field, *limit, *given;
    } refused[] = {
        {1, 0, "pipeline_config_t.min_writers:", "max_writers (0)", "1 given"},
        {9, 8, "pipeline_config_t.min_writers:", "max_writers (8)", "9 given"},
        {UINT32_MAX, 8, "pipeline_config_t.min_writers:", "max_writers (8)", "4294967295 given"},
        {0, 257, "pipeline_config_t.max_writers:", "256", "257 given"},
        {257, 257, "pipeline_config_t.max_writers:", "256", "257 given"},
        {1, UINT32_MAX, "pipeline_config_t.max_writers:", "256", "4294967295 given"},
    };
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p;
    size_t i;
    rec_reset();
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    for (i = 0; i < sizeof starts / sizeof *starts; i++) {
        pipeline_config_t c = config_defaults();
        c.writers = starts[i].writers;
        c.min_writers = starts[i].min;
        c.max_writers = starts[i].max;
        p = start_pipeline(&c, &s);
        CHECK_U64(metrics_of(p).writers_target, starts[i].got);
        CHECK_U64(config_of(p).writers, starts[i].got);
        CHECK_U64(config_of(p).min_writers, starts[i].min);
        CHECK_U64(config_of(p).max_writers, starts[i].max);
        CHECK_U64(metrics_of(p).autoscaling, starts[i].min < starts[i].max);
        END(p);
    }
    for (i = 0; i < sizeof refused / sizeof *refused; i++) {
        pipeline_config_t c = config_defaults();
        c.min_writers = refused[i].min;
        c.max_writers = refused[i].max;
        p = NULL;
        CHECK_FAILS(pipeline_start(&c, &s, &p), PIPELINE_ERR_INVALID, refused[i].field);
        CHECK(p == NULL);
        CHECK_HAS(pipeline_last_error(), refused[i].limit);
        CHECK_HAS(pipeline_last_error(), refused[i].given);
        p = start_pipeline(NULL, &s);
        c = config_of(p);
        c.min_writers = refused[i].min;
        c.max_writers = refused[i].max;
        CHECK_FAILS(pipeline_update(p, &c), PIPELINE_ERR_INVALID, refused[i].field);
        CHECK_HAS(pipeline_last_error(), refused[i].limit);
        CHECK_HAS(pipeline_last_error(), refused[i].given);
        CHECK_U64(config_of(p).max_writers, 0);
        END(p);
    }
}

/* With a minimum of 0 there is no writer while the pipeline is idle; an event starts one. */
static void none_at_all(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = between(0, 4);
    pipeline_t *p;
    pipeline_metrics_t m;
    rec_reset();
    c.writers = 0;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    s.flush = recorder_flush;
    p = start_pipeline(&c, &s);
    CHECK_U64(metrics_of(p).writers_target, 0);
    CHECK_U64(health_of(p).status, PIPELINE_HEALTHY);
    capture_numbers(p, 0, 10);
    WAIT_FOR(metrics_of(p).stored == 10);
    m = metrics_of(p);
    CHECK_U64(m.scale_reason, PIPELINE_SCALE_NO_WRITER);
    CHECK_U64(m.scale_from, 0);
    CHECK_U64(m.scale_to, 1);
    WAIT_FOR(metrics_of(p).writers_live == 0);
    CHECK_U64(metrics_of(p).scale_reason, PIPELINE_SCALE_IDLE);
    CHECK_U64(metrics_of(p).scale_to, 0);
    /* A flush with nothing to store needs a writer as well. */
    rec.flush_calls = 0;
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(rec.flush_calls, 1);
    WAIT_FOR(metrics_of(p).writers_live == 0);
    capture_together(p, 10, 20);
    WAIT_FOR(metrics_of(p).stored == 20);
    END(p);
    CHECK_VALUES(&rec.stored, 0, 20);
}

/* A number of writers that is asked for is reached, and kept. */
static void scale_turns_it_off_and_update_on(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = between(1, 8), r;
    pipeline_metrics_t m;
    source_t source = {.p = NULL};
    pthread_t thread;
    uint64_t before, ups;
    rec_reset();
    rec.answer = slowly;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    source.p = start_pipeline(&c, &s);
    thread = start_thread(produce, &source);
    WAIT_FOR(metrics_of(source.p).writers_target == 8);

    CHECK_STATUS(pipeline_scale(source.p, 2), PIPELINE_OK);
    m = metrics_of(source.p);
    ups = m.scale_ups;
    CHECK_U64(m.autoscaling, 0);
    CHECK_U64(m.writers_target, 2);
    CHECK_U64(m.scale_reason, PIPELINE_SCALE_CALLER);
    CHECK_U64(m.scale_from, 8);
    CHECK_U64(m.scale_to, 2);
    CHECK_U64(m.scale_downs, 0);
    r = config_of(source.p);
    CHECK_U64(r.min_writers, 0);
    CHECK_U64(r.max_writers, 0);
    CHECK_U64(r.writers, 2);
    check_said("scaled to 2 writers; autoscaling is off");
    /* It stays, although there is a backlog; the test watches for a while. */
    before = now_ms();
    WAIT_FOR(now_ms() > before + 400 && metrics_of(source.p).backlog_bytes > 0);
    CHECK_U64(metrics_of(source.p).writers_target, 2);
    /* Changing something else does not turn it on. */
    r.linger_us = 0;
    r.batch_size = 9;
    CHECK_STATUS(pipeline_update(source.p, &r), PIPELINE_OK);
    CHECK_U64(metrics_of(source.p).autoscaling, 0);

    /* On again, with other bounds: it begins with the configured number, clamped to them. */
    r.min_writers = 3;
    r.max_writers = 5;
    r.writers = 1;
    CHECK_STATUS(pipeline_update(source.p, &r), PIPELINE_OK);
    m = metrics_of(source.p);
    CHECK_U64(m.autoscaling, 1);
    WAIT_FOR(metrics_of(source.p).writers_target == 5);
    CHECK(metrics_of(source.p).scale_ups > ups);

    /* A configuration that was read earlier can be written back: it does not undo later decisions. */
    r = config_of(source.p);
    r.writers = 3;
    r.batch_size = 10;
    CHECK_STATUS(pipeline_update(source.p, &r), PIPELINE_OK);
    CHECK_U64(metrics_of(source.p).writers_target, 5);
    CHECK_U64(config_of(source.p).batch_size, 10);

    /* Narrower bounds take effect at once. */
    r.min_writers = 2;
    r.max_writers = 4;
    CHECK_STATUS(pipeline_update(source.p, &r), PIPELINE_OK);
    m = metrics_of(source.p);
    CHECK_U64(m.writers_target, 4);
    CHECK_U64(m.scale_reason, PIPELINE_SCALE_BOUNDS);
    CHECK_U64(m.scale_from, 5);

    /* Minimum and maximum the same: always that many. */
    r.min_writers = r.max_writers = 6;
    CHECK_STATUS(pipeline_update(source.p, &r), PIPELINE_OK);
    m = metrics_of(source.p);
    CHECK_U64(m.autoscaling, 0);
    CHECK_U64(m.writers_target, 6);
    CHECK_U64(m.scale_reason, PIPELINE_SCALE_CALLER);
    /* A refused update changes nothing. */
    r.min_writers = 1;
    r.max_writers = 8;
    r.ring_bytes *= 2;
    CHECK_FAILS(pipeline_update(source.p, &r), PIPELINE_ERR_FIXED, "ring_bytes");
    CHECK_U64(metrics_of(source.p).autoscaling, 0);
    CHECK_U64(config_of(source.p).max_writers, 6);

    end_source(&source, &thread, 1);
}

/* However the pipeline is scaled, no event is lost and none comes twice. */
static void everybody_at_once(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = between(0, 16);
    source_t source = {.p = NULL};
    pthread_t thread;
    uint32_t i;
    rec_reset();
    rec.answer = slowly;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    source.p = start_pipeline(&c, &s);
    thread = start_thread(produce, &source);
    for (i = 0; i < 40; i++) {
        uint64_t before = metrics_of(source.p).batches;
        if (i % 4 == 3) {
            CHECK_STATUS(pipeline_scale(source.p, 1 + i % 7), PIPELINE_OK);
        } else {
            c = config_of(source.p);
            c.min_writers = i % 3;
            c.max_writers = 3 + i % 11;
            c.writers = i % 5;
            CHECK_STATUS(pipeline_update(source.p, &c), PIPELINE_OK);
        }
        WAIT_FOR(metrics_of(source.p).batches > before + i % 10);
    }
    end_source(&source, &thread, 1);
}

int main(void)
{
    CHECK_STATUS(pipeline_log_callback(listen, NULL, PIPELINE_LOG_INFO), PIPELINE_OK);
    bounds();
    none_at_all();
    scale_turns_it_off_and_update_on();
    everybody_at_once();
    CHECK_STATUS(pipeline_log_callback(NULL, NULL, 0), PIPELINE_OK);
    return SUMMARY();
}
