/* Programs that never close their pipeline. The exit handler drains within exit_timeout_ms and starts no further callback. Neither a
 * hung storage nor threads that go on capturing keep the process. _exit runs nothing. Each case is a child process, whose storage
 * writes to a file that the parent reads. */
#include "../recorder.h"

#include <fcntl.h>
#include <sys/stat.h>

static int out; /* the file, open in parent and child alike */

static int32_t write_numbers(void *user_data, const pipeline_batch_t *batch)
{
    size_t i;
    (void)user_data;
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        if (write(out, e->data, 8) != 8)
            return PIPELINE_STORE_RETRY;
    }
    return PIPELINE_STORE_OK;
}

static int32_t hang(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    (void)batch;
    while (getppid() != 0)
        pause();
    return PIPELINE_STORE_OK;
}

static void write_end(void *user_data)
{
    (void)user_data;
    (void)!write(out, "END.END.", 8);
}

static pipeline_t *begin(const pipeline_config_t *c, int32_t (*store)(void *, const pipeline_batch_t *))
{
    pipeline_storage_t s;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = store;
    s.destroy = write_end;
    return start_pipeline(c, &s);
}

static pipeline_t *running;
static void *captures_for_ever(void *unused)
{
    uint64_t n = 1000000;
    (void)unused;
    for (;; n++)
        if (pipeline_capture(running, 1, &n, sizeof n) == PIPELINE_ERR_CLOSED)
            pause_a_little();
    return NULL;
}

enum the_case {
    EXIT, RETURNED_ATEXIT, TWO_PIPELINES, PAUSED, NO_WRITERS, UNDERSCORE_EXIT, HUNG, HUNG_PENDING, BUSY_THREADS, DESTROYED,
    EXIT_FROM_THREAD, CASES
};
static const char *const names[CASES] = {
    "exit", "captures in an atexit handler", "two pipelines", "paused", "no writers", "_exit", "a hung storage",
    "a pending answer that never comes", "threads that go on capturing", "destroyed before", "exit from another thread",
};

static int32_t never_answers(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    (void)batch;
    return PIPELINE_STORE_PENDING;
}

static void capture_at_exit(void)
{
    uint64_t n = 100;
    pipeline_capture(running, 1, &n, sizeof n); /* handlers run last first: the library's comes after this one */
}

static void *exits(void *unused)
{
    (void)unused;
    exit(checks_failed ? 1 : 0);
}

static void child(enum the_case which)
{
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    begin_child();
    c.exit_timeout_ms = PATIENCE_MS;
    if (which == HUNG || which == HUNG_PENDING)
        c.exit_timeout_ms = 50;
    if (which == NO_WRITERS)
        c.writers = 0;
    p = begin(&c, which == HUNG ? hang : which == HUNG_PENDING ? never_answers : write_numbers);
    running = p;
    if (which == PAUSED)
        CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 0, 100);
    switch (which) {
    case RETURNED_ATEXIT:
        atexit(capture_at_exit);
        break;
    case TWO_PIPELINES:
        capture_numbers(begin(&c, write_numbers), 100, 200);
        break;
    case UNDERSCORE_EXIT:
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
        _exit(checks_failed ? 1 : 0);
    case BUSY_THREADS:
        start_thread(captures_for_ever, NULL);
        start_thread(captures_for_ever, NULL);
        break;
    case DESTROYED:
        END(p);
        break;
    case EXIT_FROM_THREAD:
        pthread_join(start_thread(exits, NULL), NULL);
        break;
    default:
        break;
    }
    exit(checks_failed ? 1 : 0);
}

int main(void)
{
    char name[] = "exit_drains.XXXXXX";
    enum the_case which;
    static uint64_t numbers[1 << 20];
    out = mkstemp(name);
    CHECK_OR_STOP(out >= 0);
    unlink(name);
    for (which = EXIT; which < CASES; which++) {
        ssize_t got = 0, n;
        uint64_t expected = which == TWO_PIPELINES ? 200 : which == RETURNED_ATEXIT ? 101 : 100, i, below = 0, ends = 0;
        static unsigned char times[1000];
        int failed = checks_failed;
        pid_t pid;
        memset(times, 0, sizeof times);
        CHECK(ftruncate(out, 0) == 0);
        CHECK(fcntl(out, F_SETFL, O_APPEND) == 0);
        fflush(NULL);
        pid = fork();
        CHECK_OR_STOP(pid >= 0);
        if (pid == 0)
            child(which);
        AWAIT_CHILD(pid);
        while ((n = pread(out, (char *)numbers + got, sizeof numbers - (size_t)got, got)) > 0)
            got += n;
        for (i = 0; i < (uint64_t)got / 8; i++) {
            if (memcmp(&numbers[i], "END.END.", 8) == 0)
                ends++;
            else if (numbers[i] < 1000) {
                times[numbers[i]]++;
                below++;
            }
        }
        if (which == HUNG || which == HUNG_PENDING)
            expected = 0;
        CHECK_U64(below, expected);
        for (i = 0; i < expected; i++)
            CHECK_U64(times[i], 1);
        CHECK_U64(ends, which == DESTROYED);
        if (checks_failed != failed)
            fprintf(stderr, "  in the case: %s\n", names[which]);
    }
    return SUMMARY();
}
