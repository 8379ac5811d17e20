/* Health: each reason appears with its cause and disappears with it. The message names the writer, the fault and the count: pauses and
 * scaling by the owner, retries, retired rings, a system without membarrier, and more text than fits. */
#include "health.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* The system call is refused, as in a sandbox; in a process of its own. */
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
            end_child(); /* this machine has no seccomp filters */
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
    c.retry_initial_us = c.retry_max_us = 3600000000u; /* so that they stay in back-off */
    p = start_pipeline(&c, &s);
    act = RETRIES;
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    WAIT_FOR(reasons(p) == PIPELINE_HEALTH_RETRYING);
    h = AILS(p, PIPELINE_HEALTH_RETRYING, PIPELINE_DEGRADED,
             "1 batch waits for another attempt, the oldest is batch 1, tried 1 time");
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
    h = AILS(p, PIPELINE_HEALTH_STUCK | PIPELINE_HEALTH_RETIRED, PIPELINE_DEGRADED, "1 ring buffer is retired");
    CHECK_HAS(h.message, "batch 1 of writer 0 awaits its answer");
    CHECK_STATUS(pipeline_batch_complete(tokens[0], PIPELINE_STORE_OK), PIPELINE_OK);
    HEALTHY(p);
    END(p);
}

/* A message that does not fit is cut, and marked as cut; the gravest reasons come first. */
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

int main(void)
{
    without_membarrier(); /* before anything else has used the library in this process */
    what_the_owner_does();
    retries_and_the_circuit();
    retired_rings();
    too_many_words();
    return SUMMARY();
}
