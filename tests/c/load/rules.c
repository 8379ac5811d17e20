/* What rules do, as text and as data: they keep, drop, sample, limit, tag and redact events of every form of capture, and a rule on what is not known yet
 * begins with the definition. */
#include "rules.h"

/* ---- what rules do ------------------------------------------------------------------------------------------------------------------- */

static void rules_from_a_text(void)
{
    pipeline_t *p = start(1);
    size_t before = rec.stored.count;
    recorded_t *e;
    int seen = 0;
    CHECK_STATUS(pipeline_rules_set_text(p,
                                         "# rules\n"
                                         "noise: drop if kind = 1\n"
                                         "marked: tag 1, tag 8, priority if node_id in (4, 5)\n"
                                         "secret: redact payload[0..4] if payload contains 'pass'\n"
                                         "limited: limit 1/s burst 2\n"
                                         "   if kind = 9   # goes on\n",
                                         0),
                 PIPELINE_OK);
    CHECK_U64(rules_of(p), 4);
    CHECK_STATUS(offer(p, 1, 0, 0, "dropped"), PIPELINE_DROPPED_BY_RULE);
    CHECK_STATUS(offer(p, 2, 0, 0, "plainest"), PIPELINE_OK);
    CHECK_STATUS(offer(p, 2, 0, 4, "passwords"), PIPELINE_OK);
    CHECK_STATUS(offer(p, 9, 0, 0, "limited1"), PIPELINE_OK);
    CHECK_STATUS(offer(p, 9, 0, 0, "limited2"), PIPELINE_OK);
    CHECK_STATUS(offer(p, 9, 0, 0, "limited3"), PIPELINE_DROPPED_BY_RULE);
    CHECK_STATUS(pipeline_flush(p, 20000), PIPELINE_OK);
    CHECK_U64(rec.stored.count - before, 4);
    /* The one with priority may overtake the others. */
    for (e = rec.stored.at + before; e < rec.stored.at + before + 4; e++)
        if (e->node_id == 4) {
            CHECK_U64(e->flags, PIPELINE_EVENT_TAG_1 | PIPELINE_EVENT_TAG_8 | PIPELINE_EVENT_PRIORITY);
            CHECK(memcmp(&e->value, "\0\0\0\0word", 8) == 0);
            seen |= 1;
        } else if (e->kind == 2) {
            CHECK_U64(e->flags, 0);
            CHECK(memcmp(&e->value, "plainest", 8) == 0);
            seen |= 2;
        }
    CHECK_U64(seen, 3);
    CHECK_U64(metrics_of(p).dropped_rule, 2);
    CHECK_U64(metrics_of(p).offered, 6);
    CHECK_U64(rule_of(p, 0).matched, 1);
    CHECK_U64(rule_of(p, 0).dropped, 1);
    CHECK_U64(rule_of(p, 1).matched, 1);
    CHECK_U64(rule_of(p, 1).dropped, 0);
    CHECK_U64(rule_of(p, 3).matched, 3);
    CHECK_U64(rule_of(p, 3).dropped, 1);
    CHECK_U64(rule_of(p, 3).limited, 1);
    CHECK_U64(rule_of(p, 3).line, 5);
    CHECK_HAS(rule_of(p, 3).name, "limited");
    CHECK_U64(rule_of(p, 3).active, 1);
    CHECK_STATUS(pipeline_rules_clear(p), PIPELINE_OK);
    CHECK_U64(rules_of(p), 0);
    CHECK_STATUS(offer(p, 1, 0, 0, "captured"), PIPELINE_OK);
    END(p);
}

static void a_sampled_event_stands_for_others(void)
{
    pipeline_t *p = start(1);
    size_t before = rec.stored.count, n;
    uint64_t sampled = 0;
    double weight = 0;
    CHECK_STATUS(pipeline_rules_set_text(p, "sample 1/8 if kind = 3\nkeep if kind = 3\nsample 1/2", 0), PIPELINE_OK);
    for (n = 0; n < 4000; n++) {
        int32_t status = offer(p, n % 2 ? 3 : 4, 0, 0, "x");
        CHECK(status == PIPELINE_OK || (status == PIPELINE_SAMPLED && n % 2 == 0));
        sampled += status == PIPELINE_SAMPLED;
    }
    CHECK_STATUS(pipeline_flush(p, 20000), PIPELINE_OK);
    for (n = before; n < rec.stored.count; n++) {
        CHECK(rec.stored.at[n].weight == (rec.stored.at[n].kind == 3 ? 1.0 : 2.0));
        weight += rec.stored.at[n].weight;
    }
    CHECK_U64(metrics_of(p).dropped_sampled, sampled);
    CHECK_U64(metrics_of(p).weight_captured, (uint64_t)weight);
    CHECK_U64(rule_of(p, 2).sampled_out, sampled);
    CHECK_U64(rule_of(p, 0).sampled_out, 0);
    /* 2,000 events by chance one half each: 6 standard deviations. */
    CHECK(sampled > 1000 - 140 && sampled < 1000 + 140);
    END(p);
}

static void a_trace_is_sampled_as_a_whole(void)
{
    pipeline_t *p = start(0);
    uint64_t trace, kept = 0;
    int i;
    CHECK_STATUS(pipeline_rules_set_text(p, "sample 1/4", 0), PIPELINE_OK);
    for (trace = 1; trace <= 400; trace++) {
        int32_t first = offer(p, 1, trace, 0, "x");
        kept += first == PIPELINE_OK;
        for (i = 0; i < 3; i++)
            CHECK_STATUS(offer(p, 1, trace, 0, "x"), first);
    }
    CHECK(kept > 40 && kept < 180);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    END(p);
}

static void a_trace_that_matters_is_kept_from_there_on(void)
{
    pipeline_t *p = start(0);
    uint64_t trace, kept = 0, errors = 0, flagged = 0;
    bool cut[301];
    size_t before = rec.stored.count, n;
    int i;
    CHECK_STATUS(pipeline_rules_set_text(p, "keep trace if kind = 9\nsample 1/1000", 0), PIPELINE_OK);
    for (trace = 1; trace <= 300; trace++) {
        bool matters = trace % 3 == 0;
        int32_t first = offer(p, 1, trace, 0, "x");
        CHECK(first >= PIPELINE_OK);
        cut[trace] = first == PIPELINE_SAMPLED;
        if (matters) {
            CHECK_STATUS(offer(p, 9, trace, 0, "x"), PIPELINE_OK);
            errors++;
        }
        for (i = 0; i < 3; i++) {
            int32_t status = offer(p, 1, trace, 0, "x");
            CHECK(status == PIPELINE_OK || !matters);
            kept += status == PIPELINE_OK;
        }
    }
    CHECK(kept >= 3 * errors && kept < 3 * errors + 30);
    CHECK_U64(rule_of(p, 0).matched, errors);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, 20000), PIPELINE_OK);
    /* What was sampled out before the rule matched is gone, and the rest says so. */
    for (n = before; n < rec.stored.count; n++) {
        const recorded_t *e = &rec.stored.at[n];
        flagged += e->flags == PIPELINE_EVENT_PARTIAL;
        if ((e->flags == PIPELINE_EVENT_PARTIAL) != cut[e->correlation_id])
            CHECK_U64(e->correlation_id, 0);
    }
    CHECK(flagged > 0);
    END(p);
}

/* The flags of the event that a rule promotes the trace with. */
static uint32_t promoted(pipeline_t *p, uint64_t trace)
{
    CHECK_STATUS(offer(p, 9, trace, 0, "x"), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, 20000), PIPELINE_OK);
    CHECK_U64(rec.stored.at[rec.stored.count - 1].correlation_id, trace);
    return rec.stored.at[rec.stored.count - 1].flags;
}

/* A rule that was replaced may have cut a trace that goes on; after sampling_hold_ms none does. */
static void a_trace_that_a_former_rule_has_cut_is_told_so_for_a_while(void)
{
    pipeline_config_t c;
    pipeline_t *p = start(1);
    uint64_t trace = 0;
    CHECK_STATUS(pipeline_rules_set_text(p, "sample 1/1048576", 0), PIPELINE_OK);
    CHECK_STATUS(offer(p, 1, 5, 0, "x"), PIPELINE_SAMPLED);
    CHECK_STATUS(pipeline_rules_set_text(p, "keep trace if kind = 9", 0), PIPELINE_OK);
    CHECK_U64(promoted(p, 5), PIPELINE_EVENT_PARTIAL);
    c = config_of(p);
    c.sampling_hold_ms = 1;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    WAIT_FOR(promoted(p, 100 + trace++) == 0);
    CHECK_STATUS(pipeline_rules_set_text(p, "keep trace if kind = 9\ndry sample 1/1048576", 0), PIPELINE_OK);
    CHECK_U64(promoted(p, 1000000), 0);
    CHECK_STATUS(pipeline_rules_set_text(p, "keep trace if kind = 9\nsample 1/1048576", 0), PIPELINE_OK);
    CHECK_U64(promoted(p, 1000001), PIPELINE_EVENT_PARTIAL);
    END(p);
}

static void every_form_of_capture(void)
{
    pipeline_t *p = start(1);
    pipeline_producer_t *r;
    pipeline_event_t many[4];
    void *payload;
    size_t captured = 99;
    int i;
    CHECK_STATUS(pipeline_rules_set_text(p, "drop if kind = 1 or payload_bytes = 3", 0), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p, 1, "x", 1), PIPELINE_DROPPED_BY_RULE);
    CHECK_STATUS(pipeline_capture(p, 2, "x", 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_open(p, &r), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_capture(r, 1, "x", 1), PIPELINE_DROPPED_BY_RULE);
    for (i = 0; i < 3; i++) {
        many[0] = event_of(2, "long", 4);
        CHECK_STATUS(pipeline_producer_reserve(r, &many[0], 4, &payload), PIPELINE_OK);
        memcpy(payload, "long", 4);
        CHECK_STATUS(pipeline_producer_commit(r, (size_t)i + 2), i == 1 ? PIPELINE_DROPPED_BY_RULE : PIPELINE_OK);
    }
    for (i = 0; i < 4; i++)
        many[i] = event_of(i % 2 ? 1 : 2, "x", 1);
    /* What a rule drops does not stop it. */
    CHECK_STATUS(pipeline_capture_many(p, many, 4, &captured), PIPELINE_OK);
    CHECK_U64(captured, 4);
    CHECK_U64(metrics_of(p).dropped_rule, 5);
    CHECK_U64(metrics_of(p).captured, 5);
    CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
    END(p);
}

static void dry_rules_only_count(void)
{
    pipeline_t *p = start(1);
    CHECK_STATUS(pipeline_rules_set_text(p, "a: dry drop\nb: drop if kind = 2", 0), PIPELINE_OK);
    CHECK_STATUS(offer(p, 1, 0, 0, "x"), PIPELINE_OK);
    CHECK_STATUS(offer(p, 2, 0, 0, "x"), PIPELINE_DROPPED_BY_RULE);
    CHECK_U64(rule_of(p, 0).matched, 2);
    CHECK_U64(rule_of(p, 0).dropped, 0);
    CHECK_U64(rule_of(p, 0).dry, 1);
    CHECK_U64(rule_of(p, 1).dry, 0);
    CHECK_STATUS(pipeline_rules_set_text(p, "a: dry drop\nb: drop if kind = 2", PIPELINE_RULES_DRY), PIPELINE_OK);
    CHECK_STATUS(offer(p, 2, 0, 0, "x"), PIPELINE_OK);
    CHECK_U64(rule_of(p, 1).matched, 1);
    CHECK_U64(rule_of(p, 1).dropped, 0);
    CHECK_U64(rule_of(p, 1).dry, 1);
    END(p);
}

/* ---- rules as data ------------------------------------------------------------------------------------------------------------------- */

/* Which of these offers a rule drops that has this one condition: bit N for the offer N. */
static uint64_t dropped_of(pipeline_t *p, const pipeline_rule_t *rule)
{
    uint64_t dropped = 0;
    int i;
    pipeline_rule_t r = *rule;
    r.actions |= PIPELINE_RULE_DROP;
    CHECK_STATUS(pipeline_rules_set(p, &r, 1, 0), PIPELINE_OK);
    static const struct {
        uint32_t kind;
        uint64_t correlation_id, node_id;
        const char *text;
    } offers[] = {{1, 0, 0, ""}, {2, 7, 0, "a"}, {3, 0, 9, "abc"}, {4, 8, 9, "abd"}, {70000, 7, 3, "xbcd"}};
    for (i = 0; i < 5; i++) {
        int32_t status = offer(p, offers[i].kind, offers[i].correlation_id, offers[i].node_id, offers[i].text);
        CHECK(status == PIPELINE_OK || status == PIPELINE_DROPPED_BY_RULE);
        dropped |= (uint64_t)(status == PIPELINE_DROPPED_BY_RULE) << i;
    }
    CHECK_U64(rule_of(p, 0).matched, __builtin_popcountll(dropped));
    return dropped;
}

static void each_condition_of_the_struct(void)
{
    static const uint32_t kinds[] = {3, 70000, 5};
    static const uint64_t ids[] = {8, 9, UINT64_MAX};
    pipeline_t *p = start(1);
    pipeline_rule_t r = rule_defaults();
    CHECK_U64(dropped_of(p, &r), 0x1F);
    r.kinds = kinds;
    r.kind_count = 3;
    CHECK_U64(dropped_of(p, &r), 0x14);
    r.kind_max = 100;
    CHECK_U64(dropped_of(p, &r), 0x04);
    r = rule_defaults();
    r.kind_min = 2;
    r.kind_max = 4;
    CHECK_U64(dropped_of(p, &r), 0x0E);
    r = rule_defaults();
    r.correlation_ids = ids;
    r.correlation_id_count = 3;
    CHECK_U64(dropped_of(p, &r), 0x08);
    r = rule_defaults();
    r.node_ids = ids;
    r.node_id_count = 2;
    CHECK_U64(dropped_of(p, &r), 0x0C);
    r.when = "correlation_id = 8 or kind = 1";
    CHECK_U64(dropped_of(p, &r), 0x08);
    r = rule_defaults();
    r.flags = PIPELINE_RULE_HAS_CORRELATION_ID;
    CHECK_U64(dropped_of(p, &r), 0x1A);
    r.flags = PIPELINE_RULE_HAS_NODE_ID;
    CHECK_U64(dropped_of(p, &r), 0x1C);
    r.flags |= PIPELINE_RULE_HAS_CORRELATION_ID;
    CHECK_U64(dropped_of(p, &r), 0x18);
    r = rule_defaults();
    r.payload_min = 1;
    r.payload_max = 3;
    CHECK_U64(dropped_of(p, &r), 0x0E);
    r = rule_defaults();
    r.payload_prefix = "ab";
    r.payload_prefix_len = 2;
    CHECK_U64(dropped_of(p, &r), 0x0C);
    END(p);
}

static void each_action_of_the_struct(void)
{
    static const char *const redact[] = {"payload[0..2]", "one.size"};
    pipeline_t *p = start(1);
    pipeline_rule_t r[4];
    size_t before = rec.stored.count;
    int i;
    CHECK_STATUS(define_kind(p, 1, "one"), PIPELINE_OK);
    for (i = 0; i < 4; i++)
        r[i] = rule_defaults();
    r[0].name = "first";
    r[0].tags = 0x82;
    r[0].actions = PIPELINE_RULE_PRIORITY;
    r[1].redact = redact;
    r[1].redact_count = 1;
    r[1].limit_per_second = 1;
    r[1].limit_burst = 3;
    r[2].actions = PIPELINE_RULE_KEEP_TRACE;
    r[2].when = "kind = 2";
    r[3].sample_one_in = 1 << 20;
    CHECK_STATUS(pipeline_rules_set(p, r, 4, 0), PIPELINE_OK);
    for (i = 0; i < 3; i++)
        CHECK_STATUS(offer(p, 2, 0, 0, "secretly"), PIPELINE_OK);
    CHECK_STATUS(offer(p, 2, 0, 0, "secretly"), PIPELINE_DROPPED_BY_RULE);
    CHECK_STATUS(pipeline_flush(p, 20000), PIPELINE_OK);
    CHECK_U64(rec.stored.count - before, 3);
    CHECK_U64(rec.stored.at[before].flags, PIPELINE_EVENT_TAG_2 | PIPELINE_EVENT_TAG_8 | PIPELINE_EVENT_PRIORITY);
    CHECK(memcmp(&rec.stored.at[before].value, "\0\0cretly", 8) == 0);
    CHECK(rec.stored.at[before].weight == 1.0);
    CHECK_HAS(rule_of(p, 0).name, "first");
    CHECK_U64(rule_of(p, 0).line, 0);
    /* A field, and a set of 1,000 ids, which are copied. */
    {
        uint64_t *many = (uint64_t *)calloc(1000, sizeof *many);
        CHECK_OR_STOP(many != NULL);
        for (i = 0; i < 1000; i++)
            many[i] = (uint64_t)i * 3 + 1;
        r[1] = rule_defaults();
        r[1].redact = redact + 1;
        r[1].redact_count = 1;
        r[2] = rule_defaults();
        r[2].node_ids = many;
        r[2].node_id_count = 1000;
        r[2].actions = PIPELINE_RULE_DROP;
        CHECK_STATUS(pipeline_rules_set(p, r + 1, 2, 0), PIPELINE_OK);
        memset(many, 0, 1000 * sizeof *many);
        free(many);
    }
    CHECK_STATUS(offer(p, 1, 0, 2998, "x"), PIPELINE_DROPPED_BY_RULE);
    CHECK_STATUS(offer(p, 1, 0, 2999, "eight by and more"), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, 20000), PIPELINE_OK);
    CHECK_U64(rec.stored.at[rec.stored.count - 1].value, 0);
    END(p);
}

/* ---- what is not known yet ------------------------------------------------------------------------------------------------------------ */

static void a_rule_begins_with_the_definition(void)
{
    pipeline_t *p = start(1);
    uint64_t large[2] = {1 << 20, 0};
    CHECK_STATUS(pipeline_rules_set_text(p, "a: drop if one.size > 100\nb: drop if kind = 'two'\nc: drop if one.state = 'three'", 0),
                 PIPELINE_OK);
    CHECK_U64(rule_of(p, 0).active, 0);
    CHECK_HAS(rule_of(p, 0).waits_for, "the kind one is not defined yet");
    CHECK_HAS(rule_of(p, 1).waits_for, "no kind has the name \"two\" yet");
    CHECK_STATUS(pipeline_capture(p, 1, large, sizeof large), PIPELINE_OK);
    CHECK_STATUS(define_kind(p, 1, "one"), PIPELINE_OK);
    CHECK_U64(rule_of(p, 0).active, 1);
    CHECK_U64(rule_of(p, 0).waits_for[0], 0);
    CHECK_HAS(rule_of(p, 2).waits_for, "state has no value named \"three\"; there are one two");
    CHECK_STATUS(pipeline_capture(p, 1, large, sizeof large), PIPELINE_DROPPED_BY_RULE);
    CHECK_STATUS(pipeline_capture(p, 2, large, sizeof large), PIPELINE_OK);
    CHECK_STATUS(pipeline_kind_name(p, 2, "two"), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p, 2, large, sizeof large), PIPELINE_DROPPED_BY_RULE);
    CHECK_U64(rule_of(p, 0).matched, 1);
    CHECK_FAILS(pipeline_rules_set_text(p, "keep\nx: drop if one.sizes > 1", 0), PIPELINE_ERR_INVALID,
                "line 2, column 1: rule 2 (x): the kind one has no field sizes; it has size state text");
    CHECK_U64(rules_of(p), 3);
    END(p);
}

int main(void)
{
    rules_from_a_text();
    a_sampled_event_stands_for_others();
    a_trace_is_sampled_as_a_whole();
    a_trace_that_matters_is_kept_from_there_on();
    a_trace_that_a_former_rule_has_cut_is_told_so_for_a_while();
    every_form_of_capture();
    dry_rules_only_count();
    each_condition_of_the_struct();
    each_action_of_the_struct();
    a_rule_begins_with_the_definition();
    return SUMMARY();
}
