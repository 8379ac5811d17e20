/* The shortest complete program: start, capture, close, destroy.
 *
 *     cc quickstart.c $(pkg-config --cflags --libs capture_pipeline) -o quickstart && ./quickstart */
#include <capture_pipeline.h>

#include <stdio.h>
#include <string.h>

/* The payload of an event of kind 1. The library treats payloads as bytes, so any layout works. */
struct request {
    unsigned id;
    unsigned microseconds;
};

struct totals {
    unsigned long events, microseconds;
};

/* The storage. A thread of the library calls it with a batch of events. */
static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    struct totals *totals = user_data;
    size_t i;
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *event = PIPELINE_BATCH_EVENT(batch, i);
        struct request request;
        memcpy(&request, event->data, sizeof request);
        totals->events += 1;
        totals->microseconds += request.microseconds;
    }
    return PIPELINE_STORE_OK;
}

static int fail(const char *what, int32_t status)
{
    fprintf(stderr, "%s: %s (%s)\n", what, pipeline_status_message(status), pipeline_last_error());
    return 1;
}

int main(void)
{
    struct totals totals = {0, 0};
    pipeline_storage_t storage;
    pipeline_t *pipeline = NULL;
    unsigned id;
    int32_t status;

    pipeline_storage_init(&storage, sizeof storage);
    storage.store = store;
    storage.user_data = &totals;
    status = pipeline_start(NULL, &storage, &pipeline); /* NULL: all defaults */
    if (status < 0)
        return fail("start", status);

    for (id = 0; id < 10000; id++) {
        struct request request;
        request.id = id;
        request.microseconds = id % 100;
        status = pipeline_capture(pipeline, 1, &request, sizeof request);
        if (status < 0)
            return fail("capture", status);
    }

    /* close waits until everything is stored, here for at most ten seconds. */
    status = pipeline_close(pipeline, 10000);
    if (status < 0)
        return fail("close", status);
    pipeline_destroy(pipeline);

    printf("stored %lu events with a sum of %lu microseconds\n", totals.events, totals.microseconds);
    return totals.events == 10000 && totals.microseconds == 495000 ? 0 : 1;
}
