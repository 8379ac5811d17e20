/* A program forks while other threads are in each public call, in every way in which it can get a child. In the child every call on the parent's pipeline is
 * refused at once, and the child's own pipeline stores its events once. In the parent the fork returns, events go on, and each is stored once.
 * docs/guarantees.md has the table.
 *
 * Build flags: -rdynamic */
#include "fork.h"
#include "../recorder.h"

#include <spawn.h>
#include <sys/stat.h>

extern char **environ;

enum { CALLERS = 2, OWN_EVENTS = 20 };
#define FORKS count_of(4, 1)

/* The allocator of the C library may be locked in a child that has run no handlers, so the library must not use it there. */
static bool must_not_allocate;
static atomic_int allocated_in_vain;
#if defined(__GLIBC__) && !defined(UNDER_ADDRESS_SANITIZER) && !defined(UNDER_THREAD_SANITIZER)
void *__libc_malloc(size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);
void *malloc(size_t size)
{
    allocated_in_vain += must_not_allocate;
    return __libc_malloc(size);
}
void *realloc(void *block, size_t size)
{
    allocated_in_vain += must_not_allocate;
    return __libc_realloc(block, size);
}
void free(void *block)
{
    allocated_in_vain += must_not_allocate;
    __libc_free(block);
}
#endif

static recorder_t rec = RECORDER_INIT;
static pipeline_t *p;
static pipeline_producer_t *idle; /* that no thread uses */
static uint64_t token;            /* of a batch that is pending in the parent */
static atomic_bool stop;
static atomic_uint_fast64_t next_number;

/* ---- the calls, each made again and again by CALLERS threads ---- */

static void take_number(int32_t (*capture)(uint64_t))
{
    uint64_t n = next_number++;
    while (capture(n) == PIPELINE_ERR_FULL)
        sched_yield();
    if (n % 64 == 0)
        pause_a_little();
}
static int32_t by_call(uint64_t n)
{
    return capture_number(p, n);
}
static int32_t by_event(uint64_t n)
{
    pipeline_event_t e = event_of(1, &n, sizeof n);
    e.flags = n % 2 ? PIPELINE_EVENT_PRIORITY : 0;
    return pipeline_capture_event(p, &e);
}
static int32_t by_many(uint64_t n)
{
    pipeline_event_t e = event_of(1, &n, sizeof n);
    return pipeline_capture_many(p, &e, 1, NULL);
}
static int32_t by_producer(uint64_t n)
{
    pipeline_producer_t *r = NULL;
    void *payload;
    int32_t status;
    while ((status = pipeline_producer_open(p, &r)) == PIPELINE_ERR_LIMIT)
        pause_a_little(); /* closed producers' rings are not drained yet */
    CHECK_STATUS(status, PIPELINE_OK);
    while ((status = pipeline_producer_reserve(r, NULL, sizeof n, &payload)) == PIPELINE_ERR_FULL)
        sched_yield();
    CHECK_STATUS(status, PIPELINE_OK);
    sched_yield(); /* the reservation is open */
    memcpy(payload, &n, sizeof n);
    status = pipeline_producer_commit(r, sizeof n);
    CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
    return status;
}
static void captures(void) { take_number(by_call); }
static void captures_events(void) { take_number(by_event); }
static void captures_many(void) { take_number(by_many); }
static void uses_producers(void) { take_number(by_producer); }
static void *captures_once(void *unused)
{
    (void)unused;
    take_number(by_call);
    return NULL;
}
static void comes_and_goes(void) { pthread_join(start_thread(captures_once, NULL), NULL); }
static void flushes(void) { CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK); }
static void scales(void) { CHECK_STATUS(pipeline_scale(p, 1 + (uint32_t)(now_ms() % 4)), PIPELINE_OK); }
static void pauses(void)
{
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
}
static void updates(void)
{
    pipeline_config_t c = config_of(p);
    c.batch_size = 16 + (uint32_t)(now_ms() % 32);
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
}
static void sets_rules(void)
{
    int32_t status = pipeline_rules_set_text(p, "tag 1 if kind = 7\n", 0);
    CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_BUSY);
    pause_a_little();
}
static void defines(void)
{
    CHECK_STATUS(define_kind(p, 5, "five"), PIPELINE_OK);
    CHECK_STATUS(pipeline_kind_name(p, 6, "six"), PIPELINE_OK);
    CHECK_STATUS(pipeline_attribute(p, "host", "here"), PIPELINE_OK);
}
static void measures(void)
{
    static __thread char text[1 << 16];
    const pipeline_t *const list[1] = {p};
    pipeline_writer_metrics_t w;
    size_t length;
    metrics_of(p);
    health_of(p);
    w.struct_size = sizeof w;
    pipeline_writer_metrics(p, 0, &w);
    CHECK_STATUS(pipeline_metrics_text(list, 1, PIPELINE_METRICS_PROMETHEUS, text, sizeof text, &length), PIPELINE_OK);
}
static int32_t keep(void *user_data, const pipeline_event_view_t *event, pipeline_rewrite_t *rewrite)
{
    (void)user_data, (void)event, (void)rewrite;
    return PIPELINE_TRANSFORM_KEEP;
}
static void transforms(void)
{
    pipeline_transform_t t;
    CHECK_STATUS(pipeline_transform_init(&t, sizeof t), PIPELINE_OK);
    t.transform = keep;
    CHECK_STATUS(pipeline_transform(p, &t), PIPELINE_OK);
    pause_a_little();
}
static void hears(void *user_data, uint32_t pressure, int32_t is_high)
{
    (void)user_data, (void)pressure, (void)is_high;
}
static void watches(void)
{
    int32_t status = pipeline_pressure_callback(p, 1, 2, hears, NULL);
    CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_BUSY);
}
static int32_t accepts(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data, (void)batch;
    return PIPELINE_STORE_OK;
}
static void lives(pipeline_storage_t *s, bool abandons)
{
    pipeline_t *other = start_pipeline(NULL, s);
    CHECK_STATUS(capture_number(other, 1), PIPELINE_OK);
    if (abandons)
        CHECK_STATUS(pipeline_abandon(other), PIPELINE_OK);
    else
        END(other);
}
static void starts_and_ends(void)
{
    pipeline_storage_t s;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = accepts;
    lives(&s, next_number % 4 == 0);
}
static void keeps_journals(void)
{
    pipeline_storage_t s;
    CHECK_STATUS(pipeline_storage_journal("journal", NULL, sizeof s, &s), PIPELINE_OK);
    lives(&s, false);
}
static void keeps_databases(void)
{
    pipeline_storage_t s;
    CHECK_STATUS(pipeline_storage_sqlite("events.db", NULL, sizeof s, &s), PIPELINE_OK);
    lives(&s, false);
}
static void nothing(void) { pause_a_little(); }

static const struct {
    const char *name;
    void (*call)(void);
} calls[] = {
    {"nothing", nothing},
    {"capture", captures},
    {"capture_event, with priority and without", captures_events},
    {"capture_many", captures_many},
    {"first captures and ends of threads", comes_and_goes},
    {"producer open, reserve, commit, close", uses_producers},
    {"flush", flushes},
    {"scale", scales},
    {"pause, resume", pauses},
    {"update, config_read", updates},
    {"rules_set", sets_rules},
    {"kind_define, kind_name, attribute", defines},
    {"metrics, writer_metrics, health, metrics_text", measures},
    {"transform", transforms},
    {"pressure_callback", watches},
    {"start, close, destroy, abandon", starts_and_ends},
    {"start, close, destroy with a journal", keeps_journals},
    {"start, close, destroy with a database", keeps_databases},
};
enum { CALLS = sizeof calls / sizeof *calls };

/* ---- the children ---- */

enum leave { LEAVES_IT, DESTROYS, ABANDONS };

static void child(enum fork_way way, enum leave leave, bool quiet)
{
    begin_child();
    must_not_allocate = way != WAY_FORK;
    everything_is_refused(p, idle, token);
    if (leave == DESTROYS)
        CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    else if (leave == ABANDONS)
        CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
    must_not_allocate = false;
    CHECK_U64(allocated_in_vain, 0);
    /* Without handlers only where no other thread was in the allocator. */
    if (way == WAY_FORK || quiet)
        childs_own_pipeline(OWN_EVENTS);
    _exit(checks_failed ? 1 : 0);
}

static void fork_a_child(enum fork_way way, enum leave leave, bool quiet)
{
    pid_t pid;
    fflush(NULL);
    pid = fork_by(way);
    CHECK_OR_STOP(pid >= 0);
    if (pid == 0)
        child(way, leave, quiet);
    AWAIT_CHILD(pid);
}

/* The children that run another program: this one, as an image with a pipeline of its own. Until its exec, a child of vfork is its parent's thread in its
 * parent's memory: what it captures is its parent's. */
static void run_an_image(void)
{
    static char *const image[] = {(char *)"fork_matrix", (char *)"image", NULL};
    static uint64_t n;
    static volatile int32_t status;
    pid_t pid;
    if (!children_can_start_threads())
        return;
    fflush(NULL);
    CHECK_OR_STOP(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, image, environ) == 0);
    AWAIT_CHILD(pid);
    pid = fork();
    if (pid == 0) {
        execv("/proc/self/exe", image);
        _exit(99);
    }
    AWAIT_CHILD(pid);
    n = next_number++;
    status = 1;
    pid = vfork();
    if (pid == 0) {
        while ((status = pipeline_capture(p, 1, &n, sizeof n)) == PIPELINE_ERR_FULL)
            sched_yield();
        execv("/proc/self/exe", image);
        _exit(99);
    }
    AWAIT_CHILD(pid);
    CHECK_STATUS(status, PIPELINE_OK);
    pid = vfork();
    if (pid == 0)
        _exit(0);
    AWAIT_CHILD(pid);
}

/* ---- the parent ---- */

static void *calls_until_stopped(void *which)
{
    void (*call)(void) = calls[(uintptr_t)which].call;
    while (!stop)
        call();
    return NULL;
}

/* What the parent goes on with after a fork. */
static void parent_goes_on(void)
{
    take_number(by_call);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
}

static void during(uintptr_t which)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pthread_t threads[CALLERS];
    int failed = checks_failed, i, n = 0;
    enum fork_way way;
    rec.stored.count = rec.seen.count = 0;
    rec.destroy_calls = 0;
    next_number = 0;
    c.writers = 2;
    c.batch_size = 32;
    c.priority_ring_bytes = 65536;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_producer_open(p, &idle), PIPELINE_OK);
    stop = false;
    parent_goes_on();
    for (i = 0; i < CALLERS; i++)
        threads[i] = start_thread(calls_until_stopped, (void *)which);
    for (way = WAY_FORK; way < FORK_WAYS; way++)
        for (i = 0; i < FORKS && has_fork_way(way); i++) {
            fork_a_child(way, (enum leave)(n++ % 3), which == 0);
            parent_goes_on();
        }
    for (i = 0; i < (FORKS + 3) / 4; i++) {
        run_an_image();
        parent_goes_on();
    }
    stop = true;
    for (i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_STATUS(pipeline_producer_close(idle), PIPELINE_OK);
    END(p);
    CHECK_U64(rec.destroy_calls, 1);
    CHECK_DISTINCT(&rec.stored);
    CHECK_VALUES(&rec.stored, 0, next_number);
    if (checks_failed != failed)
        fprintf(stderr, "  in the case: %s\n", calls[which].name);
}

static int32_t is_pending(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    __atomic_store_n(&token, batch->token, __ATOMIC_SEQ_CST);
    return PIPELINE_STORE_PENDING;
}

int main(int argc, char **argv)
{
    pipeline_storage_t s;
    pipeline_t *waiting;
    uintptr_t which;
    if (argc == 2 && strcmp(argv[1], "image") == 0) {
        alarm(60);
        childs_own_pipeline(OWN_EVENTS);
        return checks_failed != 0;
    }
    default_config();
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = is_pending;
    waiting = start_pipeline(NULL, &s);
    CHECK_STATUS(capture_number(waiting, 1), PIPELINE_OK);
    WAIT_FOR(__atomic_load_n(&token, __ATOMIC_SEQ_CST) != 0);
    for (which = 0; which < CALLS; which++)
        during(which);
    CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_OK);
    (void)argv;
    END(waiting);
    return SUMMARY();
}
