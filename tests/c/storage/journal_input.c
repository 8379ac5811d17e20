/* Bad input for the journal storage: NULL, sizes, options out of range, paths that are no directory, foreign files in the directory, no space, two
 * processes in one directory. The result is a status with a message, never a crash or a hang, and a ledger that balances. */
#include "../fields.h"
#include "../hosts/journal.h"
#include "../recorder.h"

static void nulls_and_sizes(void)
{
    static const size_t wrong[] = {0, 1, 4, 4097, (size_t)UINT32_MAX, SIZE_MAX};
    union {
        pipeline_journal_options_t options;
        pipeline_storage_t storage;
        unsigned char bytes[4096 + 16];
    } room;
    pipeline_storage_t s;
    size_t i;
    CHECK_FAILS(pipeline_journal_options_init(NULL, sizeof room.options), PIPELINE_ERR_NULL, "options");
    CHECK_FAILS(pipeline_storage_journal(NULL, NULL, sizeof s, &s), PIPELINE_ERR_NULL, "dir");
    CHECK_FAILS(pipeline_storage_journal("none", NULL, sizeof s, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_storage_journal(NULL, NULL, 0, NULL), PIPELINE_ERR_NULL, "NULL");
    for (i = 0; i < COUNT(wrong); i++) {
        memset(&room, 0xA5, sizeof room);
        CHECK_FAILS(pipeline_journal_options_init(&room.options, wrong[i]), PIPELINE_ERR_VERSION, "pipeline_journal_options_t");
        CHECK_U64(room.bytes[0], 0xA5);
        CHECK_FAILS(pipeline_storage_journal("none", NULL, wrong[i], &room.storage), PIPELINE_ERR_VERSION, "pipeline_storage_t");
        CHECK_U64(room.bytes[0], 0xA5);
        memset(&room, 0, sizeof room);
        room.options = journal_options();
        room.options.struct_size = (uint32_t)wrong[i];
        CHECK_FAILS(pipeline_storage_journal("none", &room.options, sizeof s, &s), PIPELINE_ERR_VERSION, "struct_size");
    }
    room.options = journal_options();
    room.options.struct_size = 4096;
    room.bytes[4000] = 1;
    CHECK_FAILS(pipeline_storage_journal("none", &room.options, sizeof s, &s), PIPELINE_ERR_VERSION, "4000");
    CHECK(access("none", F_OK) != 0); /* no directory was made */
}

#define FIELD(name) FIELD_OF(pipeline_journal_options_t, name)
static const bad_value_t bad[] = {
    {FIELD(flags), 2, "PIPELINE_JOURNAL_LIVE_FIGURES (1)"},
    {FIELD(segment_bytes), 0, "65536"},
    {FIELD(segment_bytes), UINT64_MAX, "1099511627776"},
    {FIELD(max_bytes), 1, "1048576"},
    {FIELD(max_bytes), UINT64_MAX, "140737488355328"},
    {FIELD(max_age_ms), 99, "100"},
    {FIELD(max_age_ms), UINT64_MAX, "3153600000000"},
    {FIELD(min_free_disk), UINT64_MAX, "140737488355328"},
    {FIELD(segment_age_ms), 99, "100"},
    {FIELD(segment_age_ms), UINT64_MAX, "3153600000000"},
    {FIELD(sync), 4, "3"},
    {FIELD(sync_interval_ms), 0, "1"},
    {FIELD(sync_interval_ms), 3600001, "3600000"},
    {FIELD(on_full), 2, "1"},
    {FIELD(encoding), 4, "3"},
    {FIELD(file_mode), 0755, "0600"},
    {FIELD(file_mode), 0200, "0600"},
    {FIELD(reserved), 1, "0"},
};

static void bad_options(void)
{
    size_t i;
    for (i = 0; i < COUNT(bad); i++) {
        pipeline_journal_options_t o = journal_options();
        pipeline_storage_t s;
        put(&o, bad[i].offset, bad[i].size, bad[i].value);
        CHECK_FAILS(pipeline_storage_journal("none", &o, sizeof s, &s), PIPELINE_ERR_INVALID, "pipeline_journal_options_t.");
        CHECK_HAS(pipeline_last_error(), bad[i].field);
        CHECK_HAS(pipeline_last_error(), bad[i].limit);
        CHECK(access("none", F_OK) != 0);
    }
}

static void paths_that_are_no_directory(void)
{
    static const char *const paths[] = {"/nowhere/at/all", "/proc/events", "/dev/null", "/dev/null/events", ""};
    pipeline_storage_t s;
    size_t i;
    memset(&s, 0x5A, sizeof s);
    for (i = 0; i < COUNT(paths); i++) {
        int32_t status = pipeline_storage_journal(paths[i], NULL, sizeof s, &s);
        CHECK(status == PIPELINE_ERR_STORAGE || status == PIPELINE_ERR_INVALID);
        CHECK_HAS(pipeline_last_error(), paths[i]);
        CHECK(strlen(pipeline_last_error()) > strlen(paths[i]) + 10);
        CHECK_U64(s.struct_size, 0x5A5A5A5A); /* outputs only on success */
    }
}

/* A mebibyte of events, in every way in which they may lie in the files; and no more than the bound on the disk. */
static void bounded(uint32_t on_full)
{
    static const char payload[4000];
    pipeline_journal_options_t o = journal_options();
    pipeline_metrics_t m;
    journal_state_t state;
    pipeline_t *p;
    uint64_t events;
    char directory[32];
    int i;
    snprintf(directory, sizeof directory, "bounded.%u", (unsigned)on_full);
    o.max_bytes = 1 << 20;
    o.on_full = on_full;
    p = start_journal_with(directory, &o);
    for (i = 0; i < 4000; i++)
        CHECK_STATUS(pipeline_capture(p, 1, payload, sizeof payload), PIPELINE_OK);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_LEDGER(p);
    CHECK_U64(m.stored + m.discarded, 4000);
    CHECK((m.discarded != 0) == (on_full == PIPELINE_JOURNAL_REJECT));
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    events = count_events(directory, &state);
    CHECK(events > 100 && events <= m.stored && state.bytes <= 1 << 20);
    if (on_full == PIPELINE_JOURNAL_REJECT)
        CHECK_U64(events, m.stored);
}

/* Two processes write to one directory at once. */
static void shared(void)
{
    pid_t child;
    pipeline_t *p;
    int i;
    fflush(NULL);
    child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0)
        begin_child();
    p = start_journal("shared");
    for (i = 0; i < 20; i++)
        JOURNAL_EVENTS(p, 100);
    END(p);
    if (child == 0)
        end_child();
    AWAIT_CHILD(child);
    CHECK_EVENTS("shared", 4000);
}

/* A program that does not know `finish` yet, and one that gives the storage up. */
static void older_programs(void)
{
    pipeline_storage_t s;
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    memset(&s, 0, sizeof s);
    CHECK_STATUS(pipeline_storage_journal("older", NULL, offsetof(pipeline_storage_t, finish), &s), PIPELINE_OK);
    CHECK(s.finish == NULL && s.store != NULL && s.struct_size == offsetof(pipeline_storage_t, finish));
    p = start_pipeline(&c, &s);
    JOURNAL_EVENTS(p, 100);
    END(p);
    CHECK_EVENTS("older", 100);
    CHECK_STATUS(pipeline_storage_journal("older", NULL, sizeof s, &s), PIPELINE_OK);
    s.destroy(s.user_data);
    CHECK_EVENTS("older", 100);
}

int main(void)
{
    shared(); /* before anything else has used the library in this process */
    nulls_and_sizes();
    bad_options();
    paths_that_are_no_directory();
    bounded(PIPELINE_JOURNAL_DELETE_OLDEST);
    bounded(PIPELINE_JOURNAL_REJECT);
    older_programs();
    return SUMMARY();
}
