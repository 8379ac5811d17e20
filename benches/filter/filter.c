/* What an event costs that a filter leaves out: a rule of ours on a field, and a filter expression of LTTng-UST on the same field. benches/filter.sh runs it.
 *
 * Both look at the same events, in bursts that take turns, with a field that does not pass. After each round one event passes both, so that a filter that leaves
 * out everything, or nothing, is noticed: the counts are compared at the end. The medians of all bursts are printed, in nanoseconds an event. */
#define _GNU_SOURCE
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "lttng_event.h"

#include <capture_pipeline.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 1001, BURST = 2000, KIND = 1 };
static const uint64_t PASSES = 2000000;

struct payload {
    uint64_t value;
    char rest[56];
};

static double took[3][ROUNDS];

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data, (void)batch;
    return PIPELINE_STORE_OK;
}

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}

static int in_order(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static double median(double *of)
{
    qsort(of, ROUNDS, sizeof *of, in_order);
    return of[ROUNDS / 2];
}

static pipeline_t *start(const char *rules)
{
    static const pipeline_field_t fields[] = {PIPELINE_FIELD(struct payload, value, PIPELINE_TYPE_U64)};
    pipeline_kind_definition_t definition;
    pipeline_config_t config;
    pipeline_storage_t storage;
    pipeline_t *p = NULL;
    pipeline_config_init(&config, sizeof config);
    config.writers = 1;
    config.ring_bytes = 4 << 20;
    pipeline_storage_init(&storage, sizeof storage);
    storage.store = store;
    if (pipeline_start(&config, &storage, &p) < 0) goto failed;
    pipeline_kind_definition_init(&definition, sizeof definition);
    definition.kind = KIND;
    definition.name = "request";
    PIPELINE_KIND_FIELDS(&definition, fields);
    definition.payload_size = sizeof(struct payload);
    if (pipeline_kind_define(p, &definition) < 0 || (rules && pipeline_rules_set_text(p, rules, 0) < 0)) goto failed;
    return p;
failed:
    fprintf(stderr, "filter: %s\n", pipeline_last_error());
    exit(2);
}

/* A burst of events of which none passes. Returns nanoseconds an event. */
static double ours(pipeline_t *p, struct payload *payload, int32_t expected)
{
    pipeline_event_t event;
    double began = now_ns();
    for (uint64_t n = 0; n < BURST; n++) {
        payload->value = n;
        memset(&event, 0, sizeof event);
        event.struct_size = sizeof event;
        event.kind = KIND;
        event.data = payload;
        event.len = sizeof *payload;
        if (pipeline_capture_event(p, &event) != expected) {
            fprintf(stderr, "filter: another answer than %d\n", expected);
            exit(1);
        }
    }
    return (now_ns() - began) / BURST;
}

static double theirs(struct payload *payload)
{
    double began = now_ns();
    for (uint64_t n = 0; n < BURST; n++) {
        payload->value = n;
        lttng_ust_tracepoint(bench, event, (const unsigned char *)payload);
    }
    return (now_ns() - began) / BURST;
}

int main(void)
{
    pipeline_t *filtered = start("drop if not request.value > 1000000"), *unfiltered = start(NULL);
    struct payload payload = {0};
    pipeline_metrics_t metrics;
    for (int round = 0; round < ROUNDS; round++) {
        for (int turn = 0; turn < 3; turn++) {
            int at = (round + turn) % 3;
            took[at][round] = at == 0 ? ours(filtered, &payload, PIPELINE_DROPPED_BY_RULE)
                                      : at == 1 ? theirs(&payload) : ours(unfiltered, &payload, PIPELINE_OK);
        }
        if (pipeline_flush(unfiltered, 60000) < 0) return 1;
        payload.value = PASSES;
        if (pipeline_capture(filtered, KIND, &payload, sizeof payload) != PIPELINE_OK) return 1;
        lttng_ust_tracepoint(bench, event, (const unsigned char *)&payload);
        if (round % 100 == 0 && isatty(2)) fprintf(stderr, "\r%d of %d rounds", round, ROUNDS);
    }
    pipeline_flush(filtered, 60000);
    memset(&metrics, 0, sizeof metrics);
    metrics.struct_size = sizeof metrics;
    pipeline_metrics(filtered, &metrics);
    if (metrics.stored != ROUNDS || metrics.dropped_rule != (uint64_t)ROUNDS * BURST) {
        fprintf(stderr, "\nfilter: %llu stored, %llu left out\n", (unsigned long long)metrics.stored, (unsigned long long)metrics.dropped_rule);
        return 1;
    }
    double ns[3] = {median(took[0]), median(took[1]), median(took[2])};
    if (isatty(2)) fprintf(stderr, "\r%*s\r", 40, "");
    printf("left out by a rule %.1f ns, by LTTng-UST's filter %.1f ns: %.2f x; captured without rules %.1f ns\n", ns[0], ns[1], ns[0] / ns[1], ns[2]);
    printf("passed %d\n", ROUNDS);
    pipeline_close(filtered, 60000);
    pipeline_close(unfiltered, 60000);
    return 0;
}
