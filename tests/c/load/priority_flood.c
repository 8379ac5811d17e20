/* A flood of 100 ordinary events to one with priority, and a storage that keeps up with a tenth of what is offered: most ordinary events are lost, and none with
 * priority is. So with several writers, with one, with a storage that is not concurrent, and with one that answers later.
 *
 * Time is counted in offers, so that the result does not depend on the machine: a call with n events lasts until 10 * n more events were offered (with
 * several calls at once, that many times as long each), and the flood goes on when the pipeline has done what it can at that point. */
#include "../recorder.h"

enum { ROUNDS = 2000, FLOOD = 100, SLOWER = 10, BATCH = 256, MOST = 64 };

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t offered, stored[2];
    int at_once, waiting;
    uint64_t until[MOST]; /* of each call that runs */
    bool over, settled;
    /* Batches to be answered later, in their order. */
    struct {
        uint64_t token;
        size_t count;
    } later[MOST];
    size_t first, behind;
} at = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, {0, 0}, 1, 0, {0}, false, false, {{0, 0}}, 0, 0};

static void note(const pipeline_batch_t *batch)
{
    size_t i;
    for (i = 0; i < batch->count; i++)
        at.stored[(PIPELINE_BATCH_EVENT(batch, i)->flags & PIPELINE_EVENT_PRIORITY) != 0]++;
}

/* Works on so many events. The mutex is held. */
static void work(size_t events)
{
    const uint64_t until = at.offered + (uint64_t)events * SLOWER * (uint64_t)at.at_once;
    int own = 0;
    while (at.until[own] != 0)
        own++;
    at.until[own] = until;
    at.waiting++;
    pthread_cond_broadcast(&at.changed);
    while (at.offered < until && !at.over)
        pthread_cond_wait(&at.changed, &at.mutex);
    at.until[own] = 0;
    at.waiting--;
}

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    pthread_mutex_lock(&at.mutex);
    note(batch);
    work(batch->count);
    pthread_mutex_unlock(&at.mutex);
    return PIPELINE_STORE_OK;
}

static int32_t store_later(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    pthread_mutex_lock(&at.mutex);
    CHECK_OR_STOP(at.behind - at.first < MOST);
    note(batch);
    at.later[at.behind % MOST].token = batch->token;
    at.later[at.behind % MOST].count = batch->count;
    at.behind++;
    pthread_cond_broadcast(&at.changed);
    pthread_mutex_unlock(&at.mutex);
    return PIPELINE_STORE_PENDING;
}

static void *answer(void *unused)
{
    pthread_mutex_lock(&at.mutex);
    for (;;) {
        uint64_t token;
        while (at.first == at.behind && !at.settled)
            pthread_cond_wait(&at.changed, &at.mutex);
        if (at.first == at.behind)
            break;
        token = at.later[at.first % MOST].token;
        work(at.later[at.first % MOST].count);
        at.first++;
        pthread_mutex_unlock(&at.mutex);
        CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_OK);
        pthread_mutex_lock(&at.mutex);
    }
    pthread_mutex_unlock(&at.mutex);
    return unused;
}

/* Calls that run; -1 if one is over and its thread has not seen it yet. */
static int waiting(void)
{
    int n, i;
    pthread_mutex_lock(&at.mutex);
    n = at.waiting;
    for (i = 0; i < MOST; i++)
        if (at.until[i] != 0 && at.until[i] <= at.offered)
            n = -1;
    pthread_mutex_unlock(&at.mutex);
    return n;
}

/* The storage is at work, and no writer that is free can do more: everything with priority is with the storage, or every call that is possible runs. */
static bool has_done_what_it_can(const pipeline_t *p, uint32_t max_in_flight)
{
    const int calls = waiting();
    const pipeline_metrics_t m = metrics_of(p);
    if (m.buffered == 0 && calls >= 0)
        return true;
    return calls > 0 && (m.buffered_priority == 0 || calls == at.at_once || at.behind - at.first >= max_in_flight);
}

static void flood(const char *name, uint32_t writers, uint32_t flags, bool later)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    pipeline_metrics_t m;
    pipeline_t *p;
    pthread_t answers;
    uint64_t ordinary = 0, dropped = 0, n;
    uint32_t round;
    c.writers = writers;
    c.batch_size = BATCH;
    c.max_in_flight = 4;
    c.ring_bytes = 1 << 16;
    c.priority_ring_bytes = 1 << 14;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = later ? store_later : store;
    s.flags = flags;
    at.offered = at.stored[0] = at.stored[1] = 0;
    at.at_once = flags & PIPELINE_STORAGE_CONCURRENT ? (int)writers : 1;
    at.over = at.settled = false;
    p = start_pipeline(&c, &s);
    if (later)
        CHECK_OR_STOP(pthread_create(&answers, NULL, answer, NULL) == 0);
    for (round = 0; round < ROUNDS; round++) {
        for (n = 0; n <= FLOOD; n++) {
            pipeline_event_t e = event_of(1, &n, sizeof n);
            int32_t status;
            e.flags = n == FLOOD / 2 ? PIPELINE_EVENT_PRIORITY : 0;
            status = pipeline_capture_event(p, &e);
            if (e.flags != 0)
                CHECK_STATUS(status, PIPELINE_OK);
            else if (status == PIPELINE_OK)
                ordinary++;
            else
                dropped += status == PIPELINE_ERR_FULL;
        }
        pthread_mutex_lock(&at.mutex);
        at.offered += FLOOD + 1;
        pthread_cond_broadcast(&at.changed);
        pthread_mutex_unlock(&at.mutex);
        {
            /* (Once is enough: a writer may be on its way to the next call a moment later.) */
            const uint64_t deadline = now_ms() + PATIENCE_MS;
            bool done;
            while (!(done = has_done_what_it_can(p, c.max_in_flight)) && now_ms() < deadline)
                sched_yield();
            CHECK_OR_STOP(done);
        }
    }
    m = metrics_of(p);
    CHECK_U64(m.offered, (uint64_t)ROUNDS * (FLOOD + 1));
    CHECK_U64(m.offered_priority, ROUNDS);
    CHECK_U64(m.captured_priority, ROUNDS);
    CHECK_U64(m.dropped_full_priority, 0);
    CHECK_U64(ordinary + dropped, (uint64_t)ROUNDS * FLOOD);
    /* It was a flood: of ten ordinary events at most two or so had room. And none starved. */
    CHECK(dropped > ordinary);
    CHECK(m.stored > m.stored_priority);
    pthread_mutex_lock(&at.mutex);
    at.over = true;
    pthread_cond_broadcast(&at.changed);
    pthread_mutex_unlock(&at.mutex);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.stored_priority, ROUNDS);
    CHECK_U64(at.stored[1], ROUNDS);
    CHECK_U64(at.stored[0], ordinary);
    printf("%s: of %d events with priority %" PRIu64 " were stored; of %d others %" PRIu64 "\n", name, ROUNDS, m.stored_priority,
           ROUNDS * FLOOD, m.stored - m.stored_priority);
    pthread_mutex_lock(&at.mutex);
    at.settled = true;
    pthread_cond_broadcast(&at.changed);
    pthread_mutex_unlock(&at.mutex);
    if (later)
        pthread_join(answers, NULL);
    END(p);
}

int main(void)
{
    flood("three writers", 3, PIPELINE_STORAGE_CONCURRENT, false);
    flood("one writer", 1, PIPELINE_STORAGE_CONCURRENT, false);
    flood("a storage that is not concurrent", 3, 0, false);
    flood("a storage that answers later", 1, 0, true);
    return SUMMARY();
}
