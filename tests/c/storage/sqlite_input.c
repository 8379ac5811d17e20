/* Bad input for the SQLite storage: NULL, sizes, options out of range, paths that cannot be written, files that are no database or a
 * damaged one, a database that is full or is damaged while it is written, two processes on one database. The result is a status with a
 * message, never a crash or a hang, and a ledger that balances. */
#include "../fields.h"
#include "../recorder.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char directory[] = "sqlite_input.XXXXXX";
static char path[128];

static const char *in_directory(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

/* The result of the sqlite3 shell; -1 if it is not installed. */
static long ask(const char *database, const char *sql)
{
    char command[512], line[64];
    long number = -1;
    FILE *shell;
    snprintf(command, sizeof command, "sqlite3 -readonly '%s' \"%s\" 2>/dev/null", database, sql);
    shell = popen(command, "r");
    if (shell != NULL && fgets(line, sizeof line, shell) != NULL)
        number = strtol(line, NULL, 10);
    if (shell != NULL)
        pclose(shell);
    return number;
}
#define CHECK_ASK(database, sql, want)                                                                                 \
    do {                                                                                                               \
        if (ask(database, "SELECT 1") == 1)                                                                            \
            CHECK_U64(ask(database, sql), (want));                                                                     \
    } while (0)

static pipeline_sqlite_options_t defaults(void)
{
    pipeline_sqlite_options_t o;
    memset(&o, 0xA5, sizeof o);
    CHECK_STATUS(pipeline_sqlite_options_init(&o, sizeof o), PIPELINE_OK);
    return o;
}

static pipeline_t *open_database(const char *name, const pipeline_sqlite_options_t *options)
{
    pipeline_storage_t s;
    pipeline_config_t c = config_defaults();
    c.retry_limit = 4;
    c.retry_initial_us = 100;
    c.retry_max_us = 1000; /* while the circuit is open, attempts are used up at this pace */
    memset(&s, 0, sizeof s);
    CHECK_STATUS(pipeline_storage_sqlite(name, options, sizeof s, &s), PIPELINE_OK);
    CHECK_OR_STOP(s.store != NULL);
    return start_pipeline(&c, &s);
}

static void nulls_and_sizes(void)
{
    static const size_t wrong[] = {0, 1, 4, 4097, (size_t)UINT32_MAX, SIZE_MAX};
    union {
        pipeline_sqlite_options_t options;
        pipeline_storage_t storage;
        unsigned char bytes[4096 + 16];
    } room;
    pipeline_storage_t s;
    size_t i;
    struct stat st;
    CHECK_FAILS(pipeline_sqlite_options_init(NULL, sizeof room.options), PIPELINE_ERR_NULL, "options");
    CHECK_FAILS(pipeline_storage_sqlite(NULL, NULL, sizeof s, &s), PIPELINE_ERR_NULL, "path");
    CHECK_FAILS(pipeline_storage_sqlite(in_directory("none.db"), NULL, sizeof s, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_storage_sqlite(NULL, NULL, 0, NULL), PIPELINE_ERR_NULL, "NULL");
    CHECK_FAILS(pipeline_sqlite_create_indexes(NULL), PIPELINE_ERR_NULL, "path");
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memset(&room, 0xA5, sizeof room);
        CHECK_FAILS(pipeline_sqlite_options_init(&room.options, wrong[i]), PIPELINE_ERR_VERSION,
                    "pipeline_sqlite_options_t");
        CHECK_U64(room.bytes[0], 0xA5);
        CHECK_FAILS(pipeline_storage_sqlite(path, NULL, wrong[i], &room.storage), PIPELINE_ERR_VERSION,
                    "pipeline_storage_t");
        CHECK_U64(room.bytes[0], 0xA5);
        memset(&room, 0, sizeof room);
        room.options = defaults();
        room.options.struct_size = (uint32_t)wrong[i];
        CHECK_FAILS(pipeline_storage_sqlite(path, &room.options, sizeof s, &s), PIPELINE_ERR_VERSION, "struct_size");
    }
    room.options = defaults();
    room.options.struct_size = 4096;
    room.bytes[4000] = 1;
    CHECK_FAILS(pipeline_storage_sqlite(path, &room.options, sizeof s, &s), PIPELINE_ERR_VERSION, "4000");
    CHECK(stat(path, &st) != 0); /* no file was made */
}

#define FIELD(name) FIELD_OF(pipeline_sqlite_options_t, name)
static const bad_value_t bad[] = {
    {FIELD(flags), 2, "0"},
    {FIELD(flags), UINT32_MAX, "0"},
    {FIELD(max_bytes), 1, "4194304"},
    {FIELD(max_bytes), 4194303, "4194304"},
    {FIELD(max_bytes), UINT64_MAX, "140737488355328"},
    {FIELD(max_age_ms), UINT64_MAX, "3153600000000"},
    {FIELD(min_free_disk), UINT64_MAX, "140737488355328"},
    {FIELD(synchronous), 3, "2"},
    {FIELD(on_full), 2, "1"},
    {FIELD(commit_interval_us), 1000001, "1000000"},
    {FIELD(commit_events), 0, "1"},
    {FIELD(commit_events), 1000001, "1000000"},
    {FIELD(busy_timeout_ms), 60001, "60000"},
    {FIELD(cache_kib), 255, "256"},
    {FIELD(cache_kib), 1048577, "1048576"},
    {FIELD(file_mode), 0755, "0600"},
    {FIELD(file_mode), 0200, "0600"},
    {FIELD(reserved), 1, "0"},
};

static void bad_options(void)
{
    size_t i;
    struct stat st;
    in_directory("options.db");
    for (i = 0; i < COUNT(bad); i++) {
        pipeline_sqlite_options_t o = defaults();
        pipeline_storage_t s;
        put(&o, bad[i].offset, bad[i].size, bad[i].value);
        CHECK_FAILS(pipeline_storage_sqlite(path, &o, sizeof s, &s), PIPELINE_ERR_INVALID, "pipeline_sqlite_options_t.");
        CHECK_HAS(pipeline_last_error(), bad[i].field);
        CHECK_HAS(pipeline_last_error(), bad[i].limit);
        CHECK(stat(path, &st) != 0);
    }
}

static void paths_that_cannot_be_written(void)
{
    static const char *const paths[] = {"/nowhere/at/all.db", "/proc/events.db", "/dev/null/events.db", "", "/"};
    pipeline_storage_t s;
    size_t i;
    memset(&s, 0x5A, sizeof s);
    for (i = 0; i < sizeof paths / sizeof *paths; i++) {
        int32_t status = pipeline_storage_sqlite(paths[i], NULL, sizeof s, &s);
        CHECK(status == PIPELINE_ERR_STORAGE || status == PIPELINE_ERR_SYSTEM || status == PIPELINE_ERR_INVALID);
        CHECK_HAS(pipeline_last_error(), paths[i]);
        CHECK(strlen(pipeline_last_error()) > strlen(paths[i]));
        CHECK_U64(s.struct_size, 0x5A5A5A5A); /* outputs only on success */
    }
    CHECK(pipeline_storage_sqlite(directory, NULL, sizeof s, &s) < 0);
    CHECK_HAS(pipeline_last_error(), directory);
    CHECK(pipeline_sqlite_create_indexes("/nowhere/at/all.db") < 0);
}

static void no_database(void)
{
    static unsigned char text[20000], again[20000];
    pipeline_storage_t s;
    size_t i;
    int file;
    for (i = 0; i < sizeof text; i++)
        text[i] = (unsigned char)(i * 37);
    file = open(in_directory("text.db"), O_RDWR | O_CREAT, 0600);
    CHECK(write(file, text, sizeof text) == (ssize_t)sizeof text);
    CHECK_FAILS(pipeline_storage_sqlite(path, NULL, sizeof s, &s), PIPELINE_ERR_STORAGE, "text.db");
    CHECK_STATUS(pipeline_sqlite_create_indexes(path), PIPELINE_ERR_STORAGE);
    CHECK(pread(file, again, sizeof again, 0) == (ssize_t)sizeof text);
    CHECK(memcmp(text, again, sizeof text) == 0);
    close(file);
}

/* A database whose pages are overwritten: at rest, and while it is written. */
static void damaged(void)
{
    static unsigned char garbage[65536];
    pipeline_t *p;
    pipeline_storage_t s;
    pipeline_metrics_t m;
    struct stat st;
    int file, round;
    int32_t status;
    memset(garbage, 0x5E, sizeof garbage);
    p = open_database(in_directory("damaged.db"), NULL);
    capture_numbers(p, 0, 5000);
    END(p);
    CHECK(stat(path, &st) == 0 && st.st_size > 70000);
    file = open(path, O_RDWR);
    CHECK(pwrite(file, garbage, sizeof garbage, 4096) == (ssize_t)sizeof garbage); /* all but the first page */
    close(file);
    memset(&s, 0, sizeof s);
    status = pipeline_storage_sqlite(path, NULL, sizeof s, &s);
    if (status == PIPELINE_OK) {
        /* The damage is found later: each event is then settled within the retry limits. */
        pipeline_config_t c = config_defaults();
        c.retry_limit = 3;
        c.retry_initial_us = 100;
        p = start_pipeline(&c, &s);
        capture_numbers(p, 0, 100);
        pipeline_close(p, PATIENCE_MS);
        m = metrics_of(p);
        CHECK_U64(m.stored + m.discarded + m.dead_lettered + m.left, 100);
        CHECK_LEDGER(p);
        DESTROY_SOON(p);
    } else {
        CHECK_FAILS(status, PIPELINE_ERR_STORAGE, "damaged.db");
    }

    p = open_database(in_directory("struck.db"), NULL);
    for (round = 0; round < 20; round++) {
        capture_numbers(p, 0, 500);
        if (round == 10) {
            CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
            file = open(path, O_RDWR);
            CHECK(pwrite(file, garbage, sizeof garbage, 0) == (ssize_t)sizeof garbage);
            close(file);
        }
        pipeline_flush(p, PATIENCE_MS);
    }
    pipeline_close(p, PATIENCE_MS);
    m = metrics_of(p);
    CHECK_U64(m.captured, 10000);
    CHECK_U64(m.stored + m.discarded + m.dead_lettered + m.left, 10000);
    CHECK_U64(m.in_flight + m.in_doubt + m.buffered, 0);
    CHECK_LEDGER(p);
    DESTROY_SOON(p);
}

/* More than 4 MiB. */
static void capture_too_much(pipeline_t *p)
{
    static char big[4000];
    int i;
    for (i = 0; i < 4000; i++)
        while (pipeline_capture(p, 1, big, sizeof big) == PIPELINE_ERR_FULL)
            pipeline_flush(p, 20);
}

/* No space: because of max_bytes with either policy, and because the system does not let the file grow. */
static void full(void)
{
    pipeline_sqlite_options_t o = defaults();
    pipeline_t *p;
    pipeline_metrics_t m;
    struct stat st;
    pid_t child;
    o.max_bytes = 4 << 20;
    o.on_full = PIPELINE_SQLITE_REJECT;
    p = open_database(in_directory("rejects.db"), &o);
    capture_too_much(p);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK(m.discarded > 0 && m.stored > 0);
    CHECK_U64(m.stored + m.discarded, m.captured);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK(stat(path, &st) == 0 && st.st_size <= 4 << 20);
    CHECK_ASK(path, "SELECT count(*) FROM events", m.stored);

    o.on_full = PIPELINE_SQLITE_DELETE_OLDEST;
    p = open_database(in_directory("deletes.db"), &o);
    capture_too_much(p);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.stored, m.captured);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK(stat(path, &st) == 0 && st.st_size <= 4 << 20);
    CHECK_ASK(path, "SELECT count(*) + (SELECT sum(deleted) FROM runs) FROM events", m.stored);

    fflush(NULL);
    child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0) {
        struct rlimit limit = {2 << 20, 2 << 20};
        begin_child();
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        p = open_database(in_directory("limited.db"), NULL);
        capture_too_much(p);
        pipeline_close(p, PATIENCE_MS);
        m = metrics_of(p);
        CHECK(m.stored > 0);
        CHECK(m.stored < m.captured);
        CHECK_LEDGER(p);
        DESTROY_SOON(p);
        end_child();
    }
    AWAIT_CHILD(child);
}

/* Two processes write to one database at once. */
static void shared(void)
{
    pid_t child;
    pipeline_t *p;
    int i;
    in_directory("shared.db");
    fflush(NULL);
    child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0)
        begin_child();
    p = open_database(path, NULL);
    for (i = 0; i < 20; i++) {
        capture_numbers(p, 0, 100);
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    }
    END(p);
    if (child == 0)
        end_child();
    AWAIT_CHILD(child);
    CHECK_ASK(path, "SELECT count(*) FROM events", 4000);
    CHECK_ASK(path, "SELECT count(*) FROM runs", 2);
}

int main(void)
{
    char command[256];
    CHECK_OR_STOP(mkdtemp(directory) != NULL);
    shared(); /* before anything else has used the library in this process */
    nulls_and_sizes();
    bad_options();
    paths_that_cannot_be_written();
    no_database();
    damaged();
    full();
    snprintf(command, sizeof command, "rm -r '%s'", directory);
    CHECK(system(command) == 0);
    return SUMMARY();
}
