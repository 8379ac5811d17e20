/* The cases of failing_allocator.c: every exported function with the statuses that it may return while memory fails, and the storage
 * and pipeline that a case uses. */
#ifndef FAILING_ALLOCATOR_CASES_H
#define FAILING_ALLOCATOR_CASES_H

#include "../check.h"
#include <capture_pipeline_fast.h>

/* A storage that needs no memory. */
static atomic_ullong stored_events;
static atomic_int pending_wanted;                     /* store answers PENDING */
static _Atomic(const pipeline_batch_t *) pending;     /* the batch that waits for its answer */
static atomic_int destroyed;

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    if (atomic_load(&pending_wanted)) {
        const pipeline_batch_t *none = NULL;
        if (atomic_compare_exchange_strong(&pending, &none, batch))
            return PIPELINE_STORE_PENDING;
    }
    atomic_fetch_add(&stored_events, batch->count);
    return PIPELINE_STORE_OK;
}

static int32_t flush_storage(void *user_data, int64_t timeout_ms)
{
    (void)user_data, (void)timeout_ms;
    return 0;
}

static void destroy_storage(void *user_data)
{
    (void)user_data;
    atomic_fetch_add(&destroyed, 1);
}

static pipeline_storage_t counting(void)
{
    pipeline_storage_t s;
    pipeline_storage_init(&s, sizeof s);
    s.store = store;
    s.flush = flush_storage;
    s.destroy = destroy_storage;
    return s;
}

/* The pipeline of a case. */
typedef struct {
    pipeline_t *p;
    pipeline_producer_t *r;
    bool closed, gone, own_storage; /* the storage is not `counting` */
} world_t;

static pipeline_config_t config_of_cases(void)
{
    pipeline_config_t c = config_defaults();
    c.writers = 1;
    c.ring_bytes = 1 << 16;
    c.max_rings = 4;
    c.retry_initial_us = 500;
    c.retry_max_us = 2000;
    return c;
}

static const char payload[100] = "payload";

/* A call may answer OK, no memory, or one of two more. */
static void allow(const char *what, int32_t status, int32_t also, int32_t or_else)
{
    checks_done++;
    if (status == PIPELINE_OK || status == PIPELINE_ERR_NO_MEMORY || status == also || status == or_else)
        return;
    check_fail(__FILE__, __LINE__, what);
    fprintf(stderr, ": answered %d (%s)\n", status, pipeline_last_error());
}
#define ALLOW(call) allow(#call, (call), 0, 0)
#define ALLOW_ALSO(call, also) allow(#call, (call), (also), 0)
#define ALLOW_BOTH(call, also, or_else) allow(#call, (call), (also), (or_else))

static void start_with(world_t *w, pipeline_storage_t *s)
{
    pipeline_config_t c = config_of_cases();
    pipeline_t *p = NULL;
    int32_t status = pipeline_start(&c, s, &p);
    ALLOW_ALSO(status, PIPELINE_ERR_SYSTEM);
    if (status == PIPELINE_OK)
        w->p = p;
    else
        CHECK(p == NULL);
}

static void start(world_t *w)
{
    pipeline_storage_t s = counting();
    start_with(w, &s);
}

/* Calls without a pipeline, or that need none. */
static void versions(world_t *w)
{
    (void)w;
    CHECK(pipeline_version() > 0 && pipeline_version_string() != NULL && pipeline_status_message(-13) != NULL &&
          pipeline_last_error() != NULL);
}

static void inits(world_t *w)
{
    pipeline_config_t c;
    pipeline_storage_t s;
    pipeline_sqlite_options_t o;
    pipeline_kind_definition_t d;
    pipeline_journal_options_t j;
    pipeline_perfetto_options_t f;
    (void)w;
    CHECK_STATUS(pipeline_perfetto_options_init(&f, sizeof f), PIPELINE_OK);
    CHECK_STATUS(pipeline_journal_options_init(&j, sizeof j), PIPELINE_OK);
    CHECK_STATUS(pipeline_config_init(&c, sizeof c), PIPELINE_OK);
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    CHECK_STATUS(pipeline_sqlite_options_init(&o, sizeof o), PIPELINE_OK);
    CHECK_STATUS(pipeline_kind_definition_init(&d, sizeof d), PIPELINE_OK);
}

static void refused(world_t *w)
{
    pipeline_config_t c = config_of_cases();
    pipeline_storage_t s = counting();
    pipeline_event_t e = event_of(1, payload, 8);
    pipeline_t *p;
    void *at;
    c.ring_bytes = 77;
    ALLOW_ALSO(pipeline_start(&c, &s, &p), PIPELINE_ERR_INVALID);
    ALLOW_ALSO(pipeline_start(NULL, NULL, &p), PIPELINE_ERR_NULL);
    ALLOW_ALSO(pipeline_update(w->p, &c), PIPELINE_ERR_INVALID);
    ALLOW_ALSO(pipeline_scale(w->p, 100000), PIPELINE_ERR_LIMIT);
    ALLOW_ALSO(pipeline_scale(NULL, 1), PIPELINE_ERR_NULL);
    ALLOW_ALSO(pipeline_flush(NULL, 1), PIPELINE_ERR_NULL);
    CHECK_STATUS(pipeline_capture(w->p, 0xFFFFFFFF, payload, 8), PIPELINE_ERR_INVALID);
    CHECK_STATUS(pipeline_capture(w->p, 1, payload, 1 << 20), PIPELINE_ERR_TOO_LARGE);
    e.reserved = 1;
    CHECK_STATUS(pipeline_capture_event(w->p, &e), PIPELINE_ERR_INVALID);
    e.struct_size = 3;
    CHECK_STATUS(pipeline_producer_capture_event(w->r, &e), PIPELINE_ERR_VERSION);
    CHECK_STATUS(pipeline_producer_commit(w->r, 1), PIPELINE_ERR_STATE);
    CHECK_STATUS(pipeline_producer_reserve(NULL, NULL, 1, &at), PIPELINE_ERR_NULL);
    ALLOW_ALSO(pipeline_kind_name(w->p, 0xFFFFFFFF, "x"), PIPELINE_ERR_INVALID);
    ALLOW_ALSO(define_kind(w->p, 0xFFFFFFFF, "x"), PIPELINE_ERR_INVALID);
    ALLOW_ALSO(define_kind(w->p, 1, "no name"), PIPELINE_ERR_INVALID);
    CHECK_STATUS(pipeline_batch_complete(12345, 0), PIPELINE_ERR_UNKNOWN_TOKEN);
    CHECK_STATUS(pipeline_batch_set_stored(NULL, 0), PIPELINE_ERR_NULL);
}

static void first_capture(world_t *w)
{
    CHECK_STATUS(pipeline_capture(w->p, 1, payload, sizeof payload), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(w->p, 1, payload, sizeof payload), PIPELINE_OK);
}

static void steady_captures(world_t *w)
{
    int i;
    for (i = 0; i < 2000; i++) {
        pipeline_event_t e = event_of(2, payload, 8), two[2];
        size_t n;
        int32_t status = pipeline_capture_event(w->p, &e);
        CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_FULL);
        two[0] = two[1] = e;
        status = pipeline_capture_many(w->p, two, 2, &n);
        CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_FULL);
    }
}

static void producer_captures(world_t *w)
{
    pipeline_event_t e = event_of(3, payload, 8);
    pipeline_fast_t *fast;
    size_t n;
    void *at;
    CHECK_STATUS(pipeline_producer_capture(w->r, 3, payload, 8), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_capture_event(w->r, &e), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_capture_many(w->r, &e, 1, &n), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_reserve(w->r, &e, 100, &at), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_abort(w->r), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_reserve(w->r, &e, 100, &at), PIPELINE_OK);
    memset(at, 1, 100);
    CHECK_STATUS(pipeline_producer_commit(w->r, 50), PIPELINE_OK);
    ALLOW_ALSO(pipeline_producer_fast(w->r, PIPELINE_FAST_VERSION, &fast), PIPELINE_ERR_UNSUPPORTED);
    CHECK_STATUS(pipeline_producer_wake(w->r), PIPELINE_OK);
}

static void producers(world_t *w)
{
    pipeline_producer_t *r = NULL;
    int32_t status = pipeline_producer_open(w->p, &r);
    ALLOW(status);
    if (status == PIPELINE_OK) {
        CHECK_STATUS(pipeline_producer_capture(r, 4, payload, 8), PIPELINE_OK);
        CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
    }
}

static void kind_name(world_t *w)
{
    ALLOW(pipeline_kind_name(w->p, 5, "five"));
}

static void kind_define(world_t *w)
{
    ALLOW(define_kind(w->p, 5, "five"));
    ALLOW(define_kind(w->p, 5, "five"));
    ALLOW(define_kind(w->p, 6, "six"));
}

static void attribute(world_t *w)
{
    ALLOW(pipeline_attribute(w->p, "service", "billing"));
    ALLOW(pipeline_attribute(w->p, "service", "payments"));
    ALLOW(pipeline_attribute(w->p, "host", "a"));
    ALLOW_ALSO(pipeline_attribute(w->p, "", "a"), PIPELINE_ERR_INVALID);
}

/* As text, as data and from a file, and what a definition makes of them; events are judged meanwhile. */
static void rules(world_t *w)
{
    static const uint64_t ids[] = {1, 2, 3};
    static const uint32_t kinds[] = {1, 5};
    static const char text[] = "a: tag 1, redact payload[0..2] if node_id in (1, 2)\nb: drop if five.value > 3\nsample 1/2 if kind = 77\n";
    pipeline_rule_t rule;
    pipeline_rule_metrics_t m = {.struct_size = sizeof m};
    uint32_t count = 0;
    int i, round;
    for (round = 0; round < 3; round++) {
        switch (round) {
        case 0:
            ALLOW_BOTH(pipeline_rules_set_text(w->p, text, 0), PIPELINE_ERR_SYSTEM, PIPELINE_ERR_BUSY);
            break;
        case 1:
            ALLOW(pipeline_rule_init(&rule, sizeof rule));
            rule.name = "data";
            rule.actions = PIPELINE_RULE_DROP;
            rule.when = "payload_bytes > 100";
            rule.kinds = kinds;
            rule.kind_count = 2;
            rule.node_ids = ids;
            rule.node_id_count = 3;
            ALLOW_BOTH(pipeline_rules_set(w->p, &rule, 1, PIPELINE_RULES_DRY), PIPELINE_ERR_SYSTEM, PIPELINE_ERR_BUSY);
            break;
        default:
            ALLOW_BOTH(pipeline_rules_load(w->p, "rules.txt", 0), PIPELINE_ERR_SYSTEM, PIPELINE_ERR_BUSY);
        }
        for (i = 0; i < 20; i++) {
            int32_t status = pipeline_capture(w->p, 1, payload, 8);
            CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_FULL);
        }
        ALLOW_BOTH(define_kind(w->p, 5, "five"), PIPELINE_ERR_SYSTEM, PIPELINE_ERR_BUSY);
        ALLOW(pipeline_rule_count(w->p, &count));
        ALLOW_ALSO(pipeline_rule_metrics(w->p, 0, &m), PIPELINE_ERR_NOT_FOUND);
    }
    ALLOW_BOTH(pipeline_rules_set_text(w->p, "drop if (", 0), PIPELINE_ERR_INVALID, PIPELINE_ERR_SYSTEM);
    ALLOW_BOTH(pipeline_rules_clear(w->p), PIPELINE_ERR_SYSTEM, PIPELINE_ERR_BUSY);
}

static int32_t rewrite(void *user_data, const pipeline_event_view_t *event, pipeline_rewrite_t *out)
{
    (void)user_data;
    if (event->sequence % 3 == 0)
        return PIPELINE_TRANSFORM_KEEP;
    memset(out->scratch, 7, 16);
    out->data = out->scratch;
    out->len = 16;
    return PIPELINE_TRANSFORM_REWRITE;
}

static void transforms(world_t *w)
{
    pipeline_transform_t t;
    int i;
    ALLOW(pipeline_transform_init(&t, sizeof t));
    t.transform = rewrite;
    ALLOW(pipeline_transform(w->p, &t));
    for (i = 0; i < 100; i++)
        (void)pipeline_capture(w->p, 1, payload, 8);
    /* Batches wait while there is no memory for new payloads. */
    ALLOW_ALSO(pipeline_flush(w->p, 20), PIPELINE_ERR_TIMEOUT);
    ALLOW(pipeline_transform(w->p, NULL));
}

static void limit_calls(world_t *w)
{
    ALLOW(pipeline_limit_calls(1));
    (void)pipeline_capture(w->p, 1, payload, 8);
    ALLOW(pipeline_flush(w->p, 20000));
    ALLOW(pipeline_limit_calls(0));
}

static void flush(world_t *w)
{
    CHECK_STATUS(pipeline_capture(w->p, 1, payload, 8), PIPELINE_OK);
    ALLOW(pipeline_flush(w->p, 20000));
}

static void scale(world_t *w)
{
    ALLOW_ALSO(pipeline_scale(w->p, 3), PIPELINE_ERR_SYSTEM);
    ALLOW_ALSO(pipeline_scale(w->p, 0), PIPELINE_ERR_SYSTEM);
    ALLOW_ALSO(pipeline_scale(w->p, 1), PIPELINE_ERR_SYSTEM);
}

static void figures(world_t *w)
{
    pipeline_metrics_t m = {.struct_size = sizeof m};
    pipeline_writer_metrics_t wm = {.struct_size = sizeof wm};
    pipeline_health_t h = {.struct_size = sizeof h};
    pipeline_config_t c = {.struct_size = sizeof c};
    ALLOW(pipeline_metrics(w->p, &m));
    ALLOW_ALSO(pipeline_writer_metrics(w->p, 0, &wm), PIPELINE_ERR_NOT_FOUND);
    ALLOW(pipeline_health(w->p, &h));
    ALLOW(pipeline_config_read(w->p, &c));
}

/* A snapshot is made whole, or there is none. */
static void snapshots(world_t *w)
{
    pipeline_snapshot_options_t o;
    pipeline_snapshot_t s = {.struct_size = sizeof s};
    ALLOW(pipeline_snapshot_options_init(&o, sizeof o));
    o.encoding = PIPELINE_JOURNAL_COLUMNS_LZ4;
    o.copy_bytes = 0;
    ALLOW(pipeline_snapshot(w->p, "snapshots", NULL, &s));
    ALLOW(pipeline_snapshot(w->p, "snapshots", &o, NULL));
    ALLOW(pipeline_snapshot_on_trigger(w->p, "snapshots", &o));
    ALLOW(pipeline_snapshot_on_trigger(w->p, NULL, NULL));
}

static void metrics_text(world_t *w)
{
    static char text[65536];
    const pipeline_t *list[1];
    size_t length = 0;
    list[0] = w->p;
    ALLOW(pipeline_metrics_text(list, 1, PIPELINE_METRICS_PROMETHEUS, NULL, 0, &length));
    CHECK(length < sizeof text);
    ALLOW(pipeline_metrics_text(list, 1, PIPELINE_METRICS_OPENMETRICS, text, sizeof text, &length));
}

static void update(world_t *w)
{
    pipeline_config_t c = config_of_cases();
    c.writers = 2;
    c.name = "updated";
    c.writer_cpus = NULL;
    ALLOW_BOTH(pipeline_update(w->p, &c), PIPELINE_ERR_SYSTEM, PIPELINE_ERR_FIXED);
}

static void pause_and_resume(world_t *w)
{
    ALLOW(pipeline_pause(w->p));
    ALLOW(pipeline_health(w->p, &(pipeline_health_t){.struct_size = sizeof(pipeline_health_t)}));
    ALLOW(pipeline_resume(w->p));
}

static void pressure_told(void *user_data, uint32_t pressure, int32_t is_high)
{
    (void)user_data, (void)pressure, (void)is_high;
}

static void pressure(world_t *w)
{
    int n;
    ALLOW(pipeline_pressure_callback(w->p, 1, 2, pressure_told, NULL));
    ALLOW(pipeline_pause(w->p));
    for (n = 0; n < 100; n++)
        (void)pipeline_capture(w->p, 9, payload, 8);
    CHECK(pipeline_pressure(w->p) <= 100);
    ALLOW(pipeline_resume(w->p));
    ALLOW_BOTH(pipeline_pressure_callback(w->p, 0, 0, NULL, NULL), PIPELINE_ERR_BUSY, PIPELINE_ERR_NO_MEMORY);
}

static void answers(world_t *w)
{
    const pipeline_batch_t *batch, *next = NULL;
    uint64_t token;
    int i;
    (void)w;
    batch = atomic_load(&pending);
    CHECK_OR_STOP(batch != NULL);
    token = batch->token;
    ALLOW(pipeline_batch_set_stored(batch, 1));
    ALLOW(pipeline_batch_set_rejected(batch, batch->count - 1));
    /* The next pending batches are answered by other functions. */
    for (i = 0; i < 3; i++) {
        int32_t status;
        size_t said = 1;
        atomic_store(&pending, NULL);
        do
            status = i == 0   ? pipeline_batch_complete_at(token, said, PIPELINE_STORE_REJECT)
                     : i == 1 ? pipeline_batch_try_complete(token, PIPELINE_STORE_RETRY)
                              : pipeline_batch_exchange(token, PIPELINE_STORE_OK, &next);
        while (status == PIPELINE_ERR_BUSY);
        CHECK_STATUS(status, PIPELINE_OK);
        if (i == 2)
            break;
        pipeline_capture(w->p, 1, payload, 8);
        WAIT_FOR(atomic_load(&pending) != NULL);
        batch = atomic_load(&pending);
        CHECK_OR_STOP(batch != NULL);
        token = batch->token;
    }
    atomic_store(&pending_wanted, 0);
    if (next != NULL)
        CHECK_STATUS(pipeline_batch_complete(next->token, PIPELINE_STORE_OK), PIPELINE_OK);
    batch = atomic_load(&pending);
    if (batch != NULL)
        CHECK_STATUS(pipeline_batch_complete(batch->token, PIPELINE_STORE_OK), PIPELINE_OK);
}

static void close_it(world_t *w)
{
    int32_t status;
    pipeline_capture(w->p, 1, payload, 8);
    status = pipeline_close(w->p, 20000);
    ALLOW_ALSO(status, PIPELINE_ERR_SYSTEM);
    w->closed = status == PIPELINE_OK;
}

static void destroy(world_t *w)
{
    int32_t status;
    CHECK_STATUS(pipeline_producer_close(w->r), PIPELINE_OK);
    do
        status = pipeline_destroy(w->p);
    while (status == PIPELINE_ERR_BUSY);
    CHECK_STATUS(status, PIPELINE_OK);
    w->gone = true;
}

static void abandon(world_t *w)
{
    CHECK_STATUS(pipeline_producer_close(w->r), PIPELINE_OK);
    CHECK_STATUS(pipeline_abandon(w->p), PIPELINE_OK);
    w->gone = true;
}

static atomic_int logged;

static void hear(void *user_data, int32_t level, const char *message)
{
    (void)user_data, (void)level;
    if (*message != 0)
        atomic_fetch_add(&logged, 1);
}

static void hook(void *user_data)
{
    (void)user_data;
}

static void log_and_hooks(world_t *w)
{
    ALLOW(pipeline_log_callback(hear, NULL, PIPELINE_LOG_DEBUG));
    ALLOW(pipeline_thread_hooks(hook, hook, NULL));
    ALLOW_ALSO(pipeline_scale(w->p, 2), PIPELINE_ERR_SYSTEM);
    ALLOW(pipeline_log(PIPELINE_LOG_ERROR, "text"));
    ALLOW(pipeline_set_last_error("text"));
    ALLOW_ALSO(pipeline_thread_start("text", hook, NULL), PIPELINE_ERR_SYSTEM);
    ALLOW(pipeline_log_callback(NULL, NULL, 0));
    ALLOW(pipeline_thread_hooks(NULL, NULL, NULL));
}

static void sqlite(world_t *w)
{
    pipeline_storage_t s;
    int32_t status = pipeline_storage_sqlite("events.db", NULL, sizeof s, &s);
    ALLOW_BOTH(status, PIPELINE_ERR_STORAGE, PIPELINE_ERR_SYSTEM);
    if (status == PIPELINE_OK)
        start_with(w, &s);
    w->own_storage = true;
    if (w->p == NULL)
        return;
    CHECK_STATUS(pipeline_capture(w->p, 1, payload, 8), PIPELINE_OK);
    allow("pipeline_flush", pipeline_flush(w->p, 100), PIPELINE_ERR_TIMEOUT, PIPELINE_ERR_STORAGE);
}

static void journal(world_t *w, uint32_t encoding)
{
    pipeline_storage_t s;
    pipeline_journal_options_t o;
    int32_t status;
    int i;
    CHECK_STATUS(pipeline_journal_options_init(&o, sizeof o), PIPELINE_OK);
    o.segment_bytes = 65536;
    o.max_bytes = 1 << 20;
    o.sync = PIPELINE_JOURNAL_SYNC_BATCH;
    o.encoding = encoding;
    status = pipeline_storage_journal("events", &o, sizeof s, &s);
    ALLOW_BOTH(status, PIPELINE_ERR_STORAGE, PIPELINE_ERR_SYSTEM);
    if (status == PIPELINE_OK)
        start_with(w, &s);
    w->own_storage = true;
    if (w->p == NULL)
        return;
    for (i = 0; i < 300; i++)
        CHECK_STATUS(pipeline_capture(w->p, 1, payload, sizeof payload), PIPELINE_OK);
    allow("pipeline_flush", pipeline_flush(w->p, 1000), PIPELINE_ERR_TIMEOUT, PIPELINE_ERR_STORAGE);
}

static void raw_journal(world_t *w)
{
    journal(w, PIPELINE_JOURNAL_RAW);
}

static void journal_in_columns(world_t *w)
{
    journal(w, PIPELINE_JOURNAL_COLUMNS_LZ4);
}

static void perfetto(world_t *w)
{
    pipeline_storage_t s;
    pipeline_perfetto_options_t o;
    int32_t status;
    int i;
    CHECK_STATUS(pipeline_perfetto_options_init(&o, sizeof o), PIPELINE_OK);
    o.file_bytes = 65536;
    o.max_bytes = 1 << 20;
    status = pipeline_storage_perfetto("traces", &o, sizeof s, &s);
    ALLOW_BOTH(status, PIPELINE_ERR_STORAGE, PIPELINE_ERR_SYSTEM);
    if (status == PIPELINE_OK)
        start_with(w, &s);
    w->own_storage = true;
    if (w->p == NULL)
        return;
    ALLOW_ALSO(define_kind(w->p, 1, "message"), PIPELINE_OK);
    for (i = 0; i < 300; i++)
        CHECK_STATUS(pipeline_capture(w->p, 1 + (uint32_t)i % 2, payload, sizeof payload), PIPELINE_OK);
    allow("pipeline_flush", pipeline_flush(w->p, 1000), PIPELINE_ERR_TIMEOUT, PIPELINE_ERR_STORAGE);
}

static void create_indexes(world_t *w)
{
    (void)w;
    ALLOW_BOTH(pipeline_sqlite_create_indexes("events.db"), PIPELINE_ERR_STORAGE, PIPELINE_ERR_SYSTEM);
}

/* A journal of two runs with a defined kind; the readers of the cases find it. */
static void write_journal(void)
{
    static const pipeline_field_t fields[] = {{"text", PIPELINE_TYPE_STRING, 0, 0, PIPELINE_LENGTH_REST, "unit", 0, 0, NULL}};
    int run, i;
    for (run = 0; run < 2; run++) {
        pipeline_kind_definition_t definition;
        pipeline_storage_t s;
        pipeline_t *p = NULL;
        CHECK_OR_STOP(pipeline_storage_journal("journal", NULL, sizeof s, &s) == PIPELINE_OK);
        CHECK_OR_STOP(pipeline_start(NULL, &s, &p) == PIPELINE_OK);
        CHECK_STATUS(pipeline_kind_definition_init(&definition, sizeof definition), PIPELINE_OK);
        definition.kind = 1;
        definition.name = "message";
        PIPELINE_KIND_FIELDS(&definition, fields);
        CHECK_STATUS(pipeline_kind_define(p, &definition), PIPELINE_OK);
        for (i = 0; i < 500; i++)
            CHECK_STATUS(pipeline_capture(p, 1, payload, sizeof payload), PIPELINE_OK);
        END(p);
    }
}

/* Everything is read, however often a call must be made again. */
static void read_journal(world_t *w)
{
    static const uint32_t flags[] = {0, PIPELINE_READER_TIME_ORDER, PIPELINE_READER_FOLLOW};
    size_t i;
    (void)w;
    for (i = 0; i < 3; i++) {
        pipeline_reader_options_t o;
        pipeline_reader_event_t event;
        pipeline_reader_losses_t losses;
        pipeline_reader_thread_t thread;
        pipeline_reader_attribute_t attribute;
        const pipeline_reader_kinds_t *kinds;
        pipeline_reader_t *reader = NULL;
        int32_t status;
        int tries, events = 0;
        size_t count;
        ALLOW(pipeline_reader_options_init(&o, sizeof o));
        o.flags = flags[i];
        ALLOW(pipeline_reader_open("journal", &o, &reader));
        if (reader == NULL)
            continue;
        event.struct_size = sizeof event;
        for (tries = 0; tries < 100; tries++) {
            while ((status = pipeline_reader_next(reader, 0, &event)) == PIPELINE_OK)
                events++;
            allow("pipeline_reader_next", status, PIPELINE_END, PIPELINE_ERR_TIMEOUT);
            if (status != PIPELINE_ERR_NO_MEMORY)
                break;
        }
        allow("pipeline_reader_next_many", pipeline_reader_next_many(reader, 0, &event, 1, &count), PIPELINE_END, PIPELINE_ERR_TIMEOUT);
        ALLOW(pipeline_reader_definitions(reader, &kinds));
        thread.struct_size = sizeof thread;
        ALLOW_ALSO(pipeline_reader_thread(reader, event.generation, event.ring_id, &thread), PIPELINE_ERR_NOT_FOUND);
        attribute.struct_size = sizeof attribute;
        ALLOW_ALSO(pipeline_reader_attribute(reader, event.generation, 0, &attribute), PIPELINE_ERR_NOT_FOUND);
        losses.struct_size = sizeof losses;
        ALLOW(pipeline_reader_losses(reader, &losses));
        /* Once there is memory again, nothing is missing. */
        disarm();
        while (pipeline_reader_next(reader, 0, &event) == PIPELINE_OK)
            events++;
        CHECK_U64(events, 1000);
        CHECK_STATUS(pipeline_reader_losses(reader, &losses), PIPELINE_OK);
        CHECK_U64(losses.any, 0);
        arm();
        CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
    }
}

/* A message of the batch that waits, and one of facts, are made and read. What cannot be made for want of memory is made afterwards. */
static void messages(world_t *w)
{
    static unsigned char buffer[2][65536];
    const pipeline_batch_t *batch = atomic_load(&pending);
    uint32_t encoding;
    for (encoding = PIPELINE_JOURNAL_RAW; encoding <= PIPELINE_JOURNAL_COLUMNS_ZSTD; encoding++) {
        pipeline_message_encoder_t *encoder = NULL;
        pipeline_message_reader_t *reader = NULL;
        pipeline_message_t made[2], taken;
        pipeline_reader_event_t event;
        pipeline_reader_thread_t thread;
        pipeline_reader_attribute_t attribute;
        const pipeline_reader_kinds_t *kinds;
        int32_t done[2];
        int i;
        event.struct_size = sizeof event;
        made[0].struct_size = made[1].struct_size = taken.struct_size = sizeof taken;
        ALLOW(pipeline_message_encoder_open(encoding, PIPELINE_MESSAGE_THREADS, &encoder));
        ALLOW(pipeline_message_reader_open(0, &reader));
        if (encoder == NULL || reader == NULL) {
            CHECK_STATUS(pipeline_message_encoder_close(encoder), PIPELINE_OK);
            CHECK_STATUS(pipeline_message_reader_close(reader), PIPELINE_OK);
            continue;
        }
        done[0] = pipeline_message_encode(encoder, batch, 0, SIZE_MAX, buffer[0], sizeof buffer[0], &made[0]);
        done[1] = pipeline_message_encode_facts(encoder, batch, 0, buffer[1], sizeof buffer[1], &made[1]);
        ALLOW(done[0]);
        ALLOW(done[1]);
        for (i = 0; i < 2; i++)
            if (done[i] == PIPELINE_OK)
                ALLOW(pipeline_message_reader_take(reader, buffer[i], made[i].length, &taken));
        ALLOW(pipeline_message_reader_definitions(reader, &kinds));
        thread.struct_size = sizeof thread;
        ALLOW_ALSO(pipeline_message_reader_thread(reader, batch->generation, 0, &thread), PIPELINE_ERR_NOT_FOUND);
        attribute.struct_size = sizeof attribute;
        ALLOW_ALSO(pipeline_message_reader_attribute(reader, batch->generation, 0, &attribute), PIPELINE_ERR_NOT_FOUND);
        disarm();
        CHECK_STATUS(pipeline_message_encode(encoder, batch, 0, SIZE_MAX, buffer[0], sizeof buffer[0], &made[0]), PIPELINE_OK);
        CHECK_U64(made[0].count, batch->count);
        CHECK_STATUS(pipeline_message_reader_take(reader, buffer[0], made[0].length, &taken), PIPELINE_OK);
        for (i = 0; pipeline_message_reader_next(reader, &event) == PIPELINE_OK; i++)
            CHECK(event.len == PIPELINE_BATCH_EVENT(batch, i)->len && memcmp(event.data, PIPELINE_BATCH_EVENT(batch, i)->data, event.len) == 0);
        CHECK_U64(i, batch->count);
        arm();
        CHECK_STATUS(pipeline_message_encoder_close(encoder), PIPELINE_OK);
        CHECK_STATUS(pipeline_message_reader_close(reader), PIPELINE_OK);
    }
    answers(w);
}

static void whole_life(world_t *w)
{
    int i;
    start(w);
    if (w->p == NULL)
        return;
    for (i = 0; i < 1500; i++) {
        int32_t status = pipeline_capture(w->p, 1, payload, sizeof payload);
        CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_FULL);
    }
    figures(w);
    producers(w);
    scale(w);
    ALLOW(pipeline_flush(w->p, 20000));
    close_it(w);
}

static char rings[64]; /* a directory on tmpfs */

/* What a pipeline has left in its ring file goes to a storage. */
static void recovers(world_t *w)
{
    const char *directory = rings;
    pipeline_config_t c = config_of_cases();
    pipeline_storage_t s = counting();
    pipeline_recover_options_t o;
    pipeline_recovery_t recovery = {.struct_size = sizeof recovery};
    pipeline_t *p = NULL;
    int32_t status;
    (void)w;
    c.writers = 0;
    c.ring_dir = directory;
    status = pipeline_start(&c, &s, &p);
    ALLOW_ALSO(status, PIPELINE_ERR_SYSTEM);
    if (status == PIPELINE_OK) {
        status = pipeline_capture(p, 1, payload, sizeof payload);
        CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_NO_RING || status == PIPELINE_ERR_NO_MEMORY);
        DESTROY_SOON(p);
    }
    ALLOW(pipeline_recover_options_init(&o, sizeof o));
    o.retry_ms = 1;
    s = counting();
    ALLOW_ALSO(pipeline_recover(directory, &s, &o, &recovery), PIPELINE_ERR_NOT_FOUND);
}

enum { BARE = 1, FRESH = 2, PENDING = 4, DATABASE = 8 };

static const struct {
    const char *functions; /* that it is for */
    void (*run)(world_t *w);
    int how; /* BARE: without a pipeline; FRESH: without a capture before; PENDING: a batch waits for its answer */
} cases[] = {
    {"pipeline_version pipeline_version_string pipeline_status_message pipeline_last_error", versions, BARE},
    {"pipeline_config_init pipeline_storage_init pipeline_sqlite_options_init pipeline_journal_options_init "
     "pipeline_perfetto_options_init "
     "pipeline_kind_definition_init",
     inits, BARE},
    {"pipeline_start", start, BARE},
    {"refused calls", refused, 0},
    {"pipeline_capture", first_capture, FRESH},
    {"pipeline_capture_event pipeline_capture_many", steady_captures, 0},
    {"pipeline_producer_capture pipeline_producer_capture_event pipeline_producer_capture_many pipeline_producer_reserve "
     "pipeline_producer_abort pipeline_producer_commit pipeline_producer_fast pipeline_producer_wake",
     producer_captures, 0},
    {"pipeline_producer_open pipeline_producer_close", producers, 0},
    {"pipeline_kind_name", kind_name, 0},
    {"pipeline_kind_define", kind_define, 0},
    {"pipeline_attribute", attribute, 0},
    {"pipeline_rule_init pipeline_rules_set pipeline_rules_set_text pipeline_rules_load pipeline_rules_clear pipeline_rule_count "
     "pipeline_rule_metrics",
     rules, 0},
    {"pipeline_transform_init pipeline_transform", transforms, 0},
    {"pipeline_limit_calls", limit_calls, 0},
    {"pipeline_flush", flush, 0},
    {"pipeline_scale", scale, 0},
    {"pipeline_metrics pipeline_writer_metrics pipeline_health pipeline_config_read", figures, 0},
    {"pipeline_metrics_text", metrics_text, 0},
    {"pipeline_snapshot_options_init pipeline_snapshot pipeline_snapshot_on_trigger", snapshots, 0},
    {"pipeline_update", update, 0},
    {"pipeline_pause pipeline_resume", pause_and_resume, 0},
    {"pipeline_pressure pipeline_pressure_callback", pressure, 0},
    {"pipeline_batch_set_stored pipeline_batch_set_rejected pipeline_batch_complete pipeline_batch_complete_at "
     "pipeline_batch_try_complete pipeline_batch_exchange",
     answers, PENDING},
    {"pipeline_message_encoder_open pipeline_message_encode pipeline_message_encode_facts pipeline_message_encoder_close "
     "pipeline_message_reader_open pipeline_message_reader_take pipeline_message_reader_next pipeline_message_reader_definitions "
     "pipeline_message_reader_thread pipeline_message_reader_attribute pipeline_message_reader_close",
     messages, PENDING},
    {"pipeline_close", close_it, 0},
    {"pipeline_destroy", destroy, 0},
    {"pipeline_abandon", abandon, 0},
    {"pipeline_log_callback pipeline_thread_hooks pipeline_log pipeline_set_last_error pipeline_thread_start", log_and_hooks, 0},
    {"pipeline_storage_sqlite", sqlite, BARE},
    {"pipeline_sqlite_create_indexes", create_indexes, BARE | DATABASE},
    {"pipeline_reader_options_init pipeline_reader_open pipeline_reader_next pipeline_reader_next_many pipeline_reader_definitions "
     "pipeline_reader_thread pipeline_reader_attribute pipeline_reader_losses pipeline_reader_close",
     read_journal, BARE},
    {"pipeline_storage_journal", raw_journal, BARE},
    {"pipeline_storage_journal in columns", journal_in_columns, BARE},
    {"pipeline_storage_perfetto", perfetto, BARE},
    {"pipeline_recover pipeline_recover_options_init", recovers, BARE},
    {"a pipeline's whole life", whole_life, BARE},
};

#endif
