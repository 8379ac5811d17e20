/* Stores events in a SQLite database and reads them with SQL: names of kinds, traces by correlation id, a size limit. If the
 * sqlite3 shell is installed, the results of its queries are checked; otherwise only the ledger of the library is checked. */
#define _POSIX_C_SOURCE 200809L
#include <capture_pipeline.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRACES 100
#define CALLS 30 /* per trace */

enum { KIND_CALL = 1, KIND_RETURN = 2 };

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, pipeline_last_error());
    return 1;
}

/* Runs a query in the sqlite3 shell; -1 if it is not installed. */
static long query(const char *database, const char *sql)
{
    char command[1024], line[64];
    long number = -1;
    FILE *shell;
    snprintf(command, sizeof command, "sqlite3 -readonly '%s' \"%s\" 2>/dev/null", database, sql);
    shell = popen(command, "r");
    if (shell == NULL)
        return -1;
    if (fgets(line, sizeof line, shell) != NULL)
        number = strtol(line, NULL, 10);
    pclose(shell);
    return number;
}

static int check_query(const char *database, const char *label, const char *sql, long expected)
{
    long got = query(database, sql);
    printf("  %-28s %ld\n", label, got);
    return got == expected;
}

static int capture(pipeline_t *pipeline, uint32_t kind, uint64_t trace, uint64_t place, const char *text)
{
    pipeline_event_t event;
    memset(&event, 0, sizeof event);
    event.struct_size = sizeof event;
    event.kind = kind;
    event.correlation_id = trace;
    event.node_id = place;
    event.data = text;
    event.len = strlen(text);
    return pipeline_capture_event(pipeline, &event) == PIPELINE_OK;
}

int main(void)
{
    char directory[] = "capture-XXXXXX", database[64], leftover[80];
    pipeline_sqlite_options_t options;
    pipeline_storage_t storage;
    pipeline_metrics_t m;
    pipeline_t *pipeline = NULL;
    uint64_t trace, call;
    int good = 1;

    if (mkdtemp(directory) == NULL)
        return 1;
    snprintf(database, sizeof database, "%s/events.db", directory);

    pipeline_sqlite_options_init(&options, sizeof options);
    options.max_bytes = 64 << 20; /* above this size the oldest events are deleted */
    if (pipeline_storage_sqlite(database, &options, sizeof storage, &storage) < 0)
        return fail("sqlite");
    if (pipeline_start(NULL, &storage, &pipeline) < 0) /* takes over the storage, even if it fails */
        return fail("start");
    pipeline_kind_name(pipeline, KIND_CALL, "call");
    pipeline_kind_name(pipeline, KIND_RETURN, "return");

    for (trace = 1; trace <= TRACES; trace++) {
        for (call = 1; call <= CALLS; call++)
            good = capture(pipeline, KIND_CALL, trace, call, "f(1, 2)") && good;
        good = capture(pipeline, KIND_RETURN, trace, 0, "3") && good;
    }
    /* After a flush all events are in the database. Other processes may read it while the pipeline runs. */
    if (pipeline_flush(pipeline, 10000) < 0)
        return fail("flush");
    memset(&m, 0, sizeof m);
    m.struct_size = sizeof m;
    pipeline_metrics(pipeline, &m);
    printf("stored %llu events in %s\n", (unsigned long long)m.stored, database);
    good = good && m.stored == TRACES * (CALLS + 1);

    if (query(database, "SELECT 1") == 1) {
        good = check_query(database, "events:", "SELECT count(*) FROM events", TRACES * (CALLS + 1)) && good;
        good = check_query(database, "events of kind 'return':",
                       "SELECT count(*) FROM events_view WHERE kind_name = 'return'", TRACES) && good;
        good = check_query(database, "events of trace 7:", "SELECT count(*) FROM events WHERE correlation_id = 7", CALLS + 1) &&
               good;
        good = check_query(database, "bytes of all payloads:", "SELECT sum(length(payload)) FROM events",
                       TRACES * (CALLS * 7 + 1)) && good;
        good = check_query(database, "duplicate events:",
                       "SELECT count(*) - count(DISTINCT ring_id || ':' || sequence) FROM events", 0) && good;
    } else {
        printf("  (sqlite3 is not installed: the database was not checked)\n");
    }

    if (pipeline_close(pipeline, 10000) < 0)
        return fail("close");
    pipeline_destroy(pipeline); /* closes the database and creates its indexes: time, correlation id, node id */

    /* A second run adds to the database. */
    if (pipeline_storage_sqlite(database, NULL, sizeof storage, &storage) < 0)
        return fail("sqlite, again");
    if (pipeline_start(NULL, &storage, &pipeline) < 0)
        return fail("start, again");
    good = capture(pipeline, KIND_CALL, 1, 1, "one more") && good;
    if (pipeline_close(pipeline, 10000) < 0)
        return fail("close, again");
    pipeline_destroy(pipeline);
    if (query(database, "SELECT 1") == 1)
        good = check_query(database, "events after a second run:", "SELECT count(*) FROM events", TRACES * (CALLS + 1) + 1) &&
               good;

    snprintf(leftover, sizeof leftover, "%s-wal", database);
    unlink(leftover);
    snprintf(leftover, sizeof leftover, "%s-shm", database);
    unlink(leftover);
    unlink(database);
    rmdir(directory);
    return good ? 0 : 1;
}
