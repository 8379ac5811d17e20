/* Traces where there is no room: a limit on the size of files that comes and goes, in the middle of batches, and a disk that is full. No event is in the files
 * twice, none that was acknowledged is missing, no signal is sent. */
#include "perfetto.h"

#include <signal.h>
#include <sys/mount.h>
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
    static const rlim_t limits[] = {0, 1, 100};
    char name[64];
    size_t i;
    for (i = 0; i < sizeof limits / sizeof *limits; i++) {
        pipeline_t *p;
        unsigned n = 0;
        snprintf(name, sizeof name, "limited.%zu", i);
        limit_to(limits[i]);
        p = start_traces(name, NULL);
        CHECK_STATUS(pipeline_capture(p, 1, &n, sizeof n), PIPELINE_OK);
        WAIT_FOR(metrics_of(p).retries > 2);
        CHECK(!pending());
        limit_to(RLIM_INFINITY);
        END(p);
        CHECK_TRACES(name, 1);
    }
}

/* A file that has reached the limit is left for another one, again and again. */
static void many_files(void)
{
    pipeline_t *p = start_traces("many", NULL);
    unsigned i, done = 0;
    limit_to(30000);
    for (i = 0; i < 40; i++)
        done = trace_events(p, done, 250);
    CHECK(!pending());
    limit_to(RLIM_INFINITY);
    END(p);
    CHECK_TRACES("many", done);
    CHECK(read_traces("many", 0)->files > 5);
    CHECK_U64(read_traces("many", 0)->torn, 0);
}

/* Batches that are larger than the limit come again, whole. */
static void large_batches(void)
{
    pipeline_t *p = start_traces("large", NULL);
    unsigned i, done = trace_events(p, 0, 10), round;
    for (round = 0; round < 20; round++) {
        uint64_t before = metrics_of(p).retries;
        CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
        for (i = 0; i < 1000; i++, done++)
            CHECK_STATUS(pipeline_capture(p, 1, &done, sizeof done), PIPELINE_OK);
        limit_to(2000 + 400 * round);
        CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
        WAIT_FOR(metrics_of(p).retries > before + 1);
        limit_to(RLIM_INFINITY);
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    }
    END(p);
    CHECK_TRACES("large", done);
    CHECK_U64(read_traces("large", 0)->torn, 0);
}

/* A file system of 256 KiB is filled, and emptied. */
static void full_disk(void)
{
    pipeline_t *p;
    unsigned i, done = 0;
    int round;
    CHECK_OR_STOP(mkdir("disk", 0700) == 0);
    if (mount("none", "disk", "tmpfs", 0, "size=256k") != 0) {
        puts("skipped: only root can mount a small file system");
        return;
    }
    p = start_traces("disk/traces", NULL);
    for (round = 0; round < 5; round++) {
        static char zeros[4096];
        uint64_t before = metrics_of(p).retries;
        int fd = open("disk/other", O_CREAT | O_WRONLY, 0600);
        CHECK_OR_STOP(fd >= 0);
        while (write(fd, zeros, sizeof zeros) > 0)
            ;
        close(fd);
        for (i = 0; i < 400; i++, done++)
            CHECK_STATUS(pipeline_capture(p, 1 + (uint32_t)round, &done, sizeof done), PIPELINE_OK); /* a name that is new */
        WAIT_FOR(metrics_of(p).retries > before + 2);
        CHECK_OR_STOP(unlink("disk/other") == 0);
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    }
    END(p);
    CHECK_TRACES("disk/traces", done);
    CHECK_U64(read_traces("disk/traces", 0)->torn, 0);
    CHECK_U64(read_traces("disk/traces", 0)->files, 1);
    CHECK(umount("disk") == 0);
}

/* Old files are deleted, and no more than needed. */
static void bounded(void)
{
    pipeline_perfetto_options_t o = trace_options();
    pipeline_t *p;
    unsigned done = 0, i, first;
    const traces_t *read;
    o.file_bytes = 65536;
    o.max_bytes = 1 << 20;
    p = start_traces("bounded", &o);
    for (i = 0; i < 500; i++)
        done = trace_events(p, done, 100);
    END(p);
    read = read_traces("bounded", done);
    CHECK(read->bytes <= o.max_bytes + 10000);
    CHECK(read->bytes > o.max_bytes - 2 * o.file_bytes);
    CHECK_U64(read->twice, 0);
    CHECK_U64(read->nameless, 0);
    for (first = 0; read->seen[first] == 0; first++)
        ;
    CHECK_U64(read->lost, first); /* the oldest, and no others */
}

int main(void)
{
    at_the_start();
    many_files();
    large_batches();
    full_disk();
    bounded();
    return SUMMARY();
}
