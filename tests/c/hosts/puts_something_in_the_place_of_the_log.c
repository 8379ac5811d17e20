/* The write-ahead log is deleted, and something else is put in its place: a link, a folder, a pipe, a few bytes. Acknowledged events
 * are copied back into the database, and the target of the link is not touched. */
#include "database.h"

enum { EVENTS = 500 };

static const char precious[] = "a file of the host's";

static void put_link(const char *log)
{
    FILE *file = fopen("precious", "w");
    CHECK_OR_STOP(file != NULL);
    fputs(precious, file);
    fclose(file);
    CHECK(symlink("precious", log) == 0);
}

static void put_folder(const char *log)
{
    CHECK(mkdir(log, 0700) == 0);
}

static void put_pipe(const char *log)
{
    CHECK(mkfifo(log, 0600) == 0);
}

static void put_bytes(const char *log)
{
    FILE *file = fopen(log, "w");
    CHECK_OR_STOP(file != NULL);
    fputs("junk", file);
    fclose(file);
}

static void with(const char *database, void (*put)(const char *))
{
    char log[64];
    unsigned i;
    pipeline_t *p = start_into(database);
    pipeline_metrics_t m;
    snprintf(log, sizeof log, "%s-wal", database);
    STORE_EVENTS(p, EVENTS);
    CHECK(unlink(log) == 0);
    put(log);
    for (i = 0; i < EVENTS; i++)
        CHECK_STATUS(pipeline_capture(p, 1, &i, sizeof i), PIPELINE_OK);
    /* These are stored or not, as the database can be opened anew or not. */
    (void)pipeline_close(p, PATIENCE_MS);
    CHECK_LEDGER(p);
    m = metrics_of(p);
    CHECK(m.stored >= EVENTS);
    DESTROY_SOON(p);
    if (put != put_bytes)
        (void)remove(log);
    CHECK_ROWS(database, (unsigned)m.stored);
}

int main(void)
{
    char text[sizeof precious] = "";
    FILE *file;
    with("link.db", put_link);
    with("folder.db", put_folder);
    with("pipe.db", put_pipe);
    with("bytes.db", put_bytes);
    file = fopen("precious", "r");
    CHECK_OR_STOP(file != NULL);
    CHECK(fgets(text, sizeof text, file) != NULL && strcmp(text, precious) == 0);
    fclose(file);
    return SUMMARY();
}
