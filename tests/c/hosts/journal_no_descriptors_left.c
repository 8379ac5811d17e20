/* The journal's files must be opened again while the host has no descriptor left (RLIMIT_NOFILE), or while its folder is missing. The events wait until that
 * is over. */
#include "journal.h"

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
    p = start_journal("folder/waits");
    JOURNAL_EVENTS(p, EVENTS);
    captured = EVENTS;

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

    /* All descriptors are closed, and the segments may only be read. (The superuser may write to them all the same.) */
    if (geteuid() != 0) {
        syscall(SYS_close_range, 3u, ~0u, 0u);
        CHECK(chmod("folder/waits", 0500) == 0);
        capture_in_trouble();
        CHECK(chmod("folder/waits", 0700) == 0);
        trouble_passes();
    }
    END(p);
    CHECK_EVENTS("folder/waits", captured);
    return SUMMARY();
}
