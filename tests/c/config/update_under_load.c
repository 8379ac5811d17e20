/* Threads change every field that can change, at random, while events are captured, stored, retried and given up, while other threads
 * scale and pause the pipeline, with autoscaling on and off. Each update takes effect as a whole: a reader never sees a mixture of two.
 * The number of writers stays within its bounds, and the ledger is exact at the end. */
#include "../recorder.h"

enum { UPDATERS = 3, UPDATES = 300, CAPTURERS = 2, READERS = 2 };

static pipeline_t *p;
static pipeline_config_t fixed; /* the fields that cannot change */
static atomic_bool capturing, meddling;
static atomic_uint updating;
static _Atomic uint64_t reads, distinct_reads;
static _Atomic uint64_t reads_autoscaling, reads_bound, reads_free; /* min below max; both the same; both 0 */
static bool scaling; /* pipeline_scale is called as well */
enum { MOST_SCALED = 6 };

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* Update number n: every field that can change follows from n, and batch_bytes holds it. */
static pipeline_config_t update_number(uint32_t n)
{
    pipeline_config_t c = fixed;
    uint64_t bits = n;
    c.batch_bytes = 1000 + (uint64_t)n;
    c.writers = (uint32_t)((bits = mix(bits)) % 5);
    /* Both 0 (no autoscaling) half of the time; else any bounds, the same ones and a lowest of 0 included. */
    if ((bits = mix(bits)) % 2 == 0) {
        c.max_writers = 1 + (uint32_t)((bits >> 8) % 5);
        c.min_writers = (uint32_t)((bits >> 16) % (c.max_writers + 1));
    }
    c.batch_size = 1 + (uint32_t)((bits = mix(bits)) % 300);
    c.linger_us = (bits = mix(bits)) % 3 ? 0 : bits % 2000;
    c.poll_interval_ms = 1 + (bits = mix(bits)) % 200;
    c.max_in_flight = 1 + (uint32_t)((bits = mix(bits)) % 100);
    c.max_in_doubt = (uint32_t)((bits = mix(bits)) % 10);
    c.overflow = (uint32_t)((bits = mix(bits)) % 3);
    c.block_timeout_us = (bits = mix(bits)) % 3000;
    c.retry_limit = 1 + (uint32_t)((bits = mix(bits)) % 20);
    c.retry_initial_us = (bits = mix(bits)) % 500;
    c.retry_max_us = (bits = mix(bits)) % 5000;
    c.retry_max_age_ms = (bits = mix(bits)) % 100;
    c.storage_deadline_ms = 1 + (bits = mix(bits)) % 50;
    c.exit_timeout_ms = (bits = mix(bits)) % 5000;
    c.breaker_failures = (uint32_t)((bits = mix(bits)) % 6);
    return c;
}

/* Whether readers have seen enough: how often they run beside the updates is up to the machine. */
static bool has_read_all_sorts(void)
{
    return distinct_reads > 10 && reads_autoscaling > 0 && reads_bound > 0 && reads_free > 0;
}

static void *updates(void *number)
{
    uint64_t deadline = now_ms() + PATIENCE_MS;
    uint32_t i;
    for (i = 0; i < UPDATES || (!has_read_all_sorts() && now_ms() < deadline); i++) {
        pipeline_config_t c = update_number((uint32_t)(uintptr_t)number * UPDATES + i % UPDATES);
        CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
        if (i % 4 == 0)
            pause_a_little();
    }
    updating--;
    return NULL;
}

/* Whether a configuration that was read is one update as a whole. Only `writers` may differ, and only with bounds, within which
 * autoscaling sets it. pipeline_scale sets `writers`, and both bounds to 0. */
static bool is_whole(const pipeline_config_t *read)
{
    pipeline_config_t whole = update_number((uint32_t)(read->batch_bytes - 1000));
    if (scaling && read->min_writers == 0 && read->max_writers == 0) {
        whole.min_writers = whole.max_writers = 0;
        if (!CHECK(read->writers < MOST_SCALED))
            return false;
        whole.writers = read->writers;
    } else if (whole.max_writers > 0) {
        if (!CHECK(read->writers >= read->min_writers && read->writers <= read->max_writers))
            return false;
        whole.writers = read->writers;
    }
    return memcmp(read, &whole, sizeof whole) == 0;
}

static void *reads_config(void *unused)
{
    uint64_t last = 0;
    while (updating > 0) {
        pipeline_config_t c;
        memset(&c, 0xA5, sizeof c);
        c.struct_size = sizeof c;
        CHECK_STATUS(pipeline_config_read(p, &c), PIPELINE_OK);
        if (c.batch_bytes == fixed.batch_bytes)
            continue; /* no update yet */
        CHECK(is_whole(&c));
        reads++;
        reads_autoscaling += c.min_writers < c.max_writers;
        reads_bound += c.min_writers == c.max_writers && c.max_writers > 0;
        reads_free += c.max_writers == 0;
        distinct_reads += c.batch_bytes != last;
        last = c.batch_bytes;
    }
    return unused;
}

static void *meddles(void *unused)
{
    uint64_t bits = 99;
    while (meddling) {
        bits = mix(bits);
        switch (bits % 4) {
        case 0: CHECK_STATUS(pipeline_pause(p), PIPELINE_OK); break;
        case 1: CHECK_STATUS(pipeline_resume(p), PIPELINE_OK); break;
        case 2:
            if (scaling)
                CHECK_STATUS(pipeline_scale(p, (uint32_t)(bits >> 32) % MOST_SCALED), PIPELINE_OK);
            break;
        case 3: pipeline_flush(p, 1); break;
        }
        pause_a_little();
    }
    return unused;
}

static _Atomic uint64_t next_number, taken;

static void *captures(void *unused)
{
    while (capturing) {
        int32_t status = capture_number(p, next_number++);
        CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_FULL);
        taken += status == PIPELINE_OK;
    }
    return unused;
}

/* Fails for a while now and then, so that the circuit opens and closes; rejects some batches. */
static int32_t moody(recorder_t *r, const pipeline_batch_t *batch)
{
    uint64_t bits = mix(batch->batch_id * 1000 + batch->attempt);
    (void)r;
    if (bits % 50 == 0)
        pause_a_little();
    if (batch->batch_id % 64 < 8 && batch->attempt < 3)
        return PIPELINE_STORE_RETRY;
    switch (bits % 20) {
    case 0: return PIPELINE_STORE_RETRY;
    case 1: return PIPELINE_STORE_REJECT;
    case 2: return -1;
    default: return PIPELINE_STORE_OK;
    }
}

static void under_load(recorder_t *rec, uint32_t flags, uint32_t ordering, bool scale)
{
    pipeline_storage_t s = recorder_storage(rec);
    pthread_t updaters[UPDATERS], capturers[CAPTURERS], readers[READERS], meddler;
    pipeline_metrics_t m;
    pipeline_config_t last;
    uintptr_t i;
    s.flags = flags;
    s.dead_letter = recorder_dead_letter;
    rec->answer = moody;
    scaling = scale;
    next_number = taken = reads = distinct_reads = reads_autoscaling = reads_bound = reads_free = 0;
    fixed = config_defaults();
    fixed.ordering = ordering;
    fixed.ring_bytes = 16384;
    p = start_pipeline(&fixed, &s);
    fixed.struct_size = sizeof fixed;
    capturing = meddling = true;
    updating = UPDATERS;
    for (i = 0; i < CAPTURERS; i++)
        capturers[i] = start_thread(captures, NULL);
    for (i = 0; i < READERS; i++)
        readers[i] = start_thread(reads_config, NULL);
    for (i = 0; i < UPDATERS; i++)
        updaters[i] = start_thread(updates, (void *)i);
    meddler = start_thread(meddles, NULL);
    for (i = 0; i < UPDATERS; i++)
        pthread_join(updaters[i], NULL);
    for (i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    meddling = false;
    pthread_join(meddler, NULL);
    capturing = false;
    for (i = 0; i < CAPTURERS; i++)
        pthread_join(capturers[i], NULL);
    CHECK(reads > 0 && distinct_reads > 10);
    CHECK(reads_autoscaling > 0 && reads_bound > 0 && reads_free > 0);

    /* Two more updates, alone: first autoscaling between 2 and 4, then none. The last one stays. */
    last = update_number(7);
    last.writers = 1;
    last.min_writers = 2;
    last.max_writers = 4;
    CHECK_STATUS(pipeline_update(p, &last), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.autoscaling, 1);
    CHECK(m.writers_target >= 2 && m.writers_target <= 4);
    last.writers = 2;
    last.min_writers = last.max_writers = 0;
    last.poll_interval_ms = 60000;
    CHECK_STATUS(pipeline_update(p, &last), PIPELINE_OK);
    CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
    CHECK_U64(metrics_of(p).autoscaling, 0);
    CHECK_U64(metrics_of(p).writers_target, 2);
    WAIT_FOR(metrics_of(p).writers_live == 2);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    m = metrics_of(p);
    CHECK_U64(m.offered, next_number);
    CHECK_U64(m.captured, taken);
    CHECK_U64(m.in_flight + m.in_doubt + m.buffered, 0);
    CHECK_U64(m.stored, rec->stored.count);
    CHECK_U64(m.dead_lettered, rec->dead.count);
    CHECK_U64(m.discarded, 0);
    CHECK_U64(m.captured, m.stored + m.dead_lettered + m.overwritten);
    CHECK(m.stored > 0 && m.dead_lettered > 0 && m.retries > 0);
    END(p);
    CHECK_DISTINCT(&rec->stored);
    for (i = 0; i < rec->dead.count; i++)
        list_add(&rec->stored, rec->dead.at[i]);
    CHECK_DISTINCT(&rec->stored);
}

int main(void)
{
    static recorder_t a = RECORDER_INIT, b = RECORDER_INIT, d = RECORDER_INIT;
    under_load(&a, 0, PIPELINE_ORDERING_NONE, false);
    under_load(&b, PIPELINE_STORAGE_CONCURRENT, PIPELINE_ORDERING_NONE, false);
    under_load(&d, PIPELINE_STORAGE_CONCURRENT, PIPELINE_ORDERING_PER_PRODUCER, true);
    return SUMMARY();
}
