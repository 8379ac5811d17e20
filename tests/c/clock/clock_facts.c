/* The clock events that the library itself sends to a storage with PIPELINE_STORAGE_META: the clock that stamps events, the boot of the
 * machine, the wall time beside it, and the rate of the processor's counter. They are sent at the start and again when that rate is
 * known. They are outside of all counts. */
#include "../check.h"

enum { FACTS = 16 };

static struct {
    pthread_mutex_t mutex;
    pipeline_clock_facts_t facts[FACTS];
    size_t count, events;
} told = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static uint64_t ns_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    size_t i;
    (void)user_data;
    pthread_mutex_lock(&told.mutex);
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        if (e->kind != PIPELINE_KIND_CLOCK) {
            told.events += e->kind < PIPELINE_KIND_RESERVED;
            continue;
        }
        CHECK_OR_STOP(e->len == sizeof *told.facts && told.count < FACTS);
        memcpy(&told.facts[told.count], e->data, e->len);
        told.count++;
    }
    pthread_mutex_unlock(&told.mutex);
    return PIPELINE_STORE_OK;
}

static size_t facts_told(void)
{
    size_t count;
    pthread_mutex_lock(&told.mutex);
    count = told.count;
    pthread_mutex_unlock(&told.mutex);
    return count;
}

static void check_boot(const uint8_t *id)
{
    char digits[64] = "", text[64] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    size_t i, at = 0;
    if (file == NULL || fgets(text, sizeof text, file) == NULL)
        memset(text, '0', 32);
    if (file != NULL)
        fclose(file);
    for (i = 0; i < 16; i++)
        at += (size_t)snprintf(digits + at, sizeof digits - at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", id[i]);
    text[at] = 0;
    CHECK(text[0] == '0' || strcmp(digits, text) == 0);
}

/* Two clocks that differ by more than this were not read together. */
#define APART_NS UINT64_C(1000000000)

static void check_facts(const pipeline_clock_facts_t *f, uint32_t clock, uint64_t began)
{
    uint64_t wall = ns_of(CLOCK_REALTIME) - (ns_of(CLOCK_MONOTONIC) - f->monotonic_ns);
    CHECK_U64(f->struct_size, sizeof *f);
    CHECK_U64(f->clock, clock);
    CHECK_U64(f->pid, (uint64_t)getpid());
    CHECK_U64(f->reserved, 0);
    CHECK(f->monotonic_ns >= began && f->monotonic_ns <= ns_of(CLOCK_MONOTONIC));
    CHECK((f->realtime_ns > wall ? f->realtime_ns - wall : wall - f->realtime_ns) < APART_NS);
    CHECK((f->ticks != 0) == (clock == PIPELINE_CLOCK_TICKS));
    check_boot(f->boot_id);
}

static void tell(uint32_t wanted, uint32_t flags)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    pipeline_t *p = NULL;
    uint64_t began = ns_of(CLOCK_MONOTONIC), number = 0;
    uint32_t clock;
    size_t i, expected;
    int32_t status;
    told.count = told.events = 0;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.flags = flags;
    s.store = store;
    c.clock = wanted;
    c.writers = 0; /* so that all events of the start exist before the first writer */
    c.storage_deadline_ms = 200; /* the supervisor looks four times in it */
    status = pipeline_start(&c, &s, &p);
    if (wanted == PIPELINE_CLOCK_TICKS && status == PIPELINE_ERR_UNSUPPORTED)
        return;
    CHECK_STATUS(status, PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    clock = metrics_of(p).clock;
    CHECK_STATUS(pipeline_capture(p, 1, &number, sizeof number), PIPELINE_OK);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    expected = flags == 0 ? 0 : clock == PIPELINE_CLOCK_TICKS ? 2 : 1;
    WAIT_FOR(facts_told() >= expected);
    CHECK_U64(metrics_of(p).offered, 1);
    CHECK_U64(metrics_of(p).stored, 1);
    CHECK_U64(metrics_of(p).bytes_captured, sizeof number);
    END(p);
    CHECK_U64(told.events, 1);
    if (!CHECK_U64(told.count, expected))
        return;
    for (i = 0; i < expected; i++)
        check_facts(&told.facts[i], clock, began);
    if (expected > 0)
        CHECK_U64(told.facts[0].ticks_hz, 0);
    if (expected == 2) {
        const pipeline_clock_facts_t *a = &told.facts[0], *b = &told.facts[1];
        double hz = (double)(b->ticks - a->ticks) / (double)(b->monotonic_ns - a->monotonic_ns) * 1e9;
        CHECK(hz > (double)b->ticks_hz * 0.98 && hz < (double)b->ticks_hz * 1.02);
    }
}

/* A pipeline that ends at once sends them, too. */
static void tell_at_the_start(void)
{
    int i;
    for (i = 0; i < 200 && checks_failed == 0; i++) {
        pipeline_storage_t s;
        pipeline_t *p = NULL;
        told.count = 0;
        CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
        s.flags = PIPELINE_STORAGE_META;
        s.store = store;
        CHECK_STATUS(pipeline_start(NULL, &s, &p), PIPELINE_OK);
        CHECK_OR_STOP(p != NULL);
        END(p);
        CHECK(told.count >= 1);
    }
}

int main(void)
{
    tell(PIPELINE_CLOCK_MONOTONIC, PIPELINE_STORAGE_META);
    tell(PIPELINE_CLOCK_AUTO, PIPELINE_STORAGE_META);
    tell(PIPELINE_CLOCK_TICKS, PIPELINE_STORAGE_META);
    tell(PIPELINE_CLOCK_AUTO, 0);
    tell_at_the_start();
    return SUMMARY();
}
