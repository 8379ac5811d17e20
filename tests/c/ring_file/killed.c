/* A process with a ring file is killed: the file has every event whose capture has returned and that the storage has not acknowledged, and no other. */
#include "ring_file.h"

#define EACH count_of(200, 50)
#define THREADS 3

static recorder_t rec = RECORDER_INIT;

typedef struct {
    pipeline_t *p;
    uint64_t first;
} capturing_t;

static void *capturing(void *argument)
{
    capturing_t *c = (capturing_t *)argument;
    uint64_t n;
    for (n = c->first; n < c->first + (uint64_t)EACH; n++) {
        pipeline_event_t e = event_of((uint32_t)(n % 5), &n, 8 + n % 9);
        unsigned char payload[16] = {0};
        memcpy(payload, &n, 8);
        e.data = payload;
        e.flags = n % 10 == 0 ? PIPELINE_EVENT_PRIORITY : 0;
        CHECK_STATUS(pipeline_capture_event(c->p, &e), PIPELINE_OK);
    }
    return NULL;
}

/* In the child: captures from several threads, lets `stored` events be stored, and is killed. */
static void capture_and_die(const char *directory, uint32_t writers)
{
    pipeline_config_t c = ring_file_config(directory);
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = NULL;
    pthread_t threads[THREADS];
    capturing_t each[THREADS];
    int n;
    begin_child();
    c.writers = writers;
    CHECK_OR_STOP(pipeline_start(&c, &s, &p) == PIPELINE_OK);
    CHECK_STATUS(pipeline_kind_name(p, 3, "three"), PIPELINE_OK);
    CHECK_STATUS(pipeline_attribute(p, "host", "here"), PIPELINE_OK);
    for (n = 0; n < THREADS; n++) {
        each[n] = (capturing_t){.p = p, .first = (uint64_t)n * (uint64_t)EACH};
        pthread_create(&threads[n], NULL, capturing, &each[n]);
    }
    for (n = 0; n < THREADS; n++)
        pthread_join(threads[n], NULL);
    if (writers > 0) {
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
        CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
        capturing(&(capturing_t){.p = p, .first = (uint64_t)THREADS * (uint64_t)EACH});
    }
    if (checks_failed)
        end_child();
    kill(getpid(), SIGKILL);
}

static void a_killed_process(uint32_t writers)
{
    const char *directory = new_ring_dir(writers ? "writers" : "none"), *path;
    uint64_t from = writers ? (uint64_t)THREADS * (uint64_t)EACH : 0, to = from + (uint64_t)EACH * (writers ? 1 : THREADS);
    unsigned char *seen = (unsigned char *)calloc((size_t)to, 1);
    uint64_t priority = 0;
    ring_file_t f;
    size_t n;
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        capture_and_die(directory, writers);
        _exit(1);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    path = find_ring_file(directory);
    CHECK_OR_STOP(path != NULL && seen != NULL);
    CHECK(!owner_has_lock(path));
    f = read_ring_file(path);
    CHECK_U64(f.pid, (uint64_t)child);
    CHECK(f.generation != 0);
    CHECK_U64(f.count, to - from);
    /* The name, the attribute, and the clock's facts. */
    CHECK(f.facts >= 3);
    for (n = 0; n < f.count; n++) {
        const lying_t *e = &f.events[n];
        CHECK_OR_STOP(e->value >= from && e->value < to);
        CHECK_U64(seen[e->value]++, 0);
        CHECK(e->ring_id != 0);
        CHECK_U64(e->kind, e->value % 5);
        CHECK_U64(e->len, 8 + e->value % 9);
        CHECK_U64(e->priority, e->value % 10 == 0);
        priority += e->priority;
        CHECK(n == 0 || f.events[n - 1].ring_id != e->ring_id || f.events[n - 1].sequence < e->sequence);
    }
    CHECK_U64(priority, (to - from) / 10);
    free_ring_file(&f);
    free(seen);
    remove_ring_dir(directory);
}

int main(void)
{
    a_killed_process(0);
    a_killed_process(2);
    return SUMMARY();
}
