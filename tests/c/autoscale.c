/* Autoscaling: it grows under a backlog, shrinks when idle, loses and doubles nothing meanwhile, keeps its bounds, tells what
 * it decides, and is turned off and on as documented. */
#include "recorder.h"

static recorder_t rec = RECORDER_INIT;

static void rec_reset(void)
{
    rec.seen.count = rec.stored.count = rec.dead.count = 0;
    rec.most_inside = 0;
    rec.hold = false;
    rec.answer = NULL;
}

/* A storage that is slow, not busy: it sleeps for some milliseconds. */
static int32_t slowly(recorder_t *r, const pipeline_batch_t *batch)
{
    struct timespec t = {0, 5000000};
    (void)r;
    (void)batch;
    nanosleep(&t, NULL);
    return PIPELINE_STORE_OK;
}

/* Small batches, and captures that wait for space: a backlog as long as somebody captures. */
static pipeline_config_t between(uint32_t min, uint32_t max)
{
    pipeline_config_t c = config_defaults();
    c.min_writers = min;
    c.max_writers = max;
    c.batch_size = 8;
    c.ring_bytes = 65536;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = 1000000 * (uint64_t)PATIENCE_MS / 1000;
    return c;
}

static pipeline_config_t running(const pipeline_t *p)
{
    pipeline_config_t c;
    memset(&c, 0, sizeof c);
    c.struct_size = sizeof c;
    CHECK_STATUS(pipeline_config_read(p, &c), PIPELINE_OK);
    return c;
}

/* ---- what it says, collected ---- */

static pthread_mutex_t said_mutex = PTHREAD_MUTEX_INITIALIZER;
static char said[1 << 16];

static void listen(void *user_data, int32_t level, const char *message)
{
    size_t used;
    (void)user_data;
    (void)level;
    pthread_mutex_lock(&said_mutex);
    used = strlen(said);
    if (strstr(message, "autoscal") != NULL && used + strlen(message) + 2 < sizeof said) {
        strcat(said, message);
        strcat(said, "\n");
    }
    pthread_mutex_unlock(&said_mutex);
}

static bool has_said(const char *part)
{
    bool has;
    pthread_mutex_lock(&said_mutex);
    has = strstr(said, part) != NULL;
    pthread_mutex_unlock(&said_mutex);
    return has;
}

/* A decision is told once it has taken effect: soon after the figures have it. */
static void check_said(const char *part)
{
    WAIT_FOR(has_said(part));
}

/* ---- producers that capture until they are told to stop ---- */

typedef struct {
    pipeline_t *p;
    atomic_ullong next;
    atomic_bool stop;
} source_t;

static void *produce(void *argument)
{
    source_t *source = (source_t *)argument;
    while (!source->stop)
        CHECK_STATUS(capture_number(source->p, source->next++), PIPELINE_OK);
    return NULL;
}

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
    CHECK_U64(running(source.p).writers, 8);
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

    /* And again, from where it is. */
    source.stop = false;
    thread = start_thread(produce, &source);
    WAIT_FOR(metrics_of(source.p).scale_ups > grown);
    source.stop = true;
    pthread_join(thread, NULL);

    END(source.p);
    CHECK_DISTINCT(&rec.stored);
    CHECK_VALUES(&rec.stored, 0, source.next);
    CHECK_U64(rec.opened, rec.closed);
}

/* With one writer in a call that takes as long as we like, nothing but the supervisor can tell that more are needed. */
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
    /* Long enough for a storage that may be called at once to have been given all eight writers. */
    before = now_ms();
    WAIT_FOR(now_ms() > before + 400 && metrics_of(source.p).batches >= 60);
    CHECK_U64(metrics_of(source.p).writers_target, 1);
    CHECK_U64(metrics_of(source.p).scale_ups, 0);

    /* Two at least, all the same, if that is asked for; they take turns. */
    c = running(source.p);
    c.min_writers = 2;
    CHECK_STATUS(pipeline_update(source.p, &c), PIPELINE_OK);
    CHECK_U64(metrics_of(source.p).writers_target, 2);
    CHECK_U64(metrics_of(source.p).scale_reason, PIPELINE_SCALE_BOUNDS);
    before = metrics_of(source.p).batches;
    WAIT_FOR(metrics_of(source.p).batches >= before + 60);
    CHECK_U64(metrics_of(source.p).writers_target, 2);
    source.stop = true;
    pthread_join(thread, NULL);
    END(source.p);
    CHECK_U64(rec.most_inside, 1);
    CHECK_VALUES(&rec.stored, 0, source.next);
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
    /* That it does not grow shows only while one watches: as long as above, here and below. */
    before = now_ms();
    WAIT_FOR(now_ms() > before + 400 && metrics_of(source.p).batches >= 60);
    CHECK_U64(metrics_of(source.p).scale_ups, 0);
    threads[1] = start_thread(produce, &source);
    WAIT_FOR(metrics_of(source.p).writers_target == 2);
    before = now_ms();
    batches = metrics_of(source.p).batches;
    WAIT_FOR(now_ms() > before + 400 && metrics_of(source.p).batches >= batches + 60);
    CHECK_U64(metrics_of(source.p).writers_target, 2);
    source.stop = true;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    END(source.p);
    CHECK_U64(rec.most_inside, 2);
    CHECK_VALUES(&rec.stored, 0, source.next);
}

static atomic_bool broken;

static int32_t fails_while_broken(recorder_t *r, const pipeline_batch_t *batch)
{
    slowly(r, batch);
    return broken ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

/* More calls do not help a storage that takes nothing. */
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
    source.stop = true;
    pthread_join(thread, NULL);
    END(source.p);
    CHECK_DISTINCT(&rec.stored);
    CHECK_VALUES(&rec.stored, 0, source.next);
}

/* With no fewest, nobody is there while nothing is to be done; whatever comes brings somebody. */
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
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 10, 20);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).stored == 20);
    END(p);
    CHECK_VALUES(&rec.stored, 0, 20);
}

/* Who asks for a number gets it, and keeps it. */
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
    r = running(source.p);
    CHECK_U64(r.min_writers, 0);
    CHECK_U64(r.max_writers, 0);
    CHECK_U64(r.writers, 2);
    check_said("scaled to 2 writers; autoscaling is off");
    /* It stays so, though there is a backlog: again, watched for a while. */
    before = now_ms();
    WAIT_FOR(now_ms() > before + 400 && metrics_of(source.p).backlog_bytes > 0);
    CHECK_U64(metrics_of(source.p).writers_target, 2);
    /* Changing something else does not turn it on. */
    r.linger_us = 0;
    r.batch_size = 9;
    CHECK_STATUS(pipeline_update(source.p, &r), PIPELINE_OK);
    CHECK_U64(metrics_of(source.p).autoscaling, 0);

    /* On again, with other bounds: it begins with the number that is asked for, brought within them. */
    r.min_writers = 3;
    r.max_writers = 5;
    r.writers = 1;
    CHECK_STATUS(pipeline_update(source.p, &r), PIPELINE_OK);
    m = metrics_of(source.p);
    CHECK_U64(m.autoscaling, 1);
    WAIT_FOR(metrics_of(source.p).writers_target == 5);
    CHECK(metrics_of(source.p).scale_ups > ups);

    /* What was read some time ago can be written back: it does not undo what was decided since. */
    r = running(source.p);
    r.writers = 3;
    r.batch_size = 10;
    CHECK_STATUS(pipeline_update(source.p, &r), PIPELINE_OK);
    CHECK_U64(metrics_of(source.p).writers_target, 5);
    CHECK_U64(running(source.p).batch_size, 10);

    /* Narrower bounds hold at once. */
    r.min_writers = 2;
    r.max_writers = 4;
    CHECK_STATUS(pipeline_update(source.p, &r), PIPELINE_OK);
    m = metrics_of(source.p);
    CHECK_U64(m.writers_target, 4);
    CHECK_U64(m.scale_reason, PIPELINE_SCALE_BOUNDS);
    CHECK_U64(m.scale_from, 5);

    /* The fewest and the most the same: that many, always. */
    r.min_writers = r.max_writers = 6;
    CHECK_STATUS(pipeline_update(source.p, &r), PIPELINE_OK);
    m = metrics_of(source.p);
    CHECK_U64(m.autoscaling, 0);
    CHECK_U64(m.writers_target, 6);
    CHECK_U64(m.scale_reason, PIPELINE_SCALE_CALLER);
    /* Nothing of an update that is refused is taken. */
    r.min_writers = 1;
    r.max_writers = 8;
    r.ring_bytes *= 2;
    CHECK_FAILS(pipeline_update(source.p, &r), PIPELINE_ERR_FIXED, "ring_bytes");
    CHECK_U64(metrics_of(source.p).autoscaling, 0);
    CHECK_U64(running(source.p).max_writers, 6);

    source.stop = true;
    pthread_join(thread, NULL);
    END(source.p);
    CHECK_DISTINCT(&rec.stored);
    CHECK_VALUES(&rec.stored, 0, source.next);
}

/* The number to begin with is brought within the bounds; what contradicts itself is refused with both values. */
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
        CHECK_U64(running(p).writers, starts[i].got);
        CHECK_U64(running(p).min_writers, starts[i].min);
        CHECK_U64(running(p).max_writers, starts[i].max);
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
        c = running(p);
        c.min_writers = refused[i].min;
        c.max_writers = refused[i].max;
        CHECK_FAILS(pipeline_update(p, &c), PIPELINE_ERR_INVALID, refused[i].field);
        CHECK_HAS(pipeline_last_error(), refused[i].limit);
        CHECK_HAS(pipeline_last_error(), refused[i].given);
        CHECK_U64(running(p).max_writers, 0);
        END(p);
    }
}

/* Whatever scales it, whoever asks: nothing is lost and nothing comes twice. */
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
            c = running(source.p);
            c.min_writers = i % 3;
            c.max_writers = 3 + i % 11;
            c.writers = i % 5;
            CHECK_STATUS(pipeline_update(source.p, &c), PIPELINE_OK);
        }
        WAIT_FOR(metrics_of(source.p).batches > before + i % 10);
    }
    source.stop = true;
    pthread_join(thread, NULL);
    END(source.p);
    CHECK_DISTINCT(&rec.stored);
    CHECK_VALUES(&rec.stored, 0, source.next);
}

int main(void)
{
    CHECK_STATUS(pipeline_log_callback(listen, NULL, PIPELINE_LOG_INFO), PIPELINE_OK);
    bounds();
    grows_and_shrinks();
    grows_while_the_only_writer_is_in_a_long_call();
    grows_only_where_calls_may_overlap();
    grows_only_as_far_as_the_order_lets_them_work();
    grows_only_when_the_storage_takes_something();
    none_at_all();
    scale_turns_it_off_and_update_on();
    everybody_at_once();
    CHECK_STATUS(pipeline_log_callback(NULL, NULL, 0), PIPELINE_OK);
    return SUMMARY();
}
