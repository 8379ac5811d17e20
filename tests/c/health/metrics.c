/* Metrics of a pipeline and of its writers: they agree with each other and with the events that were captured and stored. */
#include "../recorder.h"

static void metrics_of_pipeline_and_writers(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    pipeline_metrics_t m;
    pipeline_writer_metrics_t w;
    uint32_t i;
    uint64_t events = 0, bytes = 0, attempts = 0;
    c.writers = 3;
    c.batch_size = 25;
    s.flags = PIPELINE_STORAGE_CONCURRENT;
    p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 1000);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    WAIT_FOR(metrics_of(p).writers_live == 3);
    m = metrics_of(p);
    CHECK_U64(m.struct_size, sizeof m);
    CHECK_U64(m.reserved, 0);
    CHECK_U64(m.bytes_captured, 8000);
    CHECK_U64(m.bytes_stored, 8000);
    CHECK_U64(m.backlog_bytes, 0);
    CHECK_U64(m.oldest_age_ns, 0);
    CHECK_U64(m.batches, rec.store_calls);
    CHECK_U64(m.rings, 1);
    CHECK(m.latency_p50_ns > 0 && m.latency_p50_ns <= m.latency_p99_ns);
    CHECK(m.latency_p99_ns <= m.latency_p999_ns && m.latency_p999_ns <= m.latency_max_ns);
    CHECK(m.uptime_ns >= m.latency_max_ns);
    CHECK(m.capture_rate > 0 && m.store_rate > 0);
    for (i = 0; i < 3; i++) {
        memset(&w, 0xA5, sizeof w);
        w.struct_size = sizeof w;
        CHECK_STATUS(pipeline_writer_metrics(p, i, &w), PIPELINE_OK);
        CHECK(w.state <= PIPELINE_WRITER_OPENING);
        CHECK(w.thread_id != 0 || w.state == PIPELINE_WRITER_OPENING);
        events += w.events;
        bytes += w.bytes;
        attempts += w.attempts;
    }
    CHECK_U64(events, 1000);
    CHECK_U64(bytes, 8000);
    CHECK_U64(attempts, m.batches);
    CHECK_FAILS(pipeline_writer_metrics(p, 3, &w), PIPELINE_ERR_NOT_FOUND, "3");
    CHECK_FAILS(pipeline_writer_metrics(p, UINT32_MAX, &w), PIPELINE_ERR_NOT_FOUND, "4294967295");
    CHECK_U64(health_of(p).status, PIPELINE_HEALTHY);
    CHECK_U64(health_of(p).reasons & ~(uint32_t)PIPELINE_HEALTH_NO_MEMBARRIER, 0);
    CHECK_U64(health_of(p).writers_live, 3);
    /* The backlog is shown. */
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    capture_numbers(p, 1000, 1010);
    m = metrics_of(p);
    CHECK(m.backlog_bytes >= 80);
    CHECK(m.oldest_age_ns > 0);
    END(p);
}

int main(void)
{
    metrics_of_pipeline_and_writers();
    return SUMMARY();
}
