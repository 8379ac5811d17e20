/* Observing and changing a running pipeline: metrics, metrics of each writer, health; number of writers, batch size; pause and
 * resume. Captures continue during all of this, and no event is lost. */
#include <capture_pipeline.h>

#include <stdio.h>
#include <string.h>

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    (void)batch;
    return PIPELINE_STORE_OK;
}

static pipeline_metrics_t metrics(pipeline_t *pipeline)
{
    pipeline_metrics_t m;
    memset(&m, 0, sizeof m);
    m.struct_size = sizeof m; /* a newer library fills only the fields that this program knows */
    pipeline_metrics(pipeline, &m);
    return m;
}

static pipeline_health_t health(pipeline_t *pipeline)
{
    pipeline_health_t h;
    memset(&h, 0, sizeof h);
    h.struct_size = sizeof h;
    pipeline_health(pipeline, &h);
    return h;
}

static void show(const char *when, pipeline_t *pipeline)
{
    pipeline_metrics_t m = metrics(pipeline);
    printf("%-13s captured %llu, stored %llu, buffered %llu, writers %llu of %llu; health: %s\n", when,
           (unsigned long long)m.captured, (unsigned long long)m.stored, (unsigned long long)m.buffered,
           (unsigned long long)m.writers_live, (unsigned long long)m.writers_target, health(pipeline).message);
}

static int capture_many(pipeline_t *pipeline)
{
    int i;
    for (i = 0; i < 4000; i++)
        if (pipeline_capture(pipeline, 1, &i, sizeof i) != PIPELINE_OK)
            return 0;
    return 1;
}

int main(void)
{
    pipeline_config_t config;
    pipeline_storage_t storage;
    pipeline_writer_metrics_t w;
    pipeline_metrics_t m;
    pipeline_t *pipeline = NULL;
    uint32_t i;
    int good = 1;

    pipeline_config_init(&config, sizeof config);
    config.name = "scaling"; /* also appears in the names of its threads */
    config.writers = 0;      /* without writers, events are only buffered */
    pipeline_storage_init(&storage, sizeof storage);
    storage.store = store;
    storage.flags = PIPELINE_STORAGE_CONCURRENT; /* several writers may call store at the same time */
    if (pipeline_start(&config, &storage, &pipeline) < 0) {
        fprintf(stderr, "start: %s\n", pipeline_last_error());
        return 1;
    }
    good = capture_many(pipeline) && good;
    show("no writers:", pipeline);
    good = good && metrics(pipeline).buffered == 4000 && (health(pipeline).reasons & PIPELINE_HEALTH_NO_WRITERS);

    good = good && pipeline_scale(pipeline, 4) == PIPELINE_OK;
    good = capture_many(pipeline) && good;
    good = good && pipeline_flush(pipeline, 10000) == PIPELINE_OK;
    show("four writers:", pipeline);
    good = good && metrics(pipeline).stored == 8000;

    memset(&w, 0, sizeof w);
    w.struct_size = sizeof w;
    for (i = 0; pipeline_writer_metrics(pipeline, i, &w) == PIPELINE_OK; i++)
        printf("  writer %u: %llu attempts, %llu events\n", (unsigned)w.writer_id, (unsigned long long)w.attempts,
               (unsigned long long)w.events);
    good = good && i == 4;

    /* To change settings: read them, change some, update. Either all changes apply or none. */
    memset(&config, 0, sizeof config);
    config.struct_size = sizeof config;
    good = good && pipeline_config_read(pipeline, &config) == PIPELINE_OK && config.writers == 4;
    config.batch_size = 64;
    config.writers = 1;
    good = good && pipeline_update(pipeline, &config) == PIPELINE_OK;
    config.ring_bytes *= 2; /* ring buffers cannot be resized; the error names the field */
    if (pipeline_update(pipeline, &config) != PIPELINE_ERR_FIXED)
        good = 0;
    printf("  update refused: %s\n", pipeline_last_error());

    good = good && pipeline_pause(pipeline) == PIPELINE_OK;
    good = capture_many(pipeline) && good;
    show("paused:", pipeline);
    good = good && metrics(pipeline).buffered == 4000;
    good = good && pipeline_resume(pipeline) == PIPELINE_OK && pipeline_flush(pipeline, 10000) == PIPELINE_OK;

    good = good && pipeline_close(pipeline, 10000) == PIPELINE_OK;
    m = metrics(pipeline);
    show("closed:", pipeline);
    printf("latency from capture to stored: p50 %.0f us, p99 %.0f us, maximum %.0f us\n",
           (double)m.latency_p50_ns / 1e3, (double)m.latency_p99_ns / 1e3, (double)m.latency_max_ns / 1e3);
    good = good && m.captured == 12000 && m.stored == 12000 && m.left == 0;
    pipeline_destroy(pipeline);
    return good ? 0 : 1;
}
