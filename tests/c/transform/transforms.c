/* A transform keeps, filters and rewrites events, once for each; the storage and the ledger see what it has made of them. */
#include "transform.h"

enum { EVENTS = 3000 };

static uint64_t filtered_below(uint64_t n)
{
    return (n + 2) / 3;
}

/* An event as the storage must see it after `by_number`. Returns its number. */
static uint64_t check_event(const recorded_t *e)
{
    if (e->kind != 99) {
        CHECK(e->value % 3 != 0 && e->value % 5 != 0);
        CHECK_U64(e->flags & PIPELINE_EVENT_TRANSFORMED, 0);
        return e->value;
    }
    CHECK_U64(e->flags & PIPELINE_EVENT_TRANSFORMED, PIPELINE_EVENT_TRANSFORMED);
    CHECK_U64(e->len, 8);
    CHECK(e->value % 50 == 0 && e->value / 10 % 3 != 0);
    return e->value / 10;
}

/* Each event that is left is in the list once. */
static void check_events(const recorded_list_t *list, uint64_t events)
{
    uint64_t seen = 0, sum = 0, expected = 0;
    for (size_t i = 0; i < list->count; i++) {
        sum += check_event(&list->at[i]);
        seen++;
    }
    for (uint64_t n = 0; n < events; n++)
        expected += n % 3 != 0 ? n : 0;
    CHECK_U64(seen, events - filtered_below(events));
    CHECK_U64(sum, expected);
}

/* Batches are tried again, stored in parts, rejected, and go to the dead letter; release sees what was captured. */
static int32_t answer_variously(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    switch (batch->attempt == 1 ? batch->batch_id % 4 : 4) {
    case 0:
        return PIPELINE_STORE_RETRY;
    case 1:
        CHECK_STATUS(pipeline_batch_set_stored(batch, batch->count), PIPELINE_OK);
        CHECK_STATUS(pipeline_batch_set_stored(batch, batch->count + 1), PIPELINE_ERR_INVALID);
        CHECK_STATUS(pipeline_batch_set_stored(batch, batch->count / 2), PIPELINE_OK);
        return PIPELINE_STORE_RETRY;
    case 2:
        CHECK_STATUS(pipeline_batch_set_rejected(batch, batch->count), PIPELINE_ERR_INVALID);
        CHECK_STATUS(pipeline_batch_set_rejected(batch, batch->count - 1), PIPELINE_OK);
        return PIPELINE_STORE_OK;
    case 3:
        return PIPELINE_STORE_REJECT;
    default:
        return PIPELINE_STORE_OK;
    }
}

static void variously(uint32_t flags, uint32_t ordering)
{
    recorder_t *r = recorder_new();
    transforming_t t = { 0 };
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s = recorder_storage(r);
    s.flags |= flags | PIPELINE_STORAGE_META;
    s.dead_letter = recorder_dead_letter;
    s.release = recorder_release;
    r->answer = answer_variously;
    c.writers = 2;
    c.batch_size = 16;
    c.retry_initial_us = 10;
    c.ordering = ordering;
    pipeline_t *p = start_pipeline(&c, &s);
    set_transform(p, &t);
    capture_numbers(p, 0, EVENTS);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    const pipeline_metrics_t m = metrics_of(p);
    CHECK_LEDGER(p);
    CHECK_U64(m.filtered, filtered_below(EVENTS));
    CHECK_U64(m.transformed, EVENTS / 5 - EVENTS / 15);
    CHECK_U64(m.stored + m.dead_lettered, EVENTS - m.filtered);
    CHECK(m.stored > 0 && m.dead_lettered > 0 && m.retries > 0);
    CHECK_U64(m.transform_faults + m.in_flight + m.in_doubt, 0);
    CHECK_U64(m.bytes_stored, m.stored * 8);
    CHECK_U64(t.calls, EVENTS);
    CHECK_U64(t.destroyed, 0);
    END(p);
    CHECK_U64(t.destroyed, 1);
    /* Every stored event was stored once, every other one dead-lettered once. */
    uint64_t dead = 0;
    for (size_t i = 0; i < r->dead.count; i++)
        dead += check_event(&r->dead.at[i]) != EVENTS;
    CHECK_U64(dead, m.dead_lettered);
    CHECK_U64(r->released.count, EVENTS);
    CHECK_DISTINCT(&r->released);
    for (size_t i = 0; i < r->released.count; i++)
        CHECK(r->released.at[i].kind == 1 && (r->released.at[i].flags & PIPELINE_EVENT_TRANSFORMED) == 0);
    recorder_free(r);
}

/* Of the library's own events none is shown; ids, kind and payload can be changed alone; identity and time stay. */
static int32_t change_ids(transforming_t *t, uint64_t number, const pipeline_event_view_t *e, pipeline_rewrite_t *out)
{
    static char text[] = "a text that the program keeps";
    (void)t;
    CHECK(e->kind < PIPELINE_KIND_RESERVED);
    CHECK_U64(out->struct_size, sizeof *out);
    CHECK(out->kind == e->kind && out->correlation_id == e->correlation_id && out->node_id == e->node_id);
    CHECK(out->data == e->data && out->len == e->len && out->flags == e->flags);
    CHECK_U64((uintptr_t)out->scratch % 8, 0);
    switch (number % 4) {
    case 0:
        out->node_id = number + 1;
        break;
    case 1:
        out->correlation_id = number + 2;
        break;
    case 2:
        out->data = text;
        out->len = sizeof text - 1;
        break;
    default:
        out->data = NULL;
        out->len = 0;
        /* A rule has set the tag 1. */
        CHECK_U64(out->flags, PIPELINE_EVENT_TAG_1);
        out->flags = PIPELINE_EVENT_TAG_2 | PIPELINE_EVENT_TAG_8 | PIPELINE_EVENT_OPAQUE;
    }
    return PIPELINE_TRANSFORM_REWRITE;
}

static int32_t check_changes(recorder_t *r, const pipeline_batch_t *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        if (e->kind >= PIPELINE_KIND_RESERVED) {
            r->extra = r;
            continue;
        }
        CHECK_U64(e->flags, PIPELINE_EVENT_TRANSFORMED |
                                (e->sequence % 4 == 3 ? PIPELINE_EVENT_TAG_2 | PIPELINE_EVENT_TAG_8 | PIPELINE_EVENT_OPAQUE : PIPELINE_EVENT_TAG_1));
        CHECK(e->data != NULL && (uintptr_t)e->data % 8 == 0);
        CHECK_U64(e->sequence, e->timestamp_ns == 0 ? 0 : e->sequence);
        switch (e->sequence % 4) {
        case 0:
            CHECK(e->node_id == number_of(e) + 1 && e->correlation_id == 0);
            break;
        case 1:
            CHECK(e->correlation_id == number_of(e) + 2 && e->node_id == 0);
            break;
        case 2:
            CHECK(e->len == 29 && memcmp(e->data, "a text that the program keeps", 29) == 0);
            break;
        default:
            CHECK_U64(e->len, 0);
        }
    }
    return batch->attempt == 1 ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK;
}

static void members(void)
{
    static recorder_t r = RECORDER_INIT;
    transforming_t t = { .decide = change_ids };
    pipeline_storage_t s = recorder_storage(&r);
    pipeline_config_t c = config_defaults();
    s.flags |= PIPELINE_STORAGE_META;
    c.retry_initial_us = 10;
    r.answer = check_changes;
    pipeline_t *p = start_pipeline(&c, &s);
    set_transform(p, &t);
    CHECK_STATUS(pipeline_kind_name(p, 1, "one"), PIPELINE_OK);
    CHECK_STATUS(pipeline_rules_set_text(p, "tag 1", 0), PIPELINE_OK);
    capture_numbers(p, 0, 400);
    END(p);
    CHECK(r.extra == &r);
    CHECK_U64(t.calls, 400);
}

/* A batch of which nothing is left does not go to the storage, and its space is given back. */
static int32_t filter_all(transforming_t *t, uint64_t number, const pipeline_event_view_t *e, pipeline_rewrite_t *out)
{
    (void)t;
    (void)number;
    (void)e;
    (void)out;
    return PIPELINE_TRANSFORM_FILTER;
}

static void emptied(void)
{
    static recorder_t r = RECORDER_INIT;
    transforming_t t = { .decide = filter_all };
    pipeline_storage_t s = recorder_storage(&r);
    pipeline_config_t c = config_defaults();
    s.release = recorder_release;
    c.ring_bytes = 4096;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = 20000000;
    pipeline_t *p = start_pipeline(&c, &s);
    set_transform(p, &t);
    capture_numbers(p, 0, EVENTS);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).filtered, EVENTS);
    CHECK_U64(RECORDED(&r, store_calls), 0);
    /* None from here on. */
    CHECK_STATUS(pipeline_transform(p, NULL), PIPELINE_OK);
    CHECK_U64(t.destroyed, 1);
    capture_numbers(p, EVENTS, EVENTS + 10);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(metrics_of(p).stored, 10);
    END(p);
    CHECK_U64(r.released.count, EVENTS + 10);
    CHECK_DISTINCT(&r.released);
}

/* The storage sees the same events at each attempt, and each event is stored once. */
static void once(void)
{
    static recorder_t r = RECORDER_INIT;
    transforming_t t = { 0 };
    pipeline_storage_t s = recorder_storage(&r);
    pipeline_config_t c = config_defaults();
    c.ordering = PIPELINE_ORDERING_PER_PRODUCER;
    pipeline_t *p = start_pipeline(&c, &s);
    set_transform(p, &t);
    capture_numbers(p, 0, EVENTS);
    END(p);
    check_events(&r.stored, EVENTS);
    for (size_t i = 1; i < r.stored.count; i++)
        CHECK(r.stored.at[i].sequence > r.stored.at[i - 1].sequence);
}

static void refused(void)
{
    static recorder_t r = RECORDER_INIT;
    transforming_t t = { 0 };
    pipeline_storage_t s = recorder_storage(&r);
    pipeline_t *p = start_pipeline(NULL, &s);
    pipeline_transform_t f = transform_of(&t);
    CHECK_FAILS(pipeline_transform_init(NULL, sizeof f), PIPELINE_ERR_NULL, "transform");
    CHECK_FAILS(pipeline_transform_init(&f, 3), PIPELINE_ERR_VERSION, "pipeline_transform_t.struct_size");
    CHECK_FAILS(pipeline_transform(NULL, NULL), PIPELINE_ERR_NULL, "pipeline");
    f.struct_size = 3;
    CHECK_FAILS(pipeline_transform(p, &f), PIPELINE_ERR_VERSION, "pipeline_transform_t.struct_size");
    CHECK_U64(t.destroyed, 0);
    /* From here on the library owns it. */
    f = transform_of(&t);
    CHECK_FAILS(pipeline_transform(NULL, &f), PIPELINE_ERR_NULL, "pipeline");
    CHECK_U64(t.destroyed, 1);
    f.flags = 2;
    CHECK_FAILS(pipeline_transform(p, &f), PIPELINE_ERR_INVALID, "flags: 0 allowed, 0x2 given");
    CHECK_U64(t.destroyed, 2);
    f = transform_of(&t);
    f.transform = NULL;
    CHECK_FAILS(pipeline_transform(p, &f), PIPELINE_ERR_NULL, "pipeline_transform_t.transform");
    CHECK_U64(t.destroyed, 3);
    CHECK_STATUS(pipeline_transform(p, NULL), PIPELINE_OK);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    f = transform_of(&t);
    CHECK_FAILS(pipeline_transform(p, &f), PIPELINE_ERR_CLOSED, "closed");
    CHECK_U64(t.destroyed, 4);
    /* A caller's event must not have the flag. */
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    s = recorder_storage(&r);
    p = start_pipeline(NULL, &s);
    pipeline_event_t e = event_of(1, NULL, 0);
    e.flags = PIPELINE_EVENT_TRANSFORMED;
    CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_ERR_INVALID);
    CHECK_LEDGER(p);
    END(p);
    CHECK_U64(t.calls, 0);
}

int main(void)
{
    variously(0, PIPELINE_ORDERING_NONE);
    variously(PIPELINE_STORAGE_CONCURRENT, PIPELINE_ORDERING_NONE);
    variously(PIPELINE_STORAGE_CONCURRENT, PIPELINE_ORDERING_PER_PRODUCER);
    members();
    emptied();
    once();
    refused();
    return SUMMARY();
}
