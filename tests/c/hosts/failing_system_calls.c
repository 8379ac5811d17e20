/* The n-th call of a system call fails, once or from then on, while a pipeline with the SQLite storage, the journal or the one for
 * Perfetto starts, stores, flushes and closes. Whichever call fails, nothing crashes or hangs, the ledger balances, and every acknowledged event is in the file, which is intact.
 *
 * The library's calls are caught by functions of the same names (failing_calls.h). Each case is a process of its own with a time limit;
 * afterwards another copy of SQLite, or a reader of the journal's or the traces' format, checks the file. By default a fixed selection of the cases runs.
 *
 *   ALL_CASES=1     every call, every error, once and from then on
 *   WORKERS=32      that many cases at a time; 6 otherwise
 *   ONLY=pwrite     only this call
 *   CASE="journal pwrite 17 ENOSPC always"    this case alone, with the library's log; or sqlite, perfetto; or once
 *
 * Build flags: -lsqlite3 -ldl */
#include "../check.h"

#include "failing_calls.h"
#include "journal.h"
#include "perfetto.h"

#include <sqlite3.h>

/* ---- one case, in its own process ---- */

enum { BATCHES = 4, EVENTS = 60 };

static void wrong(const char *what, long value)
{
    shared->wrong++;
    snprintf(shared->words, sizeof shared->words, "%s (%ld): %s", what, value, pipeline_last_error());
}

static void show(void *user_data, int32_t level, const char *text)
{
    (void)user_data;
    fprintf(stderr, "  log %d: %s\n", (int)level, text);
}

/* Only these statuses may come from a failing system call, each with a message. */
static bool may_fail(int32_t status)
{
    return (status == PIPELINE_ERR_STORAGE || status == PIPELINE_ERR_SYSTEM || status == PIPELINE_ERR_NO_MEMORY) &&
           pipeline_last_error()[0] != '\0';
}

/* The numbers of the events from `first` on. */
static void capture(pipeline_t *p, unsigned first)
{
    char payload[300];
    unsigned i;
    memset(payload, 'x', sizeof payload);
    for (i = first; i < first + EVENTS; i++) {
        memcpy(payload, &i, sizeof i);
        (void)pipeline_capture(p, 1, payload, shared->storage == TRACES ? sizeof i : sizeof payload);
    }
}

static int32_t open_sqlite(pipeline_storage_t *storage)
{
    pipeline_sqlite_options_t options;
    CHECK_STATUS(pipeline_sqlite_options_init(&options, sizeof options), PIPELINE_OK);
    options.busy_timeout_ms = 20; /* a lock that fails looks like a lock of another process */
    shared->armed = true;
    return pipeline_storage_sqlite("case.db", &options, sizeof *storage, storage);
}

/* Small segments and all limits, so that there are many calls. */
static int32_t open_journal(pipeline_storage_t *storage)
{
    pipeline_journal_options_t options = journal_options();
    options.segment_bytes = 65536;
    options.max_bytes = 1 << 20;
    options.min_free_disk = 1;
    options.sync = PIPELINE_JOURNAL_SYNC_BATCH;
    shared->armed = true;
    return pipeline_storage_journal("case", &options, sizeof *storage, storage);
}

/* Small files and all limits. */
static int32_t open_traces(pipeline_storage_t *storage)
{
    pipeline_perfetto_options_t options = trace_options();
    options.file_bytes = 65536;
    options.max_bytes = 1 << 20;
    options.sync = PIPELINE_PERFETTO_SYNC_FLUSH;
    shared->armed = true;
    return pipeline_storage_perfetto("case", &options, sizeof *storage, storage);
}

static int32_t open_storage(pipeline_storage_t *storage)
{
    return shared->storage == TRACES ? open_traces(storage) : shared->storage == JOURNAL ? open_journal(storage) : open_sqlite(storage);
}

static void one_process(void)
{
    pipeline_config_t config = config_defaults();
    pipeline_storage_t storage;
    pipeline_metrics_t m;
    pipeline_t *p = NULL;
    int32_t status;
    int i;
    config.retry_limit = 20;
    config.retry_initial_us = 100;
    config.retry_max_us = 1000;
    config.batch_size = EVENTS / 2;
    config.ring_bytes = 1 << 18;
    shared->refused = open_storage(&storage);
    if (shared->refused == PIPELINE_OK)
        shared->refused = pipeline_start(&config, &storage, &p);
    if (shared->refused != PIPELINE_OK) {
        if (!may_fail(shared->refused))
            wrong("the start answered", shared->refused);
        return;
    }
    shared->started = true;
    for (i = 0; i < BATCHES; i++) {
        capture(p, (unsigned)i * EVENTS);
        if (i % 2 == 1)
            shared->flushed[i / 2] = pipeline_flush(p, 3000);
    }
    capture(p, BATCHES * EVENTS);
    shared->closed = pipeline_close(p, 10000);
    /* Without locks SQLite retries for ten seconds before it reports that. */
    if (shared->closed == PIPELINE_ERR_TIMEOUT && shared->call == FCNTL && shared->always)
        shared->timed_out = true;
    else if (shared->closed != PIPELINE_OK && !may_fail(shared->closed))
        wrong("close answered", shared->closed);
    memset(&m, 0, sizeof m);
    m.struct_size = sizeof m;
    if (pipeline_metrics(p, &m) != PIPELINE_OK || !CHECK_LEDGER(p))
        wrong("the ledger does not balance; left", (long)m.left);
    shared->captured = m.captured;
    shared->stored = m.stored;
    if (!shared->timed_out && m.captured != m.stored + m.discarded + m.left)
        wrong("events are neither stored nor discarded nor left", (long)m.discarded);
    if (m.offered != (BATCHES + 1) * EVENTS)
        wrong("events offered", (long)m.offered);
    if (shared->timed_out)
        (void)pipeline_abandon(p);
    else {
        uint64_t until = now_ms() + 20000;
        while ((status = pipeline_destroy(p)) == PIPELINE_ERR_BUSY && now_ms() < until)
            pause_a_little(); /* the storage's finish has used up the close's time */
        if (status != PIPELINE_OK)
            wrong("destroy, nothing being out", status);
    }
}

/* ---- all of them ---- */

static const char *const storage_names[STORAGES] = {"sqlite", "journal", "perfetto"};

static const char *error_name(int number)
{
    int i;
    for (i = 0; i < ERRORS; i++)
        if (errors[i].number == number)
            return errors[i].name;
    return "nothing";
}

static bool failed(const char *what, long a, long b)
{
    checks_failed++;
    fprintf(stderr, "FAILED: CASE=\"%s %s %ld %s %s\": %s (%ld, %ld) %s\n", storage_names[shared->storage],
            call_names[shared->call < 0 ? 0 : shared->call], shared->at, error_name(shared->error), shared->always ? "always" : "once", what, a, b, shared->words);
    return false;
}

static long long number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    long long value = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
        value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

/* Every acknowledged event can be read. What was not acknowledged may be there as well, and may be torn. */
static bool look_at_journal(void)
{
    journal_state_t state;
    uint64_t events = count_events("case", &state);
    if (shared->started && (events < shared->stored || events > shared->captured))
        return failed("events in the journal, events acknowledged", (long)events, (long)shared->stored);
    return state.damaged == 0 || failed("damaged blocks", (long)state.damaged, 0);
}

/* Every acknowledged event is in the traces once, and names are said before they are used. What was not acknowledged may be there, but not twice. */
static bool look_at_traces(void)
{
    const traces_t *read;
    if (access("case", F_OK) != 0)
        return shared->stored == 0 || failed("the directory is missing although events were acknowledged", (long)shared->stored, 0);
    read = read_traces("case", (BATCHES + 1) * EVENTS);
    if (shared->started && (read->events < shared->stored || read->events > shared->captured))
        return failed("events in the traces, events acknowledged", (long)read->events, (long)shared->stored);
    if (read->twice != 0)
        return failed("events that are there twice", (long)read->twice, 0);
    return read->nameless == 0 || failed("names that were not said", (long)read->nameless, 0);
}

/* The file is intact, and has every acknowledged event. */
static bool look(void)
{
    sqlite3 *db = NULL;
    long long rows, sound;
    if (shared->storage == JOURNAL)
        return look_at_journal();
    if (shared->storage == TRACES)
        return look_at_traces();
    if (access("case.db", F_OK) != 0)
        return shared->stored == 0 || failed("the file is missing although events were acknowledged", (long)shared->stored, 0);
    if (sqlite3_open_v2("case.db", &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        return failed("the file cannot be opened", 0, 0);
    sqlite3_busy_timeout(db, 10000);
    sound = number(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check");
    rows = number(db, "SELECT count(*) FROM events");
    sqlite3_close(db);
    if (sound != 1)
        return failed("the file is damaged", (long)sound, 0);
    if (!shared->started)
        return true;
    if (rows < (long long)shared->stored || rows > (long long)shared->captured)
        return failed("rows in the file, events acknowledged", (long)rows, (long)shared->stored);
    return true;
}

static void clean(void)
{
    unlink("case.db");
    unlink("case.db-wal");
    unlink("case.db-shm");
    (void)!system("rm -rf case");
}

/* Runs a case. `false`: it failed. */
static bool run(int storage, int call, long at, int error, bool always)
{
    pid_t child;
    int status = 0;
    memset((void *)shared, 0, sizeof *shared);
    shared->storage = storage;
    shared->call = call;
    shared->at = at;
    shared->error = error;
    shared->always = always;
    clean();
    child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0) {
        alarm(60);
        leave_leaks();
        one_process();
        _exit(0);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    checks_done++;
    shared->armed = false;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        return failed("it hangs", 0, 0);
    if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0)
        return failed("it crashes", WIFSIGNALED(status) ? WTERMSIG(status) : 0, WEXITSTATUS(status));
    if (shared->wrong != 0)
        return failed("things are wrong", (long)shared->wrong, 0);
    /* A failure that passes only delays the events. */
    if (!always && shared->started && error != EINTR && shared->stored != shared->captured)
        return failed("stored, captured", (long)shared->stored, (long)shared->captured);
    return look();
}

/* The cases of one call that are this worker's. */
static long run_call(int storage, int call, bool all, int worker, int workers)
{
    /* Without ALL_CASES: each error at some of the calls. */
    static const long some[] = {1, 2, 3, 4, 6, 8, 11, 15, 21, 30, 44, 66, 100, 150, 230, 350};
    long cases = 0, at, i;
    const int most = count_of(sizeof some / sizeof *some, 4);
    int e, always;
    for (i = 0;; i++) {
        bool reached = false;
        if (!all && i == most)
            break;
        at = all ? i + 1 : some[i];
        if (i % workers != worker)
            continue;
        for (e = 0; e < ERRORS; e++)
            for (always = 0; always < 2; always++) {
                /* A lock that can never be taken costs ten seconds, with any error. */
                if ((!all || (call == FCNTL && always)) && (i + call + 3 * always) % ERRORS != e)
                    continue;
                (void)run(storage, call, at, errors[e].number, always != 0);
                reached = reached || shared->failed > 0;
                cases++;
            }
        if (!reached)
            break;
    }
    return cases;
}

/* A folder of its own, in memory where there is such a place: a disk takes most of the time. */
static char place[64] = "/dev/shm/capture_pipeline-XXXXXX";

static void settle_down(void)
{
    shared = (struct shared *)mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_OR_STOP(shared != MAP_FAILED);
    if (mkdtemp(place) == NULL) {
        strcpy(place, "failing-XXXXXX");
        CHECK_OR_STOP(mkdtemp(place) != NULL);
    }
    CHECK_OR_STOP(chdir(place) == 0);
}

static int end(void)
{
    clean();
    if (chdir("..") == 0)
        rmdir(strrchr(place, '/') != NULL ? strrchr(place, '/') + 1 : place);
    return SUMMARY();
}

/* A case mostly waits, so several worker processes share them. */
enum { MANY_WORKERS = 64 };
static int worker_count = 6;

static int work(const char *only, bool all, int worker)
{
    long cases = 0;
    int call;
    settle_down();
    for (call = 0; call < CALLS; call++)
        if (only == NULL || strcmp(only, call_names[call]) == 0) {
            int storage;
            for (storage = 0; storage < STORAGES; storage++)
                cases += run_call(storage, call, all, worker, worker_count);
        }
    printf("worker %d: %ld cases\n", worker, cases);
    fflush(stdout);
    return end();
}

int main(void)
{
    const char *only = getenv("ONLY"), *one = getenv("CASE");
    bool all = getenv("ALL_CASES") != NULL;
    pid_t workers[MANY_WORKERS];
    int call, e, i, status = 0;
    if (getenv("WORKERS") != NULL)
        worker_count = atoi(getenv("WORKERS"));
    CHECK_OR_STOP(worker_count > 0 && worker_count <= MANY_WORKERS);
    catch_calls();
    if (one == NULL) {
        for (i = 0; i < worker_count; i++) {
            workers[i] = fork();
            CHECK_OR_STOP(workers[i] >= 0);
            if (workers[i] == 0)
                exit(work(only, all, i));
        }
    }
    settle_down();
    if (one != NULL) {
        char storage[32], name[32], error[32], when[32];
        long at = 1;
        int kind;
        CHECK_OR_STOP(sscanf(one, "%31s %31s %ld %31s %31s", storage, name, &at, error, when) == 5);
        CHECK_STATUS(pipeline_log_callback(show, NULL, PIPELINE_LOG_INFO), PIPELINE_OK);
        for (call = 0; call < CALLS; call++)
            for (e = 0; e < ERRORS; e++)
                if (strcmp(name, call_names[call]) == 0 && strcmp(error, errors[e].name) == 0)
                    for (kind = 0; kind < STORAGES; kind++)
                        if (strcmp(storage, storage_names[kind]) == 0)
                            CHECK(run(kind, call, at, errors[e].number, strcmp(when, "always") == 0));
        printf("start %d, flush %d %d, close %d, stored %" PRIu64 " of %" PRIu64 ", %ld calls failed of %ld\n",
               shared->refused, shared->flushed[0], shared->flushed[1], shared->closed, shared->stored, shared->captured,
               (long)shared->failed, (long)shared->count[shared->call]);
        return end();
    }
    /* Without a failure every event is stored; the counts show that the calls are caught. */
    for (i = 0; i < STORAGES; i++) {
        CHECK(run(i, -1, 0, 0, false));
        CHECK(shared->started);
        CHECK_STATUS(shared->closed, PIPELINE_OK);
        CHECK_U64(shared->stored, (BATCHES + 1) * EVENTS);
        for (call = 0; call < CALLS; call++) {
            printf("%s, %s: %ld calls\n", storage_names[i], call_names[call], (long)shared->count[call]);
            if (i != TRACES && call != WRITE && call != (i == JOURNAL ? FTRUNCATE : FDATASYNC))
                CHECK(shared->count[call] > 0);
        }
    }
    fflush(stdout);
    for (i = 0; i < worker_count; i++) {
        CHECK_U64(waitpid(workers[i], &status, 0), workers[i]);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    return end();
}
