/* A batch that was filled from several rings is stored at once: none of its events lingers a second time. */
#include "../check.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { ROUNDS = 20 };

static _Atomic uint64_t seen, calls;

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    calls++;
    seen += batch->count;
    return PIPELINE_STORE_OK;
}

static void *capture_one(void *p)
{
    CHECK_STATUS(pipeline_capture((pipeline_t *)p, 1, "x", 1), PIPELINE_OK);
    return NULL;
}

static void wait_asleep(const pipeline_t *p, uint64_t deadline)
{
    pipeline_writer_metrics_t w;
    do {
        pause_a_little();
        memset(&w, 0, sizeof w);
        w.struct_size = sizeof w;
        CHECK_STATUS(pipeline_writer_metrics(p, 0, &w), PIPELINE_OK);
    } while (w.state != PIPELINE_WRITER_ASLEEP && now_ms() < deadline);
}

int main(void)
{
    pipeline_config_t c;
    pipeline_storage_t s;
    pipeline_t *p = NULL;
    uint64_t round, deadline = now_ms() + PATIENCE_MS;
    CHECK_STATUS(pipeline_config_init(&c, sizeof c), PIPELINE_OK);
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    c.batch_size = 2;
    c.linger_us = 60000000; /* a minute: only a full batch ends it */
    c.poll_interval_ms = 10; /* the second ring is new to a writer that lingers: it is seen at the next look */
    c.writers = 1;
    s.store = store;
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    for (round = 1; round <= ROUNDS && now_ms() < deadline; round++) {
        pthread_t other;
        wait_asleep(p, deadline);
        capture_one(p);
        CHECK(pthread_create(&other, NULL, capture_one, p) == 0);
        pthread_join(other, NULL);
        while (seen < 2 * round && now_ms() < deadline)
            pause_a_little();
        CHECK_U64(seen, 2 * round);
        CHECK_U64(calls, round);
    }
    CHECK_U64(round, ROUNDS + 1);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    return SUMMARY();
}
