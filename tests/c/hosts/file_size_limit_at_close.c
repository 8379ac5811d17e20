/* A shell's `ulimit -f` that is reached while pipeline_close makes the indexes: close and health report it, and every event is in the
 * database. */
#include "database.h"

#include <signal.h>
#include <sys/resource.h>

static void limit_to(rlim_t bytes)
{
    struct rlimit limit;
    CHECK_OR_STOP(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes;
    CHECK_OR_STOP(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

int main(void)
{
    enum { EVENTS = 3000 };
    pipeline_config_t config = config_defaults();
    pipeline_storage_t storage;
    pipeline_health_t health;
    pipeline_t *p = NULL;
    /* The rate of the processor's counter is an event of the library's own, which may come behind the limit. Close would wait for it. */
    config.clock = PIPELINE_CLOCK_MONOTONIC;
    CHECK(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    CHECK_STATUS(pipeline_storage_sqlite("limited.db", NULL, sizeof storage, &storage), PIPELINE_OK);
    CHECK_STATUS(pipeline_start(&config, &storage, &p), PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    STORE_EVENTS(p, EVENTS);
    limit_to(0);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_ERR_STORAGE);
    CHECK_LEDGER(p);
    CHECK_U64(metrics_of(p).stored, EVENTS);
    memset(&health, 0, sizeof health);
    health.struct_size = sizeof health;
    CHECK_STATUS(pipeline_health(p, &health), PIPELINE_OK);
    CHECK((health.reasons & PIPELINE_HEALTH_FINISH_FAILED) != 0);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    limit_to(RLIM_INFINITY);
    CHECK_ROWS("limited.db", EVENTS);
    CHECK_STATUS(pipeline_sqlite_create_indexes("limited.db"), PIPELINE_OK);
    CHECK(strcmp(ask("limited.db", "SELECT count(*) FROM sqlite_master WHERE name LIKE 'events_by_%'"), "4") == 0);
    return SUMMARY();
}
