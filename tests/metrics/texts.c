/* Writes the metrics of pipelines of every sort as text, for check.py: plain.txt and open.txt in the two formats, and in values.txt what
 * pipeline_metrics says of the same pipelines: "NAME<TAB>STORAGE<TAB>MEMBER<TAB>VALUE". All but one pipeline are paused or closed meanwhile. */
#include <capture_pipeline.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        int32_t status_ = (call);                                                                                      \
        if (status_ != PIPELINE_OK) {                                                                                  \
            fprintf(stderr, "%s: %d: %s\n", #call, (int)status_, pipeline_last_error());                               \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

enum { PIPELINES = 6 };

/* Stores what is even, and rejects the rest. */
static int32_t store_some(void *user_data, const pipeline_batch_t *batch)
{
    size_t i;
    (void)user_data;
    for (i = 0; i < batch->count; i++)
        if (*(const unsigned char *)PIPELINE_BATCH_EVENT(batch, i)->data % 2 != 0)
            MUST(pipeline_batch_set_rejected(batch, i));
    return PIPELINE_STORE_OK;
}

static pipeline_t *start(const char *name, pipeline_storage_t *storage, uint32_t writers)
{
    pipeline_config_t config;
    pipeline_t *p;
    MUST(pipeline_config_init(&config, sizeof config));
    config.name = name;
    config.writers = writers;
    config.ring_bytes = 65536;
    MUST(pipeline_start(&config, storage, &p));
    return p;
}

static void write_text(const pipeline_t *const *all, uint32_t format, const char *path)
{
    size_t length;
    FILE *file = fopen(path, "w");
    char *text;
    MUST(pipeline_metrics_text(all, PIPELINES, format, NULL, 0, &length));
    text = malloc(length + 1);
    if (file == NULL || text == NULL)
        exit(1);
    MUST(pipeline_metrics_text(all, PIPELINES, format, text, length + 1, &length));
    if (fwrite(text, 1, length, file) != length || fclose(file) != 0)
        exit(1);
    free(text);
}

static void value(FILE *to, const char *name, const char *storage, const char *member, uint64_t value)
{
    const char *c;
    for (c = name; *c != 0; c++)
        if (*c == '\n')
            fputs("\\n", to);
        else
            fputc(*c, to);
    fprintf(to, "\t%s\t%s\t%" PRIu64 "\n", storage, member, value);
}

static void write_values(FILE *to, const pipeline_t *p, const char *name, const char *storage)
{
    pipeline_metrics_t m;
    m.struct_size = sizeof m;
    MUST(pipeline_metrics(p, &m));
#define VALUE(member) value(to, name, storage, #member, m.member)
    VALUE(offered), VALUE(captured), VALUE(recovered), VALUE(dropped_full), VALUE(dropped_sampled), VALUE(dropped_rule);
    VALUE(refused_too_large), VALUE(refused_closed), VALUE(refused_invalid), VALUE(refused_busy), VALUE(refused_no_ring);
    VALUE(stored), VALUE(filtered), VALUE(dead_lettered), VALUE(discarded), VALUE(overwritten), VALUE(buffered);
    VALUE(in_flight), VALUE(in_doubt), VALUE(left), VALUE(torn), VALUE(batches), VALUE(retries), VALUE(bad_results);
    VALUE(writer_restarts), VALUE(writers_target), VALUE(writers_live), VALUE(writers_stuck), VALUE(rings);
    VALUE(rings_retired), VALUE(backlog_bytes), VALUE(bytes_captured), VALUE(bytes_stored), VALUE(latency_max_ns);
    VALUE(scale_ups), VALUE(scale_downs), VALUE(autoscaling), VALUE(circuit), VALUE(circuit_openings), VALUE(circuit_probes);
    VALUE(panics), VALUE(sampling_weight), VALUE(sampling), VALUE(weight_captured), VALUE(traces_untracked);
    VALUE(transformed), VALUE(transform_faults), VALUE(permit_waits), VALUE(offered_priority), VALUE(captured_priority);
    VALUE(dropped_full_priority), VALUE(dropped_sampled_priority), VALUE(dropped_rule_priority), VALUE(refused_priority);
    VALUE(stored_priority), VALUE(filtered_priority), VALUE(dead_lettered_priority), VALUE(discarded_priority);
    VALUE(overwritten_priority), VALUE(buffered_priority), VALUE(in_flight_priority), VALUE(in_doubt_priority);
    VALUE(left_priority);
}

int main(void)
{
    static const char *const names[PIPELINES] = {"plain", "same", "same", "a\"b\\c\nd\xc3\xa9 {x=\"1\"} # \r\x7f", "closed", "busy#7"};
    static const char *const kept_by[PIPELINES] = {"custom", "journal", "sqlite", "custom", "custom", "custom"};
    pipeline_storage_t own, storage;
    pipeline_t *p[PIPELINES];
    const pipeline_t *all[PIPELINES];
    pipeline_event_t event;
    unsigned char payload[8] = {0};
    FILE *values = fopen("values.txt", "w");
    int i, n;
    if (values == NULL)
        return 1;
    MUST(pipeline_storage_init(&own, sizeof own));
    own.store = store_some;
    own.flags = PIPELINE_STORAGE_CONCURRENT;
    memset(&event, 0, sizeof event);
    event.struct_size = sizeof event;
    event.kind = 1;
    event.data = payload;
    event.len = sizeof payload;
    event.flags = PIPELINE_EVENT_PRIORITY;
    for (i = 0; i < PIPELINES; i++) {
        storage = own;
        if (i == 1)
            MUST(pipeline_storage_journal("journal", NULL, sizeof storage, &storage));
        if (i == 2)
            MUST(pipeline_storage_sqlite("events.db", NULL, sizeof storage, &storage));
        all[i] = p[i] = start(names[i], &storage, (uint32_t)i % 4);
        if (i % 4 == 0)
            MUST(pipeline_scale(p[i], 1));
        for (n = 0; n < 500; n++) {
            payload[0] = (unsigned char)n;
            (void)pipeline_capture(p[i], 1, payload, sizeof payload);
            if (n % 10 == 0)
                (void)pipeline_capture_event(p[i], &event);
        }
        (void)pipeline_capture(p[i], 1, payload, 1 << 20);
        (void)pipeline_capture(p[i], 1, NULL, 8);
        MUST(pipeline_flush(p[i], 20000));
        if (i == 4)
            MUST(pipeline_close(p[i], 20000));
        else
            MUST(pipeline_pause(p[i]));
        (void)pipeline_capture(p[i], 1, payload, sizeof payload);
    }
    write_text(all, PIPELINE_METRICS_PROMETHEUS, "plain.txt");
    write_text(all, PIPELINE_METRICS_OPENMETRICS, "open.txt");
    for (i = 0; i < PIPELINES; i++)
        write_values(values, p[i], names[i], kept_by[i]);
    if (fclose(values) != 0)
        return 1;
    for (i = 0; i < PIPELINES; i++) {
        (void)pipeline_close(p[i], 20000);
        MUST(pipeline_destroy(p[i]));
    }
    return 0;
}
