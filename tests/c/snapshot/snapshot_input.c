/* What a snapshot is given: options, directories that it refuses, disks without room. An error names what and where, leaves no file, and loses nothing. */
#include "../recorder.h"
#include "snapshots.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

static recorder_t recorder = RECORDER_INIT;

static pipeline_t *start(uint64_t ring_bytes)
{
    pipeline_t *p = NULL;
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s = recorder_storage(&recorder);
    c.writers = 0;
    c.ring_bytes = ring_bytes;
    c.exit_timeout_ms = 0;
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK));
    return p;
}

static void capture(pipeline_t *p, uint64_t from, uint64_t to)
{
    uint64_t words[MOST_WORDS], n;
    for (n = from; n < to; n++) {
        pipeline_event_t e = proving_event(3, n, words);
        CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK);
    }
}

static void see(void *with, const pipeline_reader_event_t *e)
{
    uint64_t who = 0, n = 0, *next = with;
    CHECK(proves_itself(e, &who, &n) && n == *next);
    ++*next;
}

/* A directory has the events before `to`, in their order. */
static void check_events(const char *dir, uint64_t to)
{
    uint64_t next = 0;
    CHECK_U64(each_event(dir, see, &next), to);
}

static void arguments(void)
{
    pipeline_t *p = start(1 << 20);
    pipeline_snapshot_options_t o = snapshot_defaults();
    pipeline_snapshot_t s = {.struct_size = sizeof s};
    CHECK_U64(o.struct_size, sizeof o);
    CHECK(o.flags == 0 && o.copy_bytes == 4 << 20 && o.encoding == PIPELINE_JOURNAL_RAW && o.file_mode == 0600);
    CHECK_FAILS(pipeline_snapshot_options_init(NULL, sizeof o), PIPELINE_ERR_NULL, "options");
    CHECK_FAILS(pipeline_snapshot_options_init(&o, 3), PIPELINE_ERR_VERSION, "pipeline_snapshot_options_t");
    CHECK_FAILS(pipeline_snapshot(NULL, "no", NULL, NULL), PIPELINE_ERR_NULL, "the pipeline");
    CHECK_FAILS(pipeline_snapshot(p, NULL, NULL, NULL), PIPELINE_ERR_NULL, "dir");
    CHECK_FAILS(pipeline_snapshot(p, "", NULL, NULL), PIPELINE_ERR_INVALID, "dir");
    s.struct_size = 8;
    CHECK_FAILS(pipeline_snapshot(p, "no", NULL, &s), PIPELINE_ERR_VERSION, "pipeline_snapshot_t");
    s.struct_size = sizeof s;
    o = snapshot_defaults();
    o.flags = 2;
    CHECK_FAILS(pipeline_snapshot(p, "no", &o, &s), PIPELINE_ERR_INVALID, "flags");
    o = snapshot_defaults();
    o.encoding = 9;
    CHECK_FAILS(pipeline_snapshot(p, "no", &o, &s), PIPELINE_ERR_INVALID, "encoding");
    o = snapshot_defaults();
    o.file_mode = 0700;
    CHECK_FAILS(pipeline_snapshot(p, "no", &o, &s), PIPELINE_ERR_INVALID, "file_mode");
    o = snapshot_defaults();
    o.copy_bytes = UINT64_MAX;
    CHECK_FAILS(pipeline_snapshot(p, "no", &o, &s), PIPELINE_ERR_INVALID, "copy_bytes");
    CHECK(access("no", F_OK) != 0);
    /* Nothing is there to be written, and the journal says so. */
    s = snapshot(p, "empty", NULL);
    CHECK(s.events == 0 && s.rings == 0 && s.first_ns == 0 && s.last_ns == 0 && s.bytes > 0);
    CHECK_U64(each_event("empty", NULL, NULL), 0);
    END(p);
}

static void refused_directories(void)
{
    pipeline_t *p = start(1 << 20);
    int file;
    capture(p, 0, 100);
    CHECK_FAILS(pipeline_snapshot(p, "none/snap", NULL, NULL), PIPELINE_ERR_STORAGE, "none/snap");
    CHECK_HAS(pipeline_last_error(), "snapshot's directory");
    file = open("file", O_CREAT | O_WRONLY, 0600);
    CHECK_OR_STOP(file >= 0 && close(file) == 0);
    CHECK_FAILS(pipeline_snapshot(p, "file", NULL, NULL), PIPELINE_ERR_STORAGE, "is no directory");
    CHECK_OR_STOP(mkdir("real", 0700) == 0 && symlink("real", "link") == 0);
    CHECK_FAILS(pipeline_snapshot(p, "link", NULL, NULL), PIPELINE_ERR_STORAGE, "symbolic link");
    CHECK_FAILS(pipeline_snapshot(p, "link/", NULL, NULL), PIPELINE_ERR_STORAGE, "symbolic link");
    CHECK_U64(segments_in("real"), 0);
    /* (Permissions do not hold root back; this file system does.) */
    CHECK_FAILS(pipeline_snapshot(p, "/proc/snap", NULL, NULL), PIPELINE_ERR_STORAGE, "/proc/snap");
    CHECK_FAILS(pipeline_snapshot(p, "/proc/self", NULL, NULL), PIPELINE_ERR_STORAGE, "/proc/self");
    if (geteuid() != 0) {
        CHECK_OR_STOP(mkdir("closed", 0500) == 0);
        CHECK_FAILS(pipeline_snapshot(p, "closed", NULL, NULL), PIPELINE_ERR_STORAGE, "closed");
    }
    /* Relative, with a link before the last part, and with the permissions that were asked for. */
    {
        pipeline_snapshot_options_t o = snapshot_defaults();
        struct stat stat_of;
        char path[128];
        pipeline_snapshot_t s;
        o.file_mode = 0644;
        o.flags = PIPELINE_SNAPSHOT_SYNC;
        umask(077);
        s = snapshot(p, "./link/../link/snap/", &o);
        CHECK_U64(s.events, 100);
        snprintf(path, sizeof path, "real/snap/%016" PRIx64 "-%08" PRIu64 ".journal", s.generation, s.segment);
        if (CHECK(stat(path, &stat_of) == 0)) {
            CHECK_U64(stat_of.st_mode & 0777, 0644);
            CHECK_U64(stat_of.st_size, s.bytes);
        }
    }
    check_events("real/snap", 100);
    CHECK_U64(metrics_of(p).buffered, 100);
    END(p);
}

static void limit_to(rlim_t bytes)
{
    struct rlimit limit;
    CHECK_OR_STOP(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes;
    CHECK_OR_STOP(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* A disk that is full at any byte: there is no file, no signal, and the next snapshot has everything. */
static void without_room(void)
{
    static const rlim_t limits[] = {0, 100, 600, 5000, 100000, 1000000};
    pipeline_t *p = start(1 << 22);
    sigset_t set;
    size_t i;
    CHECK(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    capture(p, 0, 10000);
    for (i = 0; i < sizeof limits / sizeof *limits; i++) {
        limit_to(limits[i]);
        CHECK_FAILS(pipeline_snapshot(p, "full", NULL, NULL), PIPELINE_ERR_STORAGE, "RLIMIT_FSIZE");
        CHECK_HAS(pipeline_last_error(), "full: ");
        limit_to(RLIM_INFINITY);
        CHECK_OR_STOP(sigpending(&set) == 0);
        CHECK(sigismember(&set, SIGXFSZ) == 0);
        CHECK_U64(segments_in("full"), 0);
        CHECK_U64(metrics_of(p).buffered, 10000);
    }
    CHECK_U64(snapshot(p, "full", NULL).events, 10000);
    check_events("full", 10000);
    END(p);
}

static void without_descriptors_or_memory(void)
{
    pipeline_t *p = start(1 << 20);
    struct rlimit before, none;
    capture(p, 0, 100);
    CHECK_OR_STOP(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before;
    none.rlim_cur = 3;
    CHECK_OR_STOP(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK_STATUS(pipeline_snapshot(p, "later", NULL, NULL), PIPELINE_ERR_STORAGE);
    CHECK_HAS(pipeline_last_error(), "later");
    CHECK_OR_STOP(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK_U64(snapshot(p, "later", NULL).events, 100);
    check_events("later", 100);
    END(p);
}

/* Names, definitions, attributes and threads are in each snapshot, and the ledger; handles are not. */
static void what_is_beside_events(void)
{
    pipeline_t *p = start(1 << 20);
    pipeline_event_t handle = event_of(9, "handle", 6);
    pipeline_reader_t *reader = NULL;
    pipeline_reader_event_t e = {.struct_size = sizeof e};
    pipeline_reader_thread_t thread = {.struct_size = sizeof thread};
    pipeline_reader_attribute_t attribute = {.struct_size = sizeof attribute};
    const pipeline_reader_kinds_t *kinds = NULL;
    uint32_t encoding;
    handle.flags = PIPELINE_EVENT_RELEASE;
    CHECK_OR_STOP(pthread_setname_np(pthread_self(), "snapped") == 0);
    CHECK_STATUS(pipeline_attribute(p, "host", "here"), PIPELINE_OK);
    CHECK_STATUS(define_kind(p, 4, "typed"), PIPELINE_OK);
    CHECK_STATUS(pipeline_kind_name(p, 77, "named"), PIPELINE_OK);
    for (encoding = PIPELINE_JOURNAL_RAW; encoding <= PIPELINE_JOURNAL_COLUMNS_LZ4; encoding++) {
        pipeline_snapshot_options_t o = snapshot_defaults();
        uint64_t from = encoding * 10;
        o.encoding = encoding;
        CHECK_STATUS(pipeline_capture_event(p, &handle), PIPELINE_OK);
        capture(p, from, from + 5);
        CHECK_STATUS(pipeline_capture_event(p, &handle), PIPELINE_OK);
        capture(p, from + 5, from + 10);
        CHECK_U64(snapshot(p, "facts", &o).left_out, 2 * (encoding + 1));
        check_events("facts", from + 10);
    }
    CHECK_STATUS(pipeline_reader_open("facts", NULL, &reader), PIPELINE_OK);
    CHECK_STATUS(pipeline_reader_next(reader, 0, &e), PIPELINE_OK);
    CHECK_STATUS(pipeline_reader_thread(reader, e.generation, e.ring_id, &thread), PIPELINE_OK);
    CHECK_U64(thread.thread_id, getpid());
    CHECK(strcmp(thread.name, "snapped") == 0);
    CHECK_STATUS(pipeline_reader_attribute(reader, e.generation, 0, &attribute), PIPELINE_OK);
    CHECK(strcmp(attribute.value, "here") == 0);
    CHECK_STATUS(pipeline_reader_definitions(reader, &kinds), PIPELINE_OK);
    if (CHECK(kinds != NULL && kinds->count == 2))
        CHECK(strcmp(PIPELINE_READER_KIND(kinds, 0)->name, "typed") == 0);
    pipeline_reader_close(reader);
    CHECK_U64(remove_snapshots("facts"), 3);
    END(p);
}

static void in_a_child_and_at_the_end(void)
{
    pipeline_t *p = start(1 << 20);
    pid_t child;
    capture(p, 0, 100);
    child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0) {
        begin_child();
        CHECK_FAILS(pipeline_snapshot(p, "child", NULL, NULL), PIPELINE_ERR_FORKED, "parent");
        CHECK(access("child", F_OK) != 0);
        end_child();
    }
    AWAIT_CHILD(child);
    /* What a close has left is there until the pipeline is destroyed. */
    recorder_hold(&recorder);
    CHECK_STATUS(pipeline_close(p, 10), PIPELINE_ERR_TIMEOUT);
    CHECK_U64(snapshot(p, "left", NULL).events, 100);
    check_events("left", 100);
    recorder_let_go(&recorder);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(snapshot(p, "left", NULL).events, 0);
    DESTROY_SOON(p);
}

int main(void)
{
    arguments();
    refused_directories();
    without_room();
    without_descriptors_or_memory();
    what_is_beside_events();
    in_a_child_and_at_the_end();
    return SUMMARY();
}
