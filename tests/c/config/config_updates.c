/* pipeline_update changes every field that can change, pipeline_config_read reads it back, and the configuration that was read starts
 * another pipeline. */
#include "../fields.h"
#include "../recorder.h"

#define FIELD(name) FIELD_OF(pipeline_config_t, name)

static recorder_t rec = RECORDER_INIT;

/* The fields that can change while the pipeline runs. */
static const field_value_t changeable[] = {
    {FIELD(writers), 3},
    {FIELD(batch_size), 17},
    {FIELD(batch_bytes), 1234},
    {FIELD(linger_us), 55},
    {FIELD(poll_interval_ms), 77},
    {FIELD(max_in_flight), 5},
    {FIELD(max_in_doubt), 2},
    {FIELD(overflow), PIPELINE_OVERFLOW_BLOCK},
    {FIELD(block_timeout_us), 4321},
    {FIELD(retry_limit), 3},
    {FIELD(retry_initial_us), 11},
    {FIELD(retry_max_us), 12},
    {FIELD(retry_max_age_ms), 13},
    {FIELD(storage_deadline_ms), 14000},
    {FIELD(exit_timeout_ms), 15},
    {FIELD(breaker_failures), 16 + 1},
};

static void changed_while_running(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults(), r;
    pipeline_t *p;
    size_t i;
    c.name = "nemo";
    p = start_pipeline(&c, &s);
    c = config_of(p);
    CHECK(c.name == NULL);
    for (i = 0; i < COUNT(changeable); i++) {
        put(&c, changeable[i].offset, changeable[i].size, changeable[i].value);
        CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
        r = config_of(p);
        if (!CHECK(memcmp(&c, &r, sizeof c) == 0))
            fprintf(stderr, "  after field %s\n", changeable[i].field);
    }
    CHECK_U64(metrics_of(p).writers_target, 3);
    WAIT_FOR(metrics_of(p).writers_live == 3);
    c.name = "nemo"; /* its own name is no change */
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    capture_numbers(p, 0, 100);
    END(p);

    /* The configuration that was read starts an equal pipeline. */
    c.name = NULL;
    p = start_pipeline(&c, &s);
    r = config_of(p);
    CHECK(memcmp(&c, &r, sizeof c) == 0);
    END(p);
}

/* With a release, drop_oldest needs memory for the events that it overwrites. It is allocated at the start only. */
static void release_and_drop_oldest(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c;
    pipeline_t *p;
    s.release = recorder_release;
    p = start_pipeline(NULL, &s);
    c = config_of(p);
    c.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;
    CHECK(pipeline_update(p, &c) < 0);
    CHECK_HAS(pipeline_last_error(), "overflow");
    CHECK_U64(config_of(p).overflow, PIPELINE_OVERFLOW_DROP_NEWEST);
    END(p);
    c = config_defaults();
    c.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;
    p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 10);
    END(p);
}

int main(void)
{
    changed_while_running();
    release_and_drop_oldest();
    return SUMMARY();
}
