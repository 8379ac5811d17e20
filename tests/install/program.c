/* The installation tests build this program in every way that the library can be linked. It stores some events through a storage of its
 * own, checks that the ledger balances, and prints one line. With SYSTEM_SQLITE it also uses the system's libsqlite3 to read the events that
 * the library's own copy of SQLite has written. With OTHER_RUST it calls a second library written in Rust. */
#include <capture_pipeline.h>
#include <stdio.h>
#include <string.h>

#ifdef SYSTEM_SQLITE
#include <sqlite3.h>
#endif
#ifdef OTHER_RUST
int other_rust_catches_its_own_panic(void);
#endif

#define EVENTS 1000

static uint64_t sum;

static int32_t store(void *user_data, const pipeline_batch_t *batch) {
    size_t i;
    (void)user_data;
    for (i = 0; i < batch->count; i++) {
        uint32_t value;
        memcpy(&value, PIPELINE_BATCH_EVENT(batch, i)->data, sizeof value);
        sum += value;
    }
    return PIPELINE_STORE_OK;
}

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, pipeline_last_error());
    return 1;
}

#ifdef SYSTEM_SQLITE
/* Stores the events with the library's SQLite, then counts them with the system's. */
static int through_both_copies_of_sqlite(const char *path) {
    pipeline_storage_t storage;
    pipeline_t *p = NULL;
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    uint32_t i;

    if (strcmp(sqlite3_libversion(), SQLITE_VERSION) != 0) return fail("sqlite3_libversion is not the system's");
    if (pipeline_storage_sqlite(path, NULL, sizeof storage, &storage) != PIPELINE_OK) return fail("pipeline_storage_sqlite");
    if (pipeline_start(NULL, &storage, &p) != PIPELINE_OK) return fail("pipeline_start");
    for (i = 1; i <= EVENTS; i++) {
        if (pipeline_capture(p, 1, &i, sizeof i) != PIPELINE_OK) return fail("pipeline_capture");
    }
    if (pipeline_close(p, 10000) != PIPELINE_OK) return fail("pipeline_close");
    while (pipeline_destroy(p) == PIPELINE_ERR_BUSY) {
    }
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "SELECT count(*) FROM events", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW || sqlite3_column_int(statement, 0) != EVENTS) {
        return fail("the system's SQLite does not find the events");
    }
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return 0;
}
#endif

int main(int argc, char **argv) {
    pipeline_storage_t storage;
    pipeline_metrics_t metrics;
    pipeline_t *p = NULL;
    uint32_t i;

    if (pipeline_version() != PIPELINE_VERSION) return fail("the library is not the header's");
    if (pipeline_storage_init(&storage, sizeof storage) != PIPELINE_OK) return fail("pipeline_storage_init");
    storage.store = store;
    if (pipeline_start(NULL, &storage, &p) != PIPELINE_OK) return fail("pipeline_start");
    for (i = 1; i <= EVENTS; i++) {
        if (pipeline_capture(p, 1, &i, sizeof i) != PIPELINE_OK) return fail("pipeline_capture");
    }
    if (pipeline_close(p, 10000) != PIPELINE_OK) return fail("pipeline_close");
    metrics.struct_size = sizeof metrics;
    if (pipeline_metrics(p, &metrics) != PIPELINE_OK) return fail("pipeline_metrics");
    if (metrics.offered != EVENTS || metrics.captured != EVENTS || metrics.stored != EVENTS) return fail("the ledger");
    if (sum != (uint64_t)EVENTS * (EVENTS + 1) / 2) return fail("the sum");

#ifdef SYSTEM_SQLITE
    if (argc != 2) return fail("the path of a database is missing");
    if (through_both_copies_of_sqlite(argv[1]) != 0) return 1;
#endif
    (void)argc;
    (void)argv;
#ifdef OTHER_RUST
    if (other_rust_catches_its_own_panic() != 1) return fail("the other library");
#endif
    while (pipeline_destroy(p) == PIPELINE_ERR_BUSY) {
        /* A writer is still ending. */
    }
    puts("stored 1000 of 1000");
    return 0;
}
