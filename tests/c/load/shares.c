/* Shares: a limit for the calls of storages over all pipelines of a process. Each pipeline may have one, and what is permitted beyond that goes by share. */
#include "../check.h"

#include <stdatomic.h>

enum { POOLS = 3, WRITERS = 6 };

typedef struct {
    pipeline_t *p;
    atomic_int calls, most, done;
    atomic_int to_end; /* so many held calls return */
} pool_t;

static pool_t pools[POOLS];
static atomic_int calls, most;         /* over all pipelines */
static atomic_bool held;               /* calls wait until they are let go */
static atomic_int to_hold_for_ever = 0; /* of the first pipeline: calls that wait until `let_go` */
static atomic_bool let_go;

static void note(atomic_int *highest, int now)
{
    int before = atomic_load(highest);
    while (now > before && !atomic_compare_exchange_weak(highest, &before, now))
        ;
}

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    pool_t *pool = (pool_t *)user_data;
    (void)batch;
    note(&pool->most, atomic_fetch_add(&pool->calls, 1) + 1);
    note(&most, atomic_fetch_add(&calls, 1) + 1);
    if (pool == &pools[0] && atomic_load(&to_hold_for_ever) > 0 && atomic_fetch_sub(&to_hold_for_ever, 1) > 0) {
        while (!atomic_load(&let_go))
            pause_a_little();
    } else {
        pause_a_little();
        while (atomic_load(&held) && atomic_fetch_sub(&pool->to_end, 1) <= 0) {
            atomic_fetch_add(&pool->to_end, 1);
            pause_a_little();
        }
    }
    atomic_fetch_sub(&calls, 1);
    atomic_fetch_sub(&pool->calls, 1);
    atomic_fetch_add(&pool->done, 1);
    return PIPELINE_STORE_OK;
}

static void start(int number, uint32_t share, uint64_t deadline_ms)
{
    pool_t *pool = &pools[number];
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    s.user_data = pool;
    s.store = store;
    c.writers = WRITERS;
    c.batch_size = 1;
    c.share = share;
    c.storage_deadline_ms = deadline_ms;
    atomic_store(&pool->most, 0);
    atomic_store(&pool->done, 0);
    CHECK_STATUS(pipeline_start(&c, &s, &pool->p), PIPELINE_OK);
    CHECK_OR_STOP(pool->p != NULL);
}

static void capture(int number, int events)
{
    int n;
    for (n = 0; n < events; n++)
        CHECK_STATUS(pipeline_capture(pools[number].p, 1, &n, sizeof n), PIPELINE_OK);
}

static void begin(uint32_t permits)
{
    atomic_store(&most, 0);
    CHECK_STATUS(pipeline_limit_calls(permits), PIPELINE_OK);
}

/* A pipeline that has never called its storage has nothing set aside for it. */
static void store_one_each(int count)
{
    int n;
    for (n = 0; n < count; n++) {
        capture(n, 1);
        CHECK_STATUS(pipeline_flush(pools[n].p, PATIENCE_MS), PIPELINE_OK);
        atomic_store(&pools[n].done, 0);
    }
}

static void end_all(int count)
{
    int n;
    atomic_store(&held, false);
    for (n = 0; n < count; n++)
        END(pools[n].p);
    CHECK_STATUS(pipeline_limit_calls(0), PIPELINE_OK);
}

static void calls_of_all_pipelines_are_limited_together(void)
{
    begin(4);
    start(0, 1, 30000);
    start(1, 1, 30000);
    store_one_each(2);
    atomic_store(&most, 0);
    capture(0, 200);
    capture(1, 200);
    CHECK_STATUS(pipeline_flush(pools[0].p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(pools[1].p, PATIENCE_MS), PIPELINE_OK);
    CHECK(atomic_load(&most) <= 4);
    CHECK_U64(pools[0].done, 200);
    CHECK_U64(pools[1].done, 200);
    CHECK(metrics_of(pools[0].p).permit_waits > 0);
    end_all(2);
}

/* Lets one call of a pipeline return. */
static void end_one(int number)
{
    int done = atomic_load(&pools[number].done);
    atomic_fetch_add(&pools[number].to_end, 1);
    WAIT_FOR(atomic_load(&pools[number].done) == done + 1);
}

/* While both have work: 1 + 1 are set aside, and the other six of eight make the calls 2 to 6. They get there call by call. */
static void what_is_permitted_beyond_one_call_each_goes_by_share(void)
{
    uint64_t waits = 0;
    int of_first;
    begin(8);
    start(0, 1, 30000);
    start(1, 3, 30000);
    store_one_each(2);
    atomic_store(&held, true);
    capture(0, 50);
    WAIT_FOR(atomic_load(&pools[0].calls) == WRITERS);
    capture(1, 50);
    WAIT_FOR(atomic_load(&calls) == 8);
    for (of_first = WRITERS; of_first > 2; of_first--) {
        WAIT_FOR(metrics_of(pools[1].p).permit_waits > waits);
        waits = metrics_of(pools[1].p).permit_waits;
        end_one(0);
        WAIT_FOR(atomic_load(&pools[1].calls) == 8 - of_first + 1);
        CHECK_U64(atomic_load(&pools[0].calls), of_first - 1);
    }
    /* From here on, whoever ends a call begins another one. */
    end_one(1);
    WAIT_FOR(atomic_load(&calls) == 8);
    CHECK_U64(atomic_load(&pools[0].calls), 2);
    end_one(0);
    WAIT_FOR(atomic_load(&calls) == 8);
    CHECK_U64(atomic_load(&pools[0].calls), 2);
    CHECK(atomic_load(&most) <= 8);
    end_all(2);
    CHECK_U64(pools[0].done, 50);
    CHECK_U64(pools[1].done, 50);
}

static void each_pipeline_may_have_one_call_however_few_are_permitted(void)
{
    int n;
    begin(1);
    for (n = 0; n < POOLS; n++)
        start(n, 1, 30000);
    atomic_store(&held, true);
    for (n = 0; n < POOLS; n++)
        capture(n, 5);
    WAIT_FOR(atomic_load(&calls) == POOLS);
    atomic_store(&held, false);
    for (n = 0; n < POOLS; n++)
        CHECK_STATUS(pipeline_flush(pools[n].p, PATIENCE_MS), PIPELINE_OK);
    for (n = 0; n < POOLS; n++)
        CHECK_U64(atomic_load(&pools[n].most), 1);
    end_all(POOLS);
}

static void what_one_does_not_use_another_gets(void)
{
    begin(5);
    start(0, 1, 30000);
    start(1, 100, 30000);
    store_one_each(2);
    atomic_store(&held, true);
    capture(0, 20);
    /* All but the one that is set aside for the idle pipeline. */
    WAIT_FOR(atomic_load(&pools[0].calls) == 4);
    capture(1, 1);
    WAIT_FOR(atomic_load(&pools[1].calls) == 1);
    CHECK_U64(atomic_load(&pools[0].calls), 4);
    end_all(2);
}

/* A pipeline whose calls end, and which has nothing more to store, tells those that wait. */
static void what_one_needs_no_longer_another_gets(void)
{
    int n;
    begin(4);
    start(0, 1, 30000);
    start(1, 1, 30000);
    store_one_each(2);
    atomic_store(&held, true);
    capture(0, 3);
    WAIT_FOR(atomic_load(&pools[0].calls) == 3);
    capture(1, 20);
    WAIT_FOR(atomic_load(&pools[1].calls) == 1 && metrics_of(pools[1].p).permit_waits > 0);
    for (n = 1; n < 3; n++) {
        end_one(0);
        WAIT_FOR(atomic_load(&pools[1].calls) == 1 + n);
    }
    CHECK_U64(atomic_load(&pools[0].calls), 1);
    end_all(2);
}

static void a_stuck_call_gives_its_permit_back(void)
{
    begin(3);
    start(0, 1, 20);
    start(1, 1, 30000);
    store_one_each(2);
    atomic_store(&let_go, false);
    atomic_store(&to_hold_for_ever, 2);
    capture(0, 50);
    /* Two calls hang, which is all that this pipeline may have; once they are late, others go on. */
    WAIT_FOR(atomic_load(&pools[0].done) == 48);
    CHECK_U64(metrics_of(pools[0].p).writers_stuck, 2);
    atomic_store(&let_go, true);
    end_all(2);
    CHECK_U64(pools[0].done, 50);
}

static void without_a_limit_all_writers_work(void)
{
    begin(2);
    start(0, 1, 30000);
    start(1, 1, 30000);
    store_one_each(2);
    atomic_store(&held, true);
    capture(0, 20);
    WAIT_FOR(metrics_of(pools[0].p).permit_waits > 0);
    CHECK_U64(atomic_load(&pools[0].calls), 1);
    CHECK_STATUS(pipeline_limit_calls(0), PIPELINE_OK);
    WAIT_FOR(atomic_load(&pools[0].calls) == WRITERS);
    end_all(2);
}

/* A pipeline that waits for a permit can be paused, scaled, closed and abandoned, and what was set aside for one that is gone goes to others. */
static void pipelines_end_while_they_wait(void)
{
    begin(3);
    start(0, 1, 30000);
    start(1, 1, 30000);
    store_one_each(2);
    atomic_store(&held, true);
    capture(0, 20);
    capture(1, 20);
    WAIT_FOR(atomic_load(&calls) == 3);
    CHECK_STATUS(pipeline_pause(pools[0].p), PIPELINE_OK);
    CHECK_STATUS(pipeline_scale(pools[0].p, 2), PIPELINE_OK);
    CHECK_STATUS(pipeline_close(pools[0].p, 0), PIPELINE_ERR_TIMEOUT);
    CHECK_STATUS(pipeline_abandon(pools[0].p), PIPELINE_OK);
    atomic_store(&held, false);
    WAIT_FOR(atomic_load(&pools[1].done) == 20);
    WAIT_FOR(atomic_load(&calls) == 0);
    atomic_store(&pools[1].most, 0);
    atomic_store(&held, true);
    capture(1, 20);
    WAIT_FOR(atomic_load(&pools[1].calls) == 3);
    atomic_store(&held, false);
    END(pools[1].p);
    CHECK_STATUS(pipeline_limit_calls(0), PIPELINE_OK);
}

int main(void)
{
    calls_of_all_pipelines_are_limited_together();
    what_is_permitted_beyond_one_call_each_goes_by_share();
    each_pipeline_may_have_one_call_however_few_are_permitted();
    what_one_does_not_use_another_gets();
    what_one_needs_no_longer_another_gets();
    a_stuck_call_gives_its_permit_back();
    without_a_limit_all_writers_work();
    pipelines_end_while_they_wait();
    return SUMMARY();
}
