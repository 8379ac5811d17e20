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

/* The exit status of a child whose segment may have been sealed for its age before the change: then there is no open segment to go on in. It is tried
 * again with twice the age, from 100 ms on. */
enum { TOO_LATE = 77, TRIES = 7 };

/* Whether the change came in time. */
static bool goes_on_in(const char *directory, uint64_t age_ms, void (*change)(void), bool at_once)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        pipeline_journal_options_t o = journal_options();
        pipeline_t *p;
        uint64_t old, began;
        int i;
        begin_child();
        o.segment_bytes = 65536; /* new segments are due, and cannot be made by nobody */
        o.segment_age_ms = age_ms;
        p = start_journal_with(directory, &o);
        began = now_ms();
        if (!at_once)
            JOURNAL_EVENTS(p, EVENTS);
        change();
        if (!at_once && now_ms() - began >= age_ms)
            _exit(TOO_LATE);
        CHECK_STATUS(pipeline_scale(p, 4), PIPELINE_OK);
        JOURNAL_EVENTS(p, EVENTS);
        JOURNAL_EVENTS(p, EVENTS * 10);
        CHECK_STATUS(pipeline_scale(p, 0), PIPELINE_OK);
        WAIT_FOR(metrics_of(p).writers_live == 0);
        CHECK_STATUS(pipeline_scale(p, 2), PIPELINE_OK);
        JOURNAL_EVENTS(p, EVENTS);
        /* The segment is old more than once. */
        for (i = 0; i < 3; i++) {
            old = now_ms() + age_ms + 20;
            WAIT_FOR(now_ms() >= old);
            JOURNAL_EVENTS(p, EVENTS);
        }
        CHECK_U64(metrics_of(p).retries, 0);
        END(p);
        end_child();
    }
    CHECK_OR_STOP(waitpid(child, &status, 0) == child && WIFEXITED(status));
    if (WEXITSTATUS(status) == TOO_LATE)
        return false;
    CHECK_U64(WEXITSTATUS(status), 0);
    CHECK_EVENTS(directory, (uint64_t)(at_once ? 15 : 16) * EVENTS);
    return true;
}

static void goes_on(const char *name, void (*change)(void), bool at_once)
{
    char directory[64];
    int tries;
    for (tries = 0; tries < TRIES; tries++) {
        snprintf(directory, sizeof directory, "%s.%d", name, tries);
        if (goes_on_in(directory, UINT64_C(100) << tries, change, at_once))
            break;
    }
    CHECK(tries < TRIES);
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
