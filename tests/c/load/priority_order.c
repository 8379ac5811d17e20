/* Events with priority come first, whatever else happens: attempts fail, writers end their threads, answers come later, writers are added and taken
 * away. Random pipelines, each with producers that keep both sorts waiting. The storage keeps a book of what waits, and checks each call against it:
 *
 * - while events with priority wait, the next call is theirs, unless seven calls in a row were;
 * - of eight calls in a row at least one is for the others, if they wait;
 * - each event is stored once, those of one ring buffer in order where that is asked for.
 *
 * With calls that overlap, the order in which they begin is not that in which the storage sees them. There the events and their order are checked, and
 * that nothing starves: the flood of events with priority goes on until every other event is stored. */
#include "../recorder.h"

enum { PRIORITY = PIPELINE_EVENT_PRIORITY, OTHERS = 400, MOST_IN_A_ROW = 7, BATCHES = 1 << 16, IN_FLIGHT = 16, RINGS = 16 };

/* What a batch is doing. */
enum { UNKNOWN, IN_CALL, PENDING, WAITS, LOST, STORED };

/* A kind of storage, and how many writers. */
typedef struct {
    const char *name;
    uint32_t writers, flags;
    bool later;
} way_t;

typedef struct {
    uint64_t id, last;
} ring_t;

static struct {
    pthread_mutex_t mutex;
    way_t way;
    uint64_t random;
    bool at_once, ordered, over;
    /* Of events [without, with] priority: captured, shown, stored. */
    atomic_ullong captured[2];
    uint64_t shown[2], stored[2], stored_sum[2], captured_sum[2];
    /* Batches that are with the storage, or were and are not stored; those of them that may be tried again at once. */
    uint32_t out[2], due[2];
    unsigned char batch[BATCHES];
    /* Of the calls so far, and what waited when the last one returned. */
    uint32_t in_a_row;
    bool waited[2], paused;
    uint64_t calls, ends, retries, pending, wrong_order, wrong_turn, firsts, eighths;
    ring_t rings[RINGS];
    struct {
        uint64_t token, id;
        bool priority;
    } later[IN_FLIGHT * 2];
    size_t later_count;
} at;

static uint64_t draw(uint64_t below)
{
    at.random = at.random * 6364136223846793005u + 1442695040888963407u;
    return (at.random >> 33) % below;
}

/* Whether events of that sort are there to be claimed, or a batch to be tried again, if nothing of them holds the others back. */
static bool waits(bool priority)
{
    const bool unseen = atomic_load(&at.captured[priority]) > at.shown[priority] && at.out[0] + at.out[1] < IN_FLIGHT / 2;
    return (unseen && at.out[priority] == 0) || (at.at_once && at.due[priority] > 0);
}

static void move_to(uint64_t id, bool priority, unsigned char state)
{
    unsigned char *now = &at.batch[id % BATCHES];
    at.out[priority] += (state != STORED) - (*now != UNKNOWN && *now != STORED);
    at.due[priority] += (state == WAITS) - (*now == WAITS);
    *now = state;
}

/* The order of the first attempts with a ring buffer's events. */
static void note_order(const pipeline_event_view_t *e)
{
    ring_t *ring = at.rings;
    while (ring->id != 0 && ring->id != e->ring_id)
        CHECK_OR_STOP(++ring < at.rings + RINGS);
    at.wrong_order += ring->id != 0 && e->sequence != ring->last + 1;
    at.wrong_order += ring->id == 0 && e->sequence != 0;
    ring->id = e->ring_id;
    ring->last = e->sequence;
}

static bool calls_overlap(void)
{
    return at.way.flags & PIPELINE_STORAGE_CONCURRENT && at.way.writers > 1;
}

/* A call has begun. */
static void note_begin(const pipeline_batch_t *batch, bool priority)
{
    size_t i;
    if (!calls_overlap() && !at.paused) {
        if (at.in_a_row >= MOST_IN_A_ROW ? priority && at.waited[0] : !priority && at.waited[1]) {
            if (at.wrong_turn++ == 0)
                fprintf(stderr, "%s: a call with%s priority after %u with, while [%d, %d] waited: out [%u, %u], due [%u, %u], attempt %u\n",
                        at.way.name, priority ? "" : "out", at.in_a_row, at.waited[0], at.waited[1], at.out[0], at.out[1], at.due[0],
                        at.due[1], batch->attempt);
        }
        at.firsts += priority && at.waited[0] && at.waited[1];
        at.eighths += !priority && at.waited[0] && at.waited[1];
    }
    at.in_a_row = priority ? at.in_a_row + 1 : 0;
    if (at.batch[batch->batch_id % BATCHES] == UNKNOWN)
        for (i = 0; i < batch->count; i++) {
            at.shown[priority]++;
            if (!calls_overlap() || at.ordered)
                note_order(PIPELINE_BATCH_EVENT(batch, i));
        }
    else
        at.retries++;
    move_to(batch->batch_id, priority, IN_CALL);
    at.calls++;
}

static void note_stored(const pipeline_batch_t *batch, bool priority, size_t from, size_t to)
{
    size_t i;
    for (i = from; i < to; i++) {
        uint64_t number;
        memcpy(&number, PIPELINE_BATCH_EVENT(batch, i)->data, sizeof number);
        at.stored[priority]++;
        at.stored_sum[priority] += number;
    }
}

static void note_end(void)
{
    at.waited[0] = waits(false);
    at.waited[1] = waits(true);
}

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    const bool priority = PIPELINE_BATCH_EVENT(batch, 0)->flags == PRIORITY;
    const uint64_t id = batch->batch_id;
    int32_t answer = PIPELINE_STORE_OK;
    uint64_t what;
    size_t i;
    (void)user_data;
    pthread_mutex_lock(&at.mutex);
    CHECK_OR_STOP(id < BATCHES);
    for (i = 1; i < batch->count; i++)
        at.wrong_order += (PIPELINE_BATCH_EVENT(batch, i)->flags == PRIORITY) != priority;
    note_begin(batch, priority);
    what = at.over ? 99 : draw(100);
    if (what < 20) {
        const size_t part = draw(batch->count + 1);
        CHECK_STATUS(pipeline_batch_set_stored(batch, part), PIPELINE_OK);
        note_stored(batch, priority, 0, part);
        /* (A batch of which nothing is left is stored.) */
        move_to(id, priority, part < batch->count ? WAITS : STORED);
        answer = PIPELINE_STORE_RETRY;
    } else if (what < 22 && at.ends < 12) {
        at.ends++;
        move_to(id, priority, LOST);
        note_end();
        pthread_mutex_unlock(&at.mutex);
        pthread_exit(NULL);
    } else if (what < 60 && at.way.later && at.later_count < IN_FLIGHT) {
        at.later[at.later_count].token = batch->token;
        at.later[at.later_count].id = id;
        at.later[at.later_count++].priority = priority;
        move_to(id, priority, PENDING);
        at.pending++;
        answer = PIPELINE_STORE_PENDING;
        /* What is left of it is noted now: the batch is not there when the answer is given. */
        note_stored(batch, priority, 0, batch->count);
    } else {
        note_stored(batch, priority, 0, batch->count);
        move_to(id, priority, STORED);
    }
    note_end();
    pthread_mutex_unlock(&at.mutex);
    return answer;
}

/* Answers what is pending, in any order. */
static void *answer(void *unused)
{
    bool over;
    do {
        uint64_t token = 0, id = 0;
        bool priority = false;
        pthread_mutex_lock(&at.mutex);
        if (at.later_count > 0) {
            const size_t which = draw(at.later_count);
            token = at.later[which].token;
            id = at.later[which].id;
            priority = at.later[which].priority;
            at.later[which] = at.later[--at.later_count];
        }
        over = at.over && at.later_count == 0;
        pthread_mutex_unlock(&at.mutex);
        if (token == 0) {
            pause_a_little();
            continue;
        }
        CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_OK);
        pthread_mutex_lock(&at.mutex);
        move_to(id, priority, STORED);
        pthread_mutex_unlock(&at.mutex);
    } while (!over);
    return unused;
}

static void capture_next(pipeline_t *p, bool priority, uint64_t number)
{
    pipeline_event_t e = event_of(1, &number, sizeof number);
    e.flags = priority ? PRIORITY : 0;
    CHECK_OR_STOP(CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK));
    pthread_mutex_lock(&at.mutex);
    at.captured_sum[priority] += number;
    pthread_mutex_unlock(&at.mutex);
    atomic_fetch_add(&at.captured[priority], 1);
}

static void *capture_others(void *pipeline)
{
    uint64_t n;
    for (n = 0; n < OTHERS; n++)
        capture_next((pipeline_t *)pipeline, false, n);
    return NULL;
}

static bool others_are_stored(void)
{
    bool are;
    pthread_mutex_lock(&at.mutex);
    are = at.stored[0] == OTHERS;
    pthread_mutex_unlock(&at.mutex);
    return are;
}

/* The flood goes on until the others are through. */
static void *capture_priority(void *pipeline)
{
    const uint64_t deadline = now_ms() + PATIENCE_MS;
    uint64_t n = 0;
    while (!others_are_stored() && now_ms() < deadline)
        capture_next((pipeline_t *)pipeline, true, n++);
    CHECK(others_are_stored());
    return NULL;
}

/* Adds writers, takes them away, and holds them up. */
static void *change_writers(void *pipeline)
{
    pipeline_t *p = (pipeline_t *)pipeline;
    uint32_t seed = 1;
    while (!others_are_stored() && checks_failed == 0) {
        seed = seed * 1103515245 + 12345;
        if (at.way.writers > 1)
            CHECK_STATUS(pipeline_scale(p, 1 + (seed >> 16) % 4), PIPELINE_OK);
        if ((seed >> 20) % 8 == 0) {
            /* (Meanwhile nothing new is claimed, but what was is tried again. It may be about to be when the pause is over.) */
            pthread_mutex_lock(&at.mutex);
            at.paused = true;
            pthread_mutex_unlock(&at.mutex);
            CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
            CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
            pthread_mutex_lock(&at.mutex);
            at.paused = at.waited[0] = at.waited[1] = false;
            pthread_mutex_unlock(&at.mutex);
        }
        pause_a_little();
    }
    return NULL;
}

static uint64_t firsts, eighths, retries, ends, pending;

static void play(const way_t *way, uint64_t seed)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    pipeline_metrics_t m;
    pipeline_t *p;
    pthread_t threads[4];
    int i;
    memset(&at, 0, sizeof at);
    pthread_mutex_init(&at.mutex, NULL);
    at.way = *way;
    at.random = seed;
    at.at_once = draw(2) == 0;
    at.ordered = draw(2) == 0;
    c.writers = way->writers;
    c.batch_size = 1 + (uint32_t)draw(6);
    c.max_in_flight = IN_FLIGHT;
    c.ring_bytes = 1 << 12;
    c.priority_ring_bytes = 1 << 12;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = UINT64_C(3600000000);
    c.ordering = at.ordered ? PIPELINE_ORDERING_PER_PRODUCER : PIPELINE_ORDERING_NONE;
    c.retry_limit = 1000000;
    c.retry_initial_us = at.at_once ? 0 : 100;
    c.retry_max_us = 1000;
    c.breaker_failures = 0;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = store;
    s.flags = way->flags;
    p = start_pipeline(&c, &s);
    threads[0] = start_thread(capture_others, p);
    threads[1] = start_thread(capture_priority, p);
    threads[2] = start_thread(change_writers, p);
    threads[3] = start_thread(answer, NULL);
    for (i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_lock(&at.mutex);
    at.over = true;
    pthread_mutex_unlock(&at.mutex);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    pthread_join(threads[3], NULL);
    WAIT_FOR(metrics_of(p).stored == metrics_of(p).captured);
    m = metrics_of(p);
    for (i = 0; i < 2; i++) {
        CHECK_U64(at.stored[i], at.captured[i]);
        CHECK_U64(at.shown[i], at.captured[i]);
        CHECK_U64(at.stored_sum[i], at.captured_sum[i]);
    }
    CHECK_U64(m.captured_priority, at.captured[1]);
    CHECK_U64(m.stored_priority, at.captured[1]);
    CHECK_U64(m.stored, at.captured[0] + at.captured[1]);
    CHECK_U64(m.writer_restarts, at.ends);
    CHECK_U64(at.wrong_order, 0);
    if (!CHECK_U64(at.wrong_turn, 0))
        fprintf(stderr, "  of %" PRIu64 " calls, %s, seed %" PRIu64 "\n", at.calls, way->name, seed);
    END(p);
    firsts += at.firsts;
    eighths += at.eighths;
    retries += at.retries;
    ends += at.ends;
    pending += at.pending;
}

int main(void)
{
    static const way_t ways[] = {
        {"one writer", 1, PIPELINE_STORAGE_CONCURRENT, false},
        {"three writers", 3, PIPELINE_STORAGE_CONCURRENT, false},
        {"a storage that is not concurrent", 3, 0, false},
        {"a storage that answers later", 1, PIPELINE_STORAGE_CONCURRENT, true},
    };
    const int seeds = count_of(16, 2);
    size_t way;
    int seed;
    for (way = 0; way < sizeof ways / sizeof *ways; way++)
        for (seed = 1; seed <= seeds && checks_failed == 0; seed++)
            play(&ways[way], (uint64_t)seed * 4 + way);
    printf("while both waited, %" PRIu64 " calls were with priority and %" PRIu64 " without; %" PRIu64 " attempts were repeated, %" PRIu64
           " threads ended, %" PRIu64 " answers came later\n",
           firsts, eighths, retries, ends, pending);
    CHECK(firsts > 0 && eighths > 0 && retries > 0 && ends > 0 && pending > 0);
    return SUMMARY();
}
