/* Another program deletes the files beside the database: its write-ahead log, the log's index, or both. Acknowledged events are in the
 * database when the process ends, however it ends. */
#include "database.h"

enum { EVENTS = 150 };

static void remove_beside(const char *database, bool log, bool index)
{
    char name[128];
    snprintf(name, sizeof name, "%s-wal", database);
    if (log)
        CHECK(unlink(name) == 0);
    snprintf(name, sizeof name, "%s-shm", database);
    if (index)
        CHECK(unlink(name) == 0);
}

/* In a process of its own, which ends without a word. */
static void removed(const char *database, bool log, bool index, bool more)
{
    pid_t child = fork();
    if (child == 0) {
        pipeline_t *p;
        begin_child();
        p = start_into(database);
        STORE_EVENTS(p, EVENTS);
        remove_beside(database, log, index);
        STORE_EVENTS(p, more ? EVENTS : 0);
        if (more) {
            remove_beside(database, log, index);
            STORE_EVENTS(p, EVENTS);
        }
        end_child();
    }
    AWAIT_CHILD(child);
    CHECK_ROWS(database, more ? 3 * EVENTS : EVENTS);
}

/* The same with an orderly end. */
static void removed_before_the_end(const char *database)
{
    pipeline_t *p = start_into(database);
    STORE_EVENTS(p, EVENTS);
    remove_beside(database, true, true);
    END(p);
    CHECK_ROWS(database, EVENTS);
}

int main(void)
{
    removed("log.db", true, false, true);
    removed("index.db", false, true, true);
    removed("both.db", true, true, true);
    removed("flushed.db", true, false, false);
    removed("flushed_both.db", true, true, false);
    removed_before_the_end("end.db");
    return SUMMARY();
}
