/* A host reaches its limit of address space (ulimit -v, RLIMIT_AS): malloc returns NULL, nothing can be mapped, and no thread can
 * start. Each call is made in a child process and returns OK or PIPELINE_ERR_NO_MEMORY. Events captured before are stored, and the
 * ledger balances, even if the memory never comes back and the host only exits. */
#include "../check.h"

#include <sys/mman.h>
#include <sys/resource.h>

static const char payload[64] = "payload";
static atomic_ullong *stored; /* shared with the child, which counts */

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    atomic_fetch_add(stored, batch->count);
    return PIPELINE_STORE_OK;
}

static int32_t start(pipeline_t **p)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    c.ring_bytes = 1 << 16;
    c.writers = 1;
    pipeline_storage_init(&s, sizeof s);
    s.store = store;
    return pipeline_start(&c, &s, p);
}

/* What malloc hands out is linked, so that it can be given back. */
static void **kept;

static void exhaust(void)
{
    struct rlimit none;
    size_t size;
    CHECK_OR_STOP(getrlimit(RLIMIT_AS, &none) == 0);
    none.rlim_cur = 1;
    CHECK_OR_STOP(setrlimit(RLIMIT_AS, &none) == 0);
    for (size = 1 << 16; size >= sizeof(void *); size /= 2) {
        void **block;
        while ((block = (void **)malloc(size)) != NULL) {
            *block = (void *)kept;
            kept = block;
        }
    }
}

static void give_back(void)
{
    struct rlimit all;
    CHECK_OR_STOP(getrlimit(RLIMIT_AS, &all) == 0);
    all.rlim_cur = all.rlim_max;
    CHECK_OR_STOP(setrlimit(RLIMIT_AS, &all) == 0);
    while (kept != NULL) {
        void **next = (void **)*kept;
        free((void *)kept);
        kept = next;
    }
}

static void allow(const char *what, int32_t status)
{
    checks_done++;
    if (status == PIPELINE_OK || status == PIPELINE_ERR_NO_MEMORY)
        return;
    check_fail(__FILE__, __LINE__, what);
    fprintf(stderr, ": answered %d (%s)\n", status, pipeline_last_error());
}

static pipeline_t *running;

static void capture(void)
{
    CHECK_STATUS(pipeline_capture(running, 1, payload, sizeof payload), PIPELINE_OK);
}

static void captures(void)
{
    int i;
    for (i = 0; i < 2000; i++) {
        int32_t status = pipeline_capture(running, 1, payload, sizeof payload);
        CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_FULL);
    }
    CHECK_STATUS(pipeline_capture(running, UINT32_MAX, payload, 1), PIPELINE_ERR_INVALID);
    CHECK_STATUS(pipeline_capture(running, 1, payload, 1 << 20), PIPELINE_ERR_TOO_LARGE);
}

static void start_another(void)
{
    pipeline_t *p = NULL;
    CHECK_STATUS(start(&p), PIPELINE_ERR_NO_MEMORY);
    CHECK(p == NULL);
}

static void producer(void)
{
    pipeline_producer_t *r;
    CHECK_STATUS(pipeline_producer_open(running, &r), PIPELINE_ERR_NO_MEMORY);
}

static void health(void)
{
    pipeline_health_t h = {.struct_size = sizeof h};
    pipeline_metrics_t m = {.struct_size = sizeof m};
    allow("pipeline_health", pipeline_health(running, &h));
    CHECK_STATUS(pipeline_metrics(running, &m), PIPELINE_OK);
}

static void scale(void)
{
    CHECK_STATUS(pipeline_scale(running, 200), PIPELINE_ERR_NO_MEMORY);
    allow("pipeline_scale", pipeline_scale(running, 1));
}

static void update(void)
{
    pipeline_config_t c = config_defaults();
    c.ring_bytes = 1 << 16;
    c.batch_size = 10000;
    allow("pipeline_update", pipeline_update(running, &c));
    c.writers = 200;
    CHECK_STATUS(pipeline_update(running, &c), PIPELINE_ERR_NO_MEMORY);
}

static void flush(void)
{
    capture();
    CHECK_STATUS(pipeline_flush(running, PATIENCE_MS), PIPELINE_OK);
}

static void close_it(void)
{
    capture();
    CHECK_STATUS(pipeline_close(running, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(running);
    CHECK_STATUS(pipeline_destroy(running), PIPELINE_OK);
    running = NULL;
}

static void exit_it(void)
{
    int i;
    for (i = 0; i < 100; i++)
        capture();
    if (checks_failed)
        _exit(1);
    exit(0); /* the exit handler drains */
}

static const struct {
    const char *name;
    void (*run)(void);
    bool captured_before;
} cases[] = {
    {"the first capture", capture, false}, {"captures", captures, true},    {"start", start_another, true},
    {"producer_open", producer, true},     {"health", health, true},        {"scale", scale, true},
    {"update", update, true},              {"flush", flush, true},          {"flush after the first", flush, false},
    {"close", close_it, true},             {"exit", exit_it, true},
};

static void child(size_t at)
{
    begin_child();
    CHECK_OR_STOP(start(&running) == PIPELINE_OK);
    if (cases[at].captured_before)
        capture();
    exhaust();
    cases[at].run();
    give_back();
    if (running != NULL)
        END(running);
    fflush(NULL);
    _exit(checks_failed != 0);
}

int main(void)
{
    size_t at;
    stored = (atomic_ullong *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_OR_STOP(stored != MAP_FAILED);
    for (at = 0; at < sizeof cases / sizeof *cases; at++) {
        int status = 0;
        pid_t pid;
        atomic_store(stored, 0);
        fflush(NULL);
        pid = fork();
        CHECK_OR_STOP(pid >= 0);
        if (pid == 0)
            child(at);
        CHECK_OR_STOP(waitpid(pid, &status, 0) == pid);
        if (!CHECK(status == 0))
            fprintf(stderr, "  the case of %s: %s %d\n", cases[at].name, WIFSIGNALED(status) ? "signal" : "status",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        if (cases[at].run == exit_it)
            CHECK_U64(atomic_load(stored), 101);
    }
    return SUMMARY();
}
