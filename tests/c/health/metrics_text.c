/* The text of pipeline_metrics_text: the sizes, the errors, and that its values are those of the other calls. tests/metrics.sh has it read by others. */
#include "../recorder.h"
#include "../fields.h"

/* The text of some pipelines; the caller frees it. */
static char *text_of(const pipeline_t *const *pipelines, size_t count, uint32_t format)
{
    size_t length = 0, room;
    char *text;
    CHECK_STATUS(pipeline_metrics_text(pipelines, count, format, NULL, 0, &length), PIPELINE_OK);
    room = length + 1;
    text = malloc(room);
    CHECK_OR_STOP(text != NULL);
    memset(text, 'x', room);
    CHECK_STATUS(pipeline_metrics_text(pipelines, count, format, text, room, &length), PIPELINE_OK);
    CHECK(length < room);
    CHECK_U64(strlen(text), length);
    return text;
}

/* The value of the line that begins so; UINT64_MAX: there is none, or two. */
static uint64_t value_of(const char *text, const char *begin)
{
    uint64_t found = UINT64_MAX;
    const char *at;
    size_t length = strlen(begin);
    for (at = text; (at = strstr(at, begin)) != NULL; at += length) {
        if (at != text && at[-1] != '\n')
            continue;
        if (found != UINT64_MAX)
            return UINT64_MAX;
        found = strtoull(at + length, NULL, 10);
    }
    return found;
}

static uint64_t value_for(const char *text, const char *metric, const char *labels)
{
    char begin[512];
    snprintf(begin, sizeof begin, "capture_pipeline_%s{%s} ", metric, labels);
    return value_of(text, begin);
}

/* Counts of the ledger, which stand still while the pipeline is paused. */
static const struct {
    const char *metric;
    size_t offset;
} counts[] = {
    {"events_offered_total", offsetof(pipeline_metrics_t, offered)},
    {"events_captured_total", offsetof(pipeline_metrics_t, captured)},
    {"events_dropped_full_total", offsetof(pipeline_metrics_t, dropped_full)},
    {"events_refused_invalid_total", offsetof(pipeline_metrics_t, refused_invalid)},
    {"events_refused_too_large_total", offsetof(pipeline_metrics_t, refused_too_large)},
    {"events_stored_total", offsetof(pipeline_metrics_t, stored)},
    {"events_discarded_total", offsetof(pipeline_metrics_t, discarded)},
    {"events_buffered", offsetof(pipeline_metrics_t, buffered)},
    {"batches_total", offsetof(pipeline_metrics_t, batches)},
    {"writers_live", offsetof(pipeline_metrics_t, writers_live)},
    {"rings", offsetof(pipeline_metrics_t, rings)},
    {"captured_bytes_total", offsetof(pipeline_metrics_t, bytes_captured)},
    {"stored_bytes_total", offsetof(pipeline_metrics_t, bytes_stored)},
    {"backlog_bytes", offsetof(pipeline_metrics_t, backlog_bytes)},
    {"events_captured_weight_total", offsetof(pipeline_metrics_t, weight_captured)},
    {"priority_events_captured_total", offsetof(pipeline_metrics_t, captured_priority)},
    {"priority_events_stored_total", offsetof(pipeline_metrics_t, stored_priority)},
};

static void the_values_are_those_of_the_other_calls(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    pipeline_metrics_t m;
    pipeline_event_t urgent = event_of(1, "now", 3);
    const pipeline_t *list[1];
    char *text;
    const char *labels = "pipeline=\"values\",storage=\"custom\"";
    char writer_labels[128];
    uint64_t events = 0;
    uint32_t i;
    size_t n;
    c.name = "values";
    c.writers = 2;
    c.max_event_bytes = 64;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    list[0] = p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 1000);
    urgent.flags = PIPELINE_EVENT_PRIORITY;
    CHECK_STATUS(pipeline_capture_event(p, &urgent), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p, 1, NULL, 8), PIPELINE_ERR_INVALID);
    CHECK_STATUS(pipeline_capture(p, 1, labels, 65), PIPELINE_ERR_TOO_LARGE);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).writers_live == 2);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 1000, 1010);
    text = text_of(list, 1, PIPELINE_METRICS_PROMETHEUS);
    m = metrics_of(p);
    CHECK_U64(m.captured, 1011);
    CHECK_U64(m.buffered, 10);
    for (n = 0; n < COUNT(counts); n++)
        if (!CHECK_U64(value_for(text, counts[n].metric, labels), get(&m, counts[n].offset, 8)))
            fprintf(stderr, "%s\n", counts[n].metric);
    /* Of the 1001 stored events, those with a time of the library's are in the histogram: all of them. */
    CHECK_U64(value_for(text, "latency_seconds_count", labels), 1001);
    CHECK_U64(value_for(text, "latency_seconds_bucket", "pipeline=\"values\",storage=\"custom\",le=\"+Inf\""), 1001);
    CHECK_U64(value_for(text, "health_paused", labels), 1);
    CHECK_U64(value_for(text, "health_closed", labels), 0);
    CHECK_U64(value_for(text, "health_status", labels), PIPELINE_DEGRADED);
    for (i = 0; i < 2; i++) {
        pipeline_writer_metrics_t w = {.struct_size = sizeof w};
        CHECK_STATUS(pipeline_writer_metrics(p, i, &w), PIPELINE_OK);
        snprintf(writer_labels, sizeof writer_labels, "%s,writer=\"%u\"", labels, w.writer_id);
        CHECK_U64(value_for(text, "writer_events_total", writer_labels), w.events);
        CHECK_U64(value_for(text, "writer_attempts_total", writer_labels), w.attempts);
        CHECK_U64(value_for(text, "writer_bytes_total", writer_labels), w.bytes);
        events += value_for(text, "writer_events_total", writer_labels);
    }
    CHECK_U64(events, 1001);
    free(text);
    END(p);
}

static void sizes_and_errors(void)
{
    static recorder_t rec[2] = {RECORDER_INIT, RECORDER_INIT};
    pipeline_storage_t s[2] = {recorder_storage(&rec[0]), recorder_storage(&rec[1])};
    pipeline_t *a = start_pipeline(NULL, &s[0]), *b = start_pipeline(NULL, &s[1]);
    const pipeline_t *both[3];
    char *text, small[64];
    size_t asked = 0, length = 0;
    both[0] = a, both[1] = b, both[2] = a;
    /* No pipelines: an empty text, and in OpenMetrics its end. */
    CHECK_STATUS(pipeline_metrics_text(NULL, 0, PIPELINE_METRICS_PROMETHEUS, small, sizeof small, &length), PIPELINE_OK);
    CHECK_U64(length, 0);
    CHECK_U64(small[0], 0);
    CHECK_STATUS(pipeline_metrics_text(NULL, 0, PIPELINE_METRICS_OPENMETRICS, small, sizeof small, &length), PIPELINE_OK);
    CHECK(strcmp(small, "# EOF\n") == 0);
    /* Errors write nothing. */
    length = 77;
    CHECK_FAILS(pipeline_metrics_text(NULL, 1, 0, small, sizeof small, &length), PIPELINE_ERR_NULL, "pipelines");
    CHECK_FAILS(pipeline_metrics_text(both, 1, 0, NULL, 1, &length), PIPELINE_ERR_NULL, "buffer");
    CHECK_FAILS(pipeline_metrics_text(both, 1, 0, small, sizeof small, NULL), PIPELINE_ERR_NULL, "length");
    CHECK_FAILS(pipeline_metrics_text(both, 1, 2, small, sizeof small, &length), PIPELINE_ERR_INVALID, "2 given");
    CHECK_FAILS(pipeline_metrics_text(both, 3, 0, small, sizeof small, &length), PIPELINE_ERR_INVALID, "pipelines[2]");
    both[1] = NULL;
    CHECK_FAILS(pipeline_metrics_text(both, 2, 0, small, sizeof small, &length), PIPELINE_ERR_NULL, "pipelines[1]");
    both[1] = b;
    CHECK_U64(length, 77);
    CHECK(strcmp(small, "# EOF\n") == 0);
    /* A buffer that is too small gets an empty text, and nothing is written behind it. */
    CHECK_STATUS(pipeline_metrics_text(both, 2, 0, NULL, 0, &asked), PIPELINE_OK);
    memset(small, 'x', sizeof small);
    CHECK_FAILS(pipeline_metrics_text(both, 2, 0, small, 32, &length), PIPELINE_ERR_LIMIT, "32 given");
    CHECK_U64(length, asked);
    CHECK_U64(small[0], 0);
    CHECK_U64(small[32], 'x');
    CHECK_FAILS(pipeline_metrics_text(both, 2, 0, small, 0, &length), PIPELINE_ERR_LIMIT, "0 given");
    /* So does one that has no room for the NUL. */
    memset(small, 'x', sizeof small);
    CHECK_FAILS(pipeline_metrics_text(NULL, 0, PIPELINE_METRICS_OPENMETRICS, small, 6, &length), PIPELINE_ERR_LIMIT, "7 needed, 6 given");
    CHECK_U64(length, 6);
    CHECK_U64(small[0], 0);
    CHECK_U64(small[6], 'x');
    /* Both have the same name: the second one is told apart. */
    text = text_of(both, 2, PIPELINE_METRICS_OPENMETRICS);
    CHECK(strstr(text, "capture_pipeline_uptime_seconds{pipeline=\"pipeline\",storage=\"custom\"} ") != NULL);
    CHECK(strstr(text, "capture_pipeline_uptime_seconds{pipeline=\"pipeline#") != NULL);
    CHECK(strcmp(text + strlen(text) - 7, "\n# EOF\n") == 0);
    free(text);
    /* One that is closed still has its figures. */
    CHECK_STATUS(pipeline_close(b, PATIENCE_MS), PIPELINE_OK);
    text = text_of(both, 2, PIPELINE_METRICS_PROMETHEUS);
    CHECK(strstr(text, "capture_pipeline_health_closed{pipeline=\"pipeline\",storage=\"custom\"} 0\n") != NULL);
    CHECK(strstr(text, "\"} 1\n") != NULL);
    free(text);
    CHECK_STATUS(pipeline_destroy(b), PIPELINE_OK);
    END(a);
}

static pipeline_t *inside;

/* A storage that asks for the text in its call. */
static int32_t asks(void *user_data, const pipeline_batch_t *batch)
{
    const pipeline_t *list[1];
    char *text, labels[128];
    snprintf(labels, sizeof labels, "pipeline=\"pipeline\",storage=\"custom\",writer=\"%u\"", batch->writer_id);
    list[0] = inside;
    text = text_of(list, 1, PIPELINE_METRICS_PROMETHEUS);
    CHECK_U64(value_for(text, "events_in_flight", "pipeline=\"pipeline\",storage=\"custom\""), 5);
    CHECK_U64(value_for(text, "writer_state", labels), PIPELINE_WRITER_IN_CALL);
    free(text);
    atomic_fetch_add((atomic_int *)user_data, 1);
    return PIPELINE_STORE_OK;
}

static void in_a_callback(void)
{
    static atomic_int calls;
    pipeline_storage_t s;
    pipeline_t *p;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = asks;
    s.user_data = &calls;
    inside = p = start_pipeline(NULL, &s);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 0, 5);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(atomic_load(&calls), 1);
    END(p);
}

static void in_a_forked_child(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = start_pipeline(NULL, &s);
    const pipeline_t *list[1];
    size_t length = 0;
    pid_t child;
    list[0] = p;
    child = fork();
    if (child == 0) {
        begin_child();
        CHECK_FAILS(pipeline_metrics_text(list, 1, 0, NULL, 0, &length), PIPELINE_ERR_FORKED, "parent");
        end_child();
    }
    AWAIT_CHILD(child);
    END(p);
}

int main(void)
{
    the_values_are_those_of_the_other_calls();
    sizes_and_errors();
    in_a_callback();
    in_a_forked_child();
    return SUMMARY();
}
