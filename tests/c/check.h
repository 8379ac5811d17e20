/* Shared by every C test: checks that print the place, the expression and the values; waits on conditions; the ledger.
 *
 * Include it first, because it defines _GNU_SOURCE. A failed check does not end the program, so one run shows all failures;
 * CHECK_OR_STOP is for conditions without which the rest makes no sense. main ends with SUMMARY(). */
#ifndef CAPTURE_PIPELINE_CHECK_H
#define CAPTURE_PIPELINE_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <capture_pipeline.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __has_include
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

#ifdef __cplusplus
#include <atomic>
static std::atomic<long long> checks_done{0};
static std::atomic<int> checks_failed{0}, checks_in_vain{0};
#else
#include <stdatomic.h>
static atomic_llong checks_done;
static atomic_int checks_failed, checks_in_vain;
#endif

#define CHECK_UNUSED __attribute__((unused))

/* Whether the program is built with ThreadSanitizer, or AddressSanitizer. gcc and new versions of clang define the names, all of clang have
 * the features. */
#ifdef __SANITIZE_THREAD__
#define UNDER_THREAD_SANITIZER 1
#elif defined(__SANITIZE_ADDRESS__)
#define UNDER_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_THREAD_SANITIZER 1
#elif __has_feature(address_sanitizer)
#define UNDER_ADDRESS_SANITIZER 1
#endif
#endif

/* The time limit of a wait for a condition that must come true, in milliseconds. Only a failing test waits that long, and only once:
 * its later waits are short, so that it ends before the runner stops it. */
#define PATIENCE_MS (checks_in_vain ? 1000 : 60000)

CHECK_UNUSED static void check_fail(const char *file, int line, const char *what)
{
    checks_failed++;
    fprintf(stderr, "%s:%d: FAILED: %s", file, line, what);
}

CHECK_UNUSED static bool check_true(const char *file, int line, const char *what, bool holds)
{
    checks_done++;
    if (!holds) {
        check_fail(file, line, what);
        fputc('\n', stderr);
    }
    return holds;
}

CHECK_UNUSED static bool check_u64(const char *file, int line, const char *what, uint64_t got, uint64_t want)
{
    checks_done++;
    if (got == want)
        return true;
    check_fail(file, line, what);
    fprintf(stderr, ": got %" PRIu64 ", expected %" PRIu64 "\n", got, want);
    return false;
}

CHECK_UNUSED static bool check_status(const char *file, int line, const char *what, int32_t got, int32_t want)
{
    checks_done++;
    if (got == want)
        return true;
    check_fail(file, line, what);
    fprintf(stderr, ": got %d (%s; last error \"%s\"), expected %d (%s)\n", got, pipeline_status_message(got),
            pipeline_last_error(), want, pipeline_status_message(want));
    checks_in_vain += got == PIPELINE_ERR_TIMEOUT;
    return false;
}

CHECK_UNUSED static bool check_has(const char *file, int line, const char *what, const char *text, const char *part)
{
    checks_done++;
    if (text != NULL && strstr(text, part) != NULL)
        return true;
    check_fail(file, line, what);
    fprintf(stderr, ": \"%s\" does not contain \"%s\"\n", text ? text : "(NULL)", part);
    return false;
}

#define CHECK(holds) check_true(__FILE__, __LINE__, #holds, (holds) ? true : false)
#define CHECK_U64(got, want) check_u64(__FILE__, __LINE__, #got, (uint64_t)(got), (uint64_t)(want))
#define CHECK_STATUS(call, want) check_status(__FILE__, __LINE__, #call, (call), (want))
#define CHECK_HAS(text, part) check_has(__FILE__, __LINE__, #text, (text), (part))
/* The call fails with that status, and this thread's last error contains that part. */
#define CHECK_FAILS(call, want, part)                                                                                  \
    do {                                                                                                               \
        if (check_status(__FILE__, __LINE__, #call, (call), (want)))                                                   \
            check_has(__FILE__, __LINE__, "the last error of " #call, pipeline_last_error(), (part));                  \
    } while (0)
#define CHECK_OR_STOP(holds)                                                                                           \
    do {                                                                                                               \
        if (!CHECK(holds)) {                                                                                           \
            fflush(NULL);                                                                                              \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

CHECK_UNUSED static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Lets other threads run for a moment: in a loop on a condition, or as the pace of a thread that runs until it is stopped. A test never
 * pauses to let something happen; it waits for the condition. */
CHECK_UNUSED static void pause_a_little(void)
{
    struct timespec t = {0, 500000};
    nanosleep(&t, NULL);
}

/* Waits until the condition holds, and fails if it does not in PATIENCE_MS. */
#define WAIT_FOR(condition)                                                                                            \
    do {                                                                                                               \
        uint64_t deadline_ = now_ms() + PATIENCE_MS;                                                                   \
        while (!(condition) && now_ms() < deadline_)                                                                   \
            pause_a_little();                                                                                          \
        if (!CHECK(condition))                                                                                         \
            checks_in_vain++;                                                                                          \
    } while (0)

CHECK_UNUSED static pipeline_metrics_t metrics_of(const pipeline_t *p)
{
    pipeline_metrics_t m;
    memset(&m, 0, sizeof m);
    m.struct_size = sizeof m;
    CHECK_STATUS(pipeline_metrics(p, &m), PIPELINE_OK);
    return m;
}

CHECK_UNUSED static pipeline_config_t config_of(const pipeline_t *p)
{
    pipeline_config_t c;
    memset(&c, 0xA5, sizeof c);
    c.struct_size = sizeof c;
    CHECK_STATUS(pipeline_config_read(p, &c), PIPELINE_OK);
    return c;
}

CHECK_UNUSED static pipeline_health_t health_of(const pipeline_t *p)
{
    pipeline_health_t h;
    memset(&h, 0, sizeof h);
    h.struct_size = sizeof h;
    CHECK_STATUS(pipeline_health(p, &h), PIPELINE_OK);
    return h;
}

/* Both equations of the ledger, for a pipeline in which no call is running. */
CHECK_UNUSED static bool check_ledger(const char *file, int line, const pipeline_t *p)
{
    pipeline_metrics_t m = metrics_of(p);
    uint64_t gone = m.dropped_full + m.dropped_sampled + m.dropped_rule + m.refused_too_large + m.refused_closed +
                    m.refused_invalid + m.refused_busy + m.refused_no_ring;
    uint64_t out = m.stored + m.filtered + m.dead_lettered + m.discarded + m.overwritten + m.buffered + m.in_flight +
                   m.in_doubt + m.left;
    bool offers = check_u64(file, line, "ledger: captured + dropped + refused, against offered", m.captured + gone,
                            m.offered);
    bool fates = check_u64(file, line, "ledger: what became of the events, against captured + recovered", out,
                           m.captured + m.recovered);
    if (!offers || !fates)
        fprintf(stderr,
                "  offered %" PRIu64 " captured %" PRIu64 " full %" PRIu64 " too_large %" PRIu64 " closed %" PRIu64
                " invalid %" PRIu64 " busy %" PRIu64 " no_ring %" PRIu64 "\n  stored %" PRIu64 " dead_lettered %" PRIu64
                " discarded %" PRIu64 " overwritten %" PRIu64 " buffered %" PRIu64 " in_flight %" PRIu64
                " in_doubt %" PRIu64 " left %" PRIu64 "\n",
                m.offered, m.captured, m.dropped_full, m.refused_too_large, m.refused_closed, m.refused_invalid,
                m.refused_busy, m.refused_no_ring, m.stored, m.dead_lettered, m.discarded, m.overwritten, m.buffered,
                m.in_flight, m.in_doubt, m.left);
    /* The events of priority ring buffers are a ledger of their own, and a part of the whole. */
    offers &= check_u64(file, line, "ledger of priority events: captured + dropped + refused, against offered",
                        m.captured_priority + m.dropped_full_priority + m.dropped_sampled_priority + m.dropped_rule_priority +
                            m.refused_priority,
                        m.offered_priority);
    fates &= check_u64(file, line, "ledger of priority events: what became of them, against captured",
                       m.stored_priority + m.filtered_priority + m.dead_lettered_priority + m.discarded_priority +
                           m.overwritten_priority + m.buffered_priority + m.in_flight_priority + m.in_doubt_priority +
                           m.left_priority,
                       m.captured_priority);
    fates &= check_true(file, line, "no more priority events than events",
                        m.offered_priority <= m.offered && m.captured_priority <= m.captured && m.stored_priority <= m.stored &&
                            m.dropped_full_priority <= m.dropped_full && m.dead_lettered_priority <= m.dead_lettered &&
                            m.discarded_priority <= m.discarded && m.overwritten_priority <= m.overwritten &&
                            m.buffered_priority <= m.buffered && m.in_flight_priority <= m.in_flight &&
                            m.in_doubt_priority <= m.in_doubt && m.left_priority <= m.left);
    return offers && fates;
}
#define CHECK_LEDGER(p) check_ledger(__FILE__, __LINE__, (p))

CHECK_UNUSED static pipeline_config_t config_defaults(void)
{
    pipeline_config_t c;
    memset(&c, 0xA5, sizeof c);
    CHECK_STATUS(pipeline_config_init(&c, sizeof c), PIPELINE_OK);
    return c;
}

CHECK_UNUSED static pipeline_event_t event_of(uint32_t kind, const void *data, size_t len)
{
    pipeline_event_t e;
    memset(&e, 0, sizeof e);
    e.struct_size = sizeof e;
    e.kind = kind;
    e.data = data;
    e.len = len;
    return e;
}

/* Closes and destroys a pipeline whose events can all be settled: it drains, and its ledger balances. */
CHECK_UNUSED static void end_check(const char *file, int line, pipeline_t *p)
{
    check_status(file, line, "pipeline_close", pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    check_ledger(file, line, p);
    check_status(file, line, "pipeline_destroy", pipeline_destroy(p), PIPELINE_OK);
}
#define END(p) end_check(__FILE__, __LINE__, (p))

/* Destroys the pipeline as soon as pipeline_destroy no longer returns BUSY. */
#define DESTROY_SOON(p)                                                                                                \
    do {                                                                                                               \
        uint64_t deadline_ = now_ms() + PATIENCE_MS;                                                                   \
        int32_t status_;                                                                                               \
        while ((status_ = pipeline_destroy(p)) == PIPELINE_ERR_BUSY && now_ms() < deadline_)                           \
            pause_a_little();                                                                                          \
        check_status(__FILE__, __LINE__, "pipeline_destroy", status_, PIPELINE_OK);                                    \
    } while (0)

/* A forked child has lost all memory that the parent's threads held, so a search for leaks there means nothing. LeakSanitizer asks this
 * function; memcheck is told by leave_leaks. */
static bool checks_in_child;
#ifdef __cplusplus
extern "C"
#endif
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return checks_in_child;
}

CHECK_UNUSED static void leave_leaks(void)
{
    checks_in_child = true;
#ifdef VALGRIND_CLO_CHANGE
    VALGRIND_CLO_CHANGE("--leak-check=no");
#endif
}

/* The number of repetitions: smaller under valgrind, which runs one thread at a time and about fifty times slower. */
CHECK_UNUSED static int count_of(int usually, int under_valgrind)
{
    const char *there = getenv("UNDER_VALGRIND");
    return there != NULL && *there == '1' ? under_valgrind : usually;
}

/* Whether the memory that the process takes is the library's and the program's. Sanitizers and valgrind keep memory that was freed, and some for
 * each thread that ever ran. */
CHECK_UNUSED static bool memory_is_ours(void)
{
#if defined(UNDER_ADDRESS_SANITIZER) || defined(UNDER_THREAD_SANITIZER)
    return false;
#else
    return count_of(1, 0) == 1;
#endif
}

/* Whether a forked child can start threads. Some emulators cannot; THREADS_IN_CHILDREN=0 in the environment says so. */
CHECK_UNUSED static bool children_can_start_threads(void)
{
    const char *told = getenv("THREADS_IN_CHILDREN");
    return told == NULL || strcmp(told, "0") != 0;
}

/* A child process counts its own checks and reports them by its exit status. An alarm ends a child that hangs. */
CHECK_UNUSED static void begin_child(void)
{
    leave_leaks();
    checks_done = 0;
    checks_failed = 0;
    alarm(60);
}

CHECK_UNUSED static void end_child(void)
{
    fflush(NULL);
    _exit(checks_failed ? 1 : 0);
}

CHECK_UNUSED static void await_child(const char *file, int line, pid_t child, const char *what)
{
    int status = 0;
    pid_t got;
    do
        got = waitpid(child, &status, 0);
    while (got < 0 && errno == EINTR);
    if (!check_true(file, line, what, got == child && WIFEXITED(status) && WEXITSTATUS(status) == 0))
        fprintf(stderr, "  the child %s %d\n", WIFSIGNALED(status) ? "was ended by signal" : "exited with",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}
#define AWAIT_CHILD(child) await_child(__FILE__, __LINE__, (child), "the child process succeeds")

/* Defines a kind with a field of each sort. */
CHECK_UNUSED static int32_t define_kind(pipeline_t *p, uint32_t kind, const char *name)
{
    static const pipeline_enum_value_t values[] = {{1, "one"}, {2, "two"}};
    static const pipeline_field_t fields[] = {
        {"size", PIPELINE_TYPE_U64, 0, 0, 0, "bytes", PIPELINE_HINT_BYTES, 0, NULL},
        {"state", PIPELINE_TYPE_ENUM, PIPELINE_TYPE_U8, 8, 0, NULL, PIPELINE_HINT_NONE, 2, values},
        {"text", PIPELINE_TYPE_STRING, 0, 9, PIPELINE_LENGTH_REST, NULL, PIPELINE_HINT_NONE, 0, NULL},
    };
    pipeline_kind_definition_t d;
    pipeline_kind_definition_init(&d, sizeof d);
    d.kind = kind;
    d.name = name;
    d.category = "tests";
    d.key_field = "state";
    PIPELINE_KIND_FIELDS(&d, fields);
    return pipeline_kind_define(p, &d);
}

CHECK_UNUSED static pthread_t start_thread(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    CHECK_OR_STOP(pthread_create(&thread, NULL, body, argument) == 0);
    return thread;
}

/* Prints the number of checks; the exit status of main. */
CHECK_UNUSED __attribute__((warn_unused_result)) static int summary(const char *file)
{
    printf("%s: %lld checks, %d failed\n", file, (long long)checks_done, (int)checks_failed);
    fflush(stdout);
    return checks_failed ? 1 : 0;
}
#define SUMMARY() summary(__FILE__)

#endif
