/* The database must be opened again while the host has no descriptor left (RLIMIT_NOFILE), while its folder is missing, or while the
 * file cannot be written. The events wait until that is over. */
#include "database.h"

#include <sys/resource.h>
#include <sys/syscall.h>

enum { EVENTS = 100 };

static struct rlimit usual;
static pipeline_t *p;
static unsigned captured;

static void capture_in_trouble(void)
{
    unsigned i;
    uint64_t retries = metrics_of(p).retries;
    for (i = 0; i < EVENTS; i++, captured++)
        CHECK_STATUS(pipeline_capture(p, 1, &i, sizeof i), PIPELINE_OK);
    /* Well past a second attempt. */
    WAIT_FOR(metrics_of(p).retries >= retries + 5);
    CHECK_U64(metrics_of(p).discarded, 0);
}

static void trouble_passes(void)
{
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, captured);
}

static void limit_descriptors(rlim_t most)
{
    struct rlimit limit = usual;
    limit.rlim_cur = most;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

int main(void)
{
    CHECK(getrlimit(RLIMIT_NOFILE, &usual) == 0);
    CHECK(mkdir("folder", 0700) == 0);
    p = start_into("folder/waits.db");
    STORE_EVENTS(p, EVENTS);
    captured = EVENTS;

    /* The log is gone, and with no descriptor nothing can be opened. */
    CHECK(unlink("folder/waits.db-wal") == 0);
    limit_descriptors(0);
    capture_in_trouble();
    limit_descriptors(usual.rlim_cur);
    trouble_passes();

    /* All descriptors are closed, and none is left. */
    syscall(SYS_close_range, 3u, ~0u, 0u);
    limit_descriptors(3);
    capture_in_trouble();
    limit_descriptors(usual.rlim_cur);
    trouble_passes();

    /* All descriptors are closed, and the folder is somewhere else for a while. */
    syscall(SYS_close_range, 3u, ~0u, 0u);
    CHECK(rename("folder", "elsewhere") == 0);
    capture_in_trouble();
    CHECK(rename("elsewhere", "folder") == 0);
    trouble_passes();

    /* All descriptors are closed, and the database may only be read. (The superuser may write to it all the same.) */
    if (geteuid() != 0) {
        syscall(SYS_close_range, 3u, ~0u, 0u);
        CHECK(chmod("folder/waits.db", 0400) == 0);
        capture_in_trouble();
        CHECK(chmod("folder/waits.db", 0600) == 0);
        trouble_passes();
    }
    END(p);
    CHECK_ROWS("folder/waits.db", captured);
    return SUMMARY();
}
