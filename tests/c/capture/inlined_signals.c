/* An inlined capture that is interrupted behind each of its instructions, by a handler that captures inlined as well, through the
 * same handle: the handler's event is captured or refused as busy, the other one is whole and counted before it can be seen, and
 * neither is lost. Then the same by a timer, with calls among them; and two threads at once, each with its handle. */
#include "timer_storm.h"

#include <capture_pipeline_fast.h>

#include "inlined.h"

enum { MAIN = 1, HANDLER = 2, CAPTURES = 40 };

static recorder_t rec = RECORDER_INIT;
static pipeline_t *p;
static pipeline_producer_t *r;
static pipeline_fast_t *fast;

static void begin(uint32_t overflow, uint64_t ring_bytes, uint32_t writers)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    c.overflow = overflow;
    c.block_timeout_us = PATIENCE_MS * 1000;
    c.ring_bytes = ring_bytes;
    c.writers = writers;
    rec.stored.count = rec.seen.count = 0;
    storm_forget();
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_producer_open(p, &r), PIPELINE_OK);
    fast = fast_by_the_clock(p, r);
    /* The first is a call, which looks at the ring. */
    CHECK_STATUS(pipeline_producer_capture(r, MAIN + 2, "first", 5), PIPELINE_OK);
}

/* What was captured by MAIN is numbered from 0 on, and all is whole. */
static void end(uint64_t by_main, uint64_t busy, uint64_t full)
{
    pipeline_metrics_t m;
    uint64_t next = 0, broken = 0;
    size_t i;
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.captured, by_main + ok_in_handler + 1);
    CHECK_U64(m.offered, by_main + busy + full + in_handler + 1);
    CHECK_U64(m.refused_busy, busy + busy_in_handler);
    CHECK_U64(m.dropped_full, full + other_in_handler);
    CHECK_U64(m.stored, m.captured);
    CHECK_U64(m.bytes_captured, (by_main + ok_in_handler) * 8 + 5);
    CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
    END(p);
    CHECK_DISTINCT(&rec.stored);
    for (i = 0; i < rec.stored.count; i++) {
        const recorded_t *e = &rec.stored.at[i];
        if (e->kind == MAIN)
            broken += e->value != next++;
        broken += e->kind != MAIN + 2 && e->len != 8;
    }
    CHECK_U64(broken, 0);
    CHECK_U64(next, by_main);
}

static int32_t inlined_in_handler(uint64_t n)
{
    return pipeline_fast_capture(r, fast, HANDLER, &n, sizeof n);
}

/* ---- behind each instruction ---- */

/* ThreadSanitizer's own code would be interrupted as well, with its locks held. */
#if !defined(__x86_64__) || defined(UNDER_THREAD_SANITIZER)
#define WITHOUT_STEPS
#endif

#ifndef WITHOUT_STEPS

static volatile uint64_t head_before, captured_before, bytes_before, number, uncounted, torn;

/* Once the event can be seen, it is whole, and counted. */
static void look(void)
{
    const uint64_t *record = (const uint64_t *)(uintptr_t)(fast->base + head_before);
    if (__atomic_load_n(fast->published, __ATOMIC_RELAXED) == head_before)
        return;
    uncounted += fast->captured != captured_before + 1 || fast->bytes != bytes_before + 8;
    torn += record[0] != (UINT64_C(1) << 62 | 8) || (uint32_t)record[1] != MAIN || record[3] != fast->last_ticks || record[4] != 0 ||
            record[5] != 0 || record[6] != number;
}

static volatile sig_atomic_t capturing;

static void step(int signo)
{
    (void)signo;
    if (capturing)
        storm_capture_in_handler(inlined_in_handler);
    else
        look();
}

/* The processor stops behind each instruction while its trap flag is set. */
#define STEPS_BEGIN() __asm__ __volatile__("subq $128, %%rsp; pushfq; orq $0x100, (%%rsp); popfq; addq $128, %%rsp" : : : "cc", "memory")
#define STEPS_END() __asm__ __volatile__("subq $128, %%rsp; pushfq; andq $~0x100, (%%rsp); popfq; addq $128, %%rsp" : : : "cc", "memory")

static void behind_each_instruction(void)
{
    struct sigaction act;
    uint64_t n;
    /* valgrind has no trap flag. */
    if (getenv("UNDER_VALGRIND") != NULL && *getenv("UNDER_VALGRIND") == '1')
        return;
    memset(&act, 0, sizeof act);
    act.sa_handler = step;
    sigaction(SIGTRAP, &act, NULL);
    begin(PIPELINE_OVERFLOW_DROP_NEWEST, UINT64_C(1) << 24, 0);
    if (fast == NULL) { /* they are calls, of which signals.c has more */
        end(0, 0, 0);
        return;
    }
    for (n = 0; n < CAPTURES; n++) {
        int32_t status;
        head_before = fast->head;
        captured_before = fast->captured;
        bytes_before = fast->bytes;
        number = n;
        capturing = n % 2; /* else the handler looks */
        STEPS_BEGIN();
        status = pipeline_fast_capture(r, fast, MAIN, &n, sizeof n);
        STEPS_END();
        capturing = 0;
        CHECK_STATUS(status, PIPELINE_OK);
    }
    signal(SIGTRAP, SIG_DFL);
    CHECK_U64(uncounted, 0);
    CHECK_U64(torn, 0);
    CHECK_U64(other_in_handler, 0);
    CHECK(busy_in_handler > CAPTURES && ok_in_handler > CAPTURES);
    end(CAPTURES, 0, 0);
}

#endif

/* ---- by a timer ---- */

/* Inlined, but for each fourth. */
static int32_t capture_somehow(uint64_t n)
{
    pipeline_event_t e = event_of(MAIN, &n, sizeof n);
    return n % 4 == 0   ? pipeline_producer_capture(r, MAIN, &n, sizeof n)
           : n % 4 == 1 ? pipeline_fast_capture_event(r, fast, &e)
                        : pipeline_fast_capture(r, fast, MAIN, &n, sizeof n);
}

static void storm(uint32_t overflow)
{
    storm_t got;
    begin(overflow, 65536, 1);
    got = storm_pass(capture_somehow, inlined_in_handler);
    end(got.ok, got.busy, got.full);
}

/* ---- two threads ---- */

static void *capture_many(void *argument)
{
    uint32_t kind = (uint32_t)(uintptr_t)argument;
    uint64_t n;
    const uint64_t events = (uint64_t)count_of(200000, 2000);
    pipeline_producer_t *own = NULL;
    pipeline_fast_t *own_fast;
    CHECK_STATUS(pipeline_producer_open(p, &own), PIPELINE_OK);
    own_fast = fast_by_the_clock(p, own);
    for (n = 0; n < events; n++)
        if (pipeline_fast_capture(own, own_fast, kind, &n, sizeof n) != PIPELINE_OK)
            break;
    CHECK_U64(n, events);
    CHECK_STATUS(pipeline_producer_close(own), PIPELINE_OK);
    return NULL;
}

static void two_threads(void)
{
    pthread_t threads[2];
    uint64_t next[2] = {0, 0}, broken = 0;
    size_t i;
    begin(PIPELINE_OVERFLOW_BLOCK, 65536, 2);
    for (i = 0; i < 2; i++)
        threads[i] = start_thread(capture_many, (void *)(uintptr_t)(i + 10));
    for (i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
    END(p);
    CHECK_DISTINCT(&rec.stored);
    for (i = 0; i < rec.stored.count; i++)
        if (rec.stored.at[i].kind >= 10)
            broken += rec.stored.at[i].value != next[rec.stored.at[i].kind - 10]++;
    CHECK_U64(broken, 0);
    CHECK_U64(next[0] + next[1] + 1, rec.stored.count);
}

int main(void)
{
#ifndef WITHOUT_STEPS
    behind_each_instruction();
#endif
    storm(PIPELINE_OVERFLOW_DROP_NEWEST);
    storm(PIPELINE_OVERFLOW_BLOCK);
    two_threads();
    return SUMMARY();
}
