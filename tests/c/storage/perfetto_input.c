/* Bad input for the Perfetto storage, a program that puts functions of its own around it, and events that cannot be in a trace. The result is a status with a
 * message, and a ledger that balances. */
#include "../fields.h"
#include "../hosts/perfetto.h"

#include <stdatomic.h>

static void nulls_and_sizes(void)
{
    static const size_t wrong[] = {0, 1, 4, 4097, (size_t)UINT32_MAX, SIZE_MAX};
    union {
        pipeline_perfetto_options_t options;
        pipeline_storage_t storage;
        unsigned char bytes[4096 + 16];
    } room;
    pipeline_storage_t s;
    size_t i;
    CHECK_FAILS(pipeline_perfetto_options_init(NULL, sizeof room.options), PIPELINE_ERR_NULL, "options");
    CHECK_FAILS(pipeline_storage_perfetto(NULL, NULL, sizeof s, &s), PIPELINE_ERR_NULL, "dir");
    CHECK_FAILS(pipeline_storage_perfetto("none", NULL, sizeof s, NULL), PIPELINE_ERR_NULL, "out");
    for (i = 0; i < COUNT(wrong); i++) {
        memset(&room, 0xA5, sizeof room);
        CHECK_FAILS(pipeline_perfetto_options_init(&room.options, wrong[i]), PIPELINE_ERR_VERSION, "pipeline_perfetto_options_t");
        CHECK_U64(room.bytes[0], 0xA5);
        CHECK_FAILS(pipeline_storage_perfetto("none", NULL, wrong[i], &room.storage), PIPELINE_ERR_VERSION, "pipeline_storage_t");
        memset(&room, 0, sizeof room);
        room.options = trace_options();
        room.options.struct_size = (uint32_t)wrong[i];
        CHECK_FAILS(pipeline_storage_perfetto("none", &room.options, sizeof s, &s), PIPELINE_ERR_VERSION, "struct_size");
    }
    CHECK(access("none", F_OK) != 0); /* no directory was made */
}

#define FIELD(name) FIELD_OF(pipeline_perfetto_options_t, name)
static const bad_value_t bad[] = {
    {FIELD(flags), 1, "0"},
    {FIELD(file_bytes), 0, "65536"},
    {FIELD(file_bytes), UINT64_MAX, "1099511627776"},
    {FIELD(file_age_ms), 99, "100"},
    {FIELD(file_age_ms), UINT64_MAX, "3153600000000"},
    {FIELD(max_bytes), 1, "1048576"},
    {FIELD(max_bytes), UINT64_MAX, "140737488355328"},
    {FIELD(sync), 2, "1"},
    {FIELD(file_mode), 0755, "0600"},
    {FIELD(file_mode), 0200, "0600"},
    {FIELD(reserved), 1, "0"},
};

static void bad_options(void)
{
    static const char *const paths[] = {"/nowhere/at/all", "/dev/null", ""};
    pipeline_storage_t s;
    size_t i;
    for (i = 0; i < COUNT(bad); i++) {
        pipeline_perfetto_options_t o = trace_options();
        put(&o, bad[i].offset, bad[i].size, bad[i].value);
        CHECK_FAILS(pipeline_storage_perfetto("none", &o, sizeof s, &s), PIPELINE_ERR_INVALID, "pipeline_perfetto_options_t.");
        CHECK_HAS(pipeline_last_error(), bad[i].field);
        CHECK_HAS(pipeline_last_error(), bad[i].limit);
        CHECK(access("none", F_OK) != 0);
    }
    memset(&s, 0x5A, sizeof s);
    for (i = 0; i < COUNT(paths); i++) {
        int32_t status = pipeline_storage_perfetto(paths[i], NULL, sizeof s, &s);
        CHECK(status == PIPELINE_ERR_STORAGE || status == PIPELINE_ERR_INVALID);
        CHECK_HAS(pipeline_last_error(), paths[i]);
        CHECK_U64(s.struct_size, 0x5A5A5A5A); /* outputs only on success */
    }
}

/* Permissions are exact, an unused storage leaves no trace, a file without events is deleted. */
static void files(void)
{
    pipeline_perfetto_options_t o = trace_options();
    pipeline_storage_t s;
    struct stat st;
    pipeline_t *p;
    mode_t mask = umask(0777);
    o.file_mode = 0640;
    o.sync = PIPELINE_PERFETTO_SYNC_FLUSH;
    o.file_age_ms = 100;
    CHECK_STATUS(pipeline_storage_perfetto("modes", &o, sizeof s, &s), PIPELINE_OK);
    s.destroy(s.user_data);
    CHECK(stat("modes", &st) == 0 && (st.st_mode & 0777) == 0750);
    CHECK_U64(read_traces("modes", 0)->files, 0);
    p = start_traces("modes", &o);
    END(p);
    CHECK_U64(read_traces("modes", 0)->files, 0);
    p = start_traces("modes", &o);
    (void)trace_events(p, 0, 10);
    usleep(150000); /* a file is old */
    (void)trace_events(p, 10, 10);
    END(p);
    umask(mask);
    CHECK_TRACES("modes", 20);
    CHECK_U64(read_traces("modes", 0)->files, 2);
    CHECK(system("test -z \"$(find modes -name '*.perfetto-trace' ! -perm 640)\"") == 0);
}

/* Handles and times that no viewer takes are rejected and counted, the others of the batch are stored. */
static void rejected(void)
{
    pipeline_t *p = start_traces("rejected", NULL);
    pipeline_event_t e;
    unsigned i, n = 0;
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    for (i = 0; i < 300; i++) {
        e = event_of(1, &n, sizeof n);
        if (i % 3 == 1)
            e.flags = PIPELINE_EVENT_RELEASE;
        if (i % 3 == 2) {
            e.flags = PIPELINE_EVENT_OWN_TIME;
            e.timestamp_ns = UINT64_MAX - i;
        }
        CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK);
        n += i % 3 == 0;
    }
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 100);
    CHECK_U64(metrics_of(p).discarded, 200);
    END(p);
    CHECK_TRACES("rejected", 100);
}

typedef struct {
    pipeline_storage_t inner;
    atomic_uint stores, retries;
} around_t;

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    around_t *a = (around_t *)user_data;
    if (atomic_fetch_add(&a->stores, 1) % 3 == 1) {
        atomic_fetch_add(&a->retries, 1);
        return PIPELINE_STORE_RETRY;
    }
    return a->inner.store(a->inner.user_data, batch);
}

static int32_t finish(void *user_data, int64_t timeout_ms)
{
    around_t *a = (around_t *)user_data;
    return a->inner.finish(a->inner.user_data, timeout_ms);
}

static void destroy(void *user_data)
{
    around_t *a = (around_t *)user_data;
    a->inner.destroy(a->inner.user_data);
}

static void around(void)
{
    around_t a;
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    pipeline_t *p = NULL;
    unsigned done = 0, i;
    memset((void *)&a, 0, sizeof a);
    CHECK_STATUS(pipeline_storage_perfetto("around", NULL, sizeof a.inner, &a.inner), PIPELINE_OK);
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.flags = a.inner.flags, s.user_data = &a, s.store = store, s.finish = finish, s.destroy = destroy;
    c.ordering = PIPELINE_ORDERING_PER_PRODUCER;
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    CHECK_STATUS(pipeline_kind_name(p, 1, "named"), PIPELINE_OK);
    for (i = 0; i < 20; i++)
        done = trace_events(p, done, 50);
    END(p);
    CHECK(a.retries > 3);
    CHECK_TRACES("around", done);
    CHECK(system("grep -q named around/*.perfetto-trace && grep -q perfetto_input around/*.perfetto-trace") == 0);
}

int main(void)
{
    nulls_and_sizes();
    bad_options();
    files();
    rejected();
    around();
    return SUMMARY();
}
