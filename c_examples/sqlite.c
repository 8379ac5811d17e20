/* Events into a SQLite database, and out again with SQL: kinds with names, traces by correlation id, a limit on the
 * size. Where there is a sqlite3 shell, its answers are checked; without one, the library's own ledger is. */
#define _POSIX_C_SOURCE 200809L
#include <capture_pipeline.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRACES 100
#define CALLS 30 /* of each trace */

enum { KIND_CALL = 1, KIND_RETURN = 2 };

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, pipeline_last_error());
    return 1;
}

/* Asks the sqlite3 shell; -1 if there is none. */
static long ask(const char *database, const char *sql)
{
    char command[1024], answer[64];
    long number = -1;
    FILE *shell;
    snprintf(command, sizeof command, "sqlite3 -readonly '%s' \"%s\" 2>/dev/null", database, sql);
    shell = popen(command, "r");
    if (shell == NULL)
        return -1;
    if (fgets(answer, sizeof answer, shell) != NULL)
        number = strtol(answer, NULL, 10);
    pclose(shell);
    return number;
}

static int answers(const char *database, const char *question, const char *sql, long expected)
{
    long got = ask(database, sql);
    printf("  %-28s %ld\n", question, got);
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
    options.max_bytes = 64 << 20; /* then the oldest events are deleted */
    if (pipeline_storage_sqlite(database, &options, sizeof storage, &storage) < 0)
        return fail("sqlite");
    if (pipeline_start(NULL, &storage, &pipeline) < 0) /* takes the storage over, also if it fails */
        return fail("start");
    pipeline_kind_name(pipeline, KIND_CALL, "call");
    pipeline_kind_name(pipeline, KIND_RETURN, "return");

    for (trace = 1; trace <= TRACES; trace++) {
        for (call = 1; call <= CALLS; call++)
            good = capture(pipeline, KIND_CALL, trace, call, "f(1, 2)") && good;
        good = capture(pipeline, KIND_RETURN, trace, 0, "3") && good;
    }
    /* After a flush all of that is in the database, which others may read while the pipeline goes on. */
    if (pipeline_flush(pipeline, 10000) < 0)
        return fail("flush");
    memset(&m, 0, sizeof m);
    m.struct_size = sizeof m;
    pipeline_metrics(pipeline, &m);
    printf("stored %llu events in %s\n", (unsigned long long)m.stored, database);
    good = good && m.stored == TRACES * (CALLS + 1);

    if (ask(database, "SELECT 1") == 1) {
        good = answers(database, "events:", "SELECT count(*) FROM events", TRACES * (CALLS + 1)) && good;
        good = answers(database, "returns, by name of the kind:",
                       "SELECT count(*) FROM events_view WHERE kind_name = 'return'", TRACES) && good;
        good = answers(database, "events of trace 7:", "SELECT count(*) FROM events WHERE correlation_id = 7", CALLS + 1) &&
               good;
        good = answers(database, "bytes of all payloads:", "SELECT sum(length(payload)) FROM events",
                       TRACES * (CALLS * 7 + 1)) && good;
        good = answers(database, "events twice in there:",
                       "SELECT count(*) - count(DISTINCT ring_id || ':' || sequence) FROM events", 0) && good;
    } else {
        printf("  (no sqlite3 shell here to ask)\n");
    }

    if (pipeline_close(pipeline, 10000) < 0)
        return fail("close");
    pipeline_destroy(pipeline); /* closes the database and makes its indexes: by time, correlation id, node id */

    /* Opening it again adds to what is there. */
    if (pipeline_storage_sqlite(database, NULL, sizeof storage, &storage) < 0)
        return fail("sqlite, again");
    if (pipeline_start(NULL, &storage, &pipeline) < 0)
        return fail("start, again");
    good = capture(pipeline, KIND_CALL, 1, 1, "one more") && good;
    if (pipeline_close(pipeline, 10000) < 0)
        return fail("close, again");
    pipeline_destroy(pipeline);
    if (ask(database, "SELECT 1") == 1)
        good = answers(database, "events after a second run:", "SELECT count(*) FROM events", TRACES * (CALLS + 1) + 1) &&
               good;

    snprintf(leftover, sizeof leftover, "%s-wal", database);
    unlink(leftover);
    snprintf(leftover, sizeof leftover, "%s-shm", database);
    unlink(leftover);
    unlink(database);
    rmdir(directory);
    return good ? 0 : 1;
}
