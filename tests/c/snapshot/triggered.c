/* Rules that ask for snapshots: the event that has asked is in it, the capture does not wait, there are no more than allowed, and one that fails shows in health. */
#include "../recorder.h"
#include "snapshots.h"

#include <sys/resource.h>

static recorder_t recorder = RECORDER_INIT;

static pipeline_t *start(const char *rules)
{
    pipeline_t *p = NULL;
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s = recorder_storage(&recorder);
    c.writers = 0;
    c.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;
    c.ring_bytes = 1 << 16;
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK));
    CHECK_STATUS(pipeline_rules_set_text(p, rules, 0), PIPELINE_OK);
    return p;
}

static uint64_t asked(const pipeline_t *p, uint32_t rule)
{
    pipeline_rule_metrics_t m = {.struct_size = sizeof m};
    CHECK_STATUS(pipeline_rule_metrics(p, rule, &m), PIPELINE_OK);
    return m.snapshots_asked;
}

static void capture(pipeline_t *p, uint64_t who, uint64_t n, int32_t status)
{
    uint64_t words[MOST_WORDS];
    pipeline_event_t e = proving_event(who, n, words);
    CHECK_STATUS(pipeline_capture_event(p, &e), status);
}

/* The snapshots in a directory that are complete. */
static unsigned sealed_in(const char *dir)
{
    struct dirent *entry;
    unsigned sealed = 0;
    DIR *list = opendir(dir);
    while (list != NULL && (entry = readdir(list)) != NULL) {
        char path[1024];
        pipeline_reader_t *reader = NULL;
        FILE *file;
        unsigned char block[192];
        if (strstr(entry->d_name, ".journal") == NULL)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        /* The seal is the last block, with a body of 24 bytes, and the type 4. */
        file = fopen(path, "rb");
        if (file != NULL && fseek(file, -(long)sizeof block, SEEK_END) == 0 && fread(block, sizeof block, 1, file) == 1)
            sealed += memcmp(block, "CPB1", 4) == 0 && pipeline_reader_open(path, NULL, &reader) == PIPELINE_OK;
        if (file != NULL)
            fclose(file);
        if (reader != NULL)
            pipeline_reader_close(reader);
    }
    if (list != NULL)
        closedir(list);
    return sealed;
}

static pipeline_snapshot_options_t often(uint64_t interval_ms, uint64_t most)
{
    pipeline_snapshot_options_t o = snapshot_defaults();
    CHECK(o.min_interval_ms == 10000 && o.max_snapshots == 100);
    o.min_interval_ms = interval_ms;
    o.max_snapshots = most;
    return o;
}

static void find(void *with, const pipeline_reader_event_t *e)
{
    uint64_t who = 0, n = 0, *wanted = with;
    CHECK(proves_itself(e, &who, &n));
    if (who == 5 && n == *wanted)
        *wanted = UINT64_MAX;
}

/* Whatever other threads do, the event that has asked is in the snapshot. */
static _Atomic bool stop;

static void *fill(void *p)
{
    uint64_t n;
    for (n = 0; !stop; n++)
        capture(p, 1, n, PIPELINE_OK);
    return NULL;
}

static void the_event_is_in_it(void)
{
    pipeline_t *p = start("asks: snapshot if kind = 6");
    pipeline_snapshot_options_t o = often(0, 1000);
    int round, rounds = count_of(50, 3);
    pthread_t filler;
    stop = false;
    CHECK_STATUS(pipeline_snapshot_on_trigger(p, "each", &o), PIPELINE_OK);
    filler = start_thread(fill, p);
    for (round = 0; round < rounds; round++) {
        uint64_t wanted = (uint64_t)round;
        capture(p, 5, wanted, PIPELINE_OK);
        WAIT_FOR(sealed_in("each") == 1);
        each_event("each", find, &wanted);
        CHECK_U64(wanted, UINT64_MAX);
        CHECK_U64(remove_snapshots("each"), 1);
    }
    stop = true;
    CHECK_OR_STOP(pthread_join(filler, NULL) == 0);
    CHECK_U64(asked(p, 0), rounds);
    END(p);
}

/* Dry rules, dropped events and rules before a directory is set ask for nothing; limits hold. */
static void what_asks(void)
{
    pipeline_t *p = start("first: drop if kind = 3\n"
                          "dry: dry snapshot if kind = 4\n"
                          "asks: snapshot, tag 1 if kind < 7\n"
                          "last: drop if kind = 6\n");
    pipeline_snapshot_options_t o = often(0, 2);
    capture(p, 4, 0, PIPELINE_OK); /* kind 5, and nowhere to go */
    CHECK_U64(asked(p, 2), 1);
    CHECK_STATUS(pipeline_snapshot_on_trigger(p, "some", &o), PIPELINE_OK);
    capture(p, 2, 0, PIPELINE_DROPPED_BY_RULE);
    capture(p, 7, 0, PIPELINE_OK); /* kind 8 */
    CHECK_U64(asked(p, 1), 0);
    CHECK_U64(segments_in("some"), 0);
    capture(p, 5, 0, PIPELINE_DROPPED_BY_RULE); /* kind 6: a later rule drops it */
    WAIT_FOR(sealed_in("some") == 1);
    capture(p, 3, 0, PIPELINE_OK); /* kind 4: dry for the one, not for the other */
    WAIT_FOR(sealed_in("some") == 2);
    CHECK_U64(asked(p, 1), 0);
    CHECK_U64(asked(p, 2), 3);
    /* These were the two that are allowed. The library's thread has looked once it has no more to do: a snapshot of our own comes after that. */
    capture(p, 3, 1, PIPELINE_OK);
    CHECK_STATUS(pipeline_snapshot_on_trigger(p, "more", &o), PIPELINE_OK);
    capture(p, 3, 2, PIPELINE_OK);
    WAIT_FOR(sealed_in("more") == 1);
    CHECK_U64(segments_in("some"), 2);
    CHECK_STATUS(pipeline_snapshot_on_trigger(p, NULL, NULL), PIPELINE_OK);
    capture(p, 3, 3, PIPELINE_OK);
    CHECK_U64(segments_in("more"), 1);
    CHECK_U64(asked(p, 2), 6);
    END(p);
    CHECK_U64(remove_snapshots("some") + remove_snapshots("more"), 3);
}

/* Many events that ask are answered by one snapshot now and one at the end of the interval. */
static void not_too_often(void)
{
    pipeline_t *p = start("asks: snapshot if kind = 6");
    pipeline_snapshot_options_t o = often(100 * 365 * UINT64_C(86400000), 100);
    uint64_t n;
    CHECK_STATUS(pipeline_snapshot_on_trigger(p, "rare", &o), PIPELINE_OK);
    for (n = 0; n < 1000; n++)
        capture(p, 5, n, PIPELINE_OK);
    WAIT_FOR(sealed_in("rare") == 1);
    for (n = 0; n < 1000; n++)
        capture(p, 5, n, PIPELINE_OK);
    CHECK_U64(asked(p, 0), 2000);
    CHECK_U64(segments_in("rare"), 1);
    END(p); /* while one is due in a hundred years */
    CHECK_U64(remove_snapshots("rare"), 1);
}

static void failures(void)
{
    pipeline_t *p = start("asks: snapshot if kind = 6");
    pipeline_snapshot_options_t o = often(0, 0);
    struct rlimit limit;
    CHECK_FAILS(pipeline_snapshot_on_trigger(p, "fails", &o), PIPELINE_ERR_INVALID, "max_snapshots");
    o = often(UINT64_MAX, 1);
    CHECK_FAILS(pipeline_snapshot_on_trigger(p, "fails", &o), PIPELINE_ERR_INVALID, "min_interval_ms");
    o = often(0, 1000);
    CHECK_FAILS(pipeline_snapshot_on_trigger(p, "none/fails", &o), PIPELINE_ERR_STORAGE, "none/fails");
    CHECK_FAILS(pipeline_snapshot_on_trigger(NULL, "fails", &o), PIPELINE_ERR_NULL, "pipeline");
    CHECK_STATUS(pipeline_snapshot_on_trigger(p, "fails", &o), PIPELINE_OK);
    CHECK_OR_STOP(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = 100;
    CHECK_OR_STOP(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    capture(p, 5, 0, PIPELINE_OK);
    WAIT_FOR(health_of(p).reasons & PIPELINE_HEALTH_SNAPSHOT_FAILED);
    CHECK_HAS(health_of(p).message, "fails: ");
    CHECK_HAS(health_of(p).message, "RLIMIT_FSIZE");
    CHECK_U64(health_of(p).status, PIPELINE_DEGRADED);
    CHECK_U64(segments_in("fails"), 0);
    limit.rlim_cur = RLIM_INFINITY;
    CHECK_OR_STOP(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    capture(p, 5, 1, PIPELINE_OK);
    WAIT_FOR((health_of(p).reasons & PIPELINE_HEALTH_SNAPSHOT_FAILED) == 0);
    CHECK_U64(each_event("fails", NULL, NULL), 2);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_FAILS(pipeline_snapshot_on_trigger(p, "fails", &o), PIPELINE_ERR_CLOSED, "closed");
    DESTROY_SOON(p);
}

int main(void)
{
    what_asks();
    the_event_is_in_it();
    not_too_often();
    failures();
    return SUMMARY();
}
