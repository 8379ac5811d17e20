/* A program puts functions of its own around those of the journal: it counts batches, keeps dead letters, filters what is stored by another storage, or only
 * changes one member. The journal's functions do the same work then, from views of the events: facts come as events. */
#include "../hosts/journal.h"

#include <stdatomic.h>

enum { EVENTS = 2000 };

typedef struct {
    pipeline_storage_t journal;
    atomic_uint stores, opened, closed, dead, destroyed;
} around_t;

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    around_t *a = (around_t *)user_data;
    atomic_fetch_add(&a->stores, 1);
    CHECK(batch->writer_data == &a->opened); /* the program's own, which the journal does not use */
    return a->journal.store(a->journal.user_data, batch);
}

static int32_t open_writer(void *user_data, uint32_t id, void **writer_data)
{
    around_t *a = (around_t *)user_data;
    (void)id;
    atomic_fetch_add(&a->opened, 1);
    *writer_data = &a->opened;
    return 0;
}

static void close_writer(void *user_data, uint32_t id, void *writer_data)
{
    around_t *a = (around_t *)user_data;
    atomic_fetch_add(&a->closed, 1);
    a->journal.close_writer(a->journal.user_data, id, writer_data);
}

static int32_t flush(void *user_data, int64_t timeout_ms)
{
    around_t *a = (around_t *)user_data;
    return a->journal.flush(a->journal.user_data, timeout_ms);
}

static int32_t finish(void *user_data, int64_t timeout_ms)
{
    around_t *a = (around_t *)user_data;
    return a->journal.finish(a->journal.user_data, timeout_ms);
}

static int32_t dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    around_t *a = (around_t *)user_data;
    CHECK(reason == PIPELINE_REASON_REJECTED);
    atomic_fetch_add(&a->dead, (unsigned)batch->count);
    return 0;
}

static void destroy(void *user_data)
{
    around_t *a = (around_t *)user_data;
    a->journal.destroy(a->journal.user_data);
    atomic_fetch_add(&a->destroyed, 1);
}

static void all_functions(uint32_t sync)
{
    around_t a;
    pipeline_journal_options_t o = journal_options();
    pipeline_storage_t s;
    pipeline_config_t c = config_defaults();
    pipeline_event_t handle = event_of(2, "handle", 6);
    pipeline_t *p;
    journal_state_t state;
    char directory[32];
    snprintf(directory, sizeof directory, "around.%u", (unsigned)sync);
    memset((void *)&a, 0, sizeof a);
    o.sync = sync;
    CHECK_STATUS(pipeline_storage_journal(directory, &o, sizeof a.journal, &a.journal), PIPELINE_OK);
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.flags = a.journal.flags;
    s.user_data = &a;
    s.store = store;
    s.open_writer = open_writer;
    s.close_writer = close_writer;
    s.flush = flush;
    s.finish = finish;
    s.dead_letter = dead_letter;
    s.destroy = destroy;
    c.writers = 2;
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    CHECK_STATUS(pipeline_kind_name(p, 1, "named"), PIPELINE_OK);
    JOURNAL_EVENTS(p, EVENTS);
    handle.flags = PIPELINE_EVENT_RELEASE;
    CHECK_STATUS(pipeline_capture_event(p, &handle), PIPELINE_OK);
    END(p);
    CHECK(a.stores > 0 && a.opened == a.closed);
    CHECK_U64(a.dead, 1);
    CHECK_U64(a.destroyed, 1);
    CHECK_EVENTS(directory, EVENTS);
    (void)count_events(directory, &state);
    CHECK_U64(state.sealed, state.segments);
}

/* The journal's struct with one member of the program's: every other function is still the journal's. */
static atomic_uint given_up;

static int32_t count_dead(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    (void)user_data, (void)reason;
    atomic_fetch_add(&given_up, (unsigned)batch->count);
    return 0;
}

static void one_function(void)
{
    pipeline_storage_t s;
    pipeline_config_t c = config_defaults();
    pipeline_event_t handle = event_of(2, "handle", 6);
    pipeline_t *p;
    CHECK_STATUS(pipeline_storage_journal("one", NULL, sizeof s, &s), PIPELINE_OK);
    s.dead_letter = count_dead;
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    JOURNAL_EVENTS(p, EVENTS);
    handle.flags = PIPELINE_EVENT_RELEASE;
    CHECK_STATUS(pipeline_capture_event(p, &handle), PIPELINE_OK);
    END(p);
    CHECK_U64(given_up, 1);
    CHECK_EVENTS("one", EVENTS);
}

/* A start that is refused destroys the storage, whichever way it would have been used. */
static void refused_starts(void)
{
    pipeline_storage_t s;
    pipeline_config_t c = config_defaults();
    pipeline_t *p = NULL;
    c.ring_bytes = 3;
    CHECK_STATUS(pipeline_storage_journal("refused", NULL, sizeof s, &s), PIPELINE_OK);
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_ERR_INVALID);
    CHECK_STATUS(pipeline_storage_journal("refused", NULL, sizeof s, &s), PIPELINE_OK);
    s.dead_letter = count_dead;
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_ERR_INVALID);
    CHECK_STATUS(pipeline_storage_journal("refused", NULL, sizeof s, &s), PIPELINE_OK);
    CHECK_STATUS(pipeline_start(NULL, &s, NULL), PIPELINE_ERR_NULL);
    CHECK(p == NULL);
}

int main(void)
{
    all_functions(PIPELINE_JOURNAL_SYNC_NEVER);
    all_functions(PIPELINE_JOURNAL_SYNC_BATCH);
    one_function();
    refused_starts();
    return SUMMARY();
}
