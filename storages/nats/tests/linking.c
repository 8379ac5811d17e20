/* However both libraries are linked, the storage works; run.sh builds this program in each way. With the argument `two`, the program's copy of libcapture_pipeline
 * is hidden from the storage, which calls another one: it says so, and nothing is lost.
 * Build flags: -lcapture_pipeline_nats */
#include "stored.h"

static atomic_int heard;

static void hear(void *user_data, int32_t level, const char *message)
{
    (void)user_data;
    heard += level == PIPELINE_LOG_ERROR && strstr(message, "two copies of libcapture_pipeline") != NULL;
}

int main(int argc, char **argv)
{
    server_t server;
    pipeline_storage_t storage;
    pipeline_config_t config = patient_config();
    pipeline_nats_options_t options;
    pipeline_t *p = NULL;
    bool destroyed = false, two = argc > 1 && strcmp(argv[1], "two") == 0;
    CHECK_STATUS(pipeline_log_callback(hear, NULL, PIPELINE_LOG_ERROR), PIPELINE_OK);
    server_new(&server, "");
    server_start(&server, "");
    options = nats_options(&server);
    CHECK_OR_STOP(CHECK_STATUS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_OK));
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&config, &storage, &p), PIPELINE_OK));
    capture_range(p, 0, 1000, 64);
    if (two) {
        WAIT_FOR(strstr(nats_status(&storage).text, "two copies of libcapture_pipeline") != NULL);
        CHECK_STATUS(pipeline_close(p, 100), PIPELINE_ERR_TIMEOUT);
        CHECK_U64(metrics_of(p).left, 1000);
        CHECK_U64(metrics_of(p).stored, 0);
        CHECK_LEDGER(p);
        WAIT_FOR(destroyed || (destroyed = pipeline_destroy(p) == PIPELINE_OK));
    } else {
        CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
        CHECK_U64(metrics_of(p).stored, 1000);
        CHECK_U64(heard, 0);
        END(p);
    }
    server_kill(&server);
    return SUMMARY();
}
