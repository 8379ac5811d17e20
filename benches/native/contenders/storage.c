/* The library with its storages, as a program uses it: events are captured by the inlined capture into ring buffers that block when they are full.
 * What was written is read back, and the files are deleted. */
#define _GNU_SOURCE
#include "../harness/contender.h"
#include "../harness/store.h"

#include <capture_pipeline_fast.h>
#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct bench_setup setup;
static pipeline_t *pipeline;
static char directory[512], database[600];

/* --- the pipeline: the same settings for all storages --- */
static const char *start_pipeline(const struct bench_setup *given, pipeline_storage_t *storage) {
    pipeline_config_t config;
    pipeline_config_init(&config, sizeof config);
    config.writers = given->writers;
    config.overflow = PIPELINE_OVERFLOW_BLOCK;
    config.block_timeout_us = 60000000;
    return pipeline_start(&config, storage, &pipeline) < 0 ? pipeline_last_error() : NULL;
}

static const char *make_directory(const struct bench_setup *given) {
    const char *under = getenv("TMPDIR");
    setup = *given;
    snprintf(directory, sizeof directory, "%s/storage-%d", under ? under : "/tmp", (int)getpid());
    snprintf(database, sizeof database, "%s/events.db", directory);
    return mkdir(directory, 0700) ? "the directory cannot be made" : NULL;
}

static const char *wait_until_written(void) {
    struct timespec pause = {0, 50000};
    for (;;) {
        pipeline_metrics_t m;
        m.struct_size = sizeof m;
        if (pipeline_metrics(pipeline, &m) < 0) return pipeline_last_error();
        if (m.stored == m.captured && m.captured == m.offered) return NULL;
        if (m.captured != m.offered || m.dead_lettered || m.discarded || m.in_doubt) return "events were lost or are in doubt";
        nanosleep(&pause, NULL);
    }
}

static const char *stop(void) { return pipeline_close(pipeline, 60000) < 0 || pipeline_destroy(pipeline) < 0 ? pipeline_last_error() : NULL; }

/* Calls `each` for the path of every file in the directory. */
static void for_each_file(void (*each)(const char *)) {
    char path[1024];
    DIR *files = opendir(directory);
    if (!files) return;
    for (struct dirent *file; (file = readdir(files));) {
        if (file->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", directory, file->d_name);
        each(path);
    }
    closedir(files);
}

static uint64_t all_bytes;

static void add_size(const char *path) {
    struct stat of;
    if (!stat(path, &of)) all_bytes += (uint64_t)of.st_size;
}

static void delete_file(const char *path) { unlink(path); }

static uint64_t bytes_of_files(void) {
    all_bytes = 0;
    for_each_file(add_size);
    return all_bytes;
}

static void remove_files(void) {
    for_each_file(delete_file);
    rmdir(directory);
}

/* --- a producer handle with the inlined capture --- */
struct inlined { pipeline_producer_t *producer; pipeline_fast_t *fast; };

static void *open_inlined(uint32_t thread) {
    struct inlined *with = malloc(sizeof *with);
    (void)thread;
    if (!with || pipeline_producer_open(pipeline, &with->producer) < 0) return NULL;
    with->fast = pipeline_fast_of(with->producer);
    return with->fast ? with : NULL;
}

static void capture_inlined(void *handle, const struct bench_burst *burst) {
    struct inlined with = *(struct inlined *)handle;
    /* The benchmark of storages has payloads of 64 bytes. */
    for (uint32_t i = 0; i < burst->count; i++)
        pipeline_fast_capture(with.producer, with.fast, 7, burst->payloads + (size_t)(i & burst->mask) * burst->stride, 64);
}

static void close_inlined(void *handle) {
    pipeline_producer_close(((struct inlined *)handle)->producer);
    free(handle);
}

/* --- a storage that does nothing --- */
static int32_t store_nothing(void *user_data, const pipeline_batch_t *batch) {
    struct bench_store *store = user_data;
    __atomic_fetch_add(&store->count, batch->count, __ATOMIC_RELAXED);
    return PIPELINE_STORE_OK;
}

static const char *start_nothing(const struct bench_setup *given) {
    pipeline_storage_t storage;
    pipeline_storage_init(&storage, sizeof storage);
    storage.store = store_nothing;
    storage.user_data = given->store;
    if (given->writers > 1) storage.flags = PIPELINE_STORAGE_CONCURRENT;
    return start_pipeline(given, &storage);
}

/* --- the journal --- */
static const char *start_encoded(const struct bench_setup *given, uint32_t encoding) {
    pipeline_journal_options_t options;
    pipeline_storage_t storage;
    const char *failed = make_directory(given);
    if (failed) return failed;
    pipeline_journal_options_init(&options, sizeof options);
    options.encoding = encoding;
    if (pipeline_storage_journal(directory, &options, sizeof storage, &storage) < 0) return pipeline_last_error();
    return start_pipeline(given, &storage);
}

static const char *start_journal(const struct bench_setup *given) { return start_encoded(given, PIPELINE_JOURNAL_RAW); }
static const char *start_lz4(const struct bench_setup *given) { return start_encoded(given, PIPELINE_JOURNAL_COLUMNS_LZ4); }
static const char *start_zstd(const struct bench_setup *given) { return start_encoded(given, PIPELINE_JOURNAL_COLUMNS_ZSTD); }

/* Events that are asked for at once. */
enum { AT_ONCE = 256 };

static const char *read_journal(uint64_t *bytes, uint32_t flags, size_t at_once) {
    static pipeline_reader_event_t events[AT_ONCE];
    pipeline_reader_options_t options;
    pipeline_reader_losses_t losses = {.struct_size = sizeof losses};
    pipeline_reader_t *reader;
    size_t count = 1;
    int32_t status;
    uint64_t last = 0;
    *bytes = bytes_of_files();
    pipeline_reader_options_init(&options, sizeof options);
    options.flags = flags;
    if (pipeline_reader_open(directory, &options, &reader) < 0) return pipeline_last_error();
    for (size_t i = 0; i < AT_ONCE; i++) events[i].struct_size = sizeof events[i];
    while ((status = at_once > 1 ? pipeline_reader_next_many(reader, -1, events, at_once, &count) : pipeline_reader_next(reader, -1, events)) == PIPELINE_OK) {
        struct bench_batch batch = batch_begin(setup.store);
        for (size_t i = 0; i < count; i++) {
            if (events[i].len != 64) return "a payload has a wrong length";
            if (flags & PIPELINE_READER_TIME_ORDER && events[i].timestamp_ns < last) return "events are not in the order of their times";
            last = events[i].timestamp_ns;
            batch_event(&batch, events[i].data);
        }
        batch_end(&batch);
    }
    if (status < 0 || pipeline_reader_losses(reader, &losses) < 0) return pipeline_last_error();
    if (losses.any) return losses.details;
    return pipeline_reader_close(reader) < 0 ? pipeline_last_error() : NULL;
}

static const char *read_unordered(uint64_t *bytes) { return read_journal(bytes, 0, AT_ONCE); }
static const char *read_singly(uint64_t *bytes) { return read_journal(bytes, 0, 1); }
static const char *read_merged(uint64_t *bytes) { return read_journal(bytes, PIPELINE_READER_TIME_ORDER, AT_ONCE); }

/* --- traces for Perfetto: the first 24 bytes of a payload are four fields --- */
struct shown { uint64_t number; uint32_t a, b; double c; };
static const pipeline_field_t shown_fields[] = {
    PIPELINE_FIELD(struct shown, number, PIPELINE_TYPE_U64),
    PIPELINE_FIELD(struct shown, a, PIPELINE_TYPE_U32),
    PIPELINE_FIELD(struct shown, b, PIPELINE_TYPE_U32),
    PIPELINE_FIELD(struct shown, c, PIPELINE_TYPE_F64),
};

static const char *start_perfetto(const struct bench_setup *given) {
    pipeline_kind_definition_t kind;
    pipeline_storage_t storage;
    const char *failed = make_directory(given);
    if (failed) return failed;
    if (pipeline_storage_perfetto(directory, NULL, sizeof storage, &storage) < 0) return pipeline_last_error();
    if ((failed = start_pipeline(given, &storage))) return failed;
    pipeline_kind_definition_init(&kind, sizeof kind);
    kind.kind = 7;
    kind.name = "shown";
    kind.payload_size = 64;
    PIPELINE_KIND_FIELDS(&kind, shown_fields);
    return pipeline_kind_define(pipeline, &kind) < 0 ? pipeline_last_error() : NULL;
}

/* Fields of protobuf: an integer, or bytes. */
struct field { uint64_t number, value; const unsigned char *bytes; };

static int next_integer(const unsigned char **at, const unsigned char *end, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        unsigned char byte = *(*at)++;
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return 1;
    }
    return 0;
}

static int next_field(const unsigned char **at, const unsigned char *end, struct field *field) {
    uint64_t key;
    if (!next_integer(at, end, &key)) return 0;
    field->number = key >> 3;
    field->bytes = NULL;
    if ((key & 7) == 0) return next_integer(at, end, &field->value);
    if ((key & 7) == 1) field->value = 8;
    else if (!next_integer(at, end, &field->value)) return 0;
    if (field->value > (uint64_t)(end - *at)) return 0;
    field->bytes = *at;
    *at += field->value;
    return 1;
}

static struct bench_batch *traced;
static const char *trace_failed;

/* An event is there if its first annotation has a number. */
static void read_event(const unsigned char *at, const unsigned char *end) {
    struct field outer, inner;
    while (next_field(&at, end, &outer)) {
        if (outer.number != 4) continue;
        for (const unsigned char *from = outer.bytes, *to = from + outer.value; next_field(&from, to, &inner);) {
            if (inner.number != 3 && inner.number != 6) continue;
            /* Numbers of 2^63 and more are texts. */
            uint64_t number[2] = {inner.value, 0};
            if (inner.number == 6) {
                char text[32] = {0};
                memcpy(text, inner.bytes, inner.value < 31 ? inner.value : 31);
                number[0] = strtoull(text, NULL, 10);
            }
            batch_event(traced, number);
            return;
        }
        return;
    }
}

static void read_trace_file(const char *path) {
    FILE *file = strstr(path, ".perfetto-trace") ? fopen(path, "rb") : NULL;
    struct stat of;
    if (!file) return;
    unsigned char *all = fstat(fileno(file), &of) ? NULL : malloc((size_t)of.st_size + 1);
    if (!all || fread(all, 1, (size_t)of.st_size, file) != (size_t)of.st_size) trace_failed = "a trace cannot be read";
    else {
        struct field packet, part;
        const unsigned char *at = all, *end = all + of.st_size;
        while (next_field(&at, end, &packet))
            for (const unsigned char *from = packet.bytes, *to = from + packet.value; next_field(&from, to, &part);)
                if (part.number == 11) read_event(part.bytes, part.bytes + part.value);
        if (at != end) trace_failed = "a trace ends within a packet";
    }
    free(all);
    fclose(file);
}

static const char *read_traces(uint64_t *bytes) {
    struct bench_batch batch = batch_begin(setup.store);
    *bytes = bytes_of_files();
    traced = &batch;
    trace_failed = NULL;
    for_each_file(read_trace_file);
    batch_end(&batch);
    return trace_failed;
}

/* --- SQLite --- */
static const char *start_sqlite_with(const struct bench_setup *given, const pipeline_sqlite_options_t *options) {
    pipeline_storage_t storage;
    const char *failed = make_directory(given);
    if (failed) return failed;
    if (pipeline_storage_sqlite(database, options, sizeof storage, &storage) < 0) return pipeline_last_error();
    return start_pipeline(given, &storage);
}

static const char *start_sqlite(const struct bench_setup *given) {
    pipeline_sqlite_options_t options;
    pipeline_sqlite_options_init(&options, sizeof options);
    options.flags = PIPELINE_SQLITE_NO_INDEXES;
    options.synchronous = PIPELINE_SQLITE_SYNC_OFF;
    return start_sqlite_with(given, &options);
}

static const char *start_sqlite_default(const struct bench_setup *given) { return start_sqlite_with(given, NULL); }

static const char *read_sqlite(uint64_t *bytes) {
    sqlite3 *db;
    sqlite3_stmt *rows;
    *bytes = bytes_of_files();
    if (sqlite3_open_v2(database, &db, SQLITE_OPEN_READONLY, NULL) || sqlite3_prepare_v2(db, "SELECT payload FROM events", -1, &rows, NULL))
        return "the database cannot be read";
    struct bench_batch batch = batch_begin(setup.store);
    int step;
    while ((step = sqlite3_step(rows)) == SQLITE_ROW) {
        if (sqlite3_column_bytes(rows, 0) != 64) return "a payload has a wrong length";
        batch_event(&batch, sqlite3_column_blob(rows, 0));
    }
    batch_end(&batch);
    sqlite3_finalize(rows);
    sqlite3_close(db);
    return step == SQLITE_DONE ? NULL : "reading the database failed";
}

#define INLINED open_inlined, capture_inlined, close_inlined, stop, NULL, 0, 0

const struct storage_contender *storage_contenders(size_t *count) {
    static const struct storage_contender all[] = {
        {{"no storage", "pipeline_fast_capture; the storage answers OK and does nothing", start_nothing, INLINED},
         wait_until_written, NULL, NULL, NULL, 1},
        {{"journal", "pipeline_fast_capture; all defaults: raw blocks", start_journal, INLINED},
         wait_until_written, NULL, read_unordered, remove_files, 0},
        {{"journal, columns, lz4", "pipeline_fast_capture; PIPELINE_JOURNAL_COLUMNS_LZ4", start_lz4, INLINED},
         wait_until_written, NULL, read_unordered, remove_files, 0},
        {{"journal, columns, zstd", "pipeline_fast_capture; PIPELINE_JOURNAL_COLUMNS_ZSTD", start_zstd, INLINED},
         wait_until_written, NULL, read_unordered, remove_files, 0},
        {{"Perfetto", "pipeline_fast_capture; all defaults: one file of packets; a kind with four fields", start_perfetto, INLINED},
         wait_until_written, NULL, read_traces, remove_files, 0},
        {{"read, unordered", "pipeline_reader_next_many, 256 events at once; a raw journal", start_journal, INLINED},
         wait_until_written, NULL, read_unordered, remove_files, 0},
        {{"read, unordered, one by one", "pipeline_reader_next; a raw journal", start_journal, INLINED},
         wait_until_written, NULL, read_singly, remove_files, 0},
        {{"read, merged", "pipeline_reader_next_many with PIPELINE_READER_TIME_ORDER, 256 events at once; a raw journal", start_journal, INLINED},
         wait_until_written, NULL, read_merged, remove_files, 0},
        {{"SQLite", "pipeline_fast_capture; without indexes, synchronous off", start_sqlite, INLINED},
         wait_until_written, NULL, read_sqlite, remove_files, 0},
        {{"SQLite, defaults", "pipeline_fast_capture; all defaults", start_sqlite_default, INLINED},
         wait_until_written, NULL, read_sqlite, remove_files, 0},
        {{"SQLite, until closed", "pipeline_fast_capture; all defaults; until the indexes are made and the database is closed", start_sqlite_default, INLINED},
         NULL, NULL, read_sqlite, remove_files, 0},
    };
    *count = sizeof all / sizeof *all;
    return all;
}
