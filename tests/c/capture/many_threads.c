/* Many threads: 64 that capture at once, and thousands that capture one event each and end. Every event is accounted for, and arrives
 * in order within its ring. Rings are reused, so memory does not grow. Figures are printed, not checked. SHORT_THREADS sets the number
 * of short-lived threads (default 3000). */
#include "../recorder.h"

enum { CROWD = 64, WAVES = 8, FIRST = 200, MOST_RINGS = 65536 };

/* Counts, and checks that each event is the next one of its thread. */
static uint64_t each_sends; /* of the 64 */

static struct {
    uint64_t *next; /* of each sender */
    uint64_t senders, events, out_of_order;
    uint64_t *ring_sequence; /* of each ring id, plus one */
    uint64_t rings;
} seen;

static int32_t count(void *user_data, const pipeline_batch_t *batch)
{
    size_t i;
    (void)user_data; /* not PIPELINE_STORAGE_CONCURRENT: one call at a time */
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        uint64_t number;
        memcpy(&number, e->data, sizeof number);
        CHECK_OR_STOP(e->len == sizeof number && e->correlation_id < seen.senders && e->ring_id < seen.rings);
        /* A sender's events come in their order as long as they are in one ring; past max_rings it may be moved to another. */
        if (number != seen.next[e->correlation_id])
            seen.out_of_order++;
        seen.next[e->correlation_id]++;
        if (!CHECK(e->sequence >= seen.ring_sequence[e->ring_id]))
            fprintf(stderr, "  ring %" PRIu64 ": %" PRIu64 "\n", e->ring_id, e->sequence);
        seen.ring_sequence[e->ring_id] = e->sequence + 1;
        seen.events++;
    }
    return PIPELINE_STORE_OK;
}

static void begin_counting(uint64_t senders, uint64_t rings)
{
    memset(&seen, 0, sizeof seen);
    seen.senders = senders;
    seen.rings = rings;
    seen.next = (uint64_t *)calloc(senders, sizeof *seen.next);
    seen.ring_sequence = (uint64_t *)calloc(rings, sizeof *seen.ring_sequence);
    CHECK_OR_STOP(seen.next != NULL && seen.ring_sequence != NULL);
}

static void end_counting(void)
{
    free(seen.next);
    free(seen.ring_sequence);
}

static pipeline_t *p;

static pipeline_t *start_counting(const pipeline_config_t *config)
{
    pipeline_storage_t s;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = count;
    return start_pipeline(config, &s);
}

static int32_t send(uint64_t sender, uint64_t number)
{
    pipeline_event_t e = event_of(1, &number, sizeof number);
    e.correlation_id = sender;
    return pipeline_capture_event(p, &e);
}

static uint64_t resident_kib(void)
{
    char line[256];
    uint64_t kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    CHECK_OR_STOP(status != NULL);
    while (fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "VmRSS: %" SCNu64, &kib) == 1)
            break;
    fclose(status);
    return kib;
}

/* ---- 64 at once ---- */

static atomic_uint_fast64_t taken, refused;
static pthread_barrier_t all;

static void *one_of_many(void *argument)
{
    uint64_t sender = (uint64_t)(uintptr_t)argument, n;
    pthread_barrier_wait(&all);
    for (n = 0; n < each_sends;) {
        int32_t status = send(sender, n);
        if (status == PIPELINE_OK) {
            taken++;
            n++;
        } else {
            /* The ring is full, or (past max_rings) another thread uses the shared ring: the capture is repeated, and counted. */
            CHECK(status == PIPELINE_ERR_FULL || status == PIPELINE_ERR_BUSY);
            refused++;
            sched_yield();
        }
    }
    pthread_barrier_wait(&all);
    return NULL;
}

static void crowd(const char *what, uint32_t max_rings, uint32_t writers, uint32_t ordering)
{
    pipeline_config_t c = config_defaults();
    pthread_t threads[CROWD];
    pipeline_metrics_t m;
    uint64_t began, i;
    c.max_rings = max_rings;
    c.ring_bytes = 65536;
    c.writers = writers;
    c.ordering = ordering;
    begin_counting(CROWD, MOST_RINGS);
    taken = refused = 0;
    p = start_counting(&c);
    pthread_barrier_init(&all, NULL, CROWD);
    began = now_ms();
    for (i = 0; i < CROWD; i++)
        threads[i] = start_thread(one_of_many, (void *)(uintptr_t)i);
    for (i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    printf("%s: %d threads, %" PRIu64 " events in %" PRIu64 " ms, %" PRIu64 " offers refused and made again\n", what, CROWD,
           m.stored, now_ms() - began, (uint64_t)refused);
    CHECK_U64(taken, CROWD * each_sends);
    CHECK_U64(m.captured, taken);
    CHECK_U64(m.stored, taken);
    CHECK_U64(m.offered, taken + refused);
    CHECK_U64(m.dropped_full + m.refused_busy, refused);
    CHECK_LEDGER(p);
    WAIT_FOR(metrics_of(p).rings == 0);
    END(p);
    CHECK_U64(seen.events, CROWD * each_sends);
    for (i = 0; i < CROWD; i++)
        CHECK_U64(seen.next[i], each_sends);
    if (max_rings >= CROWD)
        CHECK_U64(seen.out_of_order, 0);
    pthread_barrier_destroy(&all);
    end_counting();
}

/* ---- very many, one after the other ---- */

static void *one_event(void *argument)
{
    int32_t status;
    while ((status = send((uint64_t)(uintptr_t)argument, 0)) != PIPELINE_OK) {
        CHECK(status == PIPELINE_ERR_BUSY || status == PIPELINE_ERR_FULL);
        refused++;
        sched_yield();
    }
    return NULL;
}

static void *no_event(void *argument) { return argument; }

/* Runs so many threads, some at a time; returns the nanoseconds per thread. */
static double run_short(uint64_t count_of_threads, void *(*body)(void *))
{
    pthread_t threads[WAVES];
    struct timespec a, b;
    uint64_t i, k;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (i = 0; i < count_of_threads; i += WAVES) {
        uint64_t now = count_of_threads - i < WAVES ? count_of_threads - i : WAVES;
        for (k = 0; k < now; k++)
            threads[k] = start_thread(body, (void *)(uintptr_t)(i + k));
        for (k = 0; k < now; k++)
            pthread_join(threads[k], NULL);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)count_of_threads;
}

static void short_lived(uint64_t threads, uint32_t max_rings)
{
    pipeline_config_t c = config_defaults();
    pipeline_metrics_t m;
    uint64_t before, after;
    double each, bare;
    c.max_rings = max_rings;
    c.ring_bytes = 65536;
    /* Each thread gets two ids, and so does the shared ring buffer. */
    begin_counting(threads, 2 * (threads + max_rings) + 1000);
    refused = 0;
    p = start_counting(&c);
    bare = run_short(1000, no_event);
    run_short(FIRST, one_event);
    before = resident_kib();
    each = run_short(threads - FIRST, one_event);
    after = resident_kib();
    CHECK(metrics_of(p).rings <= max_rings);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).rings == 0);
    m = metrics_of(p);
    printf("%" PRIu64 " threads with an event each, max_rings %u: %.1f us a thread, %.1f without; resident %" PRIu64
           " KiB, then %" PRIu64 "; %" PRIu64 " offers made again\n",
           threads, max_rings, each / 1000, bare / 1000, before, after, (uint64_t)refused);
    /* Sequence numbers start at 0 in each ring, so a ring id that came twice would have been seen. */
    CHECK_U64(seen.events, threads);
    CHECK_U64(m.captured, threads);
    CHECK_U64(m.stored, threads);
    CHECK_U64(m.offered, threads + refused);
    CHECK_U64(m.dropped_full + m.refused_busy, refused);
    CHECK_LEDGER(p);
    /* The memory of all rings, and none per thread. */
    if (memory_is_ours())
        CHECK(after <= before + (max_rings + 2) * 64 + 2048);
    END(p);
    end_counting();
}

int main(void)
{
    const char *count_of_threads = getenv("SHORT_THREADS");
    uint64_t threads = count_of_threads ? strtoull(count_of_threads, NULL, 10) : (uint64_t)count_of(3000, 600);
    each_sends = (uint64_t)count_of(4000, 100);
    crowd("a ring each, one writer", CROWD, 1, PIPELINE_ORDERING_PER_PRODUCER);
    crowd("a ring each, four writers", CROWD, 4, PIPELINE_ORDERING_PER_PRODUCER);
    crowd("a ring for every eighth", CROWD / 8, 2, PIPELINE_ORDERING_PER_PRODUCER);
    short_lived(threads, 64);
    short_lived(threads, 2);
    return SUMMARY();
}
