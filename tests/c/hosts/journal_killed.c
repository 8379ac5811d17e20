/* A process is killed at random points: while it opens a journal, writes, begins segments, deletes old ones, flushes and closes; in every encoding and sync
 * mode, with several threads and writers. Everything that was acknowledged is read back, nothing is invented, given twice or half there, and the next process
 * writes to the same directory, and is killed there. Blocks are checked by journal.h's own reader, events by the library's.
 *
 *   ROUNDS=1000     that many kills; 24 otherwise
 *   SEED=n          repeats the choices, and the points in time as far as the machine allows */
#include "killed.h"

static uint64_t random_bits;

static uint64_t next_random(void)
{
    random_bits ^= random_bits << 13;
    random_bits ^= random_bits >> 7;
    random_bits ^= random_bits << 17;
    return random_bits;
}

static bool one_in(uint64_t n)
{
    return next_random() % n == 0;
}

static shape_t shapes[LIVES]; /* of the processes in this directory */

/* A directory has one limit, because it holds for the segments of all its processes. */
static shape_t choose(uint32_t life, bool has_zstd)
{
    static const uint32_t syncs[] = {PIPELINE_JOURNAL_SYNC_NEVER, PIPELINE_JOURNAL_SYNC_NEVER, PIPELINE_JOURNAL_SYNC_FLUSH, PIPELINE_JOURNAL_SYNC_INTERVAL,
                                     PIPELINE_JOURNAL_SYNC_BATCH};
    static const uint32_t encodings[] = {PIPELINE_JOURNAL_RAW, PIPELINE_JOURNAL_RAW, PIPELINE_JOURNAL_COLUMNS, PIPELINE_JOURNAL_COLUMNS_LZ4,
                                         PIPELINE_JOURNAL_COLUMNS_ZSTD};
    shape_t s;
    s.max_bytes = life > 0 ? shapes[0].max_bytes : one_in(3) ? MAX_BYTES : 0;
    s.rejects = life > 0 ? shapes[0].rejects : s.max_bytes != 0 && one_in(3);
    s.encoding = encodings[next_random() % (has_zstd ? 5 : 4)];
    s.sync = syncs[next_random() % 5];
    s.writers = 1 + (uint32_t)(next_random() % 3);
    s.segment_bytes = one_in(2) ? 65536 : 4 << 20;
    s.reopens = one_in(4);
    s.flushes = one_in(2);
    s.scales = one_in(4);
    s.large = s.max_bytes == 0 && one_in(4);
    return s;
}

/* --- what is read --- */

static struct {
    unsigned char *seen[LIVES][THREADS]; /* a byte for each event that may be there */
    uint64_t offered[LIVES][THREADS], given[LIVES], last;
    uint64_t wrong, twice;
    uint64_t defined[4096]; /* the runs that have events of the defined kind */
    size_t defined_count;
} found;

static void take_event(const pipeline_reader_event_t *e, uint32_t lives)
{
    static unsigned char want[sizeof(head_t) + 24 * 65536];
    head_t head = {LIVES, 0, 0};
    if (e->kind == LAST) {
        found.last++;
        return;
    }
    if (e->len >= sizeof head)
        memcpy(&head, e->data, sizeof head);
    if (head.life >= lives || head.thread >= THREADS || head.number >= found.offered[head.life][head.thread] || e->kind != kind_of(head.number) ||
        e->len != payload_len(&shapes[head.life], head.thread, head.number)) {
        found.wrong++;
        return;
    }
    fill(want, e->len, head.life, head.thread, head.number);
    found.wrong += memcmp(want, e->data, e->len) != 0;
    found.twice += found.seen[head.life][head.thread][head.number];
    found.seen[head.life][head.thread][head.number] = 1;
    found.given[head.life]++;
    if (e->kind == DEFINED && (found.defined_count == 0 || found.defined[found.defined_count - 1] != e->generation) &&
        found.defined_count < sizeof found.defined / sizeof *found.defined)
        found.defined[found.defined_count++] = e->generation;
}

static void check_definitions(pipeline_reader_t *reader)
{
    const pipeline_reader_kinds_t *kinds;
    size_t run, i;
    if (!CHECK_STATUS(pipeline_reader_definitions(reader, &kinds), PIPELINE_OK))
        return;
    for (run = 0; run < found.defined_count; run++) {
        const pipeline_reader_kind_t *its = NULL;
        if (run > 0 && found.defined[run] == found.defined[run - 1])
            continue;
        for (i = 0; i < kinds->count && its == NULL; i++) {
            const pipeline_reader_kind_t *kind = PIPELINE_READER_KIND(kinds, i);
            if (kind->generation == found.defined[run] && kind->kind == DEFINED)
                its = kind;
        }
        CHECK(its != NULL && its->name != NULL && strcmp(its->name, "killed") == 0 && its->definition != NULL && its->definition->field_count == 3);
    }
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Reads everything, and answers how many segments end in the middle of a write. */
static uint64_t read_everything(uint32_t lives, bool in_time_order)
{
    pipeline_reader_options_t o;
    pipeline_reader_event_t e;
    pipeline_reader_losses_t losses;
    pipeline_reader_t *reader = NULL;
    int32_t status;
    uint32_t life, thread;
    for (life = 0; life < LIVES; life++)
        for (thread = 0; thread < THREADS; thread++) {
            free(found.seen[life][thread]);
            found.seen[life][thread] = NULL;
        }
    memset(&found, 0, sizeof found);
    for (life = 0; life < lives; life++)
        for (thread = 0; thread < THREADS; thread++) {
            found.offered[life][thread] = atomic_load(&told[life].offered[thread]);
            found.seen[life][thread] = (unsigned char *)calloc(1, found.offered[life][thread] + 1);
            CHECK_OR_STOP(found.seen[life][thread] != NULL);
        }
    CHECK_STATUS(pipeline_reader_options_init(&o, sizeof o), PIPELINE_OK);
    o.flags = in_time_order ? PIPELINE_READER_TIME_ORDER : 0;
    status = pipeline_reader_open("killed", &o, &reader);
    if (status == PIPELINE_ERR_NOT_FOUND && access("killed", F_OK) != 0) /* it was killed before it made the directory */
        return 0;
    CHECK_OR_STOP(status == PIPELINE_OK);
    e.struct_size = sizeof e;
    while ((status = pipeline_reader_next(reader, 0, &e)) == PIPELINE_OK)
        take_event(&e, lives);
    CHECK_STATUS(status, PIPELINE_END);
    qsort(found.defined, found.defined_count, sizeof *found.defined, by_number);
    check_definitions(reader);
    losses.struct_size = sizeof losses;
    CHECK_STATUS(pipeline_reader_losses(reader, &losses), PIPELINE_OK);
    if (!CHECK(losses.damaged_blocks == 0 && losses.damages == 0 && losses.unreadable_blocks == 0 && losses.contradictions == 0 && losses.bad_facts == 0 &&
               losses.refused_segments == 0 && losses.gone_segments == 0))
        fprintf(stderr, "%s\n", losses.details);
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
    return losses.torn_tails;
}

/* --- what must be there --- */

static uint64_t acknowledged_events, lives_with_deletions;

/* Where old segments are deleted: a thread's events are missing up to some number, and none between it and the last acknowledged one. With several writers the
 * oldest segment may have newer events of a thread than the next one. */
static void check_rest(uint32_t life, uint32_t thread, uint64_t acknowledged)
{
    const unsigned char *seen = found.seen[life][thread];
    uint64_t first = 0, number;
    while (first < acknowledged && !seen[first])
        first++;
    for (number = first; number < acknowledged; number++)
        if (!seen[number])
            break;
    CHECK_U64(number, acknowledged);
}

static void check_life(uint32_t life, bool is_last)
{
    const shape_t *s = &shapes[life];
    uint64_t stored = atomic_load(&told[life].stored);
    uint32_t thread;
    if (s->max_bytes == 0 || s->rejects)
        CHECK(found.given[life] >= stored);
    for (thread = 0; thread < THREADS; thread++) {
        uint64_t acknowledged = atomic_load(&told[life].acknowledged[thread]), number, missing = 0;
        acknowledged_events += is_last && !s->rejects ? acknowledged : 0;
        for (number = 0; number < acknowledged && found.seen[life][thread][number]; number++)
            ;
        lives_with_deletions += is_last && s->max_bytes != 0 && !s->rejects && number < acknowledged && thread == 0;
        if (s->max_bytes == 0) {
            for (number = 0; number < acknowledged; number++)
                missing += !found.seen[life][thread][number];
            CHECK_U64(missing, 0);
        } else if (!s->rejects && is_last && s->writers == 1 && !s->scales && !s->reopens) {
            check_rest(life, thread, acknowledged);
        }
    }
}

static void see_nothing(void *with, const journal_event_t *event)
{
    (void)with, (void)event;
}

static uint64_t check_directory(uint32_t lives)
{
    uint64_t torn = read_everything(lives, next_random() % 2), given = found.last, stored = 0;
    bool raw = true;
    journal_state_t state = read_journal("killed", see_nothing, NULL);
    uint32_t life;
    CHECK_U64(found.wrong, 0);
    CHECK_U64(found.twice, 0);
    CHECK_U64(state.damaged, 0);
    for (life = 0; life < lives; life++) {
        check_life(life, life + 1 == lives);
        given += found.given[life];
        stored += atomic_load(&told[life].stored);
        raw = raw && shapes[life].encoding == PIPELINE_JOURNAL_RAW;
    }
    /* What the other reader finds in raw blocks, each event once. */
    if (raw)
        CHECK_U64(count_events("killed", NULL), given);
    if (shapes[0].max_bytes != 0) {
        CHECK(state.bytes <= MAX_BYTES);
        /* No more is deleted than has to be. (An event takes 17 bytes at the least.) */
        CHECK(stored * 17 < MAX_BYTES || state.bytes > MAX_BYTES / 4);
    }
    return torn;
}

/* --- the kill --- */

static void pass_us(uint64_t us)
{
    struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    nanosleep(&t, NULL);
}

/* Until the process has come to some point of its work: it is opening its journal, or has stored or closed so much. */
static void pass_random_time(const shape_t *shape, told_t *t)
{
    uint64_t until = now_ms() + PATIENCE_MS, wanted = next_random() % (shape->sync == PIPELINE_JOURNAL_SYNC_BATCH || shape->large ? 4000 : 30000);
    if (one_in(6)) {
        pass_us(next_random() % 10000);
        return;
    }
    if (shape->reopens)
        wanted %= 1500;
    while ((shape->reopens ? atomic_load(&t->acknowledged[0]) : atomic_load(&t->stored)) < wanted && now_ms() < until) {
        /* All that fits may be there. */
        if (shape->rejects && atomic_load(&t->captured[0]) > 4 * wanted + 1000)
            break;
        pause_a_little();
    }
    pass_us(next_random() % 2000);
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

/* A process that nobody kills writes beside what is there. */
static void add_last(uint32_t lives)
{
    pipeline_t *p = start_journal("killed");
    unsigned i;
    for (i = 0; i < LAST_EVENTS; i++)
        CHECK_STATUS(pipeline_capture(p, LAST, &i, sizeof i), PIPELINE_OK);
    END(p);
    check_directory(lives);
    CHECK_U64(found.last, LAST_EVENTS);
}

static bool zstd_is_there(void)
{
    pipeline_journal_options_t o = journal_options();
    pipeline_storage_t s;
    bool there;
    o.encoding = PIPELINE_JOURNAL_COLUMNS_ZSTD;
    there = pipeline_storage_journal("killed", &o, sizeof s, &s) == PIPELINE_OK;
    if (there)
        s.destroy(s.user_data);
    remove_all();
    return there;
}

int main(void)
{
    const char *rounds = getenv("ROUNDS"), *seed = getenv("SEED");
    uint64_t round, many = rounds != NULL ? strtoull(rounds, NULL, 10) : (uint64_t)count_of(24, 4), events = 0, torn = 0, empty = 0, tails = 0, torn_before = 0;
    uint32_t life = 0;
    bool has_zstd = zstd_is_there();
    random_bits = (seed != NULL ? strtoull(seed, NULL, 10) : 1) * 0x9E3779B97F4A7C15u | 1;
    told = (told_t *)mmap(NULL, LIVES * sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_OR_STOP(told != MAP_FAILED);
    for (round = 0; round < many && checks_failed == 0; round++) {
        int status = 0;
        pid_t child;
        shapes[life] = choose(life, has_zstd);
        fflush(NULL);
        child = fork();
        CHECK_OR_STOP(child >= 0);
        if (child == 0)
            live(&shapes[life], life);
        pass_random_time(&shapes[life], &told[life]);
        CHECK(kill(child, SIGKILL) == 0);
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        torn = check_directory(life + 1);
        tails += torn > torn_before ? torn - torn_before : 0;
        torn_before = torn;
        events += found.given[life];
        empty += found.given[life] == 0;
        if (checks_failed != 0)
            fprintf(stderr, "  round %" PRIu64 ", life %u: encoding %u, sync %u, %u writers, segments of %" PRIu64 ", limit %" PRIu64 "%s%s%s%s%s\n", round, life,
                    shapes[life].encoding, shapes[life].sync, shapes[life].writers, shapes[life].segment_bytes, shapes[life].max_bytes,
                    shapes[life].rejects ? ", rejects" : "", shapes[life].reopens ? ", reopens" : "", shapes[life].flushes ? ", flushes" : "",
                    shapes[life].scales ? ", scales" : "", shapes[life].large ? ", large" : "");
        if (++life == LIVES || one_in(4)) {
            if (shapes[0].max_bytes == 0)
                add_last(life);
            remove_all();
            memset((void *)told, 0, LIVES * sizeof *told);
            life = 0;
            torn_before = 0;
        }
    }
    printf("%" PRIu64 " kills (%" PRIu64 " before anything was stored), %" PRIu64 " events, %" PRIu64
           " known one by one to be acknowledged, %" PRIu64 " torn tails, %" PRIu64 " processes whose oldest segments were deleted\n",
           round, empty, events, acknowledged_events, tails, lives_with_deletions);
    return SUMMARY();
}
