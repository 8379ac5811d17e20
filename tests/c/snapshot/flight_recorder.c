/* A flight recorder: with drop_oldest and no writers, rings keep the last events of each thread, and snapshots write them while two threads capture at full
 * speed. Each event of a snapshot is one that was captured, byte by byte; those of a ring have no gap; the newest that was captured before the call is
 * among them; nothing is dropped; and the ledger is exact. */
#include "../recorder.h"
#include "snapshots.h"

enum { THREADS = 2, ROUNDS = 50, RING_BYTES = 1 << 18 };

static recorder_t recorder = RECORDER_INIT;

typedef struct {
    pipeline_t *p;
    pthread_t thread;
    uint64_t who;
    uint32_t flags;   /* of each eighth event; 0: none */
    _Atomic uint64_t done;
    _Atomic bool stop;
    char padding[64];
} capturer_t;

static capturer_t capturers[THREADS];

static uint32_t flags_of(const capturer_t *c, uint64_t n)
{
    return n % 8 == 0 ? c->flags : 0;
}

static void *capture(void *argument)
{
    capturer_t *c = argument;
    uint64_t words[MOST_WORDS], n;
    for (n = 0; !c->stop; n++) {
        pipeline_event_t e = proving_event(c->who, n, words);
        e.flags = flags_of(c, n);
        if (pipeline_capture_event(c->p, &e) != PIPELINE_OK) {
            CHECK(!"a capture succeeds");
            break;
        }
        c->done = n + 1;
    }
    return NULL;
}

/* What a snapshot has of one thread, by the ring. */
typedef struct {
    uint64_t events[2], ring_id[2], last_n[2], last_sequence[2], first_n[2], last_ns[2];
    bool overlaps;
} seen_t;

typedef struct {
    seen_t of[THREADS];
    uint64_t generation, from_ns, to_ns;
} all_seen_t;

static bool in_parts;
static uint64_t ring_bytes = RING_BYTES;

static void see(void *with, const pipeline_reader_event_t *e)
{
    all_seen_t *all = with;
    uint64_t who = 0, n = 0;
    seen_t *s;
    int ring = (e->flags & PIPELINE_EVENT_PRIORITY) != 0;
    CHECK_OR_STOP(proves_itself(e, &who, &n) && who < THREADS);
    s = &all->of[who];
    CHECK_U64(e->generation, all->generation);
    CHECK_U64(e->flags, flags_of(&capturers[who], n));
    CHECK_OR_STOP(e->timestamp_ns >= all->from_ns && e->timestamp_ns <= all->to_ns);
    if (s->events[ring]++ == 0) {
        s->ring_id[ring] = e->ring_id;
        s->first_n[ring] = n;
    } else {
        uint64_t step = ring ? 8 : capturers[who].flags && n % 8 == 1 ? 2 : 1;
        uint64_t gap = n - s->last_n[ring] - step;
        /* (A ring that is copied in parts may have a gap between two of them.) */
        CHECK_OR_STOP(e->ring_id == s->ring_id[ring] && (in_parts ? gap < UINT64_MAX / 2 : gap == 0)
                      && e->sequence == s->last_sequence[ring] + 1 + gap && e->timestamp_ns >= s->last_ns[ring]);
    }
    s->last_n[ring] = n;
    s->last_sequence[ring] = e->sequence;
    s->last_ns[ring] = e->timestamp_ns;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Checks a directory with one snapshot or several. `before`: what each thread had captured before the last one. */
static uint64_t check(const char *dir, uint64_t generation, const uint64_t *before, bool has_all)
{
    static all_seen_t all;
    uint64_t events, i;
    memset(&all, 0, sizeof all);
    all.generation = generation;
    all.from_ns = 1;
    all.to_ns = now_ns();
    events = each_event(dir, see, &all);
    for (i = 0; i < THREADS; i++) {
        const seen_t *s = &all.of[i];
        uint64_t newest = s->last_n[0] > s->last_n[1] || s->events[1] == 0 ? s->last_n[0] : s->last_n[1];
        if (before[i] == 0)
            continue;
        CHECK(s->events[0] > 0 && newest >= before[i] - 1);
        /* It is the last part of what was captured, as large as the ring or nearly so. */
        if (has_all && before[i] > 10000)
            CHECK(s->events[0] > 300);
    }
    return events;
}

static const char *rings; /* the directory of the ring files; NULL: there are none */

static pipeline_t *start(uint64_t priority_ring_bytes, uint32_t clock)
{
    pipeline_t *p = NULL;
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s = recorder_storage(&recorder);
    c.writers = 0;
    c.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;
    c.ring_bytes = ring_bytes;
    c.priority_ring_bytes = priority_ring_bytes;
    c.clock = clock;
    c.ring_dir = rings;
    c.max_rings = 4; /* (A ring file has space for all.) */
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK));
    return p;
}

static void beside_captures(uint64_t priority_ring_bytes, uint32_t clock, const pipeline_snapshot_options_t *options)
{
    int rounds = count_of(ROUNDS, 3), round;
    uint64_t i, before[THREADS], events, generation = 0;
    pipeline_metrics_t m;
    pipeline_t *p = start(priority_ring_bytes, clock);
    for (i = 0; i < THREADS; i++) {
        capturers[i] = (capturer_t){.p = p, .who = i, .flags = priority_ring_bytes ? PIPELINE_EVENT_PRIORITY : 0};
        capturers[i].thread = start_thread(capture, &capturers[i]);
    }
    for (round = 0; round < rounds; round++) {
        pipeline_snapshot_t s;
        /* More than the ring each time, so that all of it was overwritten. */
        uint64_t until = capturers[0].done + (uint64_t)(round % 2 ? 3000 : 20);
        WAIT_FOR(capturers[0].done >= until);
        for (i = 0; i < THREADS; i++)
            before[i] = capturers[i].done;
        s = snapshot(p, "snap", options);
        CHECK_U64(s.left_out, 0);
        CHECK(s.took_ns > 0 && s.first_ns <= s.last_ns && s.last_ns <= now_ns());
        if (round == 0)
            generation = s.generation;
        CHECK_U64(s.generation, generation);
        CHECK_U64(check("snap", generation, before, true), s.events);
        CHECK_U64(remove_snapshots("snap"), 1);
    }
    for (i = 0; i < THREADS; i++)
        capturers[i].stop = true;
    for (i = 0; i < THREADS; i++) {
        CHECK_OR_STOP(pthread_join(capturers[i].thread, NULL) == 0);
        before[i] = capturers[i].done;
    }
    /* At rest a snapshot has exactly what is not overwritten, and several in one directory have the same events. */
    m = metrics_of(p);
    CHECK_U64(m.captured, capturers[0].done + capturers[1].done);
    CHECK_U64(m.offered, m.captured);
    CHECK(m.overwritten > 0);
    CHECK_U64(m.captured, m.overwritten + m.buffered);
    CHECK_LEDGER(p);
    for (round = 0; round < 3; round++) {
        pipeline_snapshot_t s = snapshot(p, "rest", options);
        CHECK_U64(s.events, m.buffered);
        CHECK_U64(s.passed_bytes, 0);
        CHECK_U64(s.rings, priority_ring_bytes ? 4 : 2);
    }
    events = check("rest", generation, before, true);
    CHECK_U64(events, m.buffered);
    CHECK_U64(remove_snapshots("rest"), 3);
    CHECK_U64(metrics_of(p).buffered, m.buffered); /* they are still there, */
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK); /* and a close stores them. */
    CHECK_U64(metrics_of(p).stored, m.buffered);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
}

/* A snapshot, captures, another one, into one directory: together they have what neither has alone, and each event once. */
static void with_captures_between(void)
{
    pipeline_t *p = start(0, PIPELINE_CLOCK_AUTO);
    uint64_t words[MOST_WORDS], n, total = 0, before[THREADS] = {0};
    pipeline_snapshot_t first, second;
    capturers[0] = (capturer_t){.p = p, .who = 0};
    for (n = 0; n < 200; n++) {
        pipeline_event_t e = proving_event(0, n, words);
        CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK);
    }
    first = snapshot(p, "twice", NULL);
    CHECK_U64(first.events, 200);
    for (; metrics_of(p).overwritten < 100; n++) {
        pipeline_event_t e = proving_event(0, n, words);
        CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK);
    }
    before[0] = total = n;
    second = snapshot(p, "twice", NULL);
    CHECK(second.events < total && second.events + 100 <= total);
    CHECK(second.segment > first.segment && second.first_ns >= first.first_ns && second.last_ns > first.last_ns);
    CHECK_U64(check("twice", first.generation, before, false), total);
    remove_snapshots("twice");
    END(p);
}

int main(void)
{
    pipeline_snapshot_options_t o = snapshot_defaults();
    with_captures_between();
    beside_captures(0, PIPELINE_CLOCK_AUTO, NULL);
    o.copy_bytes = 0; /* ring by ring */
    beside_captures(1 << 17, PIPELINE_CLOCK_AUTO, &o);
    o = snapshot_defaults();
    o.encoding = PIPELINE_JOURNAL_COLUMNS_LZ4;
    beside_captures(0, PIPELINE_CLOCK_MONOTONIC, &o);
    /* The rings are larger than the memory for copies. */
    o = snapshot_defaults();
    o.copy_bytes = 0;
    in_parts = true;
    ring_bytes = 16 * RING_BYTES;
    beside_captures(0, PIPELINE_CLOCK_AUTO, &o);
    in_parts = false;
    ring_bytes = RING_BYTES;
    /* The rings lie in a file. */
    {
        static char dir[64];
        snprintf(dir, sizeof dir, "/dev/shm/capture-pipeline-%d-flight", (int)getpid());
        rings = dir;
        beside_captures(1 << 17, PIPELINE_CLOCK_AUTO, NULL);
        remove_snapshots(dir);
    }
    return SUMMARY();
}
