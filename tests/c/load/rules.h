/* Shared by the tests of rules: a pipeline with a recorder, rules, their counts, and offers. */
#ifndef CAPTURE_PIPELINE_RULES_H
#define CAPTURE_PIPELINE_RULES_H

#include "../recorder.h"

static recorder_t rec = RECORDER_INIT;

CHECK_UNUSED static pipeline_t *start(uint32_t writers)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = NULL;
    c.writers = writers;
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    return p;
}

CHECK_UNUSED static pipeline_rule_t rule_defaults(void)
{
    pipeline_rule_t r;
    CHECK_STATUS(pipeline_rule_init(&r, sizeof r), PIPELINE_OK);
    return r;
}

CHECK_UNUSED static pipeline_rule_metrics_t rule_of(const pipeline_t *p, uint32_t index)
{
    pipeline_rule_metrics_t m;
    memset(&m, 0x5A, sizeof m);
    m.struct_size = sizeof m;
    CHECK_STATUS(pipeline_rule_metrics(p, index, &m), PIPELINE_OK);
    return m;
}

CHECK_UNUSED static uint32_t rules_of(const pipeline_t *p)
{
    uint32_t count = 12345;
    CHECK_STATUS(pipeline_rule_count(p, &count), PIPELINE_OK);
    return count;
}

CHECK_UNUSED static int32_t offer(pipeline_t *p, uint32_t kind, uint64_t correlation_id, uint64_t node_id, const char *text)
{
    pipeline_event_t e = event_of(kind, text, strlen(text));
    e.correlation_id = correlation_id;
    e.node_id = node_id;
    return pipeline_capture_event(p, &e);
}

#endif
