/* A process exits whose storage can never recover, or which has nothing to store. It does not wait for exit_timeout_ms, which is a day
 * here. (An alarm ends a process that does wait.) */
#include "../recorder.h"

#include <sys/mman.h>

enum { RETRIES, REFUSES_TO_OPEN, HANGS_IN_OPEN, DEAD_LETTER_FAILS, DIES_AFTER_A_FLUSH, WORKS, SLOW };

static int *calls; /* shared with the parent */
static atomic_int dead;
static int how;

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    if (how == RETRIES)
        return PIPELINE_STORE_RETRY;
    if (how == DEAD_LETTER_FAILS)
        return PIPELINE_STORE_REJECT;
    if (how == SLOW) {
        uint64_t until = now_ms() + 700;
        while (now_ms() < until)
            pause_a_little();
    }
    *calls += (int)batch->count;
    return PIPELINE_STORE_OK;
}

static int32_t dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    (void)user_data;
    (void)batch;
    (void)reason;
    return PIPELINE_STORE_RETRY;
}

static int32_t open_writer(void *user_data, uint32_t writer_id, void **writer_data)
{
    (void)user_data;
    (void)writer_id;
    (void)writer_data;
    while (how == HANGS_IN_OPEN)
        pause_a_little();
    return how == REFUSES_TO_OPEN ? -1 : 0;
}

static int32_t flush(void *user_data, int64_t timeout_ms)
{
    (void)user_data;
    (void)timeout_ms;
    while (dead)
        pause_a_little();
    return 0;
}

static void exits(int storage, int events, int expected)
{
    pid_t child;
    *calls = 0;
    fflush(NULL);
    child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0) {
        pipeline_config_t c;
        pipeline_storage_t s;
        pipeline_t *p;
        begin_child();
        alarm(30);
        how = storage;
        c = config_defaults();
        c.exit_timeout_ms = 86400000;
        c.retry_limit = UINT32_MAX;
        CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
        s.store = store;
        s.open_writer = open_writer;
        s.dead_letter = dead_letter;
        s.flush = flush;
        s.flags = PIPELINE_STORAGE_META;
        p = start_pipeline(&c, &s);
        capture_numbers(p, 0, (uint64_t)events);
        if (storage == DIES_AFTER_A_FLUSH) {
            CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
            dead = 1;
        }
        exit(checks_failed ? 1 : 0);
    }
    AWAIT_CHILD(child);
    CHECK(*calls >= expected);
}

int main(void)
{
    if (!children_can_start_threads())
        return SUMMARY();
    calls = (int *)mmap(NULL, sizeof *calls, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_OR_STOP(calls != MAP_FAILED);
    exits(RETRIES, 100, 0);
    exits(REFUSES_TO_OPEN, 100, 0);
    exits(DEAD_LETTER_FAILS, 100, 0);
    exits(DIES_AFTER_A_FLUSH, 100, 100);
    /* Nothing was ever captured. */
    exits(RETRIES, 0, 0);
    exits(REFUSES_TO_OPEN, 0, 0);
    exits(HANGS_IN_OPEN, 0, 0);
    /* What works is waited for, however slow. */
    exits(WORKS, 1000, 1000);
    exits(SLOW, 3, 3);
    munmap(calls, sizeof *calls);
    return SUMMARY();
}
