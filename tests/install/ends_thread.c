/* A storage whose first call ends its own thread. That unwinds through the library's frames, so it works only if linking has kept the
 * library's unwind tables. The writer is replaced, and every event is stored. */
#include <capture_pipeline.h>
#include <pthread.h>
#include <stdio.h>

#define EVENTS 1000

static int ended;
static uint64_t stored;

static int32_t store(void *user_data, const pipeline_batch_t *batch) {
    (void)user_data;
    if (!ended) {
        ended = 1;
        pthread_exit(NULL);
    }
    stored += batch->count;
    return PIPELINE_STORE_OK;
}

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, pipeline_last_error());
    return 1;
}

int main(void) {
    pipeline_storage_t storage;
    pipeline_metrics_t metrics;
    pipeline_t *p = NULL;
    uint32_t i;

    if (pipeline_storage_init(&storage, sizeof storage) != PIPELINE_OK) return fail("pipeline_storage_init");
    storage.store = store;
    if (pipeline_start(NULL, &storage, &p) != PIPELINE_OK) return fail("pipeline_start");
    for (i = 1; i <= EVENTS; i++) {
        if (pipeline_capture(p, 1, &i, sizeof i) != PIPELINE_OK) return fail("pipeline_capture");
    }
    if (pipeline_close(p, 30000) != PIPELINE_OK) return fail("pipeline_close");
    metrics.struct_size = sizeof metrics;
    if (pipeline_metrics(p, &metrics) != PIPELINE_OK) return fail("pipeline_metrics");
    if (metrics.stored != EVENTS || stored != EVENTS) return fail("the ledger");
    if (metrics.writer_restarts == 0) return fail("no writer was replaced");
    while (pipeline_destroy(p) == PIPELINE_ERR_BUSY) {
        /* A writer is still ending. */
    }
    puts("stored 1000 of 1000");
    return 0;
}
