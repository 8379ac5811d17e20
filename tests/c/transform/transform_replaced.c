/* Transforms that are replaced while events flow: each event comes to one of them, once; each is destroyed once, when no call of it runs. */
#include "transform.h"

enum { PRODUCERS = 2, EVENTS = 20000 };

typedef struct {
    atomic_int running, destroyed;
    atomic_ullong calls;
} counted_t;

static int32_t count(void *user_data, const pipeline_event_view_t *e, pipeline_rewrite_t *out)
{
    counted_t *c = user_data;
    (void)out;
    c->running++;
    CHECK_U64(c->destroyed, 0);
    c->calls++;
    const uint64_t number = number_of(e);
    const int32_t answer = number % 7 == 0 ? PIPELINE_TRANSFORM_FILTER : PIPELINE_TRANSFORM_KEEP;
    c->running--;
    return answer;
}

static void destroy_counted(void *user_data)
{
    counted_t *c = user_data;
    CHECK_U64(c->running, 0);
    CHECK_U64(c->destroyed++, 0);
}

static void *produce(void *p)
{
    for (uint64_t n = 0; n < EVENTS; n++)
        CHECK_STATUS(capture_number(p, n), PIPELINE_OK);
    return NULL;
}

static void replaced(uint32_t flags)
{
    recorder_t *r = recorder_new();
    pthread_t threads[PRODUCERS];
    pipeline_storage_t s = recorder_storage(r);
    pipeline_config_t c = config_defaults();
    const int most = count_of(2000, 50);
    counted_t *all = calloc((size_t)most + 1, sizeof *all);
    CHECK_OR_STOP(all != NULL);
    s.flags |= flags;
    s.release = recorder_release;
    c.writers = 3;
    c.batch_size = 50;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = 86400000000;
    pipeline_t *p = start_pipeline(&c, &s);
    pipeline_transform_t f;
    CHECK_STATUS(pipeline_transform_init(&f, sizeof f), PIPELINE_OK);
    f.transform = count;
    f.destroy = destroy_counted;
    f.user_data = &all[0];
    CHECK_STATUS(pipeline_transform(p, &f), PIPELINE_OK);
    for (int i = 0; i < PRODUCERS; i++)
        CHECK_OR_STOP(pthread_create(&threads[i], NULL, produce, p) == 0);
    for (int i = 1; i <= most; i++) {
        f.user_data = &all[i];
        CHECK_STATUS(pipeline_transform(p, &f), PIPELINE_OK);
    }
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    const pipeline_metrics_t m = metrics_of(p);
    uint64_t calls = 0, destroyed = 0;
    for (int i = 0; i <= most; i++) {
        calls += all[i].calls;
        destroyed += (uint64_t)all[i].destroyed;
    }
    CHECK_U64(calls, PRODUCERS * EVENTS);
    CHECK_U64(destroyed, (uint64_t)most);
    CHECK_U64(m.filtered, PRODUCERS * ((EVENTS + 6) / 7));
    CHECK_U64(m.stored + m.filtered, PRODUCERS * EVENTS);
    CHECK_LEDGER(p);
    END(p);
    CHECK_U64(all[most].destroyed, 1);
    CHECK_U64(r->released.count, PRODUCERS * EVENTS);
    CHECK_DISTINCT(&r->released);
    CHECK_DISTINCT(&r->stored);
    recorder_free(r);
    free(all);
}

/* Every way in which a pipeline ends runs the transform's destroy once, and the storage's after it. */
static atomic_int order;
static void destroy_first(void *user_data)
{
    CHECK_U64(order, 0);
    order++;
    transform_destroy(user_data);
}

static void destroy_second(void *user_data)
{
    CHECK_U64(order, 1);
    order++;
    recorder_destroy(user_data);
}

static void ends(bool abandoned, bool used)
{
    recorder_t *r = recorder_new();
    transforming_t t = { 0 };
    pipeline_storage_t s = recorder_storage(r);
    pipeline_transform_t f = transform_of(&t);
    order = 0;
    s.destroy = destroy_second;
    f.destroy = destroy_first;
    pipeline_t *p = start_pipeline(NULL, &s);
    CHECK_STATUS(pipeline_transform(p, &f), PIPELINE_OK);
    if (used)
        capture_numbers(p, 0, 100);
    if (abandoned)
        CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
    else
        DESTROY_SOON(p);
    WAIT_FOR(order == 2);
    CHECK_U64(t.destroyed, 1);
    recorder_free(r);
}

int main(void)
{
    replaced(0);
    replaced(PIPELINE_STORAGE_CONCURRENT);
    for (int i = 0; i < 4; i++)
        ends(i & 1, i & 2);
    return SUMMARY();
}
