/* The storage's finish: pipeline_close calls it once, after every event is settled. The tests check its results, its time limit, and
 * the ends of a pipeline that do not call it. */
#include "../recorder.h"

#include <sys/mman.h>

typedef struct {
    recorder_t rec;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int32_t answer;
    bool hold, ends_thread, holds_flush;
    int finishes, flushes, inside;
    int64_t timeout_ms;
    bool in_order; /* every event was settled before, and no call followed */
    pipeline_t *p;
    char thread[16];
    int *at_exit; /* shared with the parent process: events stored, and a thousand for each finish */
} storage_t;

/* One per case; static, because a case may leave its storage in use. */
static storage_t cases[16];
static int next_case;

static storage_t *new_case(void)
{
    storage_t *t = &cases[next_case++];
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->changed, NULL);
    pthread_mutex_init(&t->rec.mutex, NULL);
    pthread_cond_init(&t->rec.changed, NULL);
    t->in_order = true;
    return t;
}

static void held(storage_t *t, bool *hold)
{
    t->inside++;
    pthread_cond_broadcast(&t->changed);
    while (*hold)
        pthread_cond_wait(&t->changed, &t->mutex);
    t->inside--;
}

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    storage_t *t = (storage_t *)user_data;
    pthread_mutex_lock(&t->mutex);
    t->in_order = t->in_order && t->finishes == 0;
    if (t->at_exit != NULL)
        *t->at_exit += (int)batch->count;
    pthread_mutex_unlock(&t->mutex);
    return recorder_store(&t->rec, batch);
}

static int32_t flush(void *user_data, int64_t timeout_ms)
{
    storage_t *t = (storage_t *)user_data;
    (void)timeout_ms;
    pthread_mutex_lock(&t->mutex);
    t->flushes++;
    t->in_order = t->in_order && t->finishes == 0;
    held(t, &t->holds_flush);
    pthread_mutex_unlock(&t->mutex);
    return 0;
}

static int32_t finish(void *user_data, int64_t timeout_ms)
{
    storage_t *t = (storage_t *)user_data;
    pipeline_metrics_t m = metrics_of(t->p);
    int32_t answer;
    bool ends_thread;
    pthread_mutex_lock(&t->mutex);
    t->finishes++;
    if (t->at_exit != NULL)
        *t->at_exit += 1000;
    t->timeout_ms = timeout_ms;
    t->in_order = t->in_order && m.stored == m.captured && m.in_flight + m.in_doubt + m.buffered + m.left == 0;
    pthread_getname_np(pthread_self(), t->thread, sizeof t->thread);
    held(t, &t->hold);
    answer = t->answer;
    ends_thread = t->ends_thread;
    pthread_mutex_unlock(&t->mutex);
    if (ends_thread)
        pthread_exit(NULL);
    return answer;
}

static void destroy(void *user_data)
{
    recorder_destroy(&((storage_t *)user_data)->rec);
}

static pipeline_storage_t storage_of(storage_t *t)
{
    pipeline_storage_t s = recorder_storage(&t->rec);
    s.user_data = t;
    s.store = store;
    s.flush = flush;
    s.finish = finish;
    s.destroy = destroy;
    return s;
}

static pipeline_t *start(storage_t *t, const pipeline_config_t *config)
{
    pipeline_storage_t s = storage_of(t);
    t->p = start_pipeline(config, &s);
    return t->p;
}

static int read_under(storage_t *t, const int *number)
{
    int value;
    pthread_mutex_lock(&t->mutex);
    value = *number;
    pthread_mutex_unlock(&t->mutex);
    return value;
}

static void let_go(storage_t *t)
{
    pthread_mutex_lock(&t->mutex);
    t->hold = t->holds_flush = false;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->mutex);
}

static void after_everything_and_once(void)
{
    storage_t *t = new_case();
    pipeline_t *p = start(t, NULL);
    capture_numbers(p, 0, 1000);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(t->finishes, 0);
    capture_numbers(p, 1000, 2000);
    CHECK_STATUS(pipeline_close(p, -1), PIPELINE_OK);
    CHECK_U64(t->finishes, 1);
    CHECK(t->in_order);
    CHECK(t->timeout_ms == -1);
    CHECK(strncmp(t->thread, "cp-", 3) == 0);
    CHECK_HAS(health_of(p).message, "closed");
    CHECK((health_of(p).reasons & (PIPELINE_HEALTH_FINISHING | PIPELINE_HEALTH_FINISH_FAILED)) == 0);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_ERR_CLOSED);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_U64(t->finishes, 1);
    CHECK_VALUES(&t->rec.stored, 0, 2000);
}

/* Every event is stored, and close reports that finish has failed. */
static void one_that_fails(int32_t answer, bool ends_thread, const char *words)
{
    storage_t *t = new_case();
    pipeline_t *p = start(t, NULL);
    t->answer = answer;
    t->ends_thread = ends_thread;
    capture_numbers(p, 0, 100);
    CHECK_FAILS(pipeline_close(p, PATIENCE_MS), PIPELINE_ERR_STORAGE, words);
    CHECK_HAS(pipeline_last_error(), "finish");
    CHECK_HAS(pipeline_last_error(), "everything is stored");
    CHECK(health_of(p).reasons & PIPELINE_HEALTH_FINISH_FAILED);
    CHECK_HAS(health_of(p).message, words);
    CHECK_U64(metrics_of(p).stored, 100);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_ERR_CLOSED);
    DESTROY_SOON(p);
    CHECK_U64(t->finishes, 1);
    CHECK_U64(t->rec.destroy_calls, 1);
}

/* Close keeps its timeout and returns OK; finish goes on in the background. */
static void one_that_takes_long(bool abandoned)
{
    storage_t *t = new_case();
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    c.storage_deadline_ms = 20;
    c.writers = 3;
    p = start(t, &c);
    t->hold = true;
    capture_numbers(p, 0, 100);
    CHECK_STATUS(pipeline_close(p, 2000), PIPELINE_OK);
    CHECK_U64(read_under(t, &t->inside), 1);
    CHECK(t->timeout_ms >= 0 && t->timeout_ms <= 2000);
    CHECK(health_of(p).reasons & PIPELINE_HEALTH_FINISHING);
    CHECK(health_of(p).reasons & PIPELINE_HEALTH_STUCK);
    CHECK_HAS(health_of(p).message, "stuck in finish for");
    CHECK_U64(metrics_of(p).writers_stuck, 1);
    CHECK_U64(metrics_of(p).stored, 100);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_ERR_CLOSED);
    if (abandoned) {
        CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
        CHECK_U64(RECORDED(&t->rec, destroy_calls), 0);
        let_go(t);
    } else {
        CHECK_FAILS(pipeline_destroy(p), PIPELINE_ERR_BUSY, "finish");
        let_go(t);
        DESTROY_SOON(p);
    }
    WAIT_FOR(RECORDED(&t->rec, destroy_calls) == 1);
    CHECK_U64(t->finishes, 1);
}

/* Close ends a pause, and starts a writer for the call. */
static void without_writers_and_paused(void)
{
    storage_t *t = new_case();
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    c.writers = 0;
    p = start(t, &c);
    capture_numbers(p, 0, 10);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(t->finishes, 1);
    CHECK(t->in_order);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
}

static void *flush_in_vain(void *p)
{
    CHECK_STATUS(pipeline_flush((pipeline_t *)p, 50), PIPELINE_ERR_TIMEOUT);
    return NULL;
}

/* Another call of the storage does not return: finish waits for it, close returns after its timeout, and a later close completes. */
static void behind_a_call_that_hangs(void)
{
    storage_t *t = new_case();
    pipeline_storage_t s = storage_of(t);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    pthread_t flusher;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    c.writers = 2;
    t->holds_flush = true;
    t->p = p = start_pipeline(&c, &s);
    flusher = start_thread(flush_in_vain, p);
    WAIT_FOR(read_under(t, &t->inside) == 1);
    pthread_join(flusher, NULL);
    capture_numbers(p, 0, 10);
    CHECK_FAILS(pipeline_close(p, 100), PIPELINE_ERR_TIMEOUT, "flush");
    CHECK_U64(read_under(t, &t->finishes), 0);
    let_go(t);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(t->finishes, 1);
    CHECK(t->in_order);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
}

static void not_without_a_close(void)
{
    storage_t *t = new_case();
    pipeline_t *p = start(t, NULL);
    pid_t child;
    int *shared = (int *)mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_OR_STOP(shared != MAP_FAILED);
    capture_numbers(p, 0, 10);
    DESTROY_SOON(p);
    CHECK_U64(t->finishes, 0);

    t = new_case();
    p = start(t, NULL);
    capture_numbers(p, 0, 10);
    CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
    WAIT_FOR(RECORDED(&t->rec, destroy_calls) == 1);
    CHECK_U64(t->finishes, 0);

    /* Closed with a timeout that was not enough. */
    t = new_case();
    p = start(t, NULL);
    recorder_hold(&t->rec);
    capture_numbers(p, 0, 10);
    CHECK_STATUS(pipeline_close(p, 20), PIPELINE_ERR_TIMEOUT);
    recorder_let_go(&t->rec);
    DESTROY_SOON(p);
    CHECK_U64(t->finishes, 0);

    /* The exit of a process. */
    if (children_can_start_threads()) {
        fflush(NULL);
        child = fork();
        CHECK_OR_STOP(child >= 0);
        if (child == 0) {
            begin_child();
            t = new_case();
            t->at_exit = shared;
            p = start(t, NULL);
            capture_numbers(p, 0, 10);
            exit(checks_failed ? 1 : 0);
        }
        AWAIT_CHILD(child);
        /* The exit handler has drained the pipeline, and has not called finish. */
        CHECK_U64(*shared, 10);
    }
    munmap(shared, sizeof *shared);
}

/* A program that was compiled before the storage had a finish. */
static void not_from_a_shorter_struct(void)
{
    storage_t *t = new_case();
    pipeline_storage_t s = storage_of(t);
    pipeline_t *p;
    s.struct_size = (uint32_t)offsetof(pipeline_storage_t, finish);
    p = start_pipeline(NULL, &s);
    capture_numbers(p, 0, 10);
    END(p);
    CHECK_U64(t->finishes, 0);
    CHECK_U64(t->rec.destroy_calls, 1);
}

int main(void)
{
    after_everything_and_once();
    one_that_fails(-4711, false, "-4711");
    one_that_fails(3, false, "3, which is neither 0 nor a negative status");
    one_that_fails(0, true, "ended its thread");
    one_that_takes_long(false);
    one_that_takes_long(true);
    without_writers_and_paused();
    behind_a_call_that_hangs();
    not_without_a_close();
    not_from_a_shorter_struct();
    return SUMMARY();
}
