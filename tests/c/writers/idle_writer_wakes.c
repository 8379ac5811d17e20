/* A capture into an idle pipeline wakes a writer at once, even if the writer went to sleep because max_in_flight was reached. All
 * rounds must end within the patience of one: if the captures were found only by the supervisor, once a second, they would not. */
#include "../check.h"
#include <stdatomic.h>
#include <string.h>

enum { ROUNDS = 100 };

static _Atomic uint64_t token, seen;

static int32_t store_later(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    seen += batch->count;
    token = batch->token;
    return PIPELINE_STORE_PENDING;
}

/* Whether all of the writers have gone to sleep. */
static bool asleep(const pipeline_t *p, uint32_t writers)
{
    uint32_t i;
    for (i = 0; i < writers; i++) {
        pipeline_writer_metrics_t w;
        memset(&w, 0, sizeof w);
        w.struct_size = sizeof w;
        CHECK_STATUS(pipeline_writer_metrics(p, i, &w), PIPELINE_OK);
        if (w.state != PIPELINE_WRITER_ASLEEP)
            return false;
    }
    return true;
}

static void one_batch_in_flight(uint32_t ordering, uint32_t writers)
{
    pipeline_config_t c;
    pipeline_storage_t s;
    pipeline_metrics_t m;
    pipeline_t *p = NULL;
    uint64_t round, deadline;
    token = seen = 0;
    CHECK_STATUS(pipeline_config_init(&c, sizeof c), PIPELINE_OK);
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    c.max_in_flight = 1;
    c.poll_interval_ms = 60000;
    c.ordering = ordering;
    c.writers = writers;
    s.store = store_later;
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    deadline = now_ms() + PATIENCE_MS;
    for (round = 0; round < ROUNDS && now_ms() < deadline; round++) {
        uint64_t mine;
        CHECK_STATUS(pipeline_capture(p, 1, &round, sizeof round), PIPELINE_OK);
        while ((mine = token) == 0 && now_ms() < deadline)
            pause_a_little();
        /* All writers sleep: one batch is in flight, and the ring is empty. */
        while (!asleep(p, writers) && now_ms() < deadline)
            pause_a_little();
        token = 0;
        if (mine != 0)
            CHECK_STATUS(pipeline_batch_complete(mine, PIPELINE_STORE_OK), PIPELINE_OK);
    }
    CHECK_U64(round, ROUNDS);
    CHECK_U64(seen, ROUNDS);
    m.struct_size = sizeof m;
    CHECK_STATUS(pipeline_metrics(p, &m), PIPELINE_OK);
    CHECK_U64(m.stored, ROUNDS);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
}

int main(void)
{
    one_batch_in_flight(PIPELINE_ORDERING_NONE, 1);
    one_batch_in_flight(PIPELINE_ORDERING_NONE, 3);
    one_batch_in_flight(PIPELINE_ORDERING_PER_PRODUCER, 1);
    one_batch_in_flight(PIPELINE_ORDERING_PER_PRODUCER, 3);
    return SUMMARY();
}
