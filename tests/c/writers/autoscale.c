/* Autoscaling adds writers under a backlog if more writers help, and removes them when idle. No event is lost or doubled, and each
 * decision is logged. */
#include "autoscale.h"

static void grows_and_shrinks(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = between(2, 8);
    source_t source = {.p = NULL};
    pthread_t thread;
    pipeline_metrics_t m;
    uint64_t grown;
    rec_reset();
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    s.open_writer = recorder_open;
    s.close_writer = recorder_close;
    rec.answer = slowly;
    c.name = "grower";
    c.writers = 2;
    source.p = start_pipeline(&c, &s);
    m = metrics_of(source.p);
    CHECK_U64(m.autoscaling, 1);
    CHECK_U64(m.writers_target, 2);
    CHECK_U64(m.scale_ups + m.scale_downs + m.scale_from + m.scale_to + m.scale_at_ns, 0);
    CHECK_U64(m.scale_reason, PIPELINE_SCALE_NONE);

    thread = start_thread(produce, &source);
    WAIT_FOR(metrics_of(source.p).writers_target == 8);
    WAIT_FOR(RECORDED(&rec, most_inside) == 8);
    m = metrics_of(source.p);
    CHECK_U64(m.scale_downs, 0);
    CHECK(m.scale_ups >= 2 && m.scale_ups <= 6);
    CHECK(m.scale_reason == PIPELINE_SCALE_BACKLOG_AGE || m.scale_reason == PIPELINE_SCALE_RING_FULL ||
          m.scale_reason == PIPELINE_SCALE_STORAGE_BOUND);
    CHECK(m.scale_from >= 2 && m.scale_from < 8);
    CHECK_U64(m.scale_to, 8);
    CHECK(m.scale_at_ns > 0 && m.scale_at_ns <= m.uptime_ns);
    CHECK_U64(config_of(source.p).writers, 8);
    check_said("pipeline grower: autoscaling from 2 to 4 writers: ");
    check_said(" % of their time in the storage");
    grown = m.scale_ups;

    source.stop = true;
    pthread_join(thread, NULL);
    WAIT_FOR(metrics_of(source.p).writers_target == 2);
    WAIT_FOR(metrics_of(source.p).writers_live == 2);
    m = metrics_of(source.p);
    CHECK_U64(m.scale_ups, grown);
    CHECK_U64(m.scale_downs, 6);
    CHECK_U64(m.scale_reason, PIPELINE_SCALE_IDLE);
    CHECK_U64(m.scale_from, 3);
    CHECK_U64(m.scale_to, 2);
    CHECK_U64(m.buffered, 0);
    check_said("autoscaling from 3 to 2 writers: one less has been enough");

    /* And once more, from the present number. */
    source.stop = false;
    thread = start_thread(produce, &source);
    WAIT_FOR(metrics_of(source.p).scale_ups > grown);
    end_source(&source, &thread, 1);
    CHECK_U64(rec.opened, rec.closed);
}

/* The only writer is in a long call, so only the supervisor can start more. */
static void grows_while_the_only_writer_is_in_a_long_call(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = between(1, 4);
    pipeline_t *p;
    rec_reset();
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    p = start_pipeline(&c, &s);
    recorder_hold(&rec);
    capture_numbers(p, 0, 64);
    WAIT_FOR(RECORDED(&rec, waiting) == 4);
    CHECK_U64(metrics_of(p).writers_target, 4);
    recorder_let_go(&rec);
    END(p);
    CHECK_VALUES(&rec.stored, 0, 64);
}

static void grows_only_where_calls_may_overlap(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = between(1, 8);
    uint64_t before;
    source_t source = {.p = NULL};
    pthread_t thread;
    rec_reset();
    rec.answer = slowly;
    source.p = start_pipeline(&c, &s);
    thread = start_thread(produce, &source);
    /* Long enough that a concurrent storage would have got all eight writers. */
    before = now_ms();
    WAIT_FOR(now_ms() > before + 400 && metrics_of(source.p).batches >= 60);
    CHECK_U64(metrics_of(source.p).writers_target, 1);
    CHECK_U64(metrics_of(source.p).scale_ups, 0);

    /* With a minimum of two there are two, which take turns. */
    c = config_of(source.p);
    c.min_writers = 2;
    CHECK_STATUS(pipeline_update(source.p, &c), PIPELINE_OK);
    CHECK_U64(metrics_of(source.p).writers_target, 2);
    CHECK_U64(metrics_of(source.p).scale_reason, PIPELINE_SCALE_BOUNDS);
    before = metrics_of(source.p).batches;
    WAIT_FOR(metrics_of(source.p).batches >= before + 60);
    CHECK_U64(metrics_of(source.p).writers_target, 2);
    end_source(&source, &thread, 1);
    CHECK_U64(rec.most_inside, 1);
}

/* One ring buffer, in order: one batch at a time, so one writer is enough; with two, two. */
static void grows_only_as_far_as_the_order_lets_them_work(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = between(1, 8);
    source_t source = {.p = NULL};
    pthread_t threads[2];
    uint64_t before, batches;
    rec_reset();
    rec.answer = slowly;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    c.ordering = PIPELINE_ORDERING_PER_PRODUCER;
    source.p = start_pipeline(&c, &s);
    threads[0] = start_thread(produce, &source);
    /* The number must not grow while the test watches, as long as above. */
    before = now_ms();
    WAIT_FOR(now_ms() > before + 400 && metrics_of(source.p).batches >= 60);
    CHECK_U64(metrics_of(source.p).scale_ups, 0);
    threads[1] = start_thread(produce, &source);
    WAIT_FOR(metrics_of(source.p).writers_target == 2);
    before = now_ms();
    batches = metrics_of(source.p).batches;
    WAIT_FOR(now_ms() > before + 400 && metrics_of(source.p).batches >= batches + 60);
    CHECK_U64(metrics_of(source.p).writers_target, 2);
    end_source(&source, threads, 2);
    CHECK_U64(rec.most_inside, 2);
}

static atomic_bool broken;

static int32_t fails_while_broken(recorder_t *r, const pipeline_batch_t *batch)
{
    slowly(r, batch);
    return broken ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

/* More writers do not help a storage that accepts nothing. */
static void grows_only_when_the_storage_takes_something(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = between(1, 8);
    source_t source = {.p = NULL};
    pthread_t thread;
    rec_reset();
    broken = true;
    rec.answer = fails_while_broken;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    c.retry_initial_us = 1;
    c.retry_max_us = 1;
    c.retry_limit = UINT32_MAX;
    c.max_in_flight = 8;
    source.p = start_pipeline(&c, &s);
    /* The first batch has failed before there is any backlog. */
    CHECK_STATUS(capture_number(source.p, source.next++), PIPELINE_OK);
    WAIT_FOR(metrics_of(source.p).retries >= 2);
    thread = start_thread(produce, &source);
    WAIT_FOR(metrics_of(source.p).retries >= 100);
    CHECK_U64(metrics_of(source.p).scale_ups, 0);
    CHECK_U64(metrics_of(source.p).stored, 0);
    broken = false;
    WAIT_FOR(metrics_of(source.p).writers_target == 8);
    end_source(&source, &thread, 1);
}

int main(void)
{
    CHECK_STATUS(pipeline_log_callback(listen, NULL, PIPELINE_LOG_INFO), PIPELINE_OK);
    grows_and_shrinks();
    grows_while_the_only_writer_is_in_a_long_call();
    grows_only_where_calls_may_overlap();
    grows_only_as_far_as_the_order_lets_them_work();
    grows_only_when_the_storage_takes_something();
    CHECK_STATUS(pipeline_log_callback(NULL, NULL, 0), PIPELINE_OK);
    return SUMMARY();
}
