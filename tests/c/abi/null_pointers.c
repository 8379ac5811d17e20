/* NULL in every pointer of every function: the call returns PIPELINE_ERR_NULL and names the argument, outputs stay untouched, and the
 * ledger balances. */
#include "../recorder.h"

static recorder_t rec = RECORDER_INIT;

static void without_a_pipeline(void)
{
    uint64_t n = 7;
    pipeline_event_t e = event_of(1, &n, sizeof n);
    pipeline_config_t c = config_defaults();
    pipeline_metrics_t m;
    pipeline_writer_metrics_t w;
    pipeline_health_t h;
    pipeline_producer_t *r = (pipeline_producer_t *)&n;
    memset(&m, 0x5A, sizeof m);
    m.struct_size = sizeof m;
    w.struct_size = sizeof w;
    h.struct_size = sizeof h;
    CHECK_FAILS(pipeline_capture(NULL, 1, &n, sizeof n), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_capture(NULL, 1, NULL, 0), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_capture_event(NULL, &e), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_capture_event(NULL, NULL), PIPELINE_ERR_NULL, "NULL");
    CHECK_FAILS(pipeline_producer_open(NULL, &r), PIPELINE_ERR_NULL, "pipeline");
    CHECK(r == (pipeline_producer_t *)&n);
    CHECK_FAILS(pipeline_producer_open(NULL, NULL), PIPELINE_ERR_NULL, "NULL");
    CHECK_FAILS(pipeline_update(NULL, &c), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_update(NULL, NULL), PIPELINE_ERR_NULL, "NULL");
    CHECK_FAILS(pipeline_config_read(NULL, &c), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_config_read(NULL, NULL), PIPELINE_ERR_NULL, "NULL");
    CHECK_FAILS(pipeline_scale(NULL, 1), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_flush(NULL, 0), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_pause(NULL), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_resume(NULL), PIPELINE_ERR_NULL, "pipeline");
    CHECK_U64(pipeline_pressure(NULL), 0);
    CHECK_FAILS(pipeline_pressure_callback(NULL, 1, 2, NULL, NULL), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_metrics(NULL, &m), PIPELINE_ERR_NULL, "pipeline");
    CHECK_U64(m.offered, UINT64_C(0x5A5A5A5A5A5A5A5A));
    CHECK_FAILS(pipeline_metrics(NULL, NULL), PIPELINE_ERR_NULL, "NULL");
    CHECK_FAILS(pipeline_writer_metrics(NULL, 0, &w), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_writer_metrics(NULL, 0, NULL), PIPELINE_ERR_NULL, "NULL");
    CHECK_FAILS(pipeline_health(NULL, &h), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_health(NULL, NULL), PIPELINE_ERR_NULL, "NULL");
    CHECK_FAILS(pipeline_kind_name(NULL, 1, "name"), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_kind_name(NULL, 1, NULL), PIPELINE_ERR_NULL, "NULL");
    CHECK_FAILS(define_kind(NULL, 1, "one"), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_kind_define(NULL, NULL), PIPELINE_ERR_NULL, "NULL");
    CHECK_FAILS(pipeline_rule_init(NULL, sizeof(pipeline_rule_t)), PIPELINE_ERR_NULL, "rule");
    CHECK_FAILS(pipeline_rules_set(NULL, NULL, 0, 0), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_rules_set_text(NULL, "drop", 0), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_rules_load(NULL, "/", 0), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_rules_clear(NULL), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_rule_count(NULL, NULL), PIPELINE_ERR_NULL, "NULL");
    CHECK_FAILS(pipeline_rule_metrics(NULL, 0, NULL), PIPELINE_ERR_NULL, "NULL");
    CHECK_FAILS(pipeline_close(NULL, 0), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_destroy(NULL), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_abandon(NULL), PIPELINE_ERR_NULL, "pipeline");
}

static void without_a_producer(void)
{
    size_t captured = 12345;
    uint64_t n = 7;
    void *payload = &n;
    pipeline_event_t e = event_of(1, &n, sizeof n);
    CHECK_FAILS(pipeline_producer_capture(NULL, 1, &n, sizeof n), PIPELINE_ERR_NULL, "producer");
    CHECK_FAILS(pipeline_producer_capture_event(NULL, &e), PIPELINE_ERR_NULL, "producer");
    CHECK_FAILS(pipeline_producer_capture_many(NULL, &e, 1, NULL), PIPELINE_ERR_NULL, "producer");
    CHECK_FAILS(pipeline_capture_many(NULL, &e, 1, NULL), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_producer_capture_many(NULL, &e, 1, &captured), PIPELINE_ERR_NULL, "producer");
    CHECK_U64(captured, 0);
    captured = 12345;
    CHECK_FAILS(pipeline_capture_many(NULL, &e, 1, &captured), PIPELINE_ERR_NULL, "pipeline");
    CHECK_U64(captured, 0);
    CHECK_FAILS(pipeline_producer_capture_event(NULL, NULL), PIPELINE_ERR_NULL, "NULL");
    CHECK_FAILS(pipeline_producer_reserve(NULL, &e, 8, &payload), PIPELINE_ERR_NULL, "producer");
    CHECK_FAILS(pipeline_producer_reserve(NULL, NULL, 8, &payload), PIPELINE_ERR_NULL, "producer");
    CHECK(payload == &n);
    CHECK_FAILS(pipeline_producer_reserve(NULL, NULL, 8, NULL), PIPELINE_ERR_NULL, "NULL");
    CHECK_FAILS(pipeline_producer_commit(NULL, 0), PIPELINE_ERR_NULL, "producer");
    CHECK_FAILS(pipeline_producer_abort(NULL), PIPELINE_ERR_NULL, "producer");
    CHECK_FAILS(pipeline_producer_close(NULL), PIPELINE_ERR_NULL, "producer");
}

static void without_structs(void)
{
    pipeline_t *p = (pipeline_t *)&rec;
    pipeline_storage_t s = recorder_storage(&rec);
    CHECK_FAILS(pipeline_config_init(NULL, sizeof(pipeline_config_t)), PIPELINE_ERR_NULL, "config");
    CHECK_FAILS(pipeline_config_init(NULL, 0), PIPELINE_ERR_NULL, "config");
    CHECK_FAILS(pipeline_config_init(NULL, SIZE_MAX), PIPELINE_ERR_NULL, "config");
    CHECK_FAILS(pipeline_storage_init(NULL, sizeof(pipeline_storage_t)), PIPELINE_ERR_NULL, "storage");
    CHECK_FAILS(pipeline_kind_definition_init(NULL, sizeof(pipeline_kind_definition_t)), PIPELINE_ERR_NULL, "definition");
    CHECK_FAILS(pipeline_batch_set_stored(NULL, 0), PIPELINE_ERR_NULL, "batch");
    CHECK_FAILS(pipeline_batch_set_rejected(NULL, 0), PIPELINE_ERR_NULL, "batch");
    CHECK_FAILS(pipeline_start(NULL, NULL, &p), PIPELINE_ERR_NULL, "storage");
    CHECK(p == (pipeline_t *)&rec);
    CHECK_FAILS(pipeline_start(NULL, NULL, NULL), PIPELINE_ERR_NULL, "NULL");
    /* From here on each start takes the storage over, so each destroys it. */
    CHECK_FAILS(pipeline_start(NULL, &s, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_U64(rec.destroy_calls, 1);
    s.store = NULL;
    CHECK_FAILS(pipeline_start(NULL, &s, &p), PIPELINE_ERR_NULL, "store");
    CHECK_U64(rec.destroy_calls, 2);
    CHECK(p == (pipeline_t *)&rec);
    s.destroy = NULL;
    CHECK_FAILS(pipeline_start(NULL, &s, &p), PIPELINE_ERR_NULL, "store");
    rec.destroy_calls = 0;
}

static void on_a_running_pipeline(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = start_pipeline(NULL, &s);
    pipeline_producer_t *r = NULL;
    pipeline_event_t e = event_of(1, NULL, 5);
    void *payload = NULL;
    pipeline_metrics_t m;
    CHECK_FAILS(pipeline_capture(p, 1, NULL, 1), PIPELINE_ERR_INVALID, "data");
    CHECK_FAILS(pipeline_capture_event(p, NULL), PIPELINE_ERR_NULL, "event");
    CHECK_FAILS(pipeline_capture_event(p, &e), PIPELINE_ERR_INVALID, "data");
    CHECK_FAILS(pipeline_producer_open(p, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_update(p, NULL), PIPELINE_ERR_NULL, "config");
    CHECK_FAILS(pipeline_config_read(p, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_metrics(p, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_writer_metrics(p, 0, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_health(p, NULL), PIPELINE_ERR_NULL, "out");
    CHECK_FAILS(pipeline_kind_name(p, 1, NULL), PIPELINE_ERR_NULL, "name");
    CHECK_FAILS(pipeline_kind_define(p, NULL), PIPELINE_ERR_NULL, "definition");
    CHECK_FAILS(define_kind(p, 1, NULL), PIPELINE_ERR_NULL, "name");
    CHECK_STATUS(pipeline_producer_open(p, &r), PIPELINE_OK);
    CHECK_OR_STOP(r != NULL);
    CHECK_FAILS(pipeline_producer_capture(r, 1, NULL, 1), PIPELINE_ERR_INVALID, "data");
    CHECK_FAILS(pipeline_producer_capture_event(r, NULL), PIPELINE_ERR_NULL, "event");
    CHECK_FAILS(pipeline_producer_capture_event(r, &e), PIPELINE_ERR_INVALID, "data");
    CHECK_FAILS(pipeline_producer_reserve(r, NULL, 8, NULL), PIPELINE_ERR_NULL, "payload");
    CHECK_FAILS(pipeline_producer_commit(r, 8), PIPELINE_ERR_STATE, "");
    /* These two are valid: no payload, and no head. */
    CHECK_STATUS(pipeline_producer_capture(r, 1, NULL, 0), PIPELINE_OK);
    CHECK_STATUS(pipeline_producer_reserve(r, NULL, 8, &payload), PIPELINE_OK);
    CHECK_OR_STOP(payload != NULL);
    memset(payload, 0, 8);
    CHECK_STATUS(pipeline_producer_commit(r, 8), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p, 1, NULL, 0), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    m = metrics_of(p);
    CHECK_U64(m.captured, 3);
    CHECK_U64(m.stored, 3);
    CHECK_U64(m.refused_invalid, 6);
    CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
    END(p);
    CHECK_U64(rec.destroy_calls, 1);
}

int main(void)
{
    CHECK_STATUS(pipeline_log_callback(NULL, NULL, 0), PIPELINE_OK);
    CHECK_STATUS(pipeline_thread_hooks(NULL, NULL, NULL), PIPELINE_OK);
    without_a_pipeline();
    without_a_producer();
    without_structs();
    on_a_running_pipeline();
    return SUMMARY();
}
