/* How a pipeline with a ring file ends: what happens to the file, and to the owner's lock. */
#include "ring_file.h"

static recorder_t rec = RECORDER_INIT;

static int32_t retry(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    return PIPELINE_STORE_RETRY;
}

static pipeline_t *start(const char *directory, uint32_t writers)
{
    pipeline_config_t c = ring_file_config(directory);
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = NULL;
    c.writers = writers;
    CHECK_OR_STOP(pipeline_start(&c, &s, &p) == PIPELINE_OK);
    return p;
}

/* A file without an event is deleted, however the pipeline ends. */
static void with_nothing_left(void)
{
    const char *directory = new_ring_dir("nothing");
    int how;
    for (how = 0; how < 3; how++) {
        pipeline_t *p = start(directory, 1);
        const char *path = find_ring_file(directory);
        CHECK_OR_STOP(path != NULL);
        CHECK(owner_has_lock(path));
        if (how < 2)
            capture_numbers(p, 0, 100);
        if (how == 0) {
            CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
            CHECK(find_ring_file(directory) == NULL);
            CHECK_FAILS(pipeline_capture(p, 1, "x", 1), PIPELINE_ERR_CLOSED, "");
        } else if (how == 1) {
            CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
        }
        DESTROY_SOON(p);
        CHECK(find_ring_file(directory) == NULL);
    }
    remove_ring_dir(directory);
}

/* What is left is in the file, whose owner is gone although the process lives. */
static void with_events_left(void)
{
    const char *directory = new_ring_dir("left");
    pipeline_t *p = start(directory, 0);
    pipeline_producer_t *producer = NULL;
    pipeline_metrics_t m;
    ring_file_t f;
    capture_numbers(p, 0, 100);
    /* A handle keeps its memory for longer than its pipeline lives, but not the lock. */
    CHECK_STATUS(pipeline_producer_open(p, &producer), PIPELINE_OK);
    DESTROY_SOON(p);
    CHECK_OR_STOP(find_ring_file(directory) != NULL);
    CHECK(!owner_has_lock(find_ring_file(directory)));
    CHECK_STATUS(pipeline_producer_capture(producer, 1, "x", 1), PIPELINE_ERR_CLOSED);
    CHECK_STATUS(pipeline_producer_close(producer), PIPELINE_OK);
    f = read_ring_file(find_ring_file(directory));
    CHECK_U64(f.count, 100);
    free_ring_file(&f);
    unlink(f.path);
    /* A batch in back-off is left too. */
    rec.answer = retry;
    p = start(directory, 1);
    capture_numbers(p, 0, 100);
    WAIT_FOR(RECORDED(&rec, store_calls) > 2);
    CHECK_STATUS(pipeline_close(p, 100), PIPELINE_ERR_TIMEOUT);
    m = metrics_of(p);
    CHECK_U64(m.left + m.in_flight + m.buffered, 100);
    DESTROY_SOON(p);
    f = read_ring_file(find_ring_file(directory));
    CHECK_U64(f.count, 100);
    free_ring_file(&f);
    rec.answer = NULL;
    remove_ring_dir(directory);
}

/* A host that closes every descriptor, as daemons do, keeps the lock, which is the mapping's as well; the file goes as usual. */
static void with_closed_descriptors(void)
{
    const char *directory = new_ring_dir("closed");
    pid_t child = fork();
    if (child == 0) {
        pipeline_t *p;
        int fd;
        begin_child();
        p = start(directory, 0);
        capture_numbers(p, 0, 100);
        for (fd = 3; fd < 256; fd++)
            close(fd);
        CHECK(owner_has_lock(find_ring_file(directory)));
        CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
        END(p);
        CHECK(find_ring_file(directory) == NULL);
        end_child();
    }
    AWAIT_CHILD(child);
    remove_ring_dir(directory);
}

/* The exit of a process drains, and deletes the file. */
static void at_exit(void)
{
    const char *directory = new_ring_dir("exit");
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        pipeline_t *p = start(directory, 1);
        alarm(60);
        leave_leaks();
        capture_numbers(p, 0, 100);
        exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(find_ring_file(directory) == NULL);
    remove_ring_dir(directory);
}

/* A forked child has neither the lock nor the memory: it cannot change what the parent's file has, and does not keep the owner alive. */
static void a_forked_child(void)
{
    const char *directory = new_ring_dir("fork");
    int ready[2], go[2];
    char byte = 'x';
    ring_file_t f;
    const char *path;
    pid_t parent, child = 0;
    CHECK_OR_STOP(pipe(ready) == 0 && pipe(go) == 0);
    parent = fork();
    if (parent == 0) {
        pipeline_t *p = start(directory, 0);
        alarm(60);
        leave_leaks();
        capture_numbers(p, 0, 100);
        child = fork();
        if (child == 0) {
            CHECK_STATUS(pipeline_capture(p, 1, "x", 1), PIPELINE_ERR_FORKED);
            CHECK_U64(write(ready[1], &byte, 1), 1);
            CHECK_U64(read(go[0], &byte, 1), 1);
            CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
            byte = checks_failed ? 'f' : 'g';
            CHECK_U64(write(ready[1], &byte, 1), 1);
            _exit(0);
        }
        pause();
        _exit(0);
    }
    CHECK_U64(read(ready[0], &byte, 1), 1);
    path = find_ring_file(directory);
    CHECK_OR_STOP(path != NULL);
    CHECK(owner_has_lock(path));
    CHECK(kill(parent, SIGKILL) == 0);
    CHECK(waitpid(parent, NULL, 0) == parent);
    CHECK(!owner_has_lock(path));
    CHECK_U64(write(go[1], &byte, 1), 1);
    CHECK_U64(read(ready[0], &byte, 1), 1);
    CHECK(byte == 'g');
    f = read_ring_file(path);
    CHECK_U64(f.count, 100);
    free_ring_file(&f);
    remove_ring_dir(directory);
    close(ready[0]);
    close(ready[1]);
    close(go[0]);
    close(go[1]);
}

/* What a storage with `release` has not stored is released and stays in the file all the same; handles are not for the next process to use. */
static void released_and_left(void)
{
    pipeline_config_t c = ring_file_config(new_ring_dir("released"));
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = NULL;
    pipeline_event_t e = event_of(1, "handle", 6);
    ring_file_t f;
    uint64_t released = RECORDED(&rec, released.count);
    s.release = recorder_release;
    s.flags = PIPELINE_STORAGE_RELEASE_MARKED;
    c.writers = 0;
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    capture_numbers(p, 0, 10);
    e.flags = PIPELINE_EVENT_RELEASE;
    CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK);
    DESTROY_SOON(p);
    CHECK_U64(RECORDED(&rec, released.count) - released, 1);
    CHECK_OR_STOP(find_ring_file(c.ring_dir) != NULL);
    f = read_ring_file(find_ring_file(c.ring_dir));
    CHECK_U64(f.count, 11);
    CHECK_U64(f.events[10].flags & PIPELINE_EVENT_RELEASE, PIPELINE_EVENT_RELEASE);
    free_ring_file(&f);
    remove_ring_dir(c.ring_dir);
}

/* Handles do not outlive the process. */
static void a_storage_of_handles(void)
{
    pipeline_config_t c = ring_file_config(new_ring_dir("handles"));
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = NULL;
    s.release = recorder_release;
    CHECK_FAILS(pipeline_start(&c, &s, &p), PIPELINE_ERR_INVALID, "release");
    CHECK(access(c.ring_dir, F_OK) != 0);
    s = recorder_storage(&rec);
    s.release = recorder_release;
    s.flags = PIPELINE_STORAGE_RELEASE_MARKED;
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    capture_numbers(p, 0, 10);
    END(p);
    remove_ring_dir(c.ring_dir);
}

int main(void)
{
    with_nothing_left();
    with_events_left();
    with_closed_descriptors();
    at_exit();
    a_forked_child();
    released_and_left();
    a_storage_of_handles();
    return SUMMARY();
}
