/* A shell's `ulimit -f`: the system ends a process that writes past the limit with SIGXFSZ. A write of the library never does that: it
 * returns an error that names the limit, or waits until there is space, and leaves no signal pending. */
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

static bool pending(void)
{
    sigset_t set;
    CHECK_OR_STOP(sigpending(&set) == 0);
    return sigismember(&set, SIGXFSZ) == 1;
}

static void at_the_start(void)
{
    static const rlim_t limits[] = {0, 1, 4096, 8192};
    char name[64];
    size_t i;
    for (i = 0; i < sizeof limits / sizeof *limits; i++) {
        pipeline_storage_t s;
        memset(&s, 0, sizeof s);
        limit_to(limits[i]);
        snprintf(name, sizeof name, "limited.%zu.db", i);
        CHECK_FAILS(pipeline_storage_sqlite(name, NULL, sizeof s, &s), PIPELINE_ERR_STORAGE, "RLIMIT_FSIZE");
        CHECK_HAS(pipeline_last_error(), name);
        CHECK(s.store == NULL);
        CHECK(!pending());
        limit_to(RLIM_INFINITY);
        CHECK_STATUS(pipeline_storage_sqlite(name, NULL, sizeof s, &s), PIPELINE_OK);
        s.destroy(s.user_data);
    }
}

/* The limit comes while it runs, and goes. */
static void in_the_middle(void)
{
    pipeline_t *p = start_into("middle.db");
    unsigned i, many = 2000;
    STORE_EVENTS(p, 100);
    limit_to(65536);
    for (i = 0; i < many; i++)
        CHECK_STATUS(pipeline_capture(p, 1, &i, sizeof i), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).retries > 2);
    limit_to(RLIM_INFINITY);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 100 + many);
    limit_to(0);
    CHECK_FAILS(pipeline_sqlite_create_indexes("middle.db"), PIPELINE_ERR_STORAGE, "RLIMIT_FSIZE");
    CHECK(!pending());
    limit_to(RLIM_INFINITY);
    END(p);
    CHECK_STATUS(pipeline_sqlite_create_indexes("middle.db"), PIPELINE_OK);
    CHECK_ROWS("middle.db", 100 + many);
}

int main(void)
{
    CHECK(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    at_the_start();
    in_the_middle();
    return SUMMARY();
}
