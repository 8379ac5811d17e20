/* A host whose threads have the smallest stack that the system allows (PTHREAD_STACK_MIN: 16 KiB on x86-64) by default. Each call is
 * made on such a thread; the threads of the library have stacks of their own. DEPTHS=1 in the environment prints how much stack each
 * call uses. */
#include "../check.h"
#include <capture_pipeline_fast.h>

#include <limits.h>
#include <sys/mman.h>

static const char payload[1024] = "payload";
static atomic_ullong stored, released;
static atomic_uint deep;

/* A callback that needs more stack than the host's threads have. */
static uint32_t use_stack(size_t bytes)
{
    volatile char room[bytes];
    uint32_t sum = 0;
    size_t i;
    for (i = 0; i < bytes; i += 1024)
        room[i] = (char)i;
    for (i = 0; i < bytes; i += 1024)
        sum += (uint32_t)room[i];
    return sum;
}

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    atomic_store(&deep, use_stack(256 << 10));
    atomic_fetch_add(&stored, batch->count);
    return PIPELINE_STORE_OK;
}

static void release(void *user_data, const pipeline_event_view_t *event)
{
    (void)user_data, (void)event;
    atomic_fetch_add(&released, 1);
}

static void hear(void *user_data, int32_t level, const char *message)
{
    (void)user_data, (void)level, (void)message;
}

static pipeline_t *p;
static pipeline_producer_t *r;
static pipeline_storage_t s;
static pipeline_config_t c;

static int32_t log_callback(void)
{
    return pipeline_log_callback(hear, NULL, PIPELINE_LOG_DEBUG);
}

static int32_t inits(void)
{
    pipeline_config_init(&c, sizeof c);
    pipeline_storage_init(&s, sizeof s);
    c.ring_bytes = 1 << 16;
    c.name = "small stacks";
    s.flags = PIPELINE_STORAGE_META;
    s.store = store;
    s.release = release;
    return PIPELINE_OK;
}

static int32_t start(void)
{
    return pipeline_start(&c, &s, &p);
}

static int32_t start_with_placement(void)
{
    c.writer_class = PIPELINE_SCHED_BATCH;
    c.writer_cpus = "0-1023";
    return pipeline_start(&c, &s, &p);
}

static int32_t refused_start(void)
{
    pipeline_config_t other = c;
    pipeline_t *none;
    other.ring_bytes = 77;
    return pipeline_start(&other, NULL, &none) == PIPELINE_ERR_NULL &&
                   pipeline_capture(p, UINT32_MAX, payload, 8) == PIPELINE_ERR_INVALID &&
                   pipeline_update(p, &other) == PIPELINE_ERR_INVALID
               ? PIPELINE_OK
               : PIPELINE_ERR_INTERNAL;
}

static int32_t first_capture(void)
{
    return pipeline_capture(p, 1, payload, sizeof payload);
}

static int32_t captures(void)
{
    pipeline_event_t e;
    size_t n;
    int i;
    for (i = 0; i < 200; i++) {
        memset(&e, 0, sizeof e);
        e.struct_size = sizeof e;
        e.data = payload;
        e.len = sizeof payload;
        if (pipeline_capture_event(p, &e) == PIPELINE_ERR_BUSY || pipeline_capture_many(p, &e, 1, &n) == PIPELINE_ERR_BUSY)
            return PIPELINE_ERR_BUSY;
    }
    return PIPELINE_OK;
}

static int32_t producer_open(void)
{
    return pipeline_producer_open(p, &r);
}

static int32_t producer_calls(void)
{
    pipeline_fast_t *fast;
    void *at;
    pipeline_producer_capture(r, 1, payload, 8);
    pipeline_producer_fast(r, PIPELINE_FAST_VERSION, &fast);
    pipeline_producer_reserve(r, NULL, 8, &at);
    pipeline_producer_commit(r, 0);
    pipeline_producer_wake(r);
    return PIPELINE_OK;
}

static int32_t producer_close(void)
{
    return pipeline_producer_close(r);
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

static int32_t scale(void)
{
    return pipeline_scale(p, 4);
}

static int32_t update(void)
{
    c.writers = 2;
    c.linger_us = 10;
    return pipeline_update(p, &c);
}

static int32_t figures(void)
{
    static pipeline_metrics_t m;
    static pipeline_writer_metrics_t w;
    static pipeline_config_t read;
    m.struct_size = sizeof m;
    w.struct_size = sizeof w;
    read.struct_size = sizeof read;
    pipeline_writer_metrics(p, 0, &w);
    pipeline_config_read(p, &read);
    return pipeline_metrics(p, &m);
}

static int32_t health(void)
{
    static pipeline_health_t h;
    h.struct_size = sizeof h;
    pipeline_pause(p);
    pipeline_health(p, &h);
    pipeline_resume(p);
    return pipeline_health(p, &h);
}

static int32_t flush(void)
{
    return pipeline_flush(p, 20000);
}

static int32_t close_it(void)
{
    return pipeline_close(p, 20000);
}

static int32_t destroy(void)
{
    return pipeline_destroy(p);
}

static int32_t start_capture_abandon(void)
{
    int32_t status;
    c.writers = 0;
    status = pipeline_start(&c, &s, &p);
    if (status == PIPELINE_OK) {
        pipeline_capture(p, 1, payload, 8);
        status = pipeline_abandon(p);
    }
    return status;
}

static int32_t sqlite(void)
{
    return pipeline_storage_sqlite("events.db", NULL, sizeof s, &s);
}

static int32_t journal(void)
{
    return pipeline_storage_journal("events", NULL, sizeof s, &s);
}

static int32_t perfetto(void)
{
    return pipeline_storage_perfetto("traces", NULL, sizeof s, &s);
}

static int32_t create_indexes(void)
{
    return pipeline_sqlite_create_indexes("events.db");
}

typedef struct {
    int32_t (*call)(void);
    int32_t status;
} case_t;

static void *on_small_stack(void *at)
{
    case_t *one = (case_t *)at;
    one->status = one->call();
    return NULL;
}

/* On a stack of the smallest size, below which nothing may be touched. */
static void run(const char *name, int32_t (*call)(void))
{
    const size_t size = (size_t)PTHREAD_STACK_MIN, guard = 1 << 16;
    case_t one = {call, PIPELINE_ERR_INTERNAL};
    pthread_attr_t attributes;
    pthread_t thread;
    size_t untouched = 0;
    unsigned char *stack = (unsigned char *)mmap(NULL, guard + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_OR_STOP(stack != MAP_FAILED && mprotect(stack, guard, PROT_NONE) == 0);
    memset(stack + guard, 0xA5, size);
    CHECK_OR_STOP(pthread_attr_init(&attributes) == 0);
    CHECK_OR_STOP(pthread_attr_setstack(&attributes, stack + guard, size) == 0);
    CHECK_OR_STOP(pthread_create(&thread, &attributes, on_small_stack, &one) == 0);
    CHECK_OR_STOP(pthread_join(thread, NULL) == 0);
    if (getenv("DEPTHS") != NULL) {
        while (untouched < size && stack[guard + untouched] == 0xA5)
            untouched++;
        printf("%-24s %6zu of %zu bytes\n", name, size - untouched, size);
    }
    if (!CHECK_STATUS(one.status, PIPELINE_OK))
        fprintf(stderr, "  in %s\n", name);
    munmap(stack, guard + size);
}
#define RUN(call) run(#call, (call))

static void common_calls(void)
{
    RUN(first_capture);
    RUN(captures);
    RUN(refused_start);
    RUN(producer_open);
    RUN(producer_calls);
    RUN(producer_close);
    RUN(kind_name);
    RUN(kind_define);
    RUN(scale);
    RUN(update);
    RUN(figures);
    RUN(health);
    RUN(flush);
    RUN(close_it);
    CHECK_LEDGER(p);
}

static int32_t nothing(void)
{
    return PIPELINE_OK;
}

int main(void)
{
#ifdef __GLIBC__
    pthread_attr_t small;
    CHECK_OR_STOP(pthread_attr_init(&small) == 0);
    CHECK_OR_STOP(pthread_attr_setstacksize(&small, (size_t)PTHREAD_STACK_MIN) == 0);
    CHECK_OR_STOP(pthread_setattr_default_np(&small) == 0);
#endif
    setvbuf(stdout, NULL, _IOLBF, 0);
    RUN(nothing);
    RUN(log_callback);
    RUN(inits);
    RUN(start);
    common_calls();
    RUN(destroy);
    CHECK(atomic_load(&stored) > 0);
    RUN(inits);
    RUN(start_with_placement);
    common_calls();
    RUN(destroy);
    RUN(inits);
    RUN(start_capture_abandon);
    RUN(inits);
    /* SQLite's own work is done on a thread of the library's. */
    RUN(sqlite);
    RUN(start);
    common_calls();
    RUN(destroy);
    RUN(create_indexes);
    RUN(journal);
    RUN(start);
    common_calls();
    RUN(destroy);
    RUN(perfetto);
    RUN(start);
    common_calls();
    RUN(destroy);
    return SUMMARY();
}
