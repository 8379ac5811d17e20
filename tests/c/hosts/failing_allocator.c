/* A host runs out of memory: malloc and its relatives, and anonymous mmap, fail at the n-th call, once or from then on, in every exported
 * function (failing_allocator_cases.h). A third way counts the calls for more than 8 KiB alone, and one of them fails: small blocks come
 * from the library's reserve, larger ones do not, so each of them has to report its failure. Each n is a child process. The function must not crash, abort or hang, and returns OK or a
 * documented error. When memory is available again, the pipeline closes, its ledger balances, and the storage has the events that the
 * ledger counts as stored.
 *
 * The functions are those of packaging/exports.txt; a function without a case fails the test. ALL=1 in the environment tries every n up
 * to the end of each case. Without it n grows by half after the first 20, so that the run takes seconds; the third way always tries every n.
 *
 * Build flags: -rdynamic */
#include "../check.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>

#ifndef __GLIBC__
int main(void)
{
    puts("skipped: the allocator is interposed by names that glibc alone has");
    return 0;
}
#else

#include "failing_malloc.h"

#include "failing_allocator_cases.h"

/* The names in packaging/exports.txt, one a line. */
__asm__(".pushsection .rodata\n"
        ".globl exports_list\n.hidden exports_list\n"
        "exports_list:\n.incbin \"packaging/exports.txt\"\n.byte 0\n"
        ".popsection\n");
extern const char exports_list[];

static void every_export_has_a_case(void)
{
    char name[100];
    const char *at;
    size_t i;
    int names = 0;
    for (at = exports_list; *at != 0; at += strcspn(at, "\n") + 1) {
        bool found = false;
        size_t len = strcspn(at, "\n");
        CHECK_OR_STOP(len < sizeof name - 2);
        snprintf(name, sizeof name, " %.*s ", (int)len, at);
        for (i = 0; i < sizeof cases / sizeof *cases; i++) {
            char spaced[1000];
            snprintf(spaced, sizeof spaced, " %s ", cases[i].functions);
            found |= strstr(spaced, name) != NULL;
        }
        names++;
        if (!found)
            fprintf(stderr, "no case for %s\n", name);
        CHECK(found);
    }
    CHECK(names > 30);
}

/* ---- a case with one n -------------------------------------------------------------------------------------------------------------- */

/* A refused start has run `destroy`; otherwise the ledger balances, and says what the storage got. */
static void end_world(world_t *w)
{
    pipeline_metrics_t m;
    if (w->gone || w->p == NULL)
        return;
    if (w->r != NULL)
        CHECK_STATUS(pipeline_producer_close(w->r), PIPELINE_OK);
    if (!w->closed)
        CHECK_STATUS(pipeline_close(w->p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(w->p);
    m = metrics_of(w->p);
    CHECK_U64(m.left + m.in_flight + m.in_doubt + m.buffered, 0);
    if (!w->own_storage && !atomic_load(&pending_wanted) && m.retries == 0)
        CHECK(atomic_load(&stored_events) <= m.stored);
    DESTROY_SOON(w->p);
}

/* Which calls of the allocator fail. */
enum way { ALONE, FROM_THERE_ON, LARGE_ALONE };
static const char *const ways[] = {"alone", "and all after it", "of those for more than 8 KiB, alone,"};

static void child(size_t at, long n, enum way way, int tell)
{
    world_t w = {0};
    long seen;
    begin_child();
    if (cases[at].how & DATABASE) {
        pipeline_sqlite_options_t o;
        pipeline_storage_t s;
        pipeline_sqlite_options_init(&o, sizeof o);
        o.flags = PIPELINE_SQLITE_NO_INDEXES;
        if (pipeline_storage_sqlite("events.db", &o, sizeof s, &s) == PIPELINE_OK)
            s.destroy(s.user_data);
    }
    if (!(cases[at].how & BARE)) {
        if (cases[at].how & PENDING)
            atomic_store(&pending_wanted, 1);
        start(&w);
        CHECK_OR_STOP(w.p != NULL);
        CHECK_STATUS(pipeline_producer_open(w.p, &w.r), PIPELINE_OK);
        if (!(cases[at].how & FRESH))
            CHECK_STATUS(pipeline_capture(w.p, 9, payload, 8), PIPELINE_OK);
        if (cases[at].how & PENDING)
            WAIT_FOR(atomic_load(&pending) != NULL);
    }
    atomic_store(&fail_at, n);
    atomic_store(&fail_from, way == FROM_THERE_ON);
    atomic_store(&least, way == LARGE_ALONE ? 8193 : 0);
    arm();
    cases[at].run(&w);
    disarm();
    seen = atomic_load(&calls);
    end_world(&w);
    if (write(tell, &seen, sizeof seen) != sizeof seen)
        checks_failed++;
    fflush(NULL);
    _exit(checks_failed != 0);
}

/* Answers how many calls of the allocator there were. */
static long try_n(size_t at, long n, enum way way)
{
    int pipe_ends[2], status = 0;
    long seen = -1;
    pid_t pid;
    CHECK_OR_STOP(pipe2(pipe_ends, O_CLOEXEC) == 0);
    fflush(NULL);
    pid = fork();
    CHECK_OR_STOP(pid >= 0);
    if (pid == 0)
        child(at, n, way, pipe_ends[1]);
    close(pipe_ends[1]);
    if (read(pipe_ends[0], &seen, sizeof seen) != sizeof seen)
        seen = -1;
    close(pipe_ends[0]);
    CHECK_OR_STOP(waitpid(pid, &status, 0) == pid);
    checks_done++;
    if (status != 0) {
        check_fail(__FILE__, __LINE__, cases[at].functions);
        fprintf(stderr, ": call %ld %s fails: the child %s %d\n", n, ways[way],
                WIFSIGNALED(status) ? "was ended by signal" : "answered",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    unlink("events.db"), unlink("events.db-wal"), unlink("events.db-shm");
    if (cases[at].how & BARE)
        (void)!system("rm -rf events");
    return seen;
}

int main(int argc, char **argv)
{
    const char *all = getenv("ALL");
    pid_t writer;
    size_t at;
    enum way way;
    every_export_has_a_case();
    snprintf(rings, sizeof rings, "/dev/shm/failing-allocator-%d", (int)getpid());
    fflush(NULL);
    {
        FILE *text = fopen("rules.txt", "w");
        CHECK_OR_STOP(text != NULL && fputs("drop if kind = 9\nkeep trace if correlation_id = 4\n", text) >= 0 && fclose(text) == 0);
    }
    writer = fork();
    CHECK_OR_STOP(writer >= 0);
    if (writer == 0) {
        begin_child();
        write_journal();
        end_child();
    }
    AWAIT_CHILD(writer);
    for (at = 0; at < sizeof cases / sizeof *cases; at++)
        for (way = ALONE; way <= LARGE_ALONE; way++) {
            long n = 1, seen, tried, tries = 0;
            if (argc > 1 && strstr(cases[at].functions, argv[1]) == NULL)
                continue;
            do {
                seen = try_n(at, n, way);
                tried = n;
                tries++;
                n += all == NULL && n >= 20 && way != LARGE_ALONE ? n / 2 : 1;
            } while (seen >= tried && checks_failed < 5); /* up to an n that no call has reached */
            if (argc > 1 || all != NULL)
                printf("%s, call n %s fails: %ld calls, %ld tries\n", cases[at].functions, ways[way], seen, tries);
        }
    {
        /* (A ring file is left where the last recovery had no memory.) */
        char command[100];
        snprintf(command, sizeof command, "rm -rf %s", rings);
        CHECK(system(command) == 0);
    }
    return SUMMARY();
}
#endif
