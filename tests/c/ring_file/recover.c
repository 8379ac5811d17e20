/* pipeline_recover: what a killed process has left comes to a storage under its identities, once; bad input is refused by name, and the storage is destroyed
 * exactly once whatever happens. The snippet of docs/recovery.md stands here word for word. */
#include "ring_file.h"

#define EVENTS 500

typedef struct {
    uint64_t events, facts, named, sum, generation, last_sequence, released;
    uint32_t destroyed, opened, closed, finished;
    bool in_order;
    int32_t answer;
} seen_t;

static int32_t store(void *data, const pipeline_batch_t *batch)
{
    seen_t *seen = (seen_t *)data;
    size_t n;
    CHECK(batch->writer_data == data && batch->generation != 0 && batch->attempt >= 1);
    if (seen->answer != PIPELINE_STORE_OK)
        return seen->answer;
    for (n = 0; n < batch->count; n++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, n);
        uint64_t value;
        CHECK((uintptr_t)e->data % 8 == 0);
        if (e->kind >= PIPELINE_KIND_RESERVED) {
            CHECK_U64(seen->events, 0);
            seen->facts++;
            seen->named += e->kind == PIPELINE_KIND_KIND_NAME && e->node_id == 3 && memcmp(e->data, "three", 5) == 0;
            continue;
        }
        memcpy(&value, e->data, 8);
        seen->sum += value;
        seen->in_order = seen->in_order && (seen->events == 0 || e->sequence > seen->last_sequence);
        seen->last_sequence = e->sequence;
        seen->generation = batch->generation;
        seen->events++;
    }
    return PIPELINE_STORE_OK;
}

static int32_t open_writer(void *data, uint32_t id, void **writer_data)
{
    CHECK_U64(id, 0);
    ((seen_t *)data)->opened++;
    *writer_data = data;
    return 0;
}

static void close_writer(void *data, uint32_t id, void *writer_data)
{
    CHECK(id == 0 && writer_data == data);
    ((seen_t *)data)->closed++;
}

static int32_t finish(void *data, int64_t timeout_ms)
{
    (void)timeout_ms;
    ((seen_t *)data)->finished++;
    return 0;
}

static void release(void *data, const pipeline_event_view_t *event)
{
    (void)event;
    ((seen_t *)data)->released++;
}

static void destroy(void *data)
{
    ((seen_t *)data)->destroyed++;
}

static pipeline_storage_t storage_of(seen_t *seen)
{
    pipeline_storage_t s;
    memset(seen, 0, sizeof *seen);
    seen->in_order = true;
    pipeline_storage_init(&s, sizeof s);
    s.flags = PIPELINE_STORAGE_META | PIPELINE_STORAGE_RELEASE_MARKED;
    s.user_data = seen;
    s.store = store;
    s.open_writer = open_writer;
    s.close_writer = close_writer;
    s.finish = finish;
    s.release = release;
    s.destroy = destroy;
    return s;
}

static seen_t unused;

/* A process captures the values 0 to EVENTS - 1 and some handles, and is killed. */
static void killed_process(const char *directory)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        pipeline_config_t c = ring_file_config(directory);
        pipeline_storage_t s = storage_of(&unused);
        pipeline_t *p = NULL;
        uint64_t n;
        begin_child();
        c.writers = 0;
        if (pipeline_start(&c, &s, &p) != PIPELINE_OK)
            _exit(1);
        pipeline_kind_name(p, 3, "three");
        for (n = 0; n < EVENTS; n++) {
            pipeline_event_t e = event_of(3, &n, sizeof n);
            if (pipeline_capture_event(p, &e) != PIPELINE_OK)
                _exit(2);
            e.flags = PIPELINE_EVENT_RELEASE;
            if (n % 100 == 0 && pipeline_capture_event(p, &e) != PIPELINE_OK)
                _exit(3);
        }
        kill(getpid(), SIGKILL);
    }
    CHECK_OR_STOP(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}

static pipeline_recovery_t result(void)
{
    pipeline_recovery_t r;
    memset(&r, 0xA5, sizeof r);
    r.struct_size = sizeof r;
    return r;
}

static void report(void *data, const pipeline_recovered_file_t *file)
{
    pipeline_recovered_file_t *last = (pipeline_recovered_file_t *)data;
    CHECK_U64(file->struct_size, sizeof *file);
    CHECK_HAS(file->text, file->path);
    *last = *file;
    last->path = last->text = NULL;
}

static void a_killed_process_s_events_come_once(void)
{
    const char *directory = new_ring_dir("once");
    pipeline_recovery_t r = result();
    pipeline_recover_options_t o;
    pipeline_recovered_file_t last = {0};
    pipeline_storage_t s;
    seen_t seen;
    killed_process(directory);
    CHECK_STATUS(pipeline_recover_options_init(&o, sizeof o), PIPELINE_OK);
    CHECK_U64(o.retry_ms, 10000);
    o.retry_ms = 30;
    o.report = report;
    o.report_data = &last;

    /* A storage that takes nothing: nothing is lost. */
    s = storage_of(&seen);
    seen.answer = PIPELINE_STORE_RETRY;
    CHECK_FAILS(pipeline_recover(directory, &s, &o, &r), PIPELINE_ERR_STORAGE, ".rings: the storage has not taken");
    CHECK_U64(r.runs, UINT64_C(0xA5A5A5A5A5A5A5A5));
    CHECK_U64(last.outcome, PIPELINE_RECOVERY_LEFT);
    CHECK(seen.destroyed == 1 && seen.opened == 1 && seen.closed == 1 && seen.finished == 0);
    CHECK(find_ring_file(directory) != NULL);

    s = storage_of(&seen);
    CHECK_STATUS(pipeline_recover(directory, &s, &o, &r), PIPELINE_OK);
    CHECK_U64(seen.events, EVENTS);
    CHECK_U64(seen.sum, (uint64_t)EVENTS * (EVENTS - 1) / 2);
    CHECK(seen.in_order && seen.named == 1 && seen.facts >= 2 && seen.released == 0);
    CHECK(seen.destroyed == 1 && seen.opened == 1 && seen.closed == 1 && seen.finished == 1);
    CHECK_U64(r.struct_size, sizeof r);
    CHECK(r.runs == 1 && r.events == EVENTS && r.facts == seen.facts && r.handles == EVENTS / 100 && r.torn == 0);
    CHECK(r.living == 0 && r.busy == 0 && r.refused == 0 && r.unfinished == 0 && r.dead_lettered == 0 && r.reserved == 0);
    CHECK(last.outcome == PIPELINE_RECOVERY_DONE && last.events == EVENTS && last.generation == seen.generation);
    CHECK(find_ring_file(directory) == NULL);

    /* There is nothing any more. */
    s = storage_of(&seen);
    r = result();
    CHECK_STATUS(pipeline_recover(directory, &s, NULL, &r), PIPELINE_OK);
    CHECK(r.runs == 0 && r.events == 0 && seen.destroyed == 1 && seen.opened == 0);
    remove_ring_dir(directory);
}

static void a_living_process_is_left_alone(void)
{
    const char *directory = new_ring_dir("living");
    pipeline_config_t c = ring_file_config(directory);
    pipeline_recovery_t r = result();
    pipeline_storage_t s;
    pipeline_t *p = NULL;
    seen_t own, seen;
    ring_file_t f;
    uint64_t value = 1;
    c.writers = 0;
    s = storage_of(&own);
    CHECK_OR_STOP(pipeline_start(&c, &s, &p) == PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p, 3, &value, sizeof value), PIPELINE_OK);
    s = storage_of(&seen);
    CHECK_STATUS(pipeline_recover(directory, &s, NULL, &r), PIPELINE_OK);
    CHECK(r.living == 1 && r.runs == 0 && seen.events == 0 && seen.destroyed == 1);
    f = read_ring_file(find_ring_file(directory));
    CHECK_U64(f.count, 1);
    free_ring_file(&f);
    pipeline_close(p, 0);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    /* What a close has left is an old run's, though its process lives. */
    s = storage_of(&seen);
    CHECK_STATUS(pipeline_recover(directory, &s, NULL, &r), PIPELINE_OK);
    CHECK(r.runs == 1 && seen.events == 1 && find_ring_file(directory) == NULL);
    remove_ring_dir(directory);
}

/* The call fails, the storage is destroyed once, and nothing was called before. */
#define REFUSED(directory, options, out, status, words)                                                                \
    do {                                                                                                               \
        seen_t seen_;                                                                                                  \
        pipeline_storage_t s_ = storage_of(&seen_);                                                                    \
        CHECK_FAILS(pipeline_recover(directory, &s_, options, out), status, words);                                    \
        CHECK(seen_.destroyed == 1 && seen_.opened == 0 && seen_.finished == 0);                                       \
    } while (0)

static void bad_input_is_refused(void)
{
    const char *directory = new_ring_dir("input");
    pipeline_recovery_t r = result();
    pipeline_recover_options_t o;
    pipeline_storage_t s;
    struct { pipeline_recovery_t known; uint64_t more; } longer;
    struct { pipeline_recover_options_t known; uint64_t more; } options;
    char link[600];
    seen_t seen;
    REFUSED(NULL, NULL, &r, PIPELINE_ERR_NULL, "ring_dir");
    REFUSED(directory, NULL, NULL, PIPELINE_ERR_NULL, "out");
    REFUSED("", NULL, &r, PIPELINE_ERR_INVALID, "ring_dir");
    REFUSED(directory, NULL, &r, PIPELINE_ERR_NOT_FOUND, directory);
    REFUSED("/dev/null", NULL, &r, PIPELINE_ERR_INVALID, "no directory");
    CHECK_FAILS(pipeline_recover(directory, NULL, NULL, &r), PIPELINE_ERR_NULL, "storage");
    s = storage_of(&seen);
    s.struct_size = 8;
    CHECK_FAILS(pipeline_recover(directory, &s, NULL, &r), PIPELINE_ERR_VERSION, "pipeline_storage_t.struct_size");
    CHECK_U64(seen.destroyed, 0);
    s = storage_of(&seen);
    s.store = NULL;
    CHECK_FAILS(pipeline_recover(directory, &s, NULL, &r), PIPELINE_ERR_NULL, "store");
    CHECK_U64(seen.destroyed, 1);

    CHECK_OR_STOP(mkdir(directory, 0700) == 0 && chmod(directory, 0770) == 0);
    REFUSED(directory, NULL, &r, PIPELINE_ERR_INVALID, "(mode 0770)");
    CHECK_OR_STOP(chmod(directory, 0700) == 0);
    snprintf(link, sizeof link, "%s-link", directory);
    CHECK_OR_STOP(symlink(directory, link) == 0);
    REFUSED(link, NULL, &r, PIPELINE_ERR_INVALID, "symbolic link");
    unlink(link);
    if (geteuid() == 0) {
        CHECK_OR_STOP(chown(directory, 4321, (gid_t)-1) == 0);
        REFUSED(directory, NULL, &r, PIPELINE_ERR_INVALID, "uid 4321");
        CHECK_OR_STOP(chown(directory, 0, (gid_t)-1) == 0);
    }

    pipeline_recover_options_init(&o, sizeof o);
    o.flags = 1;
    REFUSED(directory, &o, &r, PIPELINE_ERR_INVALID, "pipeline_recover_options_t.flags: 0 allowed, 0x1 given");
    pipeline_recover_options_init(&o, sizeof o);
    o.retry_ms = 86400001;
    REFUSED(directory, &o, &r, PIPELINE_ERR_INVALID, "retry_ms: 0 to 86400000 allowed, 86400001 given");
    o.struct_size = 4;
    REFUSED(directory, &o, &r, PIPELINE_ERR_VERSION, "pipeline_recover_options_t.struct_size");
    memset(&options, 0, sizeof options);
    pipeline_recover_options_init(&options.known, sizeof options);
    options.more = 1;
    REFUSED(directory, &options.known, &r, PIPELINE_ERR_VERSION, "is not zero");
    CHECK_FAILS(pipeline_recover_options_init(NULL, sizeof o), PIPELINE_ERR_NULL, "options");
    CHECK_FAILS(pipeline_recover_options_init(&o, 5000), PIPELINE_ERR_VERSION, "4096");
    r.struct_size = 4;
    REFUSED(directory, NULL, &r, PIPELINE_ERR_VERSION, "pipeline_recovery_t.struct_size");

    /* A longer struct of a newer program is filled up with zeros. */
    memset(&longer, 0xA5, sizeof longer);
    longer.known.struct_size = sizeof longer;
    s = storage_of(&seen);
    CHECK_STATUS(pipeline_recover(directory, &s, NULL, &longer.known), PIPELINE_OK);
    CHECK(longer.known.struct_size == sizeof longer && longer.known.runs == 0 && longer.more == 0);
    remove_ring_dir(directory);
}

/* The library's own storages take what is recovered. */
static void recovered_into_a_journal(void)
{
    const char *directory = new_ring_dir("journal");
    pipeline_recovery_t r = result();
    pipeline_storage_t s;
    pipeline_reader_t *reader = NULL;
    pipeline_reader_event_t e;
    uint64_t sum = 0, count = 0, value;
    killed_process(directory);
    CHECK_OR_STOP(pipeline_storage_journal("journal", NULL, sizeof s, &s) == PIPELINE_OK);
    CHECK_STATUS(pipeline_recover(directory, &s, NULL, &r), PIPELINE_OK);
    CHECK(r.runs == 1 && r.events == EVENTS);
    CHECK_OR_STOP(pipeline_reader_open("journal", NULL, &reader) == PIPELINE_OK);
    e.struct_size = sizeof e;
    while (pipeline_reader_next(reader, 0, &e) == PIPELINE_OK) {
        memcpy(&value, e.data, 8);
        sum += value;
        count++;
    }
    CHECK(count == EVENTS && sum == (uint64_t)EVENTS * (EVENTS - 1) / 2);
    pipeline_reader_close(reader);
    remove_ring_dir(directory);
}

/* ---- docs/recovery.md ---- */

static void recovers(pipeline_config_t config)
{
    pipeline_recovery_t recovery = {.struct_size = sizeof recovery};
    pipeline_storage_t storage;
    if (pipeline_storage_sqlite("events.db", NULL, sizeof storage, &storage) != PIPELINE_OK ||
        pipeline_recover(config.ring_dir, &storage, NULL, &recovery) != PIPELINE_OK)
        fprintf(stderr, "%s\n", pipeline_last_error());
    else
        printf("%llu events of %llu runs\n", (unsigned long long)recovery.events, (unsigned long long)recovery.runs);
    CHECK(recovery.events == EVENTS && recovery.runs == 1);
}

static void recovered_as_the_page_says(void)
{
    const char *directory = new_ring_dir("page");
    killed_process(directory);
    recovers(ring_file_config(directory));
    CHECK(find_ring_file(directory) == NULL && access("events.db", F_OK) == 0);
    remove_ring_dir(directory);
}

int main(void)
{
    recovered_as_the_page_says();
    a_killed_process_s_events_come_once();
    a_living_process_is_left_alone();
    bad_input_is_refused();
    recovered_into_a_journal();
    return SUMMARY();
}
