/* Shared by the tests of the circuit breaker: a storage that fails for a while, and a configuration in which only the circuit delays
 * the next attempt of a batch. */
#ifndef CAPTURE_PIPELINE_CIRCUIT_H
#define CAPTURE_PIPELINE_CIRCUIT_H

#include "../recorder.h"

static atomic_bool dead; /* the storage fails every attempt */

CHECK_UNUSED static int32_t if_alive(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    return dead ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

#define CIRCUIT(p) metrics_of(p).circuit

CHECK_UNUSED static pipeline_config_t config_with(uint32_t failures, uint64_t initial_us, uint64_t longest_us)
{
    pipeline_config_t c = config_defaults();
    c.breaker_failures = failures;
    c.retry_initial_us = initial_us;
    c.retry_max_us = longest_us;
    c.retry_limit = UINT32_MAX;
    c.retry_max_age_ms = 3600000;
    c.poll_interval_ms = 60000;
    return c;
}

#endif
