/* While a pipeline writes, other programs write to the same database, read it, checkpoint it and close it, and the host itself opens
 * and closes the files. Nothing is lost, nothing is damaged, and the last user leaves no log behind. */
#include "database.h"

enum { ROUNDS = 6 };

static void open_and_close(const char *name)
{
    char block[100];
    int fd = open(name, O_RDONLY);
    CHECK(fd >= 0);
    CHECK(read(fd, block, sizeof block) >= 0);
    close(fd);
}

/* In a process of its own, as long as the pipeline writes. */
static pid_t others(void)
{
    char sql[200];
    int round;
    pid_t child = fork();
    if (child != 0)
        return child;
    begin_child();
    for (round = 0; round < ROUNDS; round++) {
        snprintf(sql, sizeof sql, "INSERT INTO kinds VALUES(%d, 'theirs') RETURNING kind", 1000 + round);
        CHECK_U64(strtoul(ask("shared.db", sql), NULL, 10), 1000 + round);
        CHECK(ask("shared.db", "SELECT count(*) FROM events")[0] != '\0');
        if (round % 3 == 2)
            ask("shared.db", "PRAGMA wal_checkpoint(TRUNCATE)");
    }
    end_child();
    return 0;
}

int main(void)
{
    pipeline_t *p = start_into("shared.db");
    unsigned stored = 0, i;
    int status = 0;
    pid_t child = others();
    while (waitpid(child, &status, WNOHANG) == 0) {
        for (i = 0; i < 200; i++, stored++)
            CHECK_STATUS(pipeline_capture(p, 1, &stored, sizeof stored), PIPELINE_OK);
        open_and_close("shared.db");
        open_and_close("shared.db-wal");
        open_and_close("shared.db-shm");
        pause_a_little();
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, stored);
    CHECK_STATUS(pipeline_sqlite_create_indexes("shared.db"), PIPELINE_OK);
    CHECK_U64(strtoul(ask("shared.db", "SELECT count(*) FROM kinds"), NULL, 10), ROUNDS);
    END(p);
    CHECK_ROWS("shared.db", stored);
    CHECK(access("shared.db-wal", F_OK) != 0);
    return SUMMARY();
}
