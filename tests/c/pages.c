/* The C snippets of docs/rules.md, transforms.md, metrics.md, journal.md, reader.md, sqlite.md, timelines.md and flight_recorder.md, compiled and run. Each stands here word for word, but for its
 * indentation; tests/readme.sh compares them. */
#include "recorder.h"

#include <fcntl.h>

static recorder_t rec = RECORDER_INIT;

static pipeline_t *begin(void)
{
    pipeline_config_t config = config_defaults();
    pipeline_storage_t storage = recorder_storage(&rec);
    return start_pipeline(&config, &storage);
}

static int32_t offer(pipeline_t *p, uint32_t kind, uint64_t trace, const void *data, size_t len)
{
    pipeline_event_t event = event_of(kind, data, len);
    event.correlation_id = trace;
    return pipeline_capture_event(p, &event);
}

/* ---- docs/rules.md ---- */

static int32_t sets_rules(pipeline_t *p)
{
    return pipeline_rules_set_text(p,
        "noise:  drop if kind = \"heartbeat\" and payload_bytes < 16\n"
        "tokens: redact request.token\n"
        "errors: keep trace if status = \"error\"\n"
        "rest:   sample 1/10\n", 0);
}

static void rules(void)
{
    static const pipeline_enum_value_t values[] = {{0, "fine"}, {1, "error"}};
    static const pipeline_field_t fields[] = {
        {"status", PIPELINE_TYPE_ENUM, PIPELINE_TYPE_U8, 0, 0, NULL, PIPELINE_HINT_NONE, 2, values},
        {"token", PIPELINE_TYPE_STRING, 0, 1, 7, NULL, PIPELINE_HINT_NONE, 0, NULL},
    };
    pipeline_kind_definition_t request;
    pipeline_t *p = begin();
    uint64_t trace, cut = 0;
    size_t n;
    pipeline_kind_definition_init(&request, sizeof request);
    request.kind = 2;
    request.name = "request";
    PIPELINE_KIND_FIELDS(&request, fields);
    CHECK_STATUS(sets_rules(p), PIPELINE_OK);
    /* Until it is defined, nothing of what names it is in effect. */
    CHECK_STATUS(pipeline_kind_define(p, &request), PIPELINE_OK);
    CHECK_STATUS(pipeline_kind_name(p, 1, "heartbeat"), PIPELINE_OK);
    CHECK_STATUS(offer(p, 1, 1, "short", 5), PIPELINE_DROPPED_BY_RULE);
    for (trace = 1; trace <= 200; trace++)
        cut += offer(p, 2, trace, "\0secret1", 8) == PIPELINE_SAMPLED;
    CHECK(cut > 120 && cut < 200);
    CHECK_STATUS(offer(p, 2, 201, "\1secret1", 8), PIPELINE_OK);
    CHECK_STATUS(offer(p, 1, 201, "a heartbeat that is long", 24), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 200 - cut + 2);
    for (n = 0; n < rec.stored.count; n++)
        if (rec.stored.at[n].kind == 2)
            CHECK_U64(rec.stored.at[n].value, rec.stored.at[n].correlation_id == 201 ? 1 : 0);
    END(p);
}

/* ---- docs/transforms.md ---- */

/* Drops events that carry no text, and hides what follows a colon. */
static int32_t hide_secrets(void *user_data, const pipeline_event_view_t *event, pipeline_rewrite_t *rewrite)
{
    const char *text = event->data, *colon = event->len > 0 ? memchr(text, ':', event->len) : NULL;
    (void)user_data;
    if (event->len == 0)
        return PIPELINE_TRANSFORM_FILTER;
    if (colon == NULL)
        return PIPELINE_TRANSFORM_KEEP;
    rewrite->len = (size_t)(colon - text); /* the payload up to there */
    return PIPELINE_TRANSFORM_REWRITE;
}

static void transforms(void)
{
    pipeline_t *p = begin();
    size_t before = rec.stored.count;
    pipeline_transform_t transform;
    pipeline_transform_init(&transform, sizeof transform);
    transform.transform = hide_secrets;
    pipeline_transform(p, &transform);
    CHECK_STATUS(offer(p, 1, 1, "", 0), PIPELINE_OK);
    CHECK_STATUS(offer(p, 1, 2, "plain", 5), PIPELINE_OK);
    CHECK_STATUS(offer(p, 1, 3, "user:secret", 11), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(rec.stored.count - before, 2);
    CHECK_U64(rec.stored.at[before].len, 5);
    CHECK_U64(rec.stored.at[before + 1].len, 4);
    CHECK(memcmp(&rec.stored.at[before + 1].value, "user", 4) == 0);
    CHECK_U64(metrics_of(p).filtered, 1);
    CHECK_U64(metrics_of(p).transformed, 1);
    END(p);
}

/* ---- docs/metrics.md ---- */

static char *metrics_text(const pipeline_t *const *pipelines, size_t count)
{
    size_t length;
    char *text;
    pipeline_metrics_text(pipelines, count, PIPELINE_METRICS_PROMETHEUS, NULL, 0, &length);
    text = malloc(length + 1);
    pipeline_metrics_text(pipelines, count, PIPELINE_METRICS_PROMETHEUS, text, length + 1, &length);
    return text;
}

static void metrics(void)
{
    pipeline_t *p = begin();
    const pipeline_t *pipelines[1];
    char *text;
    pipelines[0] = p;
    text = metrics_text(pipelines, 1);
    CHECK_HAS(text, "# TYPE ");
    free(text);
    END(p);
}

/* ---- docs/journal.md, docs/reader.md, docs/sqlite.md ---- */

static pipeline_t *starts_with_a_journal(pipeline_config_t config)
{
    pipeline_t *pipeline = NULL;
    pipeline_journal_options_t options;
    pipeline_storage_t storage;
    pipeline_journal_options_init(&options, sizeof options);
    options.max_bytes = 1ull << 30;
    if (pipeline_storage_journal("journal", &options, sizeof storage, &storage) != PIPELINE_OK)
        fprintf(stderr, "%s\n", pipeline_last_error());
    else
        pipeline_start(&config, &storage, &pipeline);
    return pipeline;
}

/* docs/timelines.md */
static pipeline_t *starts_with_traces(pipeline_config_t config)
{
    pipeline_t *pipeline = NULL;
    pipeline_perfetto_options_t options;
    pipeline_storage_t storage;
    pipeline_perfetto_options_init(&options, sizeof options);
    options.file_age_ms = 60000;                 /* another file each minute */
    options.max_bytes = (uint64_t)4 << 30;       /* of which the oldest are deleted */
    if (pipeline_storage_perfetto("traces", &options, sizeof storage, &storage) != PIPELINE_OK)
        return NULL;
    CHECK_STATUS(pipeline_start(&config, &storage, &pipeline), PIPELINE_OK);
    return pipeline;
}

static int reads_a_journal(void)
{
    pipeline_reader_options_t options;
    pipeline_reader_t *reader;
    pipeline_reader_event_t event;
    pipeline_reader_losses_t losses;

    pipeline_reader_options_init(&options, sizeof options);
    options.flags = PIPELINE_READER_TIME_ORDER;
    if (pipeline_reader_open("journal", &options, &reader) != PIPELINE_OK)
        return puts(pipeline_last_error()), 1;
    event.struct_size = sizeof event;
    while (pipeline_reader_next(reader, 0, &event) == PIPELINE_OK)
        printf("%u: %zu bytes\n", (unsigned)event.kind, event.len);
    losses.struct_size = sizeof losses;
    if (pipeline_reader_losses(reader, &losses) == PIPELINE_OK)
        fputs(losses.details, stderr);
    pipeline_reader_close(reader);
    return 0;
}

static pipeline_t *starts_with_sqlite(pipeline_config_t config)
{
    pipeline_t *pipeline = NULL;
    pipeline_sqlite_options_t options;
    pipeline_storage_t storage;
    pipeline_sqlite_options_init(&options, sizeof options);
    options.max_bytes = 1ull << 30;
    if (pipeline_storage_sqlite("events.db", &options, sizeof storage, &storage) != PIPELINE_OK)
        fprintf(stderr, "%s\n", pipeline_last_error());
    else
        pipeline_start(&config, &storage, &pipeline);
    return pipeline;
}

/* What it prints while the standard output is a file. */
static void printed(int (*print)(void), char *text, size_t room)
{
    int kept, file;
    ssize_t len;
    fflush(stdout);
    kept = dup(1);
    CHECK_OR_STOP(kept >= 0 && freopen("printed", "w", stdout) != NULL);
    CHECK_U64(print(), 0);
    fflush(stdout);
    CHECK_OR_STOP(dup2(kept, 1) == 1);
    close(kept);
    file = open("printed", O_RDONLY);
    len = read(file, text, room - 1);
    close(file);
    text[len < 0 ? 0 : len] = 0;
}

static void storages(void)
{
    pipeline_t *p = starts_with_a_journal(config_defaults());
    char text[100];
    CHECK_OR_STOP(p != NULL);
    CHECK_STATUS(offer(p, 7, 0, "five!", 5), PIPELINE_OK);
    END(p);
    printed(reads_a_journal, text, sizeof text);
    CHECK_HAS(text, "7: 5 bytes\n");
    p = starts_with_traces(config_defaults());
    CHECK_OR_STOP(p != NULL);
    CHECK_STATUS(offer(p, 7, 0, "five!", 5), PIPELINE_OK);
    END(p);
    CHECK(system("grep -q five! traces/*.perfetto-trace") == 0);
    p = starts_with_sqlite(config_defaults());
    CHECK_OR_STOP(p != NULL);
    CHECK_STATUS(offer(p, 7, 0, "five!", 5), PIPELINE_OK);
    END(p);
    CHECK(access("events.db", F_OK) == 0);
}

/* ---- docs/flight_recorder.md ---- */

static int writes_a_snapshot(pipeline_t *pipeline, const char *directory)
{
    pipeline_snapshot_t snapshot = {.struct_size = sizeof snapshot};
    if (pipeline_snapshot(pipeline, directory, NULL, &snapshot) != PIPELINE_OK) {
        fprintf(stderr, "%s\n", pipeline_last_error()); /* the program goes on all the same */
        return 0;
    }
    return (int)snapshot.events;
}

static void flight_recorder(void)
{
    pipeline_config_t config = config_defaults();
    pipeline_storage_t storage = recorder_storage(&rec);
    pipeline_rule_metrics_t asked = {.struct_size = sizeof asked};
    pipeline_t *pipeline = NULL;
    char large[5000] = "";
    config.writers = 0;                                /* nothing is stored, */
    config.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;   /* so each thread's ring keeps its last events: */
    config.ring_bytes = 4 << 20;                       /* 4 MiB a thread */
    CHECK_OR_STOP(pipeline_start(&config, &storage, &pipeline) == PIPELINE_OK);
    pipeline_rules_set_text(pipeline, "slow: snapshot if kind = 7 and payload_bytes > 4000", 0);
    pipeline_snapshot_on_trigger(pipeline, "flight", NULL);
    CHECK_STATUS(offer(pipeline, 7, 0, large, 4000), PIPELINE_OK);
    CHECK_STATUS(offer(pipeline, 7, 0, large, 4001), PIPELINE_OK);
    CHECK_STATUS(pipeline_rule_metrics(pipeline, 0, &asked), PIPELINE_OK);
    CHECK_U64(asked.snapshots_asked, 1);
    WAIT_FOR(system("ls flight/*.journal > /dev/null 2>&1") == 0);
    CHECK_U64(writes_a_snapshot(pipeline, "other"), 2);
    END(pipeline);
}

int main(void)
{
    flight_recorder();
    rules();
    transforms();
    metrics();
    storages();
    return SUMMARY();
}
