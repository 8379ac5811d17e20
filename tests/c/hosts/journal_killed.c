/* A process is killed at random points while its writers store events. Everything that was acknowledged is read back, nothing is invented or torn, and the
 * next process can use the directory.
 *
 *   ROUNDS=1000     that many kills; 10 otherwise
 *   SEED=n          repeats the points in time as far as the machine allows */
#include "journal.h"

#include <signal.h>
#include <sys/mman.h>

enum { THREADS = 2, RINGS = 64 };

/* What the killed process has told. */
static struct told {
    _Atomic uint64_t stored;          /* read from the metrics; acknowledged before that */
    _Atomic uint64_t offered[THREADS]; /* events that a thread was about to offer, or has offered */
} *told;

static uint64_t random_bits;

static uint64_t next_random(void)
{
    random_bits ^= random_bits << 13;
    random_bits ^= random_bits >> 7;
    random_bits ^= random_bits << 17;
    return random_bits;
}

typedef struct {
    uint64_t thread, number;
    unsigned char rest[200];
} payload_t;

/* Each payload can be told from its thread and number. */
static size_t fill(payload_t *p, uint64_t thread, uint64_t number)
{
    size_t len = sizeof *p - sizeof p->rest + number * 7 % sizeof p->rest;
    p->thread = thread;
    p->number = number;
    memset(p->rest, (int)(number * 31 + thread), sizeof p->rest);
    return len;
}

static pipeline_t *running;

static void *captures(void *at)
{
    uint64_t thread = (uint64_t)(uintptr_t)at, number;
    payload_t payload;
    for (number = 0;; number++) {
        size_t len = fill(&payload, thread, number);
        atomic_store(&told->offered[thread], number + 1);
        if (pipeline_capture(running, 1, &payload, len) != PIPELINE_OK)
            _exit(3);
    }
    return NULL;
}

static void killed(uint64_t round)
{
    pipeline_journal_options_t o = journal_options();
    uintptr_t i;
    alarm(60);
    o.segment_bytes = round % 3 == 0 ? 65536 : 4 << 20;
    o.sync = round % 5 == 4 ? PIPELINE_JOURNAL_SYNC_BATCH : PIPELINE_JOURNAL_SYNC_NEVER;
    running = start_journal_with("killed", &o);
    if (round % 2 == 1)
        pipeline_scale(running, 2);
    for (i = 0; i < THREADS; i++)
        start_thread(captures, (void *)i);
    for (;;)
        atomic_store(&told->stored, metrics_of(running).stored);
}

static uint64_t wrong;

static void check_event(void *with, const journal_event_t *e)
{
    payload_t want, got;
    memset(&got, 0, sizeof got);
    memcpy(&got, e->data, e->len < sizeof got ? e->len : sizeof got);
    wrong += got.thread >= THREADS || got.number >= atomic_load(&told->offered[got.thread % THREADS]) || e->kind != 1 ||
             e->len != fill(&want, got.thread, got.number) || memcmp(&want, e->data, e->len) != 0;
    collect_event(with, e);
}

static void remove_all(void)
{
    struct dirent *entry;
    char path[512];
    DIR *all = opendir("killed");
    while (all != NULL && (entry = readdir(all)) != NULL) {
        snprintf(path, sizeof path, "killed/%s", entry->d_name);
        unlink(path);
    }
    if (all != NULL)
        closedir(all);
    rmdir("killed");
}

int main(void)
{
    const char *rounds = getenv("ROUNDS"), *seed = getenv("SEED");
    uint64_t round, many = rounds != NULL ? strtoull(rounds, NULL, 10) : (uint64_t)count_of(10, 2), all = 0, torn = 0;
    random_bits = (seed != NULL ? strtoull(seed, NULL, 10) : 1) * 0x9E3779B97F4A7C15u | 1;
    told = (struct told *)mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_OR_STOP(told != MAP_FAILED);
    for (round = 0; round < many && checks_failed == 0; round++) {
        journal_events_t e = {NULL, 0, 0};
        journal_state_t state;
        uint64_t different = 0, offered = 0, wanted = 1000 + next_random() % 30000, until;
        size_t i;
        int status = 0;
        pid_t child;
        memset((void *)told, 0, sizeof *told);
        fflush(NULL);
        child = fork();
        CHECK_OR_STOP(child >= 0);
        if (child == 0)
            killed(round);
        until = now_ms() + PATIENCE_MS;
        while (atomic_load(&told->stored) < wanted && now_ms() < until)
            pause_a_little();
        CHECK(kill(child, SIGKILL) == 0);
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        state = read_journal("killed", check_event, &e);
        if (e.count != 0)
            qsort(e.all, e.count, sizeof *e.all, compare_events);
        for (i = 0; i < e.count; i++)
            different += i == 0 || compare_events(&e.all[i - 1], &e.all[i]) != 0;
        free(e.all);
        for (i = 0; i < THREADS; i++)
            offered += atomic_load(&told->offered[i]);
        CHECK_U64(wrong, 0);
        CHECK_U64(state.damaged, 0);
        if (!CHECK(different >= atomic_load(&told->stored) && different <= offered))
            fprintf(stderr, "  round %" PRIu64 ": %" PRIu64 " read, %" PRIu64 " acknowledged, %" PRIu64 " offered\n", round, different,
                    (uint64_t)atomic_load(&told->stored), offered);
        all += different;
        torn += state.torn != 0;
        /* The next process writes beside what is there. */
        if (round % 4 == 3) {
            pipeline_t *p = start_journal("killed");
            JOURNAL_EVENTS(p, 10);
            END(p);
            CHECK_U64(count_events("killed", NULL), different + 10);
        }
        remove_all();
    }
    printf("%" PRIu64 " kills, %" PRIu64 " events, %" PRIu64 " torn tails\n", round, all, torn);
    return SUMMARY();
}
