/* Typed kinds: defines the fields of payloads, captures structs, and asks questions about the fields with SQL. If the sqlite3
 * shell is installed, its answers are checked; otherwise only the ledger of the library is checked.
 *
 *     cc typed.c $(pkg-config --cflags --libs capture_pipeline) -o typed && ./typed
 */
#define _POSIX_C_SOURCE 200809L
#include <capture_pipeline.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KIND_ALLOCATION = 1, KIND_REQUEST = 2 };

/* The payloads are plain structs. Their bytes are captured as they are. */
struct allocation {
    uint64_t size;
    const void *site;
    uint32_t thread;
    uint8_t operation; /* one of the operations below */
};
static const pipeline_enum_value_t operations[] = { { 0, "malloc" }, { 1, "calloc" }, { 2, "free" }, { 3, "realloc" } };
static const pipeline_field_t allocation_fields[] = {
    PIPELINE_FIELD_SHOWN(struct allocation, size, PIPELINE_TYPE_U64, PIPELINE_HINT_BYTES, NULL),
    PIPELINE_FIELD(struct allocation, site, PIPELINE_TYPE_ADDRESS),
    PIPELINE_FIELD(struct allocation, thread, PIPELINE_TYPE_U32),
    PIPELINE_FIELD_ENUM(struct allocation, operation, PIPELINE_TYPE_U8, operations),
};

/* The path reaches to the end of the payload: each event has as many bytes of it as it needs. */
struct request {
    uint64_t duration;
    double load;
    char path[48];
};
static const pipeline_field_t request_fields[] = {
    PIPELINE_FIELD_SHOWN(struct request, duration, PIPELINE_TYPE_U64, PIPELINE_HINT_NANOSECONDS, NULL),
    PIPELINE_FIELD(struct request, load, PIPELINE_TYPE_F64),
    PIPELINE_FIELD_REST(struct request, path, PIPELINE_TYPE_STRING),
};

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, pipeline_last_error());
    return 1;
}

static int define_kinds(pipeline_t *pipeline)
{
    pipeline_kind_definition_t d;
    pipeline_kind_definition_init(&d, sizeof d);
    d.kind = KIND_ALLOCATION;
    d.name = "allocation";
    d.category = "memory";
    PIPELINE_KIND_FIELDS(&d, allocation_fields);
    d.payload_size = sizeof(struct allocation); /* with the padding at its end */
    if (pipeline_kind_define(pipeline, &d) < 0)
        return 0;
    pipeline_kind_definition_init(&d, sizeof d);
    d.kind = KIND_REQUEST;
    d.name = "request";
    d.role = PIPELINE_ROLE_COMPLETE; /* a span: it ends when it is captured, and has lasted for its duration */
    d.duration_field = "duration";
    PIPELINE_KIND_FIELDS(&d, request_fields);
    return pipeline_kind_define(pipeline, &d) >= 0;
}

/* Runs a query in the sqlite3 shell, prints the answer and compares it. Without a shell there is nothing to compare. */
static int check_query(const char *database, const char *sql, const char *expected)
{
    char command[1024], answer[256];
    size_t length;
    FILE *shell;
    snprintf(command, sizeof command, "sqlite3 -readonly '%s' \"%s\" 2>/dev/null", database, sql);
    shell = popen(command, "r");
    if (shell == NULL)
        return 1;
    length = fread(answer, 1, sizeof answer - 1, shell);
    answer[length] = '\0';
    if (pclose(shell) != 0 && system("sqlite3 --version >/dev/null 2>&1") != 0) {
        printf("(sqlite3 is not installed: the database was not checked)\n");
        return 1;
    }
    printf("%s\n%s", sql, answer);
    return strcmp(answer, expected) == 0;
}

int main(void)
{
    char directory[] = "typed-XXXXXX", database[64];
    pipeline_storage_t storage;
    pipeline_t *pipeline = NULL;
    pipeline_metrics_t m;
    uint64_t i;
    int good = 1;

    if (mkdtemp(directory) == NULL)
        return 1;
    snprintf(database, sizeof database, "%s/events.db", directory);
    if (pipeline_storage_sqlite(database, NULL, sizeof storage, &storage) < 0)
        return fail("sqlite");
    if (pipeline_start(NULL, &storage, &pipeline) < 0)
        return fail("start");
    if (!define_kinds(pipeline))
        return fail("define");

    for (i = 0; i < 1000; i++) {
        struct allocation a;
        memset(&a, 0, sizeof a); /* the padding is captured, too */
        a.size = i % 10 == 0 ? UINT64_MAX - i : 16 * (i % 4);
        a.site = (const void *)(uintptr_t)(0x400000 + i % 3);
        a.thread = (uint32_t)(i % 2);
        a.operation = (uint8_t)(i % 4);
        good = pipeline_capture(pipeline, KIND_ALLOCATION, &a, sizeof a) == PIPELINE_OK && good;
    }
    for (i = 0; i < 8; i++) {
        struct request r;
        int length;
        r.duration = 1000 * (i + 1);
        r.load = 0.1 * (double)i;
        length = snprintf(r.path, sizeof r.path, "/items/%u", (unsigned)i);
        good = pipeline_capture(pipeline, KIND_REQUEST, &r, offsetof(struct request, path) + (size_t)length) == PIPELINE_OK &&
               good;
    }
    if (pipeline_close(pipeline, 10000) < 0)
        return fail("close");
    memset(&m, 0, sizeof m);
    m.struct_size = sizeof m;
    pipeline_metrics(pipeline, &m);
    good = good && m.stored == 1008;
    pipeline_destroy(pipeline);

    good = check_query(database,
                       "SELECT operation, count(*), sum(size) FROM kind_allocation WHERE typeof(size) = 'integer' GROUP BY operation",
                       "calloc|250|4000\nfree|200|6400\nmalloc|200|0\nrealloc|250|12000\n") && good;
    good = check_query(database, "SELECT site, max(length(size)) FROM kind_allocation GROUP BY site",
                       "0x400000|20\n0x400001|20\n0x400002|20\n") && good;
    good = check_query(database, "SELECT path, duration FROM kind_request WHERE load > 0.45 ORDER BY duration DESC LIMIT 2",
                       "/items/7|8000\n/items/6|7000\n") && good;

    unlink(database);
    rmdir(directory);
    return good ? 0 : 1;
}
