/* Health: every reason appears with its cause and goes away with it, and its words name who, what and how often. */
#include "recorder.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* A storage that does as it is told. */
enum act { WORKS, RETRIES, HANGS, PENDS, DIES, TALKS_NONSENSE, REJECTS };
static _Atomic int act;
static atomic_int inside, open_answer, die_first, dead_hangs, flush_hangs, release_hangs;
static _Atomic uint64_t tokens[64], pending;

static void hang_while(atomic_int *word)
{
    inside++;
    while (*word)
        pause_a_little();
    inside--;
}

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    switch (act) {
    case RETRIES: return PIPELINE_STORE_RETRY;
    case HANGS:
        inside++;
        while (act == HANGS)
            pause_a_little();
        inside--;
        return PIPELINE_STORE_OK;
    case PENDS: tokens[atomic_fetch_add(&pending, 1) % 64] = batch->token; return PIPELINE_STORE_PENDING;
    case DIES: pthread_exit(NULL);
    case TALKS_NONSENSE: return 99;
    case REJECTS: return PIPELINE_STORE_REJECT;
    default: return PIPELINE_STORE_OK;
    }
}

static int32_t dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    (void)user_data;
    (void)batch;
    (void)reason;
    hang_while(&dead_hangs);
    return 0;
}

static int32_t flush(void *user_data, int64_t timeout_ms)
{
    (void)user_data;
    (void)timeout_ms;
    hang_while(&flush_hangs);
    return 0;
}

static void release(void *user_data, const pipeline_event_view_t *event)
{
    (void)user_data;
    (void)event;
    hang_while(&release_hangs);
}

static int32_t open_writer(void *user_data, uint32_t writer_id, void **writer_data)
{
    (void)user_data;
    (void)writer_id;
    (void)writer_data;
    if (open_answer == 1)
        pthread_exit(NULL);
    if (atomic_fetch_sub(&die_first, 1) > 0)
        pthread_exit(NULL);
    return open_answer;
}

static pipeline_config_t config_of_tests(void)
{
    pipeline_config_t c = config_defaults();
    c.storage_deadline_ms = 20;
    c.retry_initial_us = 1000;
    c.retry_max_us = 5000;
    c.breaker_failures = 0;
    return c;
}

static pipeline_storage_t storage_of_tests(uint32_t flags)
{
    pipeline_storage_t s;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = store;
    s.flags = flags;
    act = WORKS;
    pending = 0;
    return s;
}

static uint32_t reasons(const pipeline_t *p)
{
    return health_of(p).reasons & ~(uint32_t)PIPELINE_HEALTH_NO_MEMBARRIER;
}

static void healthy(const char *file, int line, const pipeline_t *p)
{
    pipeline_health_t h;
    WAIT_FOR(reasons(p) == 0);
    h = health_of(p);
    check_u64(file, line, "status", h.status, PIPELINE_HEALTHY);
    check_u64(file, line, "stuck_ns", h.stuck_ns, 0);
    check_u64(file, line, "writers_stuck", h.writers_stuck, 0);
    if (h.reasons == 0)
        check_true(file, line, "the message is \"healthy\"", strcmp(h.message, "healthy") == 0);
}
#define HEALTHY(p) healthy(__FILE__, __LINE__, (p))

/* Exactly these reasons, this status, and these words. */
static pipeline_health_t ails(const char *file, int line, const pipeline_t *p, uint32_t why, uint32_t status,
                              const char *words)
{
    pipeline_health_t h = health_of(p);
    check_u64(file, line, "reasons", h.reasons & ~(uint32_t)PIPELINE_HEALTH_NO_MEMBARRIER, why);
    check_u64(file, line, "status", h.status, status);
    check_has(file, line, "message", h.message, words);
    return h;
}
#define AILS(p, why, status, words) ails(__FILE__, __LINE__, (p), (why), (status), (words))

static void what_the_owner_does(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p = start_pipeline(&c, &s);
    HEALTHY(p);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    AILS(p, PIPELINE_HEALTH_PAUSED, PIPELINE_DEGRADED, "paused");
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    HEALTHY(p);
    CHECK_STATUS(pipeline_scale(p, 0), PIPELINE_OK);
    AILS(p, PIPELINE_HEALTH_NO_WRITERS, PIPELINE_DEGRADED, "no writers");
    CHECK_STATUS(pipeline_scale(p, 2), PIPELINE_OK);
    HEALTHY(p);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    AILS(p, PIPELINE_HEALTH_CLOSED, PIPELINE_DEGRADED, "closed");
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
}

static void retries_and_the_circuit(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p;
    pipeline_health_t h;
    c.retry_initial_us = c.retry_max_us = 3600000000u; /* so that they stay where they can be looked at */
    p = start_pipeline(&c, &s);
    act = RETRIES;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(reasons(p) == PIPELINE_HEALTH_RETRYING);
    h = AILS(p, PIPELINE_HEALTH_RETRYING, PIPELINE_DEGRADED,
             "1 batches wait for another attempt, the oldest is batch 1, tried 1 times");
    CHECK_U64(h.circuit, PIPELINE_CIRCUIT_CLOSED);
    c.breaker_failures = 1;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    CHECK_STATUS(capture_number(p, 2), PIPELINE_OK);
    WAIT_FOR(health_of(p).batches_retrying == 2);
    h = AILS(p, PIPELINE_HEALTH_RETRYING | PIPELINE_HEALTH_CIRCUIT_OPEN, PIPELINE_FAILING, "the circuit is open after ");
    CHECK_HAS(h.message, "failures in a row, the next probe in ");
    CHECK_HAS(h.message, " min");
    CHECK_HAS(h.message, "2 batches wait");
    CHECK_U64(h.circuit, PIPELINE_CIRCUIT_OPEN);
    act = WORKS;
    c.breaker_failures = 0;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    HEALTHY(p);
    END(p);
}

/* One call is stuck. With a storage that takes calls side by side another writer goes on. */
static void a_stuck_writer(uint32_t flags)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(flags);
    pipeline_t *p = start_pipeline(&c, &s);
    pipeline_health_t h;
    uint64_t before;
    act = HANGS;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).in_doubt == 1);
    /* (Until there is a substitute, every writer is stuck.) */
    WAIT_FOR(flags == 0 || metrics_of(p).writers_live == 2);
    h = AILS(p, PIPELINE_HEALTH_STUCK, flags ? PIPELINE_DEGRADED : PIPELINE_FAILING,
             "writer 0 is stuck in store with batch 1 for ");
    CHECK_U64(h.writers_stuck, 1);
    CHECK_U64(h.stuck_writer, 0);
    CHECK_U64(h.stuck_batch, 1);
    CHECK(h.stuck_ns >= 20000000);
    before = h.stuck_ns;
    WAIT_FOR(health_of(p).stuck_ns > before + 1100000000u);
    CHECK_HAS(health_of(p).message, "for 1.");
    act = WORKS;
    HEALTHY(p);
    END(p);
}

static void many_stuck_writers(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(PIPELINE_STORAGE_CONCURRENT);
    pipeline_t *p;
    pipeline_health_t h;
    int i;
    c.writers = 5;
    c.batch_size = 1;
    c.max_in_doubt = 0; /* no substitutes */
    p = start_pipeline(&c, &s);
    act = HANGS;
    for (i = 0; i < 5; i++)
        CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(inside == 5);
    WAIT_FOR(health_of(p).writers_stuck == 5);
    h = AILS(p, PIPELINE_HEALTH_STUCK, PIPELINE_FAILING, " is stuck in store with batch ");
    CHECK_HAS(h.message, ", 3 more stuck");
    act = WORKS;
    HEALTHY(p);
    END(p);
}

/* The other calls that can be stuck. */
static void stuck_elsewhere(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p;
    s.dead_letter = dead_letter;
    s.flush = flush;
    s.release = release;
    p = start_pipeline(&c, &s);
    act = REJECTS;
    dead_hangs = 1;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(health_of(p).writers_stuck == 1);
    WAIT_FOR(metrics_of(p).in_doubt == 1);
    CHECK_U64(AILS(p, PIPELINE_HEALTH_STUCK, PIPELINE_FAILING, "writer 0 is stuck in dead_letter with batch 1 for ").stuck_batch, 1);
    dead_hangs = 0;
    HEALTHY(p);
    act = WORKS;
    release_hangs = 1;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(health_of(p).writers_stuck == 1);
    AILS(p, PIPELINE_HEALTH_STUCK, PIPELINE_FAILING, "writer 0 is stuck in release with batch 2 for ");
    release_hangs = 0;
    HEALTHY(p);
    flush_hangs = 1;
    CHECK_FAILS(pipeline_flush(p, 50), PIPELINE_ERR_TIMEOUT, "50 ms");
    WAIT_FOR(health_of(p).writers_stuck == 1);
    CHECK_U64(AILS(p, PIPELINE_HEALTH_STUCK, PIPELINE_FAILING, "writer 0 is stuck in a call of the storage for ").stuck_batch, 0);
    flush_hangs = 0;
    HEALTHY(p);
    END(p);
}

/* Answers that do not come: degraded while there is room for other batches, failing when there is none. */
static void pending_answers(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p;
    pipeline_health_t h;
    c.max_in_flight = 1;
    c.max_in_doubt = 1;
    p = start_pipeline(&c, &s);
    act = PENDS;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).in_doubt == 1);
    h = AILS(p, PIPELINE_HEALTH_STUCK, PIPELINE_DEGRADED, "batch 1 of writer 0 awaits its answer for ");
    CHECK_U64(h.writers_stuck, 0);
    CHECK_U64(h.stuck_batch, 1);
    CHECK(h.stuck_ns >= 20000000);
    CHECK_STATUS(capture_number(p, 2), PIPELINE_OK);
    WAIT_FOR(pending == 2);
    WAIT_FOR(health_of(p).status == PIPELINE_FAILING);
    h = AILS(p, PIPELINE_HEALTH_STUCK, PIPELINE_FAILING, "batch 2 of writer 0 awaits its answer for ");
    CHECK_U64(h.stuck_batch, 1);
    act = WORKS;
    CHECK_STATUS(pipeline_batch_complete(tokens[1], PIPELINE_STORE_OK), PIPELINE_OK);
    WAIT_FOR(health_of(p).status == PIPELINE_DEGRADED);
    CHECK_STATUS(pipeline_batch_complete(tokens[0], PIPELINE_STORE_OK), PIPELINE_OK);
    HEALTHY(p);
    END(p);
}

static void writers_that_cannot_open(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p;
    s.open_writer = open_writer;
    open_answer = -42;
    p = start_pipeline(&c, &s);
    WAIT_FOR(reasons(p) == PIPELINE_HEALTH_WRITER_OPEN);
    AILS(p, PIPELINE_HEALTH_WRITER_OPEN, PIPELINE_FAILING, "writer 0 cannot open (answered -42, ");
    open_answer = 0;
    HEALTHY(p);
    END(p);
    /* One writer after the other is ended where it should open. */
    open_answer = 1;
    s = storage_of_tests(0);
    s.open_writer = open_writer;
    p = start_pipeline(&c, &s);
    WAIT_FOR(health_of(p).status == PIPELINE_FAILING);
    WAIT_FOR(metrics_of(p).writer_restarts >= 4);
    AILS(p, PIPELINE_HEALTH_WRITER_OPEN | PIPELINE_HEALTH_FAULT, PIPELINE_FAILING, "writer 0 cannot open; writer 0 was ended by its callback, ");
    open_answer = 0;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    HEALTHY(p);
    END(p);
}

/* The very first writers are ended at once, perhaps before pipeline_start has returned: they are replaced like any other. */
static void writers_that_die_first(void)
{
    pipeline_config_t c = config_of_tests();
    int i;
    c.writers = 16;
    for (i = 0; i < 100; i++) {
        pipeline_storage_t s = storage_of_tests(0);
        pipeline_t *p;
        s.open_writer = open_writer;
        die_first = 16;
        p = start_pipeline(&c, &s);
        CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
        WAIT_FOR(metrics_of(p).writer_restarts == 16);
        END(p);
        if (checks_failed)
            break;
    }
}

static pipeline_writer_metrics_t writer_of(const pipeline_t *p, uint32_t index)
{
    pipeline_writer_metrics_t w;
    memset(&w, 0, sizeof w);
    w.struct_size = sizeof w;
    CHECK_STATUS(pipeline_writer_metrics(p, index, &w), PIPELINE_OK);
    return w;
}

/* Calls that do what they must not: who, with which batch, what, how often. */
static void faults(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p = start_pipeline(&c, &s);
    pipeline_health_t h = health_of(p);
    pipeline_metrics_t m;
    char words[100];
    CHECK_U64(h.fault, PIPELINE_FAULT_NONE);
    CHECK_U64(h.faults, 0);
    act = TALKS_NONSENSE;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(health_of(p).faults >= 3);
    h = health_of(p);
    CHECK_U64(h.reasons & PIPELINE_HEALTH_FAULT, PIPELINE_HEALTH_FAULT);
    CHECK_U64(h.status, PIPELINE_DEGRADED);
    CHECK_HAS(h.message, "writer 0 was answered 99, which is no answer, with batch 1, ");
    snprintf(words, sizeof words, "(%" PRIu64 " such calls in a row, %" PRIu64 " in all)", h.faults, h.faults);
    CHECK_HAS(h.message, words);
    CHECK_U64(h.fault, PIPELINE_FAULT_ANSWER);
    CHECK_U64(h.fault_answer, 99);
    CHECK_U64(h.fault_writer, 0);
    CHECK_U64(h.fault_batch, 1);
    act = WORKS;
    HEALTHY(p);
    h = health_of(p);
    m = metrics_of(p);
    CHECK_U64(h.faults, m.bad_results);
    CHECK_U64(h.fault, PIPELINE_FAULT_ANSWER); /* the last one is remembered */
    CHECK(h.fault_age_ns > 0);
    CHECK_U64(writer_of(p, 0).bad_results, m.bad_results);
    CHECK_U64(writer_of(p, 0).restarts, 0);

    act = DIES;
    CHECK_STATUS(capture_number(p, 2), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).writer_restarts >= 2);
    h = health_of(p);
    CHECK_U64(h.reasons & PIPELINE_HEALTH_FAULT, PIPELINE_HEALTH_FAULT);
    CHECK_HAS(h.message, "writer 0 was ended by its callback with batch 2, ");
    CHECK_U64(h.fault, PIPELINE_FAULT_ENDED);
    CHECK_U64(h.fault_batch, 2);
    CHECK_U64(h.fault_answer, 0);
    act = WORKS;
    HEALTHY(p);
    h = health_of(p);
    m = metrics_of(p);
    CHECK_U64(h.faults, m.bad_results + m.writer_restarts);
    CHECK_U64(writer_of(p, 0).restarts, m.writer_restarts);
    CHECK_U64(writer_of(p, 0).bad_results, m.bad_results); /* of the id, whoever has it */
    CHECK_U64(m.panics, 0);
    END(p);
}

/* The figures of a writer that died are those of its id; another's are its own. */
static void faults_by_writer(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p;
    uint32_t i;
    uint64_t restarts = 0;
    c.writers = 3;
    p = start_pipeline(&c, &s);
    WAIT_FOR(metrics_of(p).writers_live == 3);
    act = DIES;
    CHECK_STATUS(capture_number(p, 2), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).writer_restarts >= 3);
    act = WORKS;
    HEALTHY(p);
    WAIT_FOR(metrics_of(p).writers_live == 3);
    for (i = 0; i < 3; i++)
        restarts += writer_of(p, i).restarts;
    CHECK_U64(restarts, metrics_of(p).writer_restarts);
    END(p);
}

static void retired_rings(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(0);
    pipeline_t *p;
    pipeline_health_t h;
    uint64_t deadline;
    c.ring_bytes = 4096;
    c.batch_size = 4;
    p = start_pipeline(&c, &s);
    act = PENDS;
    CHECK_STATUS(capture_number(p, 0), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).in_doubt == 1);
    act = WORKS;
    deadline = now_ms() + PATIENCE_MS;
    while (metrics_of(p).rings_retired == 0 && now_ms() < deadline)
        capture_number(p, 1);
    h = AILS(p, PIPELINE_HEALTH_STUCK | PIPELINE_HEALTH_RETIRED, PIPELINE_DEGRADED, "1 ring buffers are retired");
    CHECK_HAS(h.message, "batch 1 of writer 0 awaits its answer");
    CHECK_STATUS(pipeline_batch_complete(tokens[0], PIPELINE_STORE_OK), PIPELINE_OK);
    HEALTHY(p);
    END(p);
}

/* More words than fit: cut, and marked as cut; the gravest come first. */
static void too_many_words(void)
{
    pipeline_config_t c = config_of_tests();
    pipeline_storage_t s = storage_of_tests(PIPELINE_STORAGE_CONCURRENT);
    pipeline_t *p;
    pipeline_health_t h;
    int i;
    c.writers = 4;
    c.batch_size = 1;
    c.breaker_failures = 3;
    c.retry_initial_us = c.retry_max_us = 3600000000u;
    p = start_pipeline(&c, &s);
    act = TALKS_NONSENSE;
    for (i = 0; i < 3; i++)
        CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(health_of(p).circuit == PIPELINE_CIRCUIT_OPEN);
    WAIT_FOR(health_of(p).batches_retrying == 3);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_scale(p, 0), PIPELINE_OK);
    h = health_of(p);
    CHECK_U64(h.message[255], 0);
    CHECK_HAS(h.message, "paused; no writers; the circuit is open after 3 failures in a row");
    CHECK_U64(strlen(h.message), 255);
    CHECK(strcmp(h.message + 252, "...") == 0);
    act = WORKS;
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    c.breaker_failures = 0;
    c.writers = 1;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    HEALTHY(p);
    END(p);
}

/* Where the system call is refused, which a sandbox may do: in a process of its own. */
static void without_membarrier(void)
{
    pid_t child;
    fflush(NULL);
    child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0) {
        struct sock_filter lines[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog filter = {sizeof lines / sizeof *lines, lines};
        pipeline_config_t c;
        pipeline_storage_t s;
        pipeline_t *p;
        pipeline_health_t h;
        begin_child();
        CHECK_OR_STOP(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
            end_child(); /* this machine has no filters: nothing to see */
        c = config_of_tests();
        s = storage_of_tests(0);
        p = start_pipeline(&c, &s);
        h = health_of(p);
        CHECK_U64(h.reasons, PIPELINE_HEALTH_NO_MEMBARRIER);
        CHECK_U64(h.status, PIPELINE_HEALTHY);
        CHECK_HAS(h.message, "membarrier is refused");
        capture_numbers(p, 0, 100);
        END(p);
        end_child();
    }
    AWAIT_CHILD(child);
}

int main(void)
{
    without_membarrier(); /* before anything else has used the library in this process */
    what_the_owner_does();
    retries_and_the_circuit();
    a_stuck_writer(0);
    a_stuck_writer(PIPELINE_STORAGE_CONCURRENT);
    many_stuck_writers();
    stuck_elsewhere();
    pending_answers();
    writers_that_cannot_open();
    writers_that_die_first();
    faults();
    faults_by_writer();
    retired_rings();
    too_many_words();
    return SUMMARY();
}
