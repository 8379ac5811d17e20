/* Processes that write traces and fork, drop their privileges, or are killed at any moment. */
#include "perfetto.h"

#include <grp.h>
#include <signal.h>
#include <sys/mman.h>

enum { EVENTS = 300, NOBODY = 65534 };

/* A child writes nothing into its parent's file, can write traces of its own, and does not keep the file locked when its parent has died. */
static void forks(void)
{
    pipeline_t *p = start_traces("forked", NULL);
    unsigned done = trace_events(p, 0, EVENTS);
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        unsigned n = 1;
        begin_child();
        CHECK_STATUS(pipeline_capture(p, 1, &n, sizeof n), PIPELINE_ERR_FORKED);
        CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
        p = start_traces("child", NULL);
        (void)trace_events(p, 0, EVENTS);
        END(p);
        end_child();
    }
    done = trace_events(p, done, EVENTS);
    CHECK_OR_STOP(waitpid(child, &status, 0) == child && WIFEXITED(status));
    CHECK_U64(WEXITSTATUS(status), 0);
    done = trace_events(p, done, EVENTS);
    END(p);
    CHECK_TRACES("forked", done);
    CHECK_TRACES("child", EVENTS);
}

/* It becomes the user nobody in a folder of root's: the file that is open goes on, although others are due. */
static void drops_privileges(void)
{
    int status = 0;
    pid_t child;
    if (geteuid() != 0) {
        puts("skipped: only root can drop privileges");
        return;
    }
    child = fork();
    if (child == 0) {
        pipeline_perfetto_options_t o = trace_options();
        pipeline_t *p;
        unsigned done = 0, i;
        begin_child();
        o.file_bytes = 65536;
        p = start_traces("nobody", &o);
        CHECK_OR_STOP(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
        for (i = 0; i < 20; i++)
            done = trace_events(p, done, EVENTS);
        CHECK_U64(metrics_of(p).retries, 0);
        END(p);
        end_child();
    }
    CHECK_OR_STOP(waitpid(child, &status, 0) == child && WIFEXITED(status));
    CHECK_U64(WEXITSTATUS(status), 0);
    CHECK_TRACES("nobody", 20 * EVENTS);
    CHECK_U64(read_traces("nobody", 0)->files, 1);
}

/* Killed at any moment: what was acknowledged is there once, and the file ends in at most one torn packet. */
static void is_killed(void)
{
    _Atomic uint64_t *stored = mmap(NULL, sizeof *stored, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char name[64];
    int round, status;
    CHECK_OR_STOP(stored != MAP_FAILED);
    for (round = 0; round < 30; round++) {
        pid_t child;
        uint64_t acknowledged;
        const traces_t *read;
        snprintf(name, sizeof name, "killed.%d", round);
        *stored = 0;
        child = fork();
        if (child == 0) {
            pipeline_perfetto_options_t o = trace_options();
            pipeline_t *p;
            unsigned n;
            begin_child();
            o.file_bytes = 65536;
            p = start_traces(name, &o);
            for (n = 0; n < TRACE_NUMBERS; n++) {
                CHECK_STATUS(pipeline_capture(p, 1, &n, sizeof n), PIPELINE_OK);
                *stored = metrics_of(p).stored;
            }
            for (;;)
                pause();
        }
        WAIT_FOR(*stored > (uint64_t)(round * 97));
        CHECK_OR_STOP(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
        acknowledged = *stored;
        read = read_traces(name, (unsigned)acknowledged); /* one thread: in their order */
        CHECK_U64(read->lost, 0);
        CHECK_U64(read->twice, 0);
        CHECK(read->torn <= 1);
    }
}

int main(void)
{
    forks();
    drops_privileges();
    is_killed();
    return SUMMARY();
}
