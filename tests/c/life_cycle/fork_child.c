/* In a forked child every call on the parent's pipeline returns PIPELINE_ERR_FORKED at once and runs none of the parent's callbacks.
 * The child can start pipelines of its own. The parent stores its events once. */
#include "fork.h"
#include "../recorder.h"

static recorder_t rec = RECORDER_INIT;
static pid_t parent;
static atomic_uint_fast64_t pending_token;

static int32_t only_in_the_parent(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    CHECK(getpid() == parent);
    return PIPELINE_STORE_OK;
}

static void destroy_in_the_parent(void *user_data)
{
    CHECK(getpid() == parent);
    recorder_destroy(user_data);
}

/* The parent's token is unknown in the child, whichever batches are out there. */
static int32_t with_a_token_of_its_own(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    CHECK(batch->token != pending_token);
    CHECK_STATUS(pipeline_batch_complete(pending_token, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN);
    return PIPELINE_STORE_OK;
}

/* A pipeline of the child's own, from start to end. */
static void a_pipeline_of_its_own(uint64_t events)
{
    static recorder_t own = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&own);
    pipeline_t *p;
    if (!children_can_start_threads())
        return;
    pthread_mutex_init(&own.mutex, NULL);
    own.stored.count = own.seen.count = 0;
    own.destroy_calls = 0;
    own.answer = with_a_token_of_its_own;
    p = start_pipeline(NULL, &s);
    capture_numbers(p, 0, events);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    END(p);
    CHECK_U64(own.destroy_calls, 1);
    CHECK_VALUES(&own.stored, 0, events);
}

static int32_t pending_in_the_parent(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    CHECK(getpid() == parent);
    pending_token = batch->token;
    return PIPELINE_STORE_PENDING;
}

/* The child destroys or abandons the parent's pipeline, or does neither, and ends by _exit or exit. */
enum leave { KEEP, DESTROY, ABANDON };

static void fork_one(enum leave leave, bool plain_exit)
{
    static recorder_t pend = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec), ps = recorder_storage(&pend);
    pipeline_t *p, *waiting;
    pipeline_producer_t *r = NULL;
    uint64_t n;
    pid_t child;
    rec.stored.count = rec.seen.count = 0;
    rec.destroy_calls = 0;
    rec.answer = only_in_the_parent;
    s.destroy = destroy_in_the_parent;
    s.release = recorder_release;
    rec.released.count = 0;
    p = start_pipeline(NULL, &s);
    pending_token = 0;
    pend.answer = pending_in_the_parent;
    ps.destroy = destroy_in_the_parent;
    waiting = start_pipeline(NULL, &ps);
    CHECK_STATUS(capture_number(waiting, 1), PIPELINE_OK);
    WAIT_FOR(pending_token != 0);
    CHECK_STATUS(pipeline_producer_open(p, &r), PIPELINE_OK);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK); /* so that the child inherits full rings */
    capture_numbers(p, 0, 100);
    for (n = 100; n < 200; n++)
        CHECK_STATUS(pipeline_producer_capture(r, 1, &n, sizeof n), PIPELINE_OK);
    fflush(NULL);
    child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0) {
        begin_child();
        everything_is_refused(p, r, pending_token);
        a_pipeline_of_its_own(1000);
        if (leave == DESTROY) {
            CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
            CHECK_STATUS(pipeline_destroy(waiting), PIPELINE_OK);
        } else if (leave == ABANDON) {
            CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
            CHECK_STATUS(pipeline_abandon(waiting), PIPELINE_OK);
        }
        a_pipeline_of_its_own(10);
        /* The same in a grandchild. */
        child = fork();
        if (child == 0) {
            begin_child();
            if (leave == KEEP)
                CHECK_STATUS(pipeline_capture(p, 1, "x", 1), PIPELINE_ERR_FORKED);
            a_pipeline_of_its_own(100);
            end_child();
        }
        AWAIT_CHILD(child);
        if (plain_exit)
            exit(checks_failed ? 1 : 0);
        end_child();
    }
    AWAIT_CHILD(child);
    /* The parent is not affected. */
    for (n = 200; n < 300; n++)
        CHECK_STATUS(pipeline_producer_capture(r, 1, &n, sizeof n), PIPELINE_OK);
    capture_numbers(p, 300, 400);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
    END(p);
    CHECK_U64(rec.destroy_calls, 1);
    CHECK_VALUES(&rec.stored, 0, 400);
    CHECK_VALUES(&rec.released, 0, 400);
    CHECK_STATUS(pipeline_batch_complete(pending_token, PIPELINE_STORE_OK), PIPELINE_OK);
    pend.answer = NULL;
    END(waiting);
}

/* A child that only exits: the exit handler must not drain the parent's pipeline there. */
static void a_child_that_only_exits(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p;
    pid_t child;
    rec.stored.count = 0;
    rec.answer = only_in_the_parent;
    s.destroy = destroy_in_the_parent;
    p = start_pipeline(NULL, &s);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 0, 50);
    fflush(NULL);
    child = fork();
    if (child == 0) {
        begin_child();
        exit(0);
    }
    AWAIT_CHILD(child);
    END(p);
    CHECK_VALUES(&rec.stored, 0, 50);
}

int main(void)
{
    parent = getpid();
    default_config();
    fork_one(KEEP, false);
    fork_one(KEEP, true);
    fork_one(DESTROY, false);
    fork_one(DESTROY, true);
    fork_one(ABANDON, false);
    fork_one(ABANDON, true);
    a_child_that_only_exits();
    return SUMMARY();
}
