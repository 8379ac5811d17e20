/* Forks at any moment: while threads capture and writers write, and from inside a storage's callback. Each child starts, uses and ends
 * a pipeline of its own; the parent stores each of its events once. */
#include "../recorder.h"

#include <poll.h>
#include <signal.h>

#define THREADS 3
#define FORKS count_of(60, 5)

static recorder_t rec = RECORDER_INIT;
static pipeline_t *p;
static atomic_bool stop;
static atomic_uint_fast64_t next_number;

/* A storage without locks, because any lock may have been held at the fork by a thread that the child does not have. */
static uint64_t child_stored;
static int32_t child_store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    __atomic_fetch_add(&child_stored, batch->count, __ATOMIC_SEQ_CST);
    return PIPELINE_STORE_OK;
}

static void in_the_child(void)
{
    pipeline_storage_t s;
    pipeline_t *own = NULL;
    uint64_t n;
    begin_child();
    child_stored = 0;
    CHECK_STATUS(pipeline_capture(p, 1, "x", 1), PIPELINE_ERR_FORKED);
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = child_store;
    CHECK_STATUS(pipeline_start(NULL, &s, &own), PIPELINE_OK);
    if (own != NULL) {
        for (n = 0; n < 100; n++)
            CHECK_STATUS(pipeline_capture(own, 1, &n, sizeof n), PIPELINE_OK);
        CHECK_STATUS(pipeline_close(own, PATIENCE_MS), PIPELINE_OK);
        CHECK_LEDGER(own);
        CHECK_U64(child_stored, 100);
        CHECK_STATUS(pipeline_destroy(own), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    _exit(checks_failed ? 1 : 0);
}

static void *capturing(void *unused)
{
    (void)unused;
    while (!stop) {
        uint64_t n = next_number++;
        while (capture_number(p, n) == PIPELINE_ERR_FULL)
            sched_yield();
        if (n % 64 == 0)
            pause_a_little();
    }
    return NULL;
}

/* Threads that come and go, so that a fork also falls into first captures and thread ends. */
static void *one_capture(void *number)
{
    CHECK_STATUS(capture_number(p, (uint64_t)(uintptr_t)number), PIPELINE_OK);
    return NULL;
}

static void *coming_and_going(void *unused)
{
    (void)unused;
    while (!stop) {
        pthread_t t = start_thread(one_capture, (void *)(uintptr_t)next_number++);
        pthread_join(t, NULL);
    }
    return NULL;
}

static void while_threads_capture(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pthread_t threads[THREADS + 1];
    int i;
    c.writers = 2;
    c.batch_size = 32;
    p = start_pipeline(&c, &s);
    for (i = 0; i < THREADS; i++)
        threads[i] = start_thread(capturing, NULL);
    threads[THREADS] = start_thread(coming_and_going, NULL);
    for (i = 0; i < FORKS; i++) {
        pid_t child;
        fflush(NULL);
        child = fork();
        CHECK_OR_STOP(child >= 0);
        if (child == 0)
            in_the_child();
        AWAIT_CHILD(child);
    }
    stop = true;
    for (i = 0; i <= THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    CHECK_U64(metrics_of(p).stored, metrics_of(p).captured);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_DISTINCT(&rec.stored);
    CHECK_VALUES(&rec.stored, 0, next_number);
}

/* From inside store: the child is a copy of a writer's thread. */
static atomic_int children;
static int32_t fork_inside(recorder_t *r, const pipeline_batch_t *batch)
{
    pid_t child;
    (void)r;
    (void)batch;
    if (children >= 5)
        return PIPELINE_STORE_OK;
    children++;
    child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0)
        in_the_child();
    AWAIT_CHILD(child);
    return PIPELINE_STORE_OK;
}

/* Here the child returns from the callback: its thread must end, and store nothing. */
static int pipe_ends[2];
static pid_t returned_child;
static int32_t return_in_the_child(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    if (children++ == 0) {
        pid_t child = fork();
        CHECK_OR_STOP(child >= 0);
        if (child != 0) {
            returned_child = child;
            close(pipe_ends[1]);
        } else {
            leave_leaks();
        }
    }
    return PIPELINE_STORE_OK;
}

static void from_a_callback(void)
{
    static recorder_t inside = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&inside);
    pipeline_config_t c = config_defaults();
    uint64_t n;
    c.batch_size = 10;
    inside.answer = fork_inside;
    p = start_pipeline(&c, &s);
    for (n = 0; n < 200; n++)
        CHECK_STATUS(capture_number(p, n), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK(children >= 1);
    END(p);
    CHECK_VALUES(&inside.stored, 0, 200);
}

static void from_a_callback_that_returns(void)
{
    static recorder_t returning = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&returning);
    struct pollfd closed = {0, POLLIN, 0};
    CHECK_OR_STOP(pipe(pipe_ends) == 0);
    closed.fd = pipe_ends[0];
    children = 0;
    returning.answer = return_in_the_child;
    p = start_pipeline(NULL, &s);
    CHECK_STATUS(capture_number(p, 0), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    END(p);
    CHECK_VALUES(&returning.stored, 0, 1);
    /* The child's only thread ends, and with it the child: its end of the pipe closes. */
    CHECK(poll(&closed, 1, PATIENCE_MS) == 1);
    if (closed.revents == 0)
        kill(returned_child, SIGKILL);
    waitpid(returned_child, NULL, 0);
}

int main(void)
{
    while_threads_capture();
    from_a_callback();
    from_a_callback_that_returns();
    return SUMMARY();
}
