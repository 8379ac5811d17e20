/* Stores events in a journal, and reads them back: all of them, the events of one trace in the order of time, the names of their kinds. */
#define _POSIX_C_SOURCE 200809L
#include <capture_pipeline.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRACES 100
#define CALLS 30 /* per trace */

enum { KIND_CALL = 1, KIND_RETURN = 2 };

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, pipeline_last_error());
    return 1;
}

static int capture(pipeline_t *pipeline, uint32_t kind, uint64_t trace, const char *text)
{
    pipeline_event_t event;
    memset(&event, 0, sizeof event);
    event.struct_size = sizeof event;
    event.kind = kind;
    event.correlation_id = trace;
    event.data = text;
    event.len = strlen(text);
    return pipeline_capture_event(pipeline, &event) == PIPELINE_OK;
}

static int write_events(const char *directory)
{
    pipeline_journal_options_t options;
    pipeline_storage_t storage;
    pipeline_t *pipeline = NULL;
    uint64_t trace, call;
    int good = 1;

    pipeline_journal_options_init(&options, sizeof options);
    options.max_bytes = 64 << 20;                 /* above this size the oldest segments are deleted */
    options.sync = PIPELINE_JOURNAL_SYNC_FLUSH;   /* what was flushed survives a power loss */
    if (pipeline_storage_journal(directory, &options, sizeof storage, &storage) < 0)
        return fail("journal");
    if (pipeline_start(NULL, &storage, &pipeline) < 0) /* takes over the storage, even if it fails */
        return fail("start");
    pipeline_kind_name(pipeline, KIND_CALL, "call");
    pipeline_kind_name(pipeline, KIND_RETURN, "return");
    for (trace = 1; trace <= TRACES; trace++) {
        for (call = 1; call <= CALLS; call++)
            good = capture(pipeline, KIND_CALL, trace, "f(1, 2)") && good;
        good = capture(pipeline, KIND_RETURN, trace, "3") && good;
    }
    if (!good || pipeline_flush(pipeline, 10000) < 0)
        return fail("flush");
    /* Other processes could read the journal from here on. The close seals its segments. */
    if (pipeline_close(pipeline, 10000) < 0)
        return fail("close");
    return pipeline_destroy(pipeline);
}

/* How many events a reader gives, and how many of them are of the kind KIND_RETURN; -1 if something is wrong. */
static long read_events(const char *directory, const pipeline_reader_options_t *options, long *returns)
{
    pipeline_reader_t *reader;
    pipeline_reader_event_t event;
    pipeline_reader_losses_t losses;
    uint64_t last = 0;
    long events = 0;
    int status;

    if (pipeline_reader_open(directory, options, &reader) < 0)
        return fail("open"), -1;
    *returns = 0;
    memset(&event, 0, sizeof event);
    event.struct_size = sizeof event;
    while ((status = pipeline_reader_next(reader, 0, &event)) == PIPELINE_OK) {
        events++;
        *returns += event.kind == KIND_RETURN && event.len == 1 && memcmp(event.data, "3", 1) == 0;
        if ((options->flags & PIPELINE_READER_TIME_ORDER) && event.timestamp_ns < last)
            events = -1000000;
        last = event.timestamp_ns;
    }
    memset(&losses, 0, sizeof losses);
    losses.struct_size = sizeof losses;
    if (status != PIPELINE_END || pipeline_reader_losses(reader, &losses) < 0)
        events = -1;
    else if (losses.details[0] != '\0') {
        fputs(losses.details, stderr);
        events = -1;
    }
    pipeline_reader_close(reader);
    return events;
}

static void remove_directory(const char *directory)
{
    struct dirent *entry;
    char path[600];
    DIR *all = opendir(directory);
    while (all != NULL && (entry = readdir(all)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        unlink(path);
    }
    if (all != NULL)
        closedir(all);
    rmdir(directory);
}

int main(void)
{
    char directory[] = "journal-XXXXXX";
    pipeline_reader_options_t options;
    long events, returns, of_trace, one_return;

    if (mkdtemp(directory) == NULL || write_events(directory) != 0)
        return 1;
    pipeline_reader_options_init(&options, sizeof options);
    events = read_events(directory, &options, &returns);
    options.flags = PIPELINE_READER_TIME_ORDER;
    options.correlation_id = 7;
    of_trace = read_events(directory, &options, &one_return);
    printf("%ld events, %ld of them 'return'; %ld events of trace 7\n", events, returns, of_trace);
    remove_directory(directory);
    return !(events == TRACES * (CALLS + 1) && returns == TRACES && of_trace == CALLS + 1 && one_return == 1);
}
