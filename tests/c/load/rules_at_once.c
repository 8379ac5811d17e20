/* What rules do with thousands of events that are judged at once, by their kind, their ids or a number in their payload, by every call. A plain evaluation here says
 * which are dropped and which get a tag. Counts and sequence numbers are exact. */
#include "rules.h"

enum { EVENTS = 8000, FORMS = 4, MARK = PIPELINE_EVENT_TAG_2 };

typedef struct {
    uint32_t number, size;
    uint64_t rest;
} request_t;

/* In the order of the rules. */
enum { BIG, SEEN, NOISE, SMALL, LATE, RULES };

static const char text[] = "big: drop if request.size > 1000\n"
                           "seen: dry drop if request.size > 900\n"
                           "noise: drop if kind = 6\n"
                           "small: tag 2 if request.size < 70\n"
                           "late: drop if kind = 7 and node_id = 3\n";

/* What was captured into a ring buffer: sequence numbers and flags, in their order. */
typedef struct {
    uint64_t offered, sequence[EVENTS + 1];
    uint32_t flags[EVENTS + 1];
    size_t count, seen;
} kept_t;

/* Those of the thread, and of the handle. */
static kept_t kept[2];
static uint64_t matched[RULES], dropped;

/* Whether a rule drops the event; its flags. */
static bool drops(uint32_t kind, uint64_t node_id, const request_t *r, size_t len, uint32_t *flags)
{
    const bool has_size = kind == 5 && len >= 8;
    *flags = 0;
    if (has_size && r->size > 1000)
        return matched[BIG]++, true;
    if (has_size && r->size > 900)
        matched[SEEN]++;
    if (kind == 6)
        return matched[NOISE]++, true;
    if (has_size && r->size < 70) {
        matched[SMALL]++;
        *flags = MARK;
    }
    if (kind == 7 && node_id == 3)
        return matched[LATE]++, true;
    return false;
}

static int32_t capture(pipeline_t *p, pipeline_producer_t *handle, int form, const pipeline_event_t *e)
{
    switch (form) {
    case 0:
        return pipeline_capture(p, e->kind, e->data, e->len);
    case 1:
        return pipeline_capture_event(p, e);
    case 2:
        return pipeline_producer_capture(handle, e->kind, e->data, e->len);
    default:
        return pipeline_producer_capture_event(handle, e);
    }
}

static void offer_all(pipeline_t *p, pipeline_producer_t *handle)
{
    uint32_t random = 1, flags;
    int n;
    for (n = 0; n < EVENTS; n++) {
        const int form = n % FORMS;
        kept_t *k = &kept[form / 2];
        request_t r;
        pipeline_event_t e;
        bool is_dropped;
        random = random * 1664525 + 1013904223;
        memset(&r, 0xFF, sizeof r);
        r.size = (random >> 8) % 1200;
        e = event_of(5 + (random >> 20) % 3, &r, (random >> 24) % 8 ? sizeof r : 6 + (random >> 27) % 4);
        e.node_id = form % 2 ? (random >> 16) % 5 : 0;
        is_dropped = drops(e.kind, e.node_id, &r, e.len, &flags);
        dropped += is_dropped;
        CHECK_STATUS(capture(p, handle, form, &e), is_dropped ? PIPELINE_DROPPED_BY_RULE : PIPELINE_OK);
        if (!is_dropped) {
            k->sequence[k->count] = k->offered;
            k->flags[k->count++] = flags;
        }
        k->offered++;
    }
}

static void check_stored(void)
{
    uint64_t of_thread = 0;
    size_t i;
    CHECK_U64(rec.stored.count, kept[0].count + kept[1].count);
    for (i = 0; i < rec.stored.count; i++)
        if (rec.stored.at[i].kind == 1)
            of_thread = rec.stored.at[i].ring_id;
    for (i = 0; i < rec.stored.count; i++) {
        const recorded_t *e = &rec.stored.at[i];
        kept_t *k = e->ring_id == of_thread ? &kept[0] : &kept[1];
        if (k->seen == k->count || e->sequence != k->sequence[k->seen] || e->flags != k->flags[k->seen])
            CHECK_OR_STOP(false);
        k->seen++;
    }
}

int main(void)
{
    static const pipeline_field_t fields[] = {PIPELINE_FIELD(request_t, size, PIPELINE_TYPE_U32)};
    pipeline_kind_definition_t definition;
    pipeline_t *p = start(0);
    pipeline_producer_t *handle = NULL;
    uint32_t rule;
    CHECK_STATUS(pipeline_kind_definition_init(&definition, sizeof definition), PIPELINE_OK);
    definition.kind = 5;
    definition.name = "request";
    PIPELINE_KIND_FIELDS(&definition, fields);
    definition.payload_size = sizeof(request_t);
    CHECK_STATUS(pipeline_kind_define(p, &definition), PIPELINE_OK);
    CHECK_STATUS(pipeline_rules_set_text(p, text, 0), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_open(p, &handle), PIPELINE_OK);
    /* It tells the thread's ring buffer. */
    CHECK_STATUS(pipeline_capture(p, 1, "", 0), PIPELINE_OK);
    kept[0].offered = kept[0].count = 1;
    offer_all(p, handle);
    CHECK_STATUS(pipeline_producer_close(handle), PIPELINE_OK);
    CHECK_U64(metrics_of(p).dropped_rule, dropped);
    CHECK_U64(metrics_of(p).captured, 1 + EVENTS - dropped);
    for (rule = 0; rule < RULES; rule++) {
        CHECK(matched[rule] > 10);
        CHECK_U64(rule_of(p, rule).matched, matched[rule]);
        CHECK_U64(rule_of(p, rule).dropped, rule == SEEN || rule == SMALL ? 0 : matched[rule]);
    }
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    check_stored();
    END(p);
    return SUMMARY();
}
