/* Shared by the host programs with a SQLite storage: a pipeline into a database, and a look at it from another process.
 *
 * A process that opens a database with a second copy of SQLite while the storage runs proves nothing about others, so the questions are
 * asked by a program of its own: the sqlite3 shell, or Python's module. */
#ifndef CAPTURE_PIPELINE_DATABASE_H
#define CAPTURE_PIPELINE_DATABASE_H

#include "../check.h"

#include <fcntl.h>
#include <sys/stat.h>

/* The first value of the answer, as text; "" where the question fails. Opens and closes the database as any program does. */
CHECK_UNUSED static const char *ask(const char *database, const char *sql)
{
    static char answer[256];
    char command[2048];
    FILE *program;
    answer[0] = '\0';
    snprintf(command, sizeof command,
             "if command -v sqlite3 >/dev/null; then sqlite3 -cmd '.timeout 10000' '%s' \"%s\"; "
             "else python3 -c \"import sqlite3, sys; print(sqlite3.connect(sys.argv[1], "
             "isolation_level=None).execute(sys.argv[2]).fetchone()[0])\" '%s' \"%s\"; fi",
             database, sql, database, sql);
    program = popen(command, "r");
    if (program == NULL)
        return answer;
    if (fgets(answer, sizeof answer, program) == NULL)
        answer[0] = '\0';
    answer[strcspn(answer, "\n")] = '\0';
    pclose(program);
    return answer;
}

/* That many rows, each event once, in a sound database. */
CHECK_UNUSED static void check_rows(const char *file, int line, const char *database, unsigned want)
{
    char sound[32], number[32];
    snprintf(sound, sizeof sound, "%s", ask(database, "PRAGMA integrity_check"));
    snprintf(number, sizeof number, "%s", ask(database, "SELECT count(*) FROM events"));
    if (!check_true(file, line, "the database is sound", strcmp(sound, "ok") == 0))
        fprintf(stderr, "  %s: integrity_check answers \"%s\"\n", database, sound);
    if (!check_true(file, line, "every event is there once", strtoul(number, NULL, 10) == want && number[0] != '\0'))
        fprintf(stderr, "  %s: %s rows, %u expected\n", database, number, want);
}
#define CHECK_ROWS(database, want) check_rows(__FILE__, __LINE__, (database), (want))

CHECK_UNUSED static pipeline_t *start_into(const char *database)
{
    pipeline_config_t c = config_defaults();
    pipeline_sqlite_options_t o;
    pipeline_storage_t s;
    pipeline_t *p = NULL;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = 60000000;
    c.retry_limit = 100000;
    c.retry_max_us = 20000;
    CHECK_STATUS(pipeline_sqlite_options_init(&o, sizeof o), PIPELINE_OK);
    o.flags = PIPELINE_SQLITE_NO_INDEXES;
    memset(&s, 0, sizeof s);
    CHECK_STATUS(pipeline_storage_sqlite(database, &o, sizeof s, &s), PIPELINE_OK);
    CHECK_OR_STOP(s.store != NULL);
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    return p;
}

/* Captures that many events, and has them stored. */
CHECK_UNUSED static void store_events(const char *file, int line, pipeline_t *p, unsigned many)
{
    uint64_t before = metrics_of(p).stored;
    unsigned i;
    for (i = 0; i < many; i++)
        check_status(file, line, "pipeline_capture", pipeline_capture(p, 1, &i, sizeof i), PIPELINE_OK);
    check_status(file, line, "pipeline_flush", pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    check_u64(file, line, "acknowledged", metrics_of(p).stored - before, many);
}
#define STORE_EVENTS(p, many) store_events(__FILE__, __LINE__, (p), (many))

#endif
