/* Eight threads capture in every way, the storage fails at random in every way, answers come from other threads in random order, and
 * the pipeline is scaled, paused and resumed at random, under each overflow policy and each ordering. At the end counts, identities and
 * contents are compared, event by event, with what was offered. The seed is printed if a check fails. */
#include "../recorder.h"
#include "fates.h"

#define THREADS 8
#define EVENTS 2500
#define LONGEST 120

typedef struct {
    uint32_t thread, number, seed, len; /* followed by len bytes that can be computed from these */
} head_t;

static fate_t fates[THREADS][EVENTS];
static unsigned seed;
static pipeline_t *p;
static atomic_bool stop, calm; /* calm: the disturbing thread stops */

static unsigned next_random(unsigned *rng)
{
    *rng = *rng * 1664525u + 1013904223u;
    return *rng >> 8;
}

static void fill(unsigned char *payload, const head_t *head)
{
    uint32_t i;
    memcpy(payload, head, sizeof *head);
    for (i = 0; i < head->len; i++)
        payload[sizeof *head + i] = (unsigned char)(head->seed + i * 7 + head->number);
}

/* Checks that an event is as it was offered, under the identity that it had before; returns its fate. */
static fate_t *fate_of(const pipeline_event_view_t *e)
{
    unsigned char expected[sizeof(head_t) + LONGEST];
    head_t head;
    fate_t *fate;
    CHECK_OR_STOP(e->len >= sizeof head);
    memcpy(&head, e->data, sizeof head);
    CHECK_OR_STOP(head.thread < THREADS && head.number < EVENTS && head.len <= LONGEST);
    CHECK_U64(e->len, sizeof head + head.len);
    fill(expected, &head);
    CHECK(memcmp(e->data, expected, e->len) == 0);
    CHECK_U64(e->kind, head.thread + 1);
    CHECK_U64(e->correlation_id, head.number % 2 ? head.seed : 0);
    fate = &fates[head.thread][head.number];
    fate_seen(fate, e);
    return fate;
}

static void mark_stored(const pipeline_batch_t *batch, size_t from, size_t to, const bool *rejected)
{
    size_t i;
    for (i = from; i < to; i++)
        if (rejected == NULL || !rejected[i])
            fate_of(PIPELINE_BATCH_EVENT(batch, i))->stored++;
}

/* ---- later answers ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const pipeline_batch_t *waiting[4096];
static size_t waiting_count;

static void *completing(void *number)
{
    unsigned rng = seed + (unsigned)(uintptr_t)number;
    for (;;) {
        const pipeline_batch_t *batch = NULL;
        pthread_mutex_lock(&mutex);
        if (waiting_count > 0) {
            size_t at = next_random(&rng) % waiting_count;
            batch = waiting[at];
            waiting[at] = waiting[--waiting_count];
        } else if (stop) {
            pthread_mutex_unlock(&mutex);
            return NULL;
        }
        pthread_mutex_unlock(&mutex);
        if (batch == NULL) {
            pause_a_little();
            continue;
        }
        switch (next_random(&rng) % 4) {
        case 0: {
            size_t prefix = next_random(&rng) % (batch->count + 1);
            mark_stored(batch, 0, prefix, NULL);
            CHECK_STATUS(pipeline_batch_complete_at(batch->token, prefix, PIPELINE_STORE_RETRY), PIPELINE_OK);
            break;
        }
        case 1: {
            uint64_t token = batch->token;
            CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_RETRY), PIPELINE_OK);
            CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN);
            break;
        }
        default:
            mark_stored(batch, 0, batch->count, NULL);
            CHECK_STATUS(pipeline_batch_complete(batch->token, PIPELINE_STORE_OK), PIPELINE_OK);
        }
    }
}

/* ---- the storage ---- */

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    unsigned rng = (unsigned)(batch->batch_id * 2654435761u + batch->attempt * 40503u) ^ seed;
    static const int32_t nonsense[] = {-3, 4, 77};
    (void)user_data;
    next_random(&rng);
    switch (next_random(&rng) % 10) {
    case 0:
        return PIPELINE_STORE_RETRY;
    case 1:
        return nonsense[next_random(&rng) % 3];
    case 2: {
        size_t prefix = next_random(&rng) % (batch->count + 1);
        mark_stored(batch, 0, prefix, NULL);
        CHECK_STATUS(pipeline_batch_set_stored(batch, prefix), PIPELINE_OK);
        return next_random(&rng) % 4 ? PIPELINE_STORE_RETRY : PIPELINE_STORE_REJECT;
    }
    case 3: {
        bool rejected[65536];
        size_t i;
        for (i = 0; i < batch->count; i++) {
            rejected[i] = next_random(&rng) % 4 == 0;
            if (rejected[i])
                CHECK_STATUS(pipeline_batch_set_rejected(batch, i), PIPELINE_OK);
        }
        mark_stored(batch, 0, batch->count, rejected);
        return PIPELINE_STORE_OK;
    }
    case 4:
        return next_random(&rng) % 8 ? PIPELINE_STORE_RETRY : PIPELINE_STORE_REJECT;
    case 5:
    case 6:
        pthread_mutex_lock(&mutex);
        CHECK_OR_STOP(waiting_count < sizeof waiting / sizeof *waiting);
        waiting[waiting_count++] = batch;
        pthread_mutex_unlock(&mutex);
        return PIPELINE_STORE_PENDING;
    case 7:
        mark_stored(batch, 0, batch->count, NULL);
        CHECK_STATUS(pipeline_batch_complete(batch->token, PIPELINE_STORE_OK), PIPELINE_OK);
        return PIPELINE_STORE_PENDING;
    default:
        mark_stored(batch, 0, batch->count, NULL);
        return PIPELINE_STORE_OK;
    }
}

static int32_t dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    size_t i;
    (void)user_data;
    CHECK(reason >= PIPELINE_REASON_REJECTED && reason <= PIPELINE_REASON_RETRY_AGE);
    if (batch->attempt == 1 && batch->batch_id % 2)
        return PIPELINE_STORE_RETRY;
    for (i = 0; i < batch->count; i++)
        fate_of(PIPELINE_BATCH_EVENT(batch, i))->dead++;
    return 0;
}

static void release(void *user_data, const pipeline_event_view_t *event)
{
    (void)user_data;
    fate_of(event)->released++;
}

/* ---- the threads ---- */

static void *capturing(void *number)
{
    uint32_t thread = (uint32_t)(uintptr_t)number, n;
    unsigned rng = seed * 31 + thread;
    pipeline_producer_t *producer = NULL;
    if (thread % 2)
        CHECK_STATUS(pipeline_producer_open(p, &producer), PIPELINE_OK);
    for (n = 0; n < EVENTS; n++) {
        unsigned char payload[sizeof(head_t) + LONGEST];
        head_t head = {thread, n, 0, 0};
        pipeline_event_t e;
        int32_t status;
        void *room = NULL;
        head.seed = next_random(&rng);
        head.len = next_random(&rng) % (LONGEST + 1);
        fill(payload, &head);
        e = event_of(thread + 1, payload, sizeof head + head.len);
        if (n % 2)
            e.correlation_id = head.seed;
        if (next_random(&rng) % 16 == 0)
            e.flags = PIPELINE_EVENT_PRIORITY;
        if (producer == NULL) {
            status = pipeline_capture_event(p, &e);
        } else if (n % 3 == 0) {
            status = pipeline_producer_capture_event(producer, &e);
        } else {
            status = pipeline_producer_reserve(producer, &e, sizeof payload, &room);
            if (status == PIPELINE_OK && n % 3 == 1 && next_random(&rng) % 8 == 0) {
                CHECK_STATUS(pipeline_producer_abort(producer), PIPELINE_OK);
                status = pipeline_producer_capture_event(producer, &e);
            } else if (status == PIPELINE_OK) {
                memcpy(room, payload, e.len);
                status = pipeline_producer_commit(producer, e.len);
            }
        }
        if (status == PIPELINE_OK)
            fates[thread][n].captured = 1;
        else
            CHECK_STATUS(status, PIPELINE_ERR_FULL);
        if (next_random(&rng) % 64 == 0)
            sched_yield();
    }
    if (producer != NULL)
        CHECK_STATUS(pipeline_producer_close(producer), PIPELINE_OK);
    return NULL;
}

static void *disturbing(void *unused)
{
    unsigned rng = seed * 77;
    (void)unused;
    while (!calm) {
        switch (next_random(&rng) % 4) {
        case 0:
            CHECK_STATUS(pipeline_scale(p, next_random(&rng) % 5), PIPELINE_OK);
            break;
        case 1:
            CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
            pause_a_little();
            CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
            break;
        case 2: {
            pipeline_metrics_t m = metrics_of(p);
            CHECK(m.stored <= m.captured && m.captured <= m.offered);
            break;
        }
        default: {
            int32_t status = pipeline_flush(p, 1);
            CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_TIMEOUT);
        }
        }
        pause_a_little();
    }
    return NULL;
}

static void account(uint32_t overflow, bool releases)
{
    fate_sums_t sums = fate_sums(&fates[0][0], THREADS * EVENTS);
    pipeline_metrics_t m = metrics_of(p);
    CHECK_U64(m.offered, THREADS * EVENTS);
    CHECK_U64(m.captured, sums.captured);
    CHECK_U64(m.dropped_full, THREADS * EVENTS - sums.captured);
    CHECK_U64(m.stored, sums.stored);
    CHECK_U64(m.dead_lettered, sums.dead);
    CHECK_U64(m.discarded, 0);
    CHECK_U64(m.overwritten, sums.lost);
    CHECK_U64(sums.twice, 0);
    CHECK_U64(sums.unknown, 0);
    CHECK_U64(sums.unreleased, releases ? 0 : sums.captured);
    CHECK_U64(sums.released_twice, 0);
    CHECK_U64(m.left + m.in_flight + m.in_doubt + m.buffered, 0);
    if (overflow != PIPELINE_OVERFLOW_DROP_OLDEST)
        CHECK_U64(m.overwritten, 0);
    CHECK_LEDGER(p);
}

static void run(uint32_t overflow, uint32_t ordering, bool concurrent, bool releases)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    pthread_t threads[THREADS + 3];
    int failed = checks_failed;
    uintptr_t i;
    memset(fates, 0, sizeof fates);
    stop = calm = false;
    c.ring_bytes = 32768;
    c.batch_size = 48;
    c.batch_bytes = 4096;
    c.writers = 2;
    c.overflow = overflow;
    c.ordering = ordering;
    c.block_timeout_us = 3000;
    c.retry_limit = 12;
    c.retry_initial_us = 20;
    c.retry_max_us = 500;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.flags = concurrent ? PIPELINE_STORAGE_CONCURRENT : 0;
    s.store = store;
    s.dead_letter = dead_letter;
    if (releases)
        s.release = release;
    p = start_pipeline(&c, &s);
    for (i = 0; i < THREADS; i++)
        threads[i] = start_thread(capturing, (void *)i);
    threads[THREADS] = start_thread(disturbing, NULL);
    threads[THREADS + 1] = start_thread(completing, (void *)1);
    threads[THREADS + 2] = start_thread(completing, (void *)2);
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    calm = true;
    pthread_join(threads[THREADS], NULL);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    stop = true;
    pthread_join(threads[THREADS + 1], NULL);
    pthread_join(threads[THREADS + 2], NULL);
    account(overflow, releases);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    if (checks_failed != failed)
        fprintf(stderr, "  with overflow %u, ordering %u, concurrent %d, release %d, seed %u\n", overflow, ordering,
                concurrent, releases, seed);
}

int main(void)
{
    struct timespec t;
    uint32_t overflow;
    clock_gettime(CLOCK_MONOTONIC, &t);
    seed = getenv("SEED") ? (unsigned)strtoul(getenv("SEED"), NULL, 10) : (unsigned)t.tv_nsec;
    for (overflow = PIPELINE_OVERFLOW_DROP_NEWEST; overflow <= PIPELINE_OVERFLOW_BLOCK; overflow++) {
        run(overflow, PIPELINE_ORDERING_NONE, true, true);
        run(overflow, PIPELINE_ORDERING_PER_PRODUCER, true, false);
        run(overflow, PIPELINE_ORDERING_NONE, false, overflow == PIPELINE_OVERFLOW_DROP_OLDEST);
    }
    return SUMMARY();
}
