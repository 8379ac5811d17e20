/* Random rules, for random_calls.c: texts of pieces that often make rules, and structs. They are dry, so the model of what becomes of an event stays as it is;
 * captures are judged by them all the same. */
#ifndef CAPTURE_PIPELINE_RANDOM_RULES_H
#define CAPTURE_PIPELINE_RANDOM_RULES_H

#include "model.h"

static const char *const rule_pieces[] = {
    "drop",       "keep",    "keep trace", "sample 1/3",   "sample 10%", "limit 5/s burst 2", "priority", "tag 3",    "redact size",
    "redact payload[1..9]", ", ",      " if ",       "kind",         "node_id",    "correlation_id",    "size",     "one.size", " = ",
    " > ",        " in (",   "1, 2, 3)",   "'one'",        "12",         " and ",             " or ",     "not ",     "(",
    ")",          "\n",      "\n   ",      "name: ",       "dry ",       "# \"",              "payload",  " contains 'a'", "\xC3\xBC",
};

static int32_t set_random_text(rng_t *rng)
{
    char text[600] = "";
    unsigned pieces = below(rng, 24);
    if (below(rng, 3))
        strcat(text, "drop if kind = 1 or node_id in (3, 4) ");
    while (pieces-- > 0)
        strcat(text, rule_pieces[below(rng, sizeof rule_pieces / sizeof *rule_pieces)]);
    return pipeline_rules_set_text(world.p, text, PIPELINE_RULES_DRY);
}

static int32_t set_random_structs(rng_t *rng)
{
    static const uint64_t ids[4] = {0, 1, 7, UINT64_MAX};
    static const uint32_t kinds[4] = {0, 1, 2, UINT32_MAX};
    static const char *const parts[2] = {"payload[0..4]", "size"};
    pipeline_rule_t rules[3];
    uint32_t count = below(rng, 4), i;
    for (i = 0; i < count; i++) {
        pipeline_rule_t *r = &rules[i];
        pipeline_rule_init(r, sizeof *r);
        r->flags = below(rng, 8);
        r->actions = below(rng, 9);
        r->tags = below(rng, 4) ? 0 : below(rng, 300);
        r->sample_one_in = below(rng, 3);
        r->limit_per_second = below(rng, 3);
        if (below(rng, 2))
            r->kinds = kinds, r->kind_count = below(rng, 5);
        if (below(rng, 2))
            r->node_ids = ids, r->node_id_count = below(rng, 5);
        if (below(rng, 2))
            r->correlation_ids = ids, r->correlation_id_count = below(rng, 5);
        if (below(rng, 2))
            r->payload_min = below(rng, 20), r->payload_max = below(rng, 200);
        if (below(rng, 4) == 0)
            r->redact = parts, r->redact_count = below(rng, 3);
        if (below(rng, 4) == 0)
            r->payload_prefix = ids, r->payload_prefix_len = below(rng, 33);
    }
    return pipeline_rules_set(world.p, rules, count, PIPELINE_RULES_DRY);
}

/* Sets rules, or reads what those in force have counted. */
static void use_rules(rng_t *rng)
{
    pipeline_rule_metrics_t m;
    uint32_t count, index;
    switch (below(rng, 4)) {
    case 0:
        CHECK_AMONG(set_random_text(rng), PIPELINE_OK, PIPELINE_ERR_INVALID, PIPELINE_ERR_BUSY, closed());
        break;
    case 1:
        CHECK_AMONG(set_random_structs(rng), PIPELINE_OK, PIPELINE_ERR_INVALID, PIPELINE_ERR_BUSY, closed());
        break;
    case 2:
        CHECK_AMONG(below(rng, 8) ? pipeline_rules_load(world.p, "/", 0) : pipeline_rules_clear(world.p), PIPELINE_OK, PIPELINE_ERR_INVALID,
                    PIPELINE_ERR_BUSY, closed());
        break;
    default:
        CHECK_STATUS(pipeline_rule_count(world.p, &count), PIPELINE_OK);
        index = below(rng, count + 1);
        m.struct_size = sizeof m;
        CHECK_AMONG(pipeline_rule_metrics(world.p, index, &m), PIPELINE_OK, PIPELINE_ERR_NOT_FOUND);
    }
}

#endif
