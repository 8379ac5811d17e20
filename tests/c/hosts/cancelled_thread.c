/* A host cancels its threads: each call is made with a pthread_cancel pending. No function of the library is a cancellation point, so
 * the call does its work and returns, and the thread ends at its own next cancellation point. Callbacks that run on the host's threads
 * and reach a cancellation point (here: fprintf, write) return as well. */
#include "../check.h"

#include <fcntl.h>

static const char payload[64] = "payload";
static atomic_ullong stored, released, destroyed;
static int null_device;

/* What a callback may do that is a cancellation point. */
static void write_something(void)
{
    ssize_t written = write(null_device, "x", 1);
    (void)written;
    pthread_testcancel();
}

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    atomic_fetch_add(&stored, batch->count);
    return PIPELINE_STORE_OK;
}

static void release(void *user_data, const pipeline_event_view_t *event)
{
    (void)user_data, (void)event;
    write_something();
    atomic_fetch_add(&released, 1);
}

static void destroy_storage(void *user_data)
{
    (void)user_data;
    write_something();
    atomic_fetch_add(&destroyed, 1);
}

static void hear(void *user_data, int32_t level, const char *message)
{
    (void)user_data, (void)level, (void)message;
    write_something();
}

static pipeline_t *p;
static pipeline_storage_t s;
static pipeline_config_t c;

static void prepare(void)
{
    c = config_defaults();
    c.ring_bytes = 1 << 14;
    pipeline_storage_init(&s, sizeof s);
    s.flags = PIPELINE_STORAGE_RELEASE_ANYWHERE;
    s.store = store;
    s.release = release;
    s.destroy = destroy_storage;
}

static int32_t start(void)
{
    return pipeline_start(&c, &s, &p);
}

static int32_t first_capture(void)
{
    return pipeline_capture(p, 1, payload, sizeof payload);
}

/* Overwrites: `release` is called by the captures. */
static int32_t captures(void)
{
    int i;
    for (i = 0; i < 5000; i++)
        CHECK_STATUS(pipeline_capture(p, 1, payload, sizeof payload), PIPELINE_OK);
    return PIPELINE_OK;
}

static int32_t producers(void)
{
    pipeline_producer_t *r;
    int32_t status = pipeline_producer_open(p, &r);
    return status != PIPELINE_OK ? status : pipeline_producer_close(r);
}

static int32_t scale(void)
{
    return pipeline_scale(p, 3);
}

static int32_t update(void)
{
    c.linger_us = 10;
    c.writers = 2;
    return pipeline_update(p, &c);
}

static int32_t kind_name(void)
{
    return pipeline_kind_name(p, 1, "one");
}

static int32_t kind_define(void)
{
    static uint32_t kind;
    char name[16];
    kind++;
    snprintf(name, sizeof name, "kind%u", kind % 1000);
    return define_kind(p, kind % 1000, name);
}

static int32_t health(void)
{
    health_of(p);
    metrics_of(p);
    return PIPELINE_OK;
}

static int32_t flush(void)
{
    return pipeline_flush(p, PATIENCE_MS);
}

static int32_t close_it(void)
{
    return pipeline_close(p, PATIENCE_MS);
}

static int32_t destroy(void)
{
    return pipeline_destroy(p);
}

/* Nothing drains it: what is captured is shown to `release` by the end of the pipeline, on the abandoning thread. */
static int32_t start_without_writers(void)
{
    int32_t status;
    c.writers = 0;
    status = pipeline_start(&c, &s, &p);
    return status != PIPELINE_OK ? status : first_capture();
}

static int32_t abandon(void)
{
    return pipeline_abandon(p);
}

static int32_t sqlite(void)
{
    return pipeline_storage_sqlite("events.db", NULL, sizeof s, &s);
}

static int32_t create_indexes(void)
{
    return pipeline_sqlite_create_indexes("events.db");
}

typedef struct {
    int32_t (*call)(void);
    int32_t status;
    bool returned;
} case_t;

static void *cancelled(void *at)
{
    case_t *one = (case_t *)at;
    pthread_cancel(pthread_self());
    one->status = one->call();
    one->returned = true;
    pthread_testcancel();
    return NULL; /* it was not cancelled */
}

static void run(const char *name, int32_t (*call)(void))
{
    case_t one = {call, 0, false};
    pthread_t thread;
    void *result = NULL;
    CHECK_OR_STOP(pthread_create(&thread, NULL, cancelled, &one) == 0);
    CHECK_OR_STOP(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
    if (!CHECK(one.returned) || !CHECK_STATUS(one.status, PIPELINE_OK))
        fprintf(stderr, "  in %s\n", name);
}
#define RUN(call) run(#call, (call))

int main(void)
{
    uint64_t ended;
    null_device = open("/dev/null", O_WRONLY);
    CHECK_STATUS(pipeline_log_callback(hear, NULL, PIPELINE_LOG_DEBUG), PIPELINE_OK);

    /* A storage of callbacks. */
    prepare();
    c.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;
    RUN(start);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    RUN(first_capture);
    RUN(captures);
    CHECK(atomic_load(&released) > 0);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    RUN(producers);
    RUN(scale);
    RUN(update);
    RUN(kind_name);
    RUN(kind_define);
    RUN(health);
    RUN(flush);
    RUN(close_it);
    CHECK_LEDGER(p);
    CHECK_U64(atomic_load(&released), 5001);
    RUN(destroy);
    CHECK_U64(atomic_load(&destroyed), 1);

    /* Nothing drains it, so that its end shows `release` what was captured. */
    prepare();
    RUN(start_without_writers);
    ended = atomic_load(&released);
    RUN(abandon);
    WAIT_FOR(atomic_load(&destroyed) == 2);
    CHECK_U64(atomic_load(&released), ended + 1);

    /* SQLite. */
    prepare();
    RUN(sqlite);
    RUN(start);
    RUN(first_capture);
    RUN(flush);
    RUN(close_it);
    CHECK_LEDGER(p);
    RUN(destroy);
    RUN(create_indexes);
    return SUMMARY();
}
