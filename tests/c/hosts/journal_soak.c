/* A service that runs for long: threads begin, capture and end, writers begin and end, and the journal deletes its oldest segments all the time. Memory,
 * descriptors and threads stay as they are; at the end the events in the journal and those in deleted segments are all that were captured.
 *
 *   EVENTS=1e9      so many events (`make soak`); 2,000,000 otherwise
 *   ENCODING=0      PIPELINE_JOURNAL_...: 0 raw, 1 columns, 2 with LZ4, 3 with Zstandard */
#include "journal.h"

enum { CAPTURING = 2, WRITERS = 3, STEPS = 200, WORDS = 8, EVENT_BYTES = 48 + WORDS * 8 };
/* How much the memory may differ: what a ring buffer or two touch, and what the allocator keeps. A leak of a byte for each thousand events would be as much after
 * some thousand millions. */
#define SPARE_KB 4096

static pipeline_t *p;
static uint64_t each, threads_ever;
static _Atomic uint64_t offered;
static atomic_bool is_done;

/* Any word of an event can be told from its thread and number. */
static uint64_t word_of(uint64_t thread, uint64_t number, unsigned word)
{
    uint64_t mixed = (thread << 40 ^ number) + word * 0x9E3779B97F4A7C15u;
    return word == 0 ? thread : word == 1 ? number : mixed ^ mixed >> 29;
}

static void *captures(void *at)
{
    uint64_t thread = (uint64_t)(uintptr_t)at, number, payload[WORDS];
    unsigned word;
    for (number = 0; number < each; number++) {
        for (word = 0; word < WORDS; word++)
            payload[word] = word_of(thread, number, word);
        if (pipeline_capture(p, 1 + (uint32_t)(number % 3), payload, sizeof payload) != PIPELINE_OK)
            break;
        if (number % 1024 == 1023 || number + 1 == each)
            atomic_fetch_add(&offered, number % 1024 + 1);
    }
    CHECK_U64(number, each);
    return NULL;
}

/* Keeps threads capturing: whenever one has ended, the next one begins. */
static void *keeps_capturing(void *none)
{
    pthread_t running[CAPTURING];
    uint64_t next, i;
    (void)none;
    for (i = 0; i < CAPTURING; i++)
        running[i] = start_thread(captures, (void *)(uintptr_t)i);
    for (next = CAPTURING; next < threads_ever; next++) {
        pthread_join(running[next % CAPTURING], NULL);
        running[next % CAPTURING] = start_thread(captures, (void *)(uintptr_t)next);
    }
    for (i = 0; i < CAPTURING; i++)
        pthread_join(running[i], NULL);
    atomic_store(&is_done, true);
    return NULL;
}

static void *does_nothing(void *none)
{
    return none;
}

/* --- what the process uses --- */

typedef struct {
    uint64_t memory_kb, descriptors, threads;
} usage_t;

static uint64_t entries_of(const char *path)
{
    uint64_t count = 0;
    DIR *all = opendir(path);
    while (all != NULL && readdir(all) != NULL)
        count++;
    if (all != NULL)
        closedir(all);
    return count - 2;
}

static usage_t usage(void)
{
    usage_t u = {0, 0, 0};
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "RssAnon:", 8) == 0)
            u.memory_kb = strtoull(line + 8, NULL, 10);
    if (status != NULL)
        fclose(status);
    u.descriptors = entries_of("/proc/self/fd") - 1; /* without the one that lists them */
    u.threads = entries_of("/proc/self/task");
    return u;
}

static usage_t most_of(usage_t a, usage_t b)
{
    usage_t most = {a.memory_kb > b.memory_kb ? a.memory_kb : b.memory_kb, a.descriptors > b.descriptors ? a.descriptors : b.descriptors,
                    a.threads > b.threads ? a.threads : b.threads};
    return most;
}

static void show_usage(const char *when, usage_t u)
{
    printf("%-34s %8.1f MB, %3" PRIu64 " descriptors, %3" PRIu64 " threads\n", when, (double)u.memory_kb / 1000, u.descriptors, u.threads);
}

/* --- what is read back --- */

static unsigned char **seen; /* a bit for each event of a thread */

static uint64_t read_back(void)
{
    pipeline_reader_event_t events[256];
    pipeline_reader_losses_t losses;
    pipeline_reader_t *reader = NULL;
    uint64_t count = 0, wrong = 0, twice = 0, words[WORDS];
    size_t got, i;
    unsigned word;
    int32_t status;
    seen = (unsigned char **)calloc(threads_ever, sizeof *seen);
    CHECK_OR_STOP(seen != NULL);
    CHECK_STATUS(pipeline_reader_open("soak", NULL, &reader), PIPELINE_OK);
    CHECK_OR_STOP(reader != NULL);
    events[0].struct_size = sizeof *events;
    while ((status = pipeline_reader_next_many(reader, 0, events, 256, &got)) == PIPELINE_OK)
        for (i = 0; i < got; i++) {
            uint64_t bad = events[i].len != sizeof words, bit;
            unsigned char *byte;
            if (!bad)
                memcpy(words, events[i].data, sizeof words);
            bad = bad || words[0] >= threads_ever || words[1] >= each || events[i].kind != 1 + words[1] % 3;
            for (word = 2; word < WORDS && !bad; word++)
                bad = words[word] != word_of(words[0], words[1], word);
            wrong += bad;
            if (bad)
                continue;
            if (seen[words[0]] == NULL)
                seen[words[0]] = (unsigned char *)calloc(1, each / 8 + 1);
            CHECK_OR_STOP(seen[words[0]] != NULL);
            byte = &seen[words[0]][words[1] / 8];
            bit = 1u << words[1] % 8;
            twice += (*byte & bit) != 0;
            *byte |= (unsigned char)bit;
            count++;
        }
    CHECK_STATUS(status, PIPELINE_END);
    CHECK_U64(wrong, 0);
    CHECK_U64(twice, 0);
    losses.struct_size = sizeof losses;
    CHECK_STATUS(pipeline_reader_losses(reader, &losses), PIPELINE_OK);
    if (!CHECK_U64(losses.any, 0))
        fprintf(stderr, "%s\n", losses.details);
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
    for (i = 0; i < threads_ever; i++)
        free(seen[i]);
    free(seen);
    return count;
}

static void see_nothing(void *with, const journal_event_t *event)
{
    (void)with, (void)event;
}

static void remove_all(void)
{
    struct dirent *entry;
    char path[512];
    DIR *all = opendir("soak");
    while (all != NULL && (entry = readdir(all)) != NULL) {
        snprintf(path, sizeof path, "soak/%s", entry->d_name);
        unlink(path);
    }
    if (all != NULL)
        closedir(all);
    rmdir("soak");
}

int main(void)
{
    const char *given = getenv("EVENTS"), *encoding = getenv("ENCODING");
    uint64_t events = given != NULL && *given != '\0' ? (uint64_t)strtod(given, NULL) : (uint64_t)count_of(2000000, 100000), step, began, took, read;
    pipeline_journal_options_t o = journal_options();
    usage_t before, first_half = {0, 0, 0}, second_half = {0, 0, 0}, after;
    journal_state_t state;
    pipeline_metrics_t m;
    pthread_t capturing;
    threads_ever = 2 * (events < 20000000 ? 20 : events / 1000000);
    each = events / threads_ever;
    events = each * threads_ever;
    CHECK_OR_STOP(each > 0);
    /* With the first thread of a program, ThreadSanitizer starts one of its own. */
    CHECK(pthread_join(start_thread(does_nothing, NULL), NULL) == 0);
    before = usage();
    /* All that is captured does not fit, however few events there are. */
    o.encoding = encoding != NULL ? (uint32_t)strtoul(encoding, NULL, 10) : PIPELINE_JOURNAL_RAW;
    o.max_bytes = events * EVENT_BYTES / (o.encoding == PIPELINE_JOURNAL_RAW ? 8 : 256);
    o.max_bytes = o.max_bytes < 4 << 20 ? 4 << 20 : o.max_bytes > 512 << 20 ? 512 << 20 : o.max_bytes;
    o.segment_bytes = 16 << 20;
    p = start_journal_with("soak", &o);
    CHECK_STATUS(define_kind(p, 3, "soaked"), PIPELINE_OK);
    printf("%" PRIu64 " events of %d bytes, %" PRIu64 " threads, the journal may take %" PRIu64 " MB\n", events, WORDS * 8, threads_ever,
           (uint64_t)o.max_bytes / 1000000);
    began = now_ms();
    capturing = start_thread(keeps_capturing, NULL);
    for (step = 1; step <= STEPS; step++) {
        usage_t now;
        while (atomic_load(&offered) < events / STEPS * step && !atomic_load(&is_done))
            pause_a_little();
        if (step % 10 == 0)
            CHECK_STATUS(pipeline_scale(p, 1 + (uint32_t)(step / 10 % WRITERS)), PIPELINE_OK);
        if (step % 25 == 0)
            CHECK_STATUS(pipeline_flush(p, -1), PIPELINE_OK);
        m = metrics_of(p);
        CHECK(m.stored <= m.captured && m.captured <= m.offered && m.offered <= events);
        now = usage();
        if (step > STEPS / 10 && step <= STEPS / 2)
            first_half = most_of(first_half, now);
        else if (step > STEPS / 2)
            second_half = most_of(second_half, now);
        if (step % 10 == 0) {
            uint64_t ms = now_ms() - began;
            printf("%3" PRIu64 " %%  %6.1f s  %6.2f M events/s  %7.1f MB  %2" PRIu64 " descriptors  %2" PRIu64 " threads  %4" PRIu64 " files\n", step * 100 / STEPS,
                   (double)ms / 1000, (double)m.stored / 1000 / (double)(ms + 1), (double)now.memory_kb / 1000, now.descriptors, now.threads,
                   entries_of("soak"));
            fflush(stdout);
        }
    }
    CHECK(pthread_join(capturing, NULL) == 0);
    CHECK_STATUS(pipeline_close(p, -1), PIPELINE_OK);
    took = now_ms() - began;
    m = metrics_of(p);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    WAIT_FOR(usage().threads == before.threads); /* the last threads of the library free its memory */
    after = usage();

    /* Flat: the second half takes no more than the first one, and nothing is left when the pipeline is gone. (A thread may be ending.) */
    CHECK(!memory_is_ours() || second_half.memory_kb <= first_half.memory_kb + SPARE_KB);
    /* A writer has a segment, and another while it goes on to the next one; beside those there are the directory, its lock, its list, and a segment that is being
     * sealed. (64 segments and more come and go.) */
    CHECK(second_half.descriptors <= before.descriptors + 2 * WRITERS + 4);
    CHECK(second_half.threads <= first_half.threads + 1);
    CHECK_U64(after.descriptors, before.descriptors);
    CHECK(!memory_is_ours() || after.memory_kb <= before.memory_kb + SPARE_KB);

    /* Exact: every event was captured and stored; what is not in the journal was deleted with its segment. */
    CHECK_U64(m.offered, events);
    CHECK_U64(m.captured, events);
    CHECK_U64(m.stored, events);
    read = read_back();
    state = read_journal("soak", see_nothing, NULL);
    CHECK_U64(read + state.deleted_events, m.stored);
    CHECK(read > 0 && state.bytes <= o.max_bytes);
    /* (A short run may fit, if it is compressed.) */
    CHECK(state.deleted_events > 0 || o.encoding != PIPELINE_JOURNAL_RAW);

    printf("\n%-34s %" PRIu64 " events in %.1f s, %.2f million a second\n", "captured and stored", m.stored, (double)took / 1000,
           (double)m.stored / 1000 / (double)(took + 1));
    printf("%-34s %" PRIu64 " events in %" PRIu64 " segments\n", "deleted to make room", state.deleted_events, state.deleted_segments);
    printf("%-34s %" PRIu64 " events in %u segments, each right and once\n", "read back", read, state.segments);
    show_usage("before", before);
    show_usage("the most in the first half", first_half);
    show_usage("the most in the second half", second_half);
    show_usage("after the pipeline was destroyed", after);
    remove_all();
    return SUMMARY();
}
