/* A program ends by exit(), by _exit() or by a signal without closing its pipeline. At exit() the pipeline drains: every captured event is in the journal.
 * The others keep what was acknowledged. */
#include "journal.h"

#include <signal.h>

enum { EVENTS = 3000 };

static void ends_by(const char *directory, int how)
{
    pid_t child = fork();
    if (child == 0) {
        pipeline_t *p;
        unsigned i;
        begin_child();
        p = start_journal(directory);
        JOURNAL_EVENTS(p, EVENTS);
        for (i = 0; i < EVENTS; i++)
            CHECK_STATUS(pipeline_capture(p, 1, &i, sizeof i), PIPELINE_OK);
        fflush(NULL);
        if (how == 0)
            exit(checks_failed != 0);
        if (how == 2)
            raise(SIGKILL);
        _exit(checks_failed != 0);
    }
    if (how == 2)
        CHECK(waitpid(child, &how, 0) == child && WIFSIGNALED(how));
    else
        AWAIT_CHILD(child);
}

int main(void)
{
    journal_state_t state;
    uint64_t events;
    ends_by("exit", 0);
    CHECK_EVENTS("exit", 2 * EVENTS);
    ends_by("_exit", 1);
    events = count_events("_exit", &state);
    CHECK(events >= EVENTS && events <= 2 * EVENTS && state.damaged == 0);
    ends_by("killed", 2);
    events = count_events("killed", &state);
    CHECK(events >= EVENTS && events <= 2 * EVENTS && state.damaged == 0);
    return SUMMARY();
}
