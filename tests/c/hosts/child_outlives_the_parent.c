/* A child that was forked under load lives on when its parent is killed. It holds no lock of the parent's: other processes write to the
 * database and checkpoint its log at once. The child can store into the same database itself. */
#include "database.h"

#include <signal.h>

enum { CHILDREN = 8 };

int main(void)
{
    int told[2], go[2], i;
    pid_t parent;
    char byte, rows[32];
    CHECK_OR_STOP(pipe(told) == 0 && pipe(go) == 0);
    parent = fork();
    if (parent == 0) {
        pipeline_t *p;
        unsigned n = 0;
        begin_child();
        p = start_into("orphan.db");
        STORE_EVENTS(p, 100);
        for (i = 0; i < CHILDREN; i++) {
            for (; n % 500 != 499; n++)
                CHECK_STATUS(pipeline_capture(p, 1, &n, sizeof n), PIPELINE_OK);
            n++;
            if (fork() == 0) {
                /* Lives until the test is over, or until the first of them is told to store something. */
                alarm(60);
                close(go[1]);
                if (write(told[1], "c", 1) != 1 || read(go[0], &byte, 1) != 1)
                    _exit(0);
                p = start_into("orphan.db");
                STORE_EVENTS(p, 10);
                END(p);
                (void)!write(told[1], checks_failed ? "f" : "s", 1);
                (void)!read(go[0], &byte, 1);
                _exit(0);
            }
        }
        for (i = 0; i < CHILDREN; i++)
            CHECK(read(told[0], &byte, 1) == 1 && byte == 'c');
        fflush(NULL);
        (void)!write(told[1], checks_failed ? "f" : "r", 1);
        kill(getpid(), SIGKILL);
    }
    CHECK(waitpid(parent, &i, 0) == parent && WIFSIGNALED(i) && WTERMSIG(i) == SIGKILL);
    CHECK(read(told[0], &byte, 1) == 1 && byte == 'r');
    snprintf(rows, sizeof rows, "%s", ask("orphan.db", "PRAGMA wal_checkpoint(TRUNCATE)"));
    CHECK(strncmp(rows, "0", 1) == 0); /* not busy */
    CHECK(strcmp(ask("orphan.db", "BEGIN IMMEDIATE; INSERT INTO kinds VALUES(7, 'seven'); COMMIT; SELECT name FROM kinds "
                                  "WHERE kind = 7"),
                 "seven") == 0);
    /* All others are closed now: the last one deletes the log. */
    CHECK(access("orphan.db-wal", F_OK) != 0);
    {
        unsigned long before = strtoul(ask("orphan.db", "SELECT count(*) FROM events"), NULL, 10);
        CHECK(before >= 100);
        CHECK(write(go[1], "g", 1) == 1);
        CHECK(read(told[0], &byte, 1) == 1 && byte == 's');
        CHECK_ROWS("orphan.db", (unsigned)before + 10);
    }
    close(go[1]); /* the children end */
    return SUMMARY();
}
