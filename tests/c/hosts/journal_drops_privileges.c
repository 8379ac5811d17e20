/* A daemon starts its pipeline as root, in a folder of root's, and then becomes the user nobody, or changes its root. It may make no files there any more,
 * but its open segment still works: every event is stored, also by writers that have none of their own, after all writers have ended and others have
 * begun, and when the segment is old. */
#include "journal.h"

#include <grp.h>

enum { EVENTS = 300, NOBODY = 65534 };

static void become_nobody(void)
{
    CHECK_OR_STOP(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
}

static void change_root(void)
{
    CHECK_OR_STOP(chroot("empty") == 0 && chdir("/") == 0);
}

static void goes_on(const char *directory, void (*change)(void), bool at_once)
{
    pid_t child = fork();
    if (child == 0) {
        pipeline_journal_options_t o = journal_options();
        pipeline_t *p;
        uint64_t old;
        int i;
        begin_child();
        o.segment_bytes = 65536; /* new segments are due, and cannot be made by nobody */
        o.segment_age_ms = 100;
        p = start_journal_with(directory, &o);
        if (!at_once)
            JOURNAL_EVENTS(p, EVENTS);
        change();
        CHECK_STATUS(pipeline_scale(p, 4), PIPELINE_OK);
        JOURNAL_EVENTS(p, EVENTS);
        JOURNAL_EVENTS(p, EVENTS * 10);
        CHECK_STATUS(pipeline_scale(p, 0), PIPELINE_OK);
        WAIT_FOR(metrics_of(p).writers_live == 0);
        CHECK_STATUS(pipeline_scale(p, 2), PIPELINE_OK);
        JOURNAL_EVENTS(p, EVENTS);
        /* The segment is old more than once. */
        for (i = 0; i < 3; i++) {
            old = now_ms() + 120;
            WAIT_FOR(now_ms() >= old);
            JOURNAL_EVENTS(p, EVENTS);
        }
        CHECK_U64(metrics_of(p).retries, 0);
        END(p);
        end_child();
    }
    AWAIT_CHILD(child);
    CHECK_EVENTS(directory, (uint64_t)(at_once ? 15 : 16) * EVENTS);
}

int main(void)
{
    if (geteuid() != 0) {
        puts("skipped: only root can drop privileges");
        return 0;
    }
    CHECK_OR_STOP(mkdir("empty", 0755) == 0);
    goes_on("nobody", become_nobody, false);
    goes_on("nobody-at-once", become_nobody, true);
    goes_on("root", change_root, false);
    goes_on("root-at-once", change_root, true);
    return SUMMARY();
}
