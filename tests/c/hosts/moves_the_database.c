/* A log rotation renames the database while it is written. The renamed file holds every event stored before, although most of them were
 * in the write-ahead log only; later events go to a new file. */
#include "database.h"

enum { EVENTS = 400, ROUNDS = 3 };

static unsigned rows_of(const char *database)
{
    CHECK(strcmp(ask(database, "PRAGMA integrity_check"), "ok") == 0);
    return (unsigned)strtoul(ask(database, "SELECT count(*) FROM events"), NULL, 10);
}

int main(void)
{
    char name[64];
    unsigned round;
    pid_t child = fork();
    if (child == 0) {
        pipeline_t *p;
        begin_child();
        p = start_into("rotated.db");
        for (round = 0; round < ROUNDS; round++) {
            STORE_EVENTS(p, EVENTS);
            snprintf(name, sizeof name, "rotated.db.%u", round);
            CHECK(rename("rotated.db", name) == 0);
        }
        STORE_EVENTS(p, EVENTS);
        CHECK_U64(metrics_of(p).discarded, 0);
        end_child();
    }
    AWAIT_CHILD(child);
    for (round = 0; round < ROUNDS; round++) {
        snprintf(name, sizeof name, "rotated.db.%u", round);
        CHECK_U64(rows_of(name), EVENTS);
    }
    CHECK_U64(rows_of("rotated.db"), EVENTS);
    return SUMMARY();
}
