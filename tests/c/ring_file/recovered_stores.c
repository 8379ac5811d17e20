/* What a killed process has left comes into a SQLite database, and into a journal, beside the events of the pipeline that brings it in: under the old run, with the names of its kinds, and
 * each event once, although the recovery itself is killed and made again. */
#include "left.h"

#include "../hosts/database.h"

#define EVENTS UINT64_C(2000)
#define LIVE UINT64_C(500)

static pipeline_t *start_with(const char *directory, pipeline_storage_t *s)
{
    pipeline_config_t c = ring_file_config(directory);
    pipeline_t *p = NULL;
    c.batch_size = 100;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = 60000000;
    CHECK_STATUS(pipeline_start(&c, s, &p), PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    return p;
}

static pipeline_t *start_sqlite(const char *directory, const char *database)
{
    pipeline_storage_t s;
    memset(&s, 0, sizeof s);
    CHECK_STATUS(pipeline_storage_sqlite(database, NULL, sizeof s, &s), PIPELINE_OK);
    return start_with(directory, &s);
}

static pipeline_t *start_journal_in(const char *directory, const char *journal)
{
    pipeline_storage_t s;
    memset(&s, 0, sizeof s);
    CHECK_STATUS(pipeline_storage_journal(journal, NULL, sizeof s, &s), PIPELINE_OK);
    return start_with(directory, &s);
}

/* A child begins the recovery, and is killed when some is stored. */
static void begin_and_die(pipeline_t *(*start)(const char *, const char *), const char *directory, const char *into)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        pipeline_t *p;
        begin_child();
        p = start(directory, into);
        WAIT_FOR(metrics_of(p).recovered > 0);
        kill(getpid(), SIGKILL);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* The rest, beside live events. */
static void recover_the_rest(pipeline_t *p, const char *directory)
{
    uint64_t n;
    for (n = 0; n < LIVE; n++)
        CHECK_STATUS(pipeline_capture(p, 3, &n, sizeof n), PIPELINE_OK);
    WAIT_FOR(ring_files(directory) == 1);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    CHECK_U64(metrics_of(p).captured, LIVE);
    CHECK_U64(metrics_of(p).stored, LIVE + metrics_of(p).recovered);
    END(p);
    CHECK_U64(ring_files(directory), 0);
}

static void into_sqlite(void)
{
    const char *directory = new_ring_dir("sqlite");
    char run[64], sql[256];
    uint64_t old = leave_events(directory, EVENTS);
    begin_and_die(start_sqlite, directory, "events.db");
    recover_the_rest(start_sqlite(directory, "events.db"), directory);
    CHECK_ROWS("events.db", (unsigned)(EVENTS + LIVE));
    snprintf(run, sizeof run, "(SELECT id FROM runs WHERE generation = %" PRId64 ")", (int64_t)old);
    snprintf(sql, sizeof sql, "SELECT count(DISTINCT correlation_id) FROM events WHERE run = %s", run);
    CHECK_U64(strtoull(ask("events.db", sql), NULL, 10), EVENTS);
    snprintf(sql, sizeof sql, "SELECT name FROM kinds WHERE kind = 3");
    CHECK_HAS(ask("events.db", sql), "three");
    remove_ring_dir(directory);
}

static void into_a_journal(void)
{
    const char *directory = new_ring_dir("journal");
    unsigned char *once = (unsigned char *)calloc(EVENTS + 1, 1);
    uint64_t old = leave_events(directory, EVENTS), live = 0, left = 0;
    pipeline_reader_options_t o;
    pipeline_reader_t *reader = NULL;
    pipeline_reader_event_t e;
    const pipeline_reader_kinds_t *kinds = NULL;
    size_t n, named = 0;
    struct dirent *entry;
    DIR *dir;
    CHECK_OR_STOP(once != NULL);
    begin_and_die(start_journal_in, directory, "journal");
    recover_the_rest(start_journal_in(directory, "journal"), directory);
    CHECK_STATUS(pipeline_reader_options_init(&o, sizeof o), PIPELINE_OK);
    CHECK_STATUS(pipeline_reader_open("journal", &o, &reader), PIPELINE_OK);
    memset(&e, 0, sizeof e);
    e.struct_size = sizeof e;
    while (pipeline_reader_next(reader, 0, &e) == PIPELINE_OK) {
        if (e.generation == old) {
            CHECK_OR_STOP(e.correlation_id >= 1 && e.correlation_id <= EVENTS);
            CHECK_U64(once[e.correlation_id]++, 0);
            left++;
        } else {
            live++;
        }
    }
    CHECK_U64(left, EVENTS);
    CHECK_U64(live, LIVE);
    CHECK_STATUS(pipeline_reader_definitions(reader, &kinds), PIPELINE_OK);
    for (n = 0; kinds != NULL && n < kinds->count; n++) {
        const pipeline_reader_kind_t *kind = PIPELINE_READER_KIND(kinds, n);
        named += kind->kind == 3 && kind->generation == old && strcmp(kind->name, "three") == 0;
        /* The names of one run are not those of another. */
        CHECK(kind->kind != 3 || kind->generation == old);
    }
    CHECK_U64(named, 1);
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
    /* A writer keeps a segment for each of two runs, whatever the order of their batches. */
    dir = opendir("journal");
    n = 0;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        n += strstr(entry->d_name, ".journal") != NULL;
    CHECK(n > 0 && n <= 14);
    if (dir != NULL)
        closedir(dir);
    free(once);
    remove_ring_dir(directory);
}

/* It keeps one run at a time: the file stays, and health says so. */
static void not_into_a_timeline(void)
{
    const char *directory = new_ring_dir("perfetto");
    pipeline_storage_t s;
    pipeline_t *p;
    leave_events(directory, EVENTS);
    memset(&s, 0, sizeof s);
    CHECK_STATUS(pipeline_storage_perfetto("timelines", NULL, sizeof s, &s), PIPELINE_OK);
    p = start_with(directory, &s);
    WAIT_FOR(health_of(p).reasons & PIPELINE_HEALTH_RECOVERY);
    CHECK_HAS(health_of(p).message, "the storage keeps one run at a time");
    CHECK_U64(metrics_of(p).recovered, 0);
    END(p);
    CHECK_U64(ring_files(directory), 1);
    recover_the_rest(start_sqlite(directory, "rest.db"), directory);
    CHECK_ROWS("rest.db", (unsigned)(EVENTS + LIVE));
    remove_ring_dir(directory);
}

int main(void)
{
    into_sqlite();
    into_a_journal();
    not_into_a_timeline();
    return SUMMARY();
}
