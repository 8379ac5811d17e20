/* What a killed process has left goes through the storage of the next pipeline on the directory: under the old identities, in the background, whatever the storage answers. */
#include "left.h"

#define EVENTS UINT64_C(2000)

typedef struct {
    uint64_t old; /* the generation of the run that has ended */
    uint64_t tokens[64];
    size_t pending;
    bool facts_late, stopped;
    uint64_t facts, events; /* of the old run */
} seen_t;

static seen_t seen;
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;

/* Notes the batch, and says whether it is of the old run. */
static bool note(const pipeline_batch_t *batch)
{
    const pipeline_event_view_t *first = PIPELINE_BATCH_EVENT(batch, 0);
    bool is_old = batch->generation == seen.old, is_fact = first->kind >= PIPELINE_KIND_RESERVED;
    pthread_mutex_lock(&seen_lock);
    if (is_old && is_fact) {
        seen.facts += batch->count;
        seen.facts_late |= seen.events > 0;
    } else if (is_old) {
        seen.events += batch->count;
    }
    pthread_mutex_unlock(&seen_lock);
    return is_old && !is_fact;
}

static int32_t ok(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    note(batch);
    return PIPELINE_STORE_OK;
}

/* Stores 500 events and some, and does not return from the call that follows. */
static int32_t stops(recorder_t *r, const pipeline_batch_t *batch)
{
    if (seen.events >= 500) {
        pthread_mutex_lock(&seen_lock);
        seen.stopped = true;
        pthread_mutex_unlock(&seen_lock);
        while (true)
            pause_a_little();
    }
    return ok(r, batch);
}

/* Each of the answers in turn; a batch that is tried again is stored. */
static int32_t any_answer(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    if (!note(batch) || batch->attempt > 1)
        return PIPELINE_STORE_OK;
    switch (batch->batch_id % 4) {
    case 0:
        return PIPELINE_STORE_RETRY;
    case 1:
        return PIPELINE_STORE_REJECT;
    case 2:
        CHECK_STATUS(pipeline_batch_set_rejected(batch, 0), PIPELINE_OK);
        return PIPELINE_STORE_OK;
    default:
        CHECK_STATUS(pipeline_batch_set_stored(batch, batch->count / 2), PIPELINE_OK);
        return PIPELINE_STORE_RETRY;
    }
}

static int32_t later(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    if (!note(batch))
        return PIPELINE_STORE_OK;
    pthread_mutex_lock(&seen_lock);
    CHECK_OR_STOP(seen.pending < 64);
    seen.tokens[seen.pending++] = batch->token;
    pthread_mutex_unlock(&seen_lock);
    return PIPELINE_STORE_PENDING;
}

static size_t take_tokens(uint64_t *tokens)
{
    size_t count;
    pthread_mutex_lock(&seen_lock);
    count = seen.pending;
    memcpy(tokens, seen.tokens, sizeof seen.tokens);
    seen.pending = 0;
    pthread_mutex_unlock(&seen_lock);
    return count;
}

static pipeline_t *start_on(const char *directory, recorder_t *r, uint32_t flags, uint32_t writers)
{
    pipeline_config_t c = ring_file_config(directory);
    pipeline_storage_t s = recorder_storage(r);
    c.writers = writers;
    c.batch_size = 100;
    s.release = NULL;
    s.dead_letter = recorder_dead_letter;
    s.flags |= flags;
    return start_pipeline(&c, &s);
}

/* Every number once, in the order of its ring. */
static void check_stored(recorded_list_t *list)
{
    unsigned char *once = (unsigned char *)calloc(EVENTS, 1);
    size_t n, events = 0;
    CHECK_OR_STOP(once != NULL);
    for (n = 0; n < list->count; n++) {
        const recorded_t *e = &list->at[n];
        if (e->kind >= PIPELINE_KIND_RESERVED)
            continue;
        events++;
        CHECK_OR_STOP(e->value < EVENTS);
        CHECK_U64(once[e->value]++, 0);
        CHECK_U64(e->correlation_id, e->value + 1);
        CHECK_U64(e->kind, e->value % 5);
        CHECK_U64(e->flags & PIPELINE_EVENT_PRIORITY, e->value % 10 == 0 ? PIPELINE_EVENT_PRIORITY : 0);
    }
    CHECK_U64(events, EVENTS);
    free(once);
}

static void stored(uint32_t flags, int32_t (*answer)(recorder_t *, const pipeline_batch_t *), const char *name)
{
    const char *directory = new_ring_dir(name);
    recorder_t *r = recorder_new();
    pipeline_t *p;
    memset(&seen, 0, sizeof seen);
    seen.old = leave_events(directory, EVENTS);
    r->answer = answer;
    p = start_on(directory, r, flags, 2);
    if (answer == later) {
        uint64_t tokens[64];
        while (ring_files(directory) == 2) {
            size_t n = take_tokens(tokens);
            CHECK(n <= 2);
            while (n-- > 0)
                CHECK_STATUS(pipeline_batch_complete(tokens[n], PIPELINE_STORE_OK), PIPELINE_OK);
            pause_a_little();
        }
    }
    WAIT_FOR_RECOVERED(p, directory, EVENTS);
    CHECK_U64(metrics_of(p).captured, 0);
    CHECK_U64(metrics_of(p).stored + metrics_of(p).dead_lettered, EVENTS);
    if (answer == any_answer) {
        CHECK(metrics_of(p).dead_lettered > 0 && metrics_of(p).retries > 0);
    } else {
        CHECK_U64(metrics_of(p).stored, EVENTS);
        check_stored(answer == later ? &r->seen : &r->stored);
    }
    if (flags & PIPELINE_STORAGE_META) {
        /* The name of a kind, the clock, two threads. */
        CHECK(seen.facts >= 4 && !seen.facts_late);
    } else {
        CHECK_U64(seen.facts, 0);
    }
    END(p);
    CHECK_U64(ring_files(directory), 0);
    recorder_free(r);
    remove_ring_dir(directory);
}

/* What no writer has claimed is in no count and stays; it is there for the next one. And a paused pipeline takes nothing over. */
static void left_at_a_close(void)
{
    const char *directory = new_ring_dir("close");
    recorder_t *r = recorder_new();
    pipeline_t *p;
    memset(&seen, 0, sizeof seen);
    seen.old = leave_events(directory, EVENTS);
    r->answer = ok;
    p = start_on(directory, r, 0, 0);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_U64(metrics_of(p).recovered, 0);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    /* (A close ends the pause: a part that was offered then may have been claimed before the recovery had stopped.) */
    CHECK_U64(metrics_of(p).left, 0);
    CHECK_U64(metrics_of(p).recovered, metrics_of(p).stored);
    CHECK(metrics_of(p).recovered <= 200);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_U64(ring_files(directory), 1);
    p = start_on(directory, r, 0, 1);
    WAIT_FOR(ring_files(directory) == 1 && metrics_of(p).recovered > 0);
    CHECK_LEDGER(p);
    END(p);
    check_stored(&r->stored);
    recorder_free(r);
    remove_ring_dir(directory);
}

static bool has_stopped(void)
{
    bool stopped;
    pthread_mutex_lock(&seen_lock);
    stopped = seen.stopped;
    pthread_mutex_unlock(&seen_lock);
    return stopped;
}

/* Killed in the middle of a recovery: the next one goes on, and nothing is missing. */
static void killed_again(void)
{
    const char *directory = new_ring_dir("again");
    unsigned char *once = (unsigned char *)calloc(EVENTS, 1);
    recorder_t *r = recorder_new();
    int pipes[2], status = 0, round;
    uint64_t value, left = EVENTS;
    pipeline_t *p;
    size_t n;
    CHECK_OR_STOP(once != NULL && pipe(pipes) == 0);
    memset(&seen, 0, sizeof seen);
    seen.old = leave_events(directory, EVENTS);
    for (round = 0; round < 3; round++) {
        pid_t child = fork();
        if (child == 0) {
            begin_child();
            r->answer = stops;
            start_on(directory, r, 0, 1);
            WAIT_FOR(has_stopped());
            for (n = 0; n < r->stored.count; n++)
                CHECK(write(pipes[1], &r->stored.at[n].value, 8) == 8);
            kill(getpid(), SIGKILL);
        }
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    close(pipes[1]);
    while (read(pipes[0], &value, 8) == 8) {
        CHECK_OR_STOP(value < EVENTS);
        left -= !once[value];
        once[value] = 1;
    }
    close(pipes[0]);
    CHECK(left < EVENTS);
    r->answer = ok;
    p = start_on(directory, r, 0, 2);
    WAIT_FOR(ring_files(directory) == 1);
    CHECK_LEDGER(p);
    /* What was acknowledged in the file does not come again: at most what was on the way at each kill. */
    CHECK(metrics_of(p).recovered <= EVENTS - 3 * 300);
    for (n = 0; n < r->stored.count; n++)
        once[r->stored.at[n].value] = 1;
    for (value = 0; value < EVENTS; value++)
        CHECK(once[value]);
    END(p);
    free(once);
    recorder_free(r);
    remove_ring_dir(directory);
}

/* A file that is none of a run that has ended is told by health, and left. That of a run that goes on is not touched. */
static void not_delivered(void)
{
    const char *directory = new_ring_dir("others");
    recorder_t *r = recorder_new(), *r2 = recorder_new();
    pipeline_t *p = start_on(directory, r, 0, 0), *p2;
    char path[700];
    FILE *file;
    uint64_t n = 7;
    CHECK_STATUS(pipeline_capture(p, 1, &n, 8), PIPELINE_OK);
    snprintf(path, sizeof path, "%s/0123456789abcdef.rings", directory);
    file = fopen(path, "w");
    CHECK_OR_STOP(file != NULL && fputs("no ring file, but long enough to have a beginning of one", file) >= 0);
    fclose(file);
    p2 = start_on(directory, r2, 0, 1);
    WAIT_FOR(health_of(p2).reasons & PIPELINE_HEALTH_RECOVERY);
    CHECK_HAS(health_of(p2).message, "0123456789abcdef.rings");
    CHECK_U64(metrics_of(p2).recovered, 0);
    END(p2);
    CHECK_U64(metrics_of(p).buffered, 1);
    END(p);
    CHECK_U64(ring_files(directory), 1);
    recorder_free(r);
    recorder_free(r2);
    remove_ring_dir(directory);
}

/* What a pipeline of this process has left when it was destroyed is a run's that has ended, too. */
static void left_by_this_process(void)
{
    const char *directory = new_ring_dir("same");
    recorder_t *r = recorder_new();
    pipeline_t *p = start_on(directory, r, 0, 0);
    uint64_t n;
    for (n = 0; n < 300; n++)
        CHECK_STATUS(capture_number(p, n), PIPELINE_OK);
    DESTROY_SOON(p);
    CHECK_U64(r->seen.count, 0);
    p = start_on(directory, r, 0, 1);
    for (n = 300; n < 600; n++)
        CHECK_STATUS(capture_number(p, n), PIPELINE_OK);
    WAIT_FOR_RECOVERED(p, directory, 300);
    END(p);
    CHECK_VALUES(&r->stored, 0, 600);
    CHECK_U64(ring_files(directory), 0);
    recorder_free(r);
    remove_ring_dir(directory);
}

int main(void)
{
    stored(0, ok, "ok");
    stored(PIPELINE_STORAGE_META, ok, "meta");
    stored(PIPELINE_STORAGE_CONCURRENT, ok, "concurrent");
    stored(0, any_answer, "any");
    stored(PIPELINE_STORAGE_CONCURRENT, later, "later");
    left_at_a_close();
    killed_again();
    not_delivered();
    left_by_this_process();
    return SUMMARY();
}
