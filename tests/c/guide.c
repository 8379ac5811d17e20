/* The snippets of docs/guide.md, compiled and run. Each stands here word for word; tests/readme.sh compares them. */
#include "check.h"

#include <capture_pipeline_fast.h>
#include <signal.h>

static unsigned long stored, dead;

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    stored += batch->count;
    return PIPELINE_STORE_OK;
}

static int32_t dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    (void)user_data;
    (void)reason;
    dead += batch->count;
    return 0;
}

static pipeline_t *start(const pipeline_config_t *config)
{
    pipeline_storage_t storage;
    pipeline_t *p = NULL;
    pipeline_storage_init(&storage, sizeof storage);
    storage.store = store;
    storage.dead_letter = dead_letter;
    if (pipeline_start(config, &storage, &p) < 0) {
        fprintf(stderr, "%s\n", pipeline_last_error());
        return NULL;
    }
    return p;
}

/* ---- when the process may be killed ---- */

static void ring_files(void)
{
    pipeline_config_t config;
    char rings[64];
    pipeline_t *p;
    pipeline_config_init(&config, sizeof config);
    config.max_rings = 2;
    config.ring_dir = "/dev/shm/audit";     /* made with the permissions 0700 if it is not there */
    snprintf(rings, sizeof rings, "/dev/shm/audit-%d", (int)getpid());
    config.ring_dir = rings; /* (a test's own) */
    p = start(&config);
    CHECK_OR_STOP(p != NULL);
    CHECK_STATUS(pipeline_capture(p, 1, "x", 1), PIPELINE_OK);
    END(p);
    CHECK_U64(stored, 1);
    stored = 0;
    snprintf(rings, sizeof rings, "/dev/shm/audit-%d/lock", (int)getpid());
    unlink(rings);
    *strrchr(rings, '/') = '\0';
    CHECK(rmdir(rings) == 0);
}

/* ---- capture ---- */

static int capture_one(pipeline_t *p, unsigned long trace, const void *payload, size_t len)
{
    pipeline_event_t event = {0};
    event.struct_size = sizeof event;
    event.kind = 7;
    event.correlation_id = trace;
    event.data = payload;
    event.len = len;
    return pipeline_capture_event(p, &event);
}

static int32_t capture_all(pipeline_t *p, const pipeline_event_t *events, size_t count)
{
    int32_t status;
    size_t captured;
    status = pipeline_capture_many(p, events, count, &captured);
    return status < 0 ? status : (int32_t)captured;
}

static int32_t capture_in_place(pipeline_producer_t *producer)
{
    pipeline_event_t head = {0};
    void *payload;
    int32_t status;
    head.struct_size = sizeof head;
    head.kind = 7;
    status = pipeline_producer_reserve(producer, &head, 256, &payload);
    if (status == PIPELINE_OK) {
        int used = snprintf(payload, 256, "pid %d", (int)getpid());
        status = pipeline_producer_commit(producer, (size_t)used);
    }
    return status;
}

static int32_t capture_inlined(pipeline_producer_t *producer)
{
    struct { double x, y; } point = {1, 2};
    int32_t status;
    pipeline_fast_t *fast = pipeline_fast_of(producer); /* once */
    status = pipeline_fast_capture(producer, fast, 7, &point, sizeof point);
    return status;
}

/* ---- answers ---- */

static int write_to_disk(const pipeline_event_view_t *event)
{
    return event->kind != 99;
}

static int disk_is_full(void)
{
    return 0;
}

static int32_t store_to_disk(void *user_data, const pipeline_batch_t *batch)
{
    size_t i;
    (void)user_data;
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *event = PIPELINE_BATCH_EVENT(batch, i);
        if (disk_is_full()) {
            pipeline_batch_set_stored(batch, i); /* these are; the retry begins behind them */
            return PIPELINE_STORE_RETRY;
        }
        if (!write_to_disk(event))
            pipeline_batch_set_rejected(batch, i); /* this one never */
    }
    return PIPELINE_STORE_OK;
}

static void print_health(const pipeline_t *p)
{
    pipeline_health_t health = {0};
    health.struct_size = sizeof health;
    if (pipeline_health(p, &health) == PIPELINE_OK)
        printf("%s\n", health.message);
}

static int seals;
static bool write_seal(void *user_data)
{
    (void)user_data;
    return ++seals == 1;
}

static int32_t finish(void *user_data, int64_t timeout_ms)
{
    (void)timeout_ms; /* the call may take longer: then it goes on in the background */
    return write_seal(user_data) ? 0 : PIPELINE_ERR_STORAGE;
}

static void answers(void)
{
    pipeline_storage_t storage;
    pipeline_t *p = NULL;
    pipeline_metrics_t m;
    pipeline_storage_init(&storage, sizeof storage);
    storage.store = store_to_disk;
    storage.dead_letter = dead_letter;
    storage.finish = finish;
    CHECK_STATUS(pipeline_start(NULL, &storage, &p), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p, 1, "x", 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p, 99, "x", 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    print_health(p);
    m = metrics_of(p);
    CHECK_U64(m.stored, 1);
    CHECK_U64(m.dead_lettered, 1);
    END(p);
    CHECK_U64(seals, 1);
}

/* ---- the end ---- */

static int end(pipeline_t *p)
{
    pipeline_metrics_t m = {0};
    int32_t status = pipeline_close(p, 5000);
    if (status == PIPELINE_ERR_TIMEOUT) {
        m.struct_size = sizeof m;
        pipeline_metrics(p, &m);
        fprintf(stderr, "not stored in time: %llu left, %llu in flight\n", (unsigned long long)m.left,
                (unsigned long long)(m.in_flight + m.in_doubt));
    }
    if (pipeline_destroy(p) == PIPELINE_ERR_BUSY)
        pipeline_abandon(p); /* the storage hangs: whatever ends last frees everything */
    return status == PIPELINE_OK;
}

/* ---- pressure ---- */

enum { KIND_DETAILS = 8 };

static void capture_details(pipeline_t *p, const void *details, size_t details_len)
{
    if (pipeline_pressure(p) < 50)
        pipeline_capture(p, KIND_DETAILS, details, details_len);
}

static void on_pressure(void *user_data, uint32_t pressure, int32_t is_high)
{
    (void)pressure;
    atomic_store((atomic_bool *)user_data, is_high != 0);
}

static int32_t watches(pipeline_t *p)
{
    static atomic_bool busy;
    return pipeline_pressure_callback(p, 30, 80, on_pressure, &busy);
}

/* ---- run-time configuration ---- */

static int32_t larger_batches(pipeline_t *p)
{
    pipeline_config_t config = {0};
    config.struct_size = sizeof config;
    pipeline_config_read(p, &config);
    config.batch_size = 4096;
    config.linger_us = 2000;
    return pipeline_update(p, &config);
}

static int32_t scales_itself(pipeline_t *p)
{
    pipeline_config_t config = {0};
    config.struct_size = sizeof config;
    pipeline_config_read(p, &config);
    config.min_writers = 1;
    config.max_writers = 16;
    return pipeline_update(p, &config);
}

/* ---- signals ---- */

static pipeline_t *traced;

static void on_signal(int signo)
{
    pipeline_capture(traced, 8, &signo, sizeof signo);
}

static void install(void)
{
    pipeline_capture(traced, 8, NULL, 0); /* this thread's first: makes its ring buffer */
    signal(SIGUSR1, on_signal);
}

int main(void)
{
    pipeline_config_t config;
    pipeline_producer_t *producer = NULL;
    pipeline_event_t several[2];
    pid_t child;

    ring_files();

    pipeline_config_init(&config, sizeof config);
    config.overflow = PIPELINE_OVERFLOW_BLOCK;
    config.block_timeout_us = 2000;

    traced = start(&config);
    CHECK_OR_STOP(traced != NULL);
    CHECK_STATUS(capture_one(traced, 5, "payload", 7), PIPELINE_OK);
    several[0] = event_of(7, "one", 3);
    several[1] = event_of(7, "two", 3);
    CHECK_STATUS(capture_all(traced, several, 2), 2);
    CHECK_STATUS(pipeline_producer_open(traced, &producer), PIPELINE_OK);
    CHECK_STATUS(capture_in_place(producer), PIPELINE_OK);
    CHECK_STATUS(capture_inlined(producer), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_close(producer), PIPELINE_OK);
    capture_details(traced, "details", 7);
    CHECK_STATUS(watches(traced), PIPELINE_OK);
    CHECK_STATUS(larger_batches(traced), PIPELINE_OK);
    CHECK_STATUS(scales_itself(traced), PIPELINE_OK);
    CHECK_U64(metrics_of(traced).autoscaling, 1);
    install();
    raise(SIGUSR1);
    signal(SIGUSR1, SIG_DFL);

    fflush(NULL);
    child = fork();
    if (child == 0) {
        pipeline_t *own;
        begin_child();
        if (!children_can_start_threads()) {
            CHECK_STATUS(pipeline_capture(traced, 1, "x", 1), PIPELINE_ERR_FORKED);
            end_child();
        }
        CHECK(pipeline_capture(traced, 1, "x", 1) == PIPELINE_ERR_FORKED);
        pipeline_destroy(traced);
        own = start(NULL);
        CHECK_OR_STOP(own != NULL);
        CHECK(end(own));
        end_child();
    }
    AWAIT_CHILD(child);
    CHECK(end(traced));
    CHECK_U64(stored, 8);
    answers();
    CHECK_U64(dead, 1);
    return SUMMARY();
}
