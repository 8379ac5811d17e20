/* A storage whose destroy takes long. pipeline_abandon does not wait for it: a thread of the pipeline runs it, even if nothing else of
 * the pipeline runs any more. An answer by token does not run it either. */
#include "../recorder.h"

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool hold, pends;
    int destroys, stored;
    uint64_t token;
    pthread_t thread;
} slow_t;

#define SLOW_INIT {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .hold = true}

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    slow_t *s = (slow_t *)user_data;
    int32_t answer;
    pthread_mutex_lock(&s->mutex);
    s->stored += (int)batch->count;
    s->token = batch->token;
    answer = s->pends ? PIPELINE_STORE_PENDING : PIPELINE_STORE_OK;
    pthread_mutex_unlock(&s->mutex);
    return answer;
}

static void destroy(void *user_data)
{
    slow_t *s = (slow_t *)user_data;
    pthread_mutex_lock(&s->mutex);
    s->destroys++;
    s->thread = pthread_self();
    while (s->hold)
        pthread_cond_wait(&s->changed, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
}

static int read_under(slow_t *s, const int *number)
{
    int value;
    pthread_mutex_lock(&s->mutex);
    value = *number;
    pthread_mutex_unlock(&s->mutex);
    return value;
}

static void let_go(slow_t *s)
{
    pthread_mutex_lock(&s->mutex);
    s->hold = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

static pipeline_t *start(slow_t *slow)
{
    pipeline_storage_t s;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.user_data = slow;
    s.store = store;
    s.destroy = destroy;
    return start_pipeline(NULL, &s);
}

/* It is held until abandon has returned, so an abandon that waited for it would never return. */
static void abandoned(slow_t *s, bool closed)
{
    pipeline_t *p = start(s);
    capture_numbers(p, 0, 10);
    if (closed)
        CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
    WAIT_FOR(read_under(s, &s->destroys) == 1);
    CHECK(!pthread_equal(s->thread, pthread_self()));
    let_go(s);
}

static void abandoned_with_a_token_out(slow_t *s)
{
    pipeline_t *p;
    s->pends = true;
    p = start(s);
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(read_under(s, &s->stored) == 1);
    CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
    CHECK_U64(read_under(s, &s->destroys), 0);
    CHECK_STATUS(pipeline_batch_complete(s->token, PIPELINE_STORE_OK), PIPELINE_OK);
    WAIT_FOR(read_under(s, &s->destroys) == 1);
    CHECK(!pthread_equal(s->thread, pthread_self()));
    let_go(s);
}

/* The exit of a process waits for one that is about to run, within exit_timeout_ms. */
static int told[2];

static void tells_its_end(void *user_data)
{
    (void)user_data;
    pause_a_little(); /* an exit that does not wait is over before the byte is written */
    CHECK(write(told[1], "d", 1) == 1);
}

static void abandoned_before_the_exit(void)
{
    pid_t child;
    char byte = 0;
    CHECK_OR_STOP(pipe(told) == 0);
    fflush(NULL);
    child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0) {
        static slow_t s = SLOW_INIT;
        pipeline_storage_t storage;
        pipeline_t *p;
        begin_child();
        CHECK_STATUS(pipeline_storage_init(&storage, sizeof storage), PIPELINE_OK);
        storage.user_data = &s;
        storage.store = store;
        storage.destroy = tells_its_end;
        p = start_pipeline(NULL, &storage);
        CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
        CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
        exit(checks_failed ? 1 : 0);
    }
    close(told[1]);
    AWAIT_CHILD(child);
    CHECK(read(told[0], &byte, 1) == 1 && byte == 'd');
    close(told[0]);
}

int main(void)
{
    static slow_t first = SLOW_INIT, second = SLOW_INIT, third = SLOW_INIT;
    abandoned(&first, false);
    abandoned(&second, true);
    abandoned_with_a_token_out(&third);
    if (children_can_start_threads())
        abandoned_before_the_exit();
    CHECK_U64(first.destroys + second.destroys + third.destroys, 3);
    return SUMMARY();
}
