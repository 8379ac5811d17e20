/* Values of the configuration: the defaults, the values at the limits, and for every field the values that pipeline_start and
 * pipeline_update refuse, with a message that names the field, the limit and the value. */
#include "../fields.h"
#include "../recorder.h"

#define FIELD(name) FIELD_OF(pipeline_config_t, name)

static recorder_t rec = RECORDER_INIT;

static const bad_value_t bad[] = {
    {FIELD(flags), 1, "0"},
    {FIELD(flags), UINT32_MAX, "0"},
    {FIELD(writers), 257, "256"},
    {FIELD(writers), UINT32_MAX, "256"},
    {FIELD(min_writers), 1, "max_writers (0)"},
    {FIELD(min_writers), UINT32_MAX, "max_writers (0)"},
    {FIELD(max_writers), 257, "256"},
    {FIELD(max_writers), UINT32_MAX, "256"},
    {FIELD(batch_size), 0, "1"},
    {FIELD(batch_size), 65537, "65536"},
    {FIELD(batch_size), UINT32_MAX, "65536"},
    {FIELD(batch_bytes), 0, "1"},
    {FIELD(batch_bytes), (UINT64_C(1) << 32) + 1, "4294967296"},
    {FIELD(batch_bytes), UINT64_MAX, "4294967296"},
    {FIELD(linger_us), 60000001, "60000000"},
    {FIELD(linger_us), UINT64_MAX, "60000000"},
    {FIELD(poll_interval_ms), 0, "1"},
    {FIELD(poll_interval_ms), 60001, "60000"},
    {FIELD(poll_interval_ms), UINT64_MAX, "60000"},
    {FIELD(max_in_flight), 0, "1"},
    {FIELD(max_in_flight), 4097, "4096"},
    {FIELD(max_in_flight), UINT32_MAX, "4096"},
    {FIELD(max_in_doubt), 4097, "4096"},
    {FIELD(max_in_doubt), UINT32_MAX, "4096"},
    {FIELD(ring_bytes), 0, "4096"},
    {FIELD(ring_bytes), 2048, "4096"},
    {FIELD(ring_bytes), 4095, "4096"},
    {FIELD(ring_bytes), 4097, "power of two"},
    {FIELD(ring_bytes), 1048575, "power of two"},
    {FIELD(ring_bytes), UINT64_C(1) << 33, "4294967296"},
    {FIELD(ring_bytes), UINT64_MAX, "4294967296"},
    {FIELD(priority_ring_bytes), 1, "4096"},
    {FIELD(priority_ring_bytes), 2048, "0, or 4096"},
    {FIELD(priority_ring_bytes), 4097, "0, or a power of two"},
    {FIELD(priority_ring_bytes), UINT64_C(1) << 33, "4294967296"},
    {FIELD(max_rings), 0, "1"},
    {FIELD(max_rings), 65537, "65536"},
    {FIELD(max_rings), UINT32_MAX, "65536"},
    {FIELD(max_retired_rings), 4097, "4096"},
    {FIELD(max_retired_rings), UINT32_MAX, "4096"},
    {FIELD(max_event_bytes), 1048576 / 4 - 63, "262080"},
    {FIELD(max_event_bytes), UINT64_MAX, "262080"},
    {FIELD(overflow), 3, "2"},
    {FIELD(overflow), UINT32_MAX, "2"},
    {FIELD(ordering), 2, "1"},
    {FIELD(ordering), UINT32_MAX, "1"},
    {FIELD(block_timeout_us), UINT64_C(86400000001), "86400000000"},
    {FIELD(block_timeout_us), UINT64_MAX, "86400000000"},
    {FIELD(retry_limit), 0, "1"},
    {FIELD(retry_initial_us), UINT64_MAX, "86400000000"},
    {FIELD(retry_max_us), UINT64_MAX, "86400000000"},
    {FIELD(retry_max_age_ms), UINT64_MAX, "18446744073709"},
    {FIELD(exit_timeout_ms), UINT64_MAX, "86400000"},
    {FIELD(reserved), 1, "0"},
    {FIELD(ring_disk), 2, "0 to 1"},
    {FIELD(writer_class), 6, "5"},
    {FIELD(writer_class), UINT32_MAX, "5"},
    {FIELD(writer_priority), 1, "0"},
    {FIELD(writer_priority), UINT32_MAX, "0"},
    {FIELD(writer_nice), 20, "-20 to 19"},
    {FIELD(writer_nice), INT32_MAX, "-20 to 19"},
    {FIELD(writer_slice_us), 1, "0, or 100 to 100000"},
    {FIELD(writer_slice_us), 99, "0, or 100 to 100000"},
    {FIELD(writer_slice_us), 100001, "0, or 100 to 100000"},
    {FIELD(writer_slice_us), UINT32_MAX, "0, or 100 to 100000"},
    {FIELD(watermark_percent), 0, "1 to 100"},
    {FIELD(watermark_percent), 101, "1 to 100"},
    {FIELD(watermark_percent), UINT32_MAX, "1 to 100"},
    {FIELD(pressure_age_ms), 0, "1 to 86400000"},
    {FIELD(pressure_age_ms), 86400001, "1 to 86400000"},
    {FIELD(pressure_age_ms), UINT64_MAX, "1 to 86400000"},
    {FIELD(clock), 3, "2"},
    {FIELD(clock), UINT32_MAX, "2"},
    {FIELD(storage_deadline_ms), 0, "1"},
    {FIELD(storage_deadline_ms), 86400001, "86400000"},
    {FIELD(storage_deadline_ms), UINT64_MAX, "86400000"},
};

/* Values at the limits that must be accepted. */
static const field_value_t good[] = {
    {FIELD(writers), 0},
    {FIELD(max_writers), 1},
    {FIELD(max_writers), 256},
    {FIELD(batch_size), 1},
    {FIELD(batch_size), 65536},
    {FIELD(batch_bytes), 1},
    {FIELD(batch_bytes), UINT64_C(1) << 32},
    {FIELD(linger_us), 60000000},
    {FIELD(poll_interval_ms), 1},
    {FIELD(poll_interval_ms), 60000},
    {FIELD(max_in_flight), 1},
    {FIELD(max_in_flight), 4096},
    {FIELD(max_in_doubt), 0},
    {FIELD(max_in_doubt), 4096},
    {FIELD(ring_bytes), 4096},
    {FIELD(priority_ring_bytes), 0},
    {FIELD(priority_ring_bytes), 4096},
    {FIELD(priority_ring_bytes), UINT64_C(1) << 32},
    {FIELD(max_rings), 1},
    {FIELD(max_retired_rings), 0},
    {FIELD(max_event_bytes), 1048576 / 4 - 64},
    {FIELD(max_event_bytes), 1},
    {FIELD(overflow), PIPELINE_OVERFLOW_DROP_OLDEST},
    {FIELD(overflow), PIPELINE_OVERFLOW_BLOCK},
    {FIELD(ordering), PIPELINE_ORDERING_PER_PRODUCER},
    {FIELD(block_timeout_us), 0},
    {FIELD(block_timeout_us), UINT64_C(86400000000)},
    {FIELD(retry_limit), 1},
    {FIELD(retry_limit), UINT32_MAX},
    {FIELD(retry_initial_us), 0},
    {FIELD(retry_initial_us), UINT64_C(86400000000)},
    {FIELD(retry_max_us), 0},
    {FIELD(retry_max_us), UINT64_C(86400000000)},
    {FIELD(retry_max_age_ms), 0},
    {FIELD(retry_max_age_ms), UINT64_C(18446744073709)},
    {FIELD(storage_deadline_ms), 1},
    {FIELD(storage_deadline_ms), 86400000},
    {FIELD(exit_timeout_ms), 0},
    {FIELD(breaker_failures), 0},
    {FIELD(breaker_failures), UINT32_MAX},
    {FIELD(clock), PIPELINE_CLOCK_MONOTONIC},
    {FIELD(writer_class), PIPELINE_SCHED_OTHER},
    {FIELD(writer_class), PIPELINE_SCHED_BATCH},
    {FIELD(writer_class), PIPELINE_SCHED_IDLE},
    {FIELD(writer_nice), 19},
    {FIELD(writer_slice_us), 100},
    {FIELD(writer_slice_us), 100000},
    {FIELD(exit_timeout_ms), 86400000},
};

/* Fields that cannot change while the pipeline runs, with a value that would be valid at a start. */
static const field_value_t fixed[] = {
    {FIELD(ring_bytes), 65536},       {FIELD(max_rings), 63},
    {FIELD(max_retired_rings), 7},    {FIELD(max_event_bytes), 100},
    {FIELD(ordering), PIPELINE_ORDERING_PER_PRODUCER}, {FIELD(clock), PIPELINE_CLOCK_MONOTONIC},
    {FIELD(writer_class), PIPELINE_SCHED_BATCH}, {FIELD(writer_nice), 1},
    {FIELD(writer_slice_us), 100},   {FIELD(priority_ring_bytes), 0},
};

static void check_message(const char *field, const char *limit, uint64_t value)
{
    char given[32];
    CHECK_HAS(pipeline_last_error(), "pipeline_config_t.");
    CHECK_HAS(pipeline_last_error(), field);
    CHECK_HAS(pipeline_last_error(), limit);
    snprintf(given, sizeof given, "%" PRIu64, value);
    CHECK_HAS(pipeline_last_error(), given);
}

static void defaults(void)
{
    pipeline_config_t c = config_defaults();
    CHECK_U64(c.struct_size, sizeof c);
    CHECK_U64(c.flags, 0);
    CHECK(c.name == NULL);
    CHECK_U64(c.writers, 1);
    CHECK_U64(c.min_writers, 0);
    CHECK_U64(c.max_writers, 0);
    CHECK_U64(c.batch_size, 512);
    CHECK_U64(c.batch_bytes, 262144);
    CHECK_U64(c.linger_us, 0);
    CHECK_U64(c.poll_interval_ms, 1000);
    CHECK_U64(c.max_in_flight, 64);
    CHECK_U64(c.max_in_doubt, 16);
    CHECK_U64(c.ring_bytes, 1048576);
    CHECK_U64(c.priority_ring_bytes, 65536);
    CHECK_U64(c.max_rings, 64);
    CHECK_U64(c.max_retired_rings, 8);
    CHECK_U64(c.max_event_bytes, 0);
    CHECK_U64(c.overflow, PIPELINE_OVERFLOW_DROP_NEWEST);
    CHECK_U64(c.ordering, PIPELINE_ORDERING_NONE);
    CHECK_U64(c.block_timeout_us, 100000);
    CHECK_U64(c.retry_limit, 100);
    CHECK_U64(c.reserved, 0);
    CHECK_U64(c.retry_initial_us, 1000);
    CHECK_U64(c.retry_max_us, 1000000);
    CHECK_U64(c.retry_max_age_ms, 60000);
    CHECK_U64(c.storage_deadline_ms, 30000);
    CHECK_U64(c.exit_timeout_ms, 1000);
    CHECK(c.ring_dir == NULL);
    CHECK_U64(c.breaker_failures, 16);
    CHECK_U64(c.ring_disk, 0);
    CHECK_U64(c.clock, PIPELINE_CLOCK_AUTO);
    CHECK_U64(c.writer_class, PIPELINE_SCHED_INHERIT);
    CHECK_U64(c.writer_priority, 0);
    CHECK_U64((uint64_t)c.writer_nice, 0);
    CHECK(c.writer_cpus == NULL);
    CHECK_U64(c.writer_slice_us, 0);
    CHECK_U64(c.watermark_percent, 75);
    CHECK_U64(c.pressure_age_ms, 5000);
}

static void refused_at_start(void)
{
    size_t i;
    for (i = 0; i < COUNT(bad); i++) {
        pipeline_storage_t s = recorder_storage(&rec);
        pipeline_config_t c = config_defaults();
        pipeline_t *p = NULL;
        rec.destroy_calls = 0;
        put(&c, bad[i].offset, bad[i].size, bad[i].value);
        CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_ERR_INVALID);
        CHECK(p == NULL);
        check_message(bad[i].field, bad[i].limit, bad[i].value);
        CHECK_U64(rec.destroy_calls, 1);
        if (p != NULL)
            CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
    }
    {
        pipeline_storage_t s = recorder_storage(&rec);
        pipeline_config_t c = config_defaults();
        pipeline_t *p = NULL;
        c.ring_dir = "/nowhere/rings";
        CHECK_FAILS(pipeline_start(&c, &s, &p), PIPELINE_ERR_STORAGE, "ring_dir");
        c.ring_dir = NULL;
        s.flags = 32;
        CHECK_FAILS(pipeline_start(&c, &s, &p), PIPELINE_ERR_INVALID, "pipeline_storage_t.flags");
        s.flags = UINT32_MAX;
        CHECK_FAILS(pipeline_start(&c, &s, &p), PIPELINE_ERR_INVALID, "pipeline_storage_t.flags");
        CHECK(p == NULL);
    }
}

static void taken_at_start(void)
{
    size_t i;
    for (i = 0; i < COUNT(good); i++) {
        pipeline_storage_t s = recorder_storage(&rec);
        pipeline_config_t c = config_defaults(), r;
        pipeline_t *p;
        put(&c, good[i].offset, good[i].size, good[i].value);
        p = start_pipeline(&c, &s);
        r = config_of(p);
        if (!CHECK_U64(get(&r, good[i].offset, good[i].size), good[i].value))
            fprintf(stderr, "  field %s\n", good[i].field);
        CHECK_STATUS(pipeline_capture(p, 1, "x", 1), PIPELINE_OK);
        END(p);
    }
}

static void refused_while_running(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = start_pipeline(NULL, &s);
    pipeline_config_t before = config_of(p), after;
    size_t i;
    for (i = 0; i < COUNT(bad); i++) {
        pipeline_config_t c = before;
        put(&c, bad[i].offset, bad[i].size, bad[i].value);
        c.batch_size = bad[i].offset == offsetof(pipeline_config_t, batch_size) ? c.batch_size : 99;
        CHECK_STATUS(pipeline_update(p, &c), PIPELINE_ERR_INVALID);
        check_message(bad[i].field, bad[i].limit, bad[i].value);
        after = config_of(p);
        CHECK(memcmp(&before, &after, sizeof before) == 0);
    }
    for (i = 0; i < COUNT(fixed); i++) {
        pipeline_config_t c = before;
        put(&c, fixed[i].offset, fixed[i].size, fixed[i].value);
        c.batch_size = 99; /* a valid change, which must not be made either */
        CHECK_FAILS(pipeline_update(p, &c), PIPELINE_ERR_FIXED, fixed[i].field);
        after = config_of(p);
        CHECK(memcmp(&before, &after, sizeof before) == 0);
    }
    {
        pipeline_config_t c = before;
        c.name = "another";
        c.batch_size = 99;
        CHECK_FAILS(pipeline_update(p, &c), PIPELINE_ERR_FIXED, "name");
        c.name = NULL;
        c.ring_dir = "/nowhere/rings";
        CHECK_STATUS(pipeline_update(p, &c), PIPELINE_ERR_FIXED);
        CHECK_HAS(pipeline_last_error(), "ring_dir");
        after = config_of(p);
        CHECK(memcmp(&before, &after, sizeof before) == 0);
    }
    CHECK_U64(metrics_of(p).writers_target, 1);
    capture_numbers(p, 0, 10);
    END(p);
}

int main(void)
{
    defaults();
    refused_at_start();
    taken_at_start();
    refused_while_running();
    return SUMMARY();
}
