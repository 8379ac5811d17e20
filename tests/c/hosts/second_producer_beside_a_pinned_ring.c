/* max_rings is 2, and one ring is pinned by a batch without an answer. The successor that waits for that ring's producer is not
 * counted, so a second producer gets a ring of its own. A third one does not. */
#include "../recorder.h"

static atomic_int offered;
static _Atomic uint64_t token;

static void listen(void *user_data, int32_t level, const char *text)
{
    (void)user_data;
    (void)level;
    if (strstr(text, "gets a successor") != NULL)
        offered++;
}

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    if (token != 0)
        return PIPELINE_STORE_OK;
    token = batch->token;
    return PIPELINE_STORE_PENDING;
}

int main(void)
{
    pipeline_storage_t s;
    pipeline_config_t c = config_defaults();
    pipeline_producer_t *first = NULL, *second = NULL, *third = NULL;
    pipeline_t *p;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    CHECK_STATUS(pipeline_log_callback(listen, NULL, PIPELINE_LOG_WARN), PIPELINE_OK);
    s.store = store;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    c.max_rings = 2;
    c.storage_deadline_ms = 20;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_producer_open(p, &first), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_capture(first, 1, "x", 1), PIPELINE_OK);
    WAIT_FOR(offered == 1);
    CHECK_U64(metrics_of(p).rings, 1);
    CHECK_STATUS(pipeline_producer_open(p, &second), PIPELINE_OK);
    CHECK_U64(metrics_of(p).rings, 2);
    CHECK_FAILS(pipeline_producer_open(p, &third), PIPELINE_ERR_LIMIT, "max_rings: 2 allowed");
    CHECK_STATUS(pipeline_producer_capture(second, 1, "x", 1), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).stored == 1);
    CHECK_STATUS(pipeline_batch_complete(token, PIPELINE_STORE_OK), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_close(first), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_close(second), PIPELINE_OK);
    END(p);
    CHECK_STATUS(pipeline_log_callback(NULL, NULL, PIPELINE_LOG_WARN), PIPELINE_OK);
    return SUMMARY();
}
