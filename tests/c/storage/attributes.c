/* Attributes of a pipeline: each storage has them once, outside of all counts, and the last value of a name counts. */
#include "../recorder.h"

#include <sqlite3.h>

/* Build flags: -lsqlite3 */

typedef struct {
    uint64_t events;
    char last[70][1100]; /* by number: the payload of the last one */
    size_t len[70];
} seen_t;

static int32_t note(recorder_t *r, const pipeline_batch_t *batch)
{
    seen_t *seen = r->extra;
    for (size_t i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        if (e->kind != PIPELINE_KIND_ATTRIBUTE)
            continue;
        seen->events++;
        CHECK_OR_STOP(e->node_id < 70 && e->len <= sizeof seen->last[0]);
        memcpy(seen->last[e->node_id], e->data, e->len);
        seen->len[e->node_id] = e->len;
    }
    return PIPELINE_STORE_OK;
}

static bool is(const seen_t *seen, size_t number, const char *name, const char *value)
{
    const size_t length = strlen(name);
    return seen->len[number] == 1 + length + strlen(value) && (size_t)seen->last[number][0] == length &&
           memcmp(seen->last[number] + 1, name, length) == 0 &&
           memcmp(seen->last[number] + 1 + length, value, strlen(value)) == 0;
}

static void as_events(uint32_t flags)
{
    recorder_t *r = recorder_new();
    seen_t *seen = calloc(1, sizeof *seen);
    pipeline_storage_t s = recorder_storage(r);
    char name[80], value[1100];
    CHECK_OR_STOP(seen != NULL);
    r->extra = seen;
    r->answer = note;
    s.flags = flags;
    pipeline_t *p = start_pipeline(NULL, &s);
    CHECK_STATUS(pipeline_attribute(p, "host", "alpha"), PIPELINE_OK);
    CHECK_STATUS(pipeline_attribute(p, "service.name", "tests"), PIPELINE_OK);
    CHECK_STATUS(pipeline_attribute(p, "empty", ""), PIPELINE_OK);
    CHECK_STATUS(pipeline_attribute(p, "host", "beta"), PIPELINE_OK);
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).offered, 1);
    CHECK_U64(metrics_of(p).stored, 1);
    if (flags & PIPELINE_STORAGE_META) {
        CHECK_U64(seen->events, 4);
        CHECK(is(seen, 0, "host", "beta") && is(seen, 1, "service.name", "tests") && is(seen, 2, "empty", ""));
    } else {
        CHECK_U64(seen->events, 0);
    }

    /* Errors. */
    CHECK_FAILS(pipeline_attribute(NULL, "a", "b"), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_attribute(p, NULL, "b"), PIPELINE_ERR_NULL, "name");
    CHECK_FAILS(pipeline_attribute(p, "a", NULL), PIPELINE_ERR_NULL, "value");
    CHECK_FAILS(pipeline_attribute(p, "", "b"), PIPELINE_ERR_INVALID, "name: a letter");
    CHECK_FAILS(pipeline_attribute(p, "9", "b"), PIPELINE_ERR_INVALID, "\"9\" given");
    CHECK_FAILS(pipeline_attribute(p, "a b", "b"), PIPELINE_ERR_INVALID, "\"a b\" given");
    CHECK_FAILS(pipeline_attribute(p, "a\xff", "b"), PIPELINE_ERR_INVALID, "name: UTF-8 expected, byte 1 is none");
    CHECK_FAILS(pipeline_attribute(p, "a", "b\xc3"), PIPELINE_ERR_INVALID, "value: UTF-8 expected, byte 1 is none");
    memset(name, 'n', sizeof name);
    name[64] = 0;
    CHECK_FAILS(pipeline_attribute(p, name, "b"), PIPELINE_ERR_INVALID, "name: 1 to 63 bytes allowed, 64 given");
    name[63] = 0;
    memset(value, 'v', sizeof value);
    value[1025] = 0;
    CHECK_FAILS(pipeline_attribute(p, name, value), PIPELINE_ERR_INVALID, "1024 bytes allowed, 1025 given");
    value[1024] = 0;
    CHECK_STATUS(pipeline_attribute(p, name, value), PIPELINE_OK);
    for (int i = 4; i < 64; i++) {
        snprintf(name, sizeof name, "n%d", i);
        int32_t status;
        do /* while too many of them wait */
            status = pipeline_attribute(p, name, value);
        while (status == PIPELINE_ERR_FULL);
        CHECK_STATUS(status, PIPELINE_OK);
    }
    CHECK_FAILS(pipeline_attribute(p, "more", ""), PIPELINE_ERR_LIMIT, "64 attributes allowed");
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_attribute(p, "host", "gamma"), PIPELINE_OK);
    CHECK_LEDGER(p);
    END(p);
    if (flags & PIPELINE_STORAGE_META)
        CHECK(is(seen, 0, "host", "gamma") && seen->len[63] > 0 && seen->len[64] == 0);
    free(seen);
    recorder_free(r);
    s = recorder_storage(recorder_new());
    p = start_pipeline(NULL, &s);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_FAILS(pipeline_attribute(p, "a", "b"), PIPELINE_ERR_CLOSED, "closed");
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    recorder_free(s.user_data);
}

/* A journal has them in each segment, also where they are set after the first events. */
static void in_journal(void)
{
    pipeline_storage_t s;
    pipeline_reader_t *reader = NULL;
    pipeline_reader_attribute_t a = { .struct_size = sizeof a };
    pipeline_reader_event_t e = { .struct_size = sizeof e };
    CHECK_STATUS(pipeline_storage_journal("journal", NULL, sizeof s, &s), PIPELINE_OK);
    pipeline_t *p = start_pipeline(NULL, &s);
    CHECK_STATUS(pipeline_attribute(p, "host", "alpha"), PIPELINE_OK);
    CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_attribute(p, "version", "1.2"), PIPELINE_OK);
    CHECK_STATUS(pipeline_attribute(p, "host", "beta"), PIPELINE_OK);
    END(p);
    CHECK_STATUS(pipeline_reader_open("journal", NULL, &reader), PIPELINE_OK);
    CHECK_STATUS(pipeline_reader_next(reader, 0, &e), PIPELINE_OK);
    CHECK_STATUS(pipeline_reader_attribute(reader, e.generation, 0, &a), PIPELINE_OK);
    CHECK(strcmp(a.name, "host") == 0 && strcmp(a.value, "beta") == 0);
    CHECK_STATUS(pipeline_reader_attribute(reader, e.generation, 1, &a), PIPELINE_OK);
    CHECK(strcmp(a.name, "version") == 0 && strcmp(a.value, "1.2") == 0);
    CHECK_FAILS(pipeline_reader_attribute(reader, e.generation, 2, &a), PIPELINE_ERR_NOT_FOUND, "index 2");
    CHECK_FAILS(pipeline_reader_attribute(reader, e.generation + 1, 0, &a), PIPELINE_ERR_NOT_FOUND, "index 0");
    CHECK_FAILS(pipeline_reader_attribute(reader, e.generation, 0, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_reader_attribute(NULL, e.generation, 0, &a), PIPELINE_ERR_NULL, "reader");
    a.struct_size = 3;
    CHECK_FAILS(pipeline_reader_attribute(reader, e.generation, 0, &a), PIPELINE_ERR_VERSION, "struct_size");
    pipeline_reader_close(reader);
}

static void value_of(sqlite3 *db, const char *sql, const char *expected)
{
    sqlite3_stmt *statement = NULL;
    CHECK_OR_STOP(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK);
    CHECK_OR_STOP(sqlite3_step(statement) == SQLITE_ROW);
    CHECK_HAS((const char *)sqlite3_column_text(statement, 0), expected);
    sqlite3_finalize(statement);
}

static void in_sqlite(void)
{
    sqlite3 *db = NULL;
    for (int run = 0; run < 2; run++) {
        pipeline_storage_t s;
        CHECK_STATUS(pipeline_storage_sqlite("events.db", NULL, sizeof s, &s), PIPELINE_OK);
        pipeline_t *p = start_pipeline(NULL, &s);
        CHECK_STATUS(pipeline_attribute(p, "host", run ? "second" : "first"), PIPELINE_OK);
        CHECK_STATUS(pipeline_attribute(p, "version", "0"), PIPELINE_OK);
        CHECK_STATUS(capture_number(p, 1), PIPELINE_OK);
        CHECK_STATUS(pipeline_attribute(p, "version", "1.2"), PIPELINE_OK);
        END(p);
    }
    CHECK_OR_STOP(sqlite3_open("events.db", &db) == SQLITE_OK);
    value_of(db, "SELECT count(*) FROM run_attributes_view", "4");
    value_of(db, "SELECT count(*) FROM run_attributes_view WHERE name = 'version' AND value = '1.2'", "2");
    value_of(db, "SELECT a.value FROM events e JOIN run_attributes a ON a.run = e.run AND a.name = 'host' ORDER BY e.id", "first");
    value_of(db, "SELECT a.value FROM events e JOIN run_attributes a ON a.run = e.run AND a.name = 'host' ORDER BY e.id DESC", "second");
    sqlite3_close(db);
}

int main(void)
{
    as_events(0);
    as_events(PIPELINE_STORAGE_META);
    in_journal();
    in_sqlite();
    return SUMMARY();
}
