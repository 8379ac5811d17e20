/* Shared by the tests of health: a storage that behaves as the test tells it, and checks that health reports exactly what it should. */
#ifndef CAPTURE_PIPELINE_HEALTH_H
#define CAPTURE_PIPELINE_HEALTH_H

#include "../recorder.h"

/* The behaviour of the storage; set by the test. */
enum act { WORKS, RETRIES, HANGS, PENDS, DIES, TALKS_NONSENSE, REJECTS };
static _Atomic int act;
static atomic_int inside;
static _Atomic uint64_t tokens[64], pending;

CHECK_UNUSED static int32_t store(void *user_data, const pipeline_batch_t *batch)
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

CHECK_UNUSED static pipeline_config_t config_of_tests(void)
{
    pipeline_config_t c = config_defaults();
    c.storage_deadline_ms = 20;
    c.retry_initial_us = 1000;
    c.retry_max_us = 5000;
    c.breaker_failures = 0;
    return c;
}

CHECK_UNUSED static pipeline_storage_t storage_of_tests(uint32_t flags)
{
    pipeline_storage_t s;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = store;
    s.flags = flags;
    act = WORKS;
    pending = 0;
    return s;
}

CHECK_UNUSED static uint32_t reasons(const pipeline_t *p)
{
    return health_of(p).reasons & ~(uint32_t)PIPELINE_HEALTH_NO_MEMBARRIER;
}

CHECK_UNUSED static void healthy(const char *file, int line, const pipeline_t *p)
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

/* Health has exactly these reasons and this status, and its message contains these words. The pressure is not looked at: it changes while
 * events are captured. */
CHECK_UNUSED static pipeline_health_t ails(const char *file, int line, const pipeline_t *p, uint32_t why, uint32_t status,
                              const char *words)
{
    pipeline_health_t h = health_of(p);
    check_u64(file, line, "reasons", h.reasons & ~(uint32_t)(PIPELINE_HEALTH_NO_MEMBARRIER | PIPELINE_HEALTH_PRESSURE), why);
    check_u64(file, line, "status", h.status, status);
    check_has(file, line, "message", h.message, words);
    return h;
}
#define AILS(p, why, status, words) ails(__FILE__, __LINE__, (p), (why), (status), (words))

#endif
