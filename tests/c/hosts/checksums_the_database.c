/* A host reads its own database file, for a checksum or a backup, and closes it. With POSIX locks of the process, that close would drop
 * SQLite's locks. Other processes open and close the database meanwhile. None of them takes itself for the last user and deletes the
 * log that is in use. */
#include "database.h"

enum { EVENTS = 500, ROUNDS = 4 };

static void checksum(const char *name)
{
    unsigned char block[4096];
    unsigned long sum = 0;
    ssize_t got;
    int fd = open(name, O_RDONLY);
    CHECK(fd >= 0);
    while ((got = read(fd, block, sizeof block)) > 0)
        while (got > 0)
            sum = sum * 31 + block[--got];
    CHECK(sum != 1);
    close(fd);
}

int main(void)
{
    struct stat log, now;
    pid_t child = fork();
    if (child == 0) {
        pipeline_t *p;
        unsigned round;
        begin_child();
        p = start_into("sum.db");
        STORE_EVENTS(p, EVENTS);
        CHECK(stat("sum.db-wal", &log) == 0);
        for (round = 1; round <= ROUNDS; round++) {
            char rows[32];
            checksum("sum.db");
            checksum("sum.db-wal");
            checksum("sum.db-shm");
            snprintf(rows, sizeof rows, "%s", ask("sum.db", "SELECT count(*) FROM events"));
            CHECK_U64(strtoul(rows, NULL, 10), round * EVENTS);
            CHECK(stat("sum.db-wal", &now) == 0 && now.st_ino == log.st_ino);
            STORE_EVENTS(p, EVENTS);
        }
        end_child();
    }
    AWAIT_CHILD(child);
    CHECK_ROWS("sum.db", (ROUNDS + 1) * EVENTS);
    return SUMMARY();
}
