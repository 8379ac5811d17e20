/* Rules that change a thousand times in a second under load, with an exact ledger; on the smallest stack, in a callback, after a close and in a child. */
#include "rules.h"

enum { THREADS = 4 };

static atomic_bool done;

typedef struct {
    pipeline_t *p;
    uint64_t offered, by_status[4]; /* OK, SAMPLED, DROPPED_BY_RULE, an error */
} load_t;

static int32_t discard(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    (void)batch;
    return PIPELINE_STORE_OK;
}

static void *load(void *arg)
{
    load_t *l = (load_t *)arg;
    while (!done) {
        int32_t status = offer(l->p, (uint32_t)(l->offered % 5), l->offered % 7, l->offered % 3, "payload");
        l->by_status[status < 0 || status > 2 ? 3 : status]++;
        l->offered++;
    }
    return NULL;
}

static void rules_change_a_thousand_times_a_second_and_the_ledger_is_exact(void)
{
    static const char *const texts[] = {
        "drop if kind = 1", "sample 1/3\ndrop if correlation_id in (1, 2, 3)", "", "redact payload if node_id\ntag 1",
        "drop if one.size > 3 or kind = 2", "limit 100000/s\nkeep if kind = 4\nsample 1/2",
    };
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    pipeline_t *p = NULL;
    pthread_t threads[THREADS];
    load_t loads[THREADS] = {{NULL, 0, {0}}};
    pipeline_metrics_t m;
    uint64_t sum[4] = {0}, offered = 0, changed = 0;
    int i, n;
    c.writers = 2;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = discard;
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    done = false;
    for (i = 0; i < THREADS; i++) {
        loads[i].p = p;
        CHECK(pthread_create(&threads[i], NULL, load, &loads[i]) == 0);
    }
    for (n = 0; n < 1500; n++) {
        struct timespec ms = {0, 1000000};
        int32_t status = pipeline_rules_set_text(p, texts[n % 6], 0);
        CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_BUSY);
        changed += status == PIPELINE_OK;
        if (n % 100 == 50)
            CHECK_STATUS(define_kind(p, 100 + (uint32_t)n, n == 50 ? "one" : (char[]){'k', (char)('a' + n / 100), 0}), PIPELINE_OK);
        nanosleep(&ms, NULL);
    }
    done = true;
    for (i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        offered += loads[i].offered;
        for (n = 0; n < 4; n++)
            sum[n] += loads[i].by_status[n];
    }
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    m = metrics_of(p);
    CHECK_U64(m.offered, offered);
    CHECK_U64(m.captured, sum[0]);
    CHECK_U64(m.dropped_sampled, sum[1]);
    CHECK_U64(m.dropped_rule, sum[2]);
    CHECK_U64(m.dropped_full, sum[3]);
    CHECK(sum[1] > 0 && sum[2] > 0);
    CHECK(changed > 1000);
    END(p);
}

/* Each of these lists gives an event two tags of its own, by rules that stand far apart; the last one gives none. */
static const char *list_of(int n, char *text)
{
    char *end = text + sprintf(text, "tag %d\n", n * 2 + 1);
    int i;
    for (i = 0; i < 50; i++)
        end += sprintf(end, "drop if node_id = %d\n", 1000 + i);
    sprintf(end, "tag %d\n", n * 2 + 2);
    return n < 4 ? text : "";
}

static uint32_t tags_of(int n)
{
    return n < 4 ? (PIPELINE_EVENT_TAG_1 | PIPELINE_EVENT_TAG_2) << (n * 2) : 0;
}

static atomic_ullong by_list[5], by_parts, not_by_the_new_one;

/* Events of node 7 were captured by the thread that sets the rules, behind the call; the list is their trace. */
static int32_t look_at_tags(void *user_data, const pipeline_batch_t *batch)
{
    size_t i;
    int n;
    (void)user_data;
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        for (n = 0; n < 5 && e->flags != tags_of(n);)
            n++;
        if (n == 5)
            by_parts++;
        else
            by_list[n]++;
        not_by_the_new_one += e->node_id == 7 && e->flags != tags_of((int)e->correlation_id - 1);
    }
    return PIPELINE_STORE_OK;
}

/* A list takes effect as a whole: no event is judged by a part of one and a part of another, and none that is captured behind the call by a former one. */
static void every_event_is_judged_by_one_list_as_a_whole(void)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    pipeline_t *p = NULL;
    pthread_t threads[2];
    load_t loads[2] = {{NULL, 0, {0}}};
    uint64_t set = 0, own = 0;
    char text[2000];
    int i, n;
    c.writers = 2;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = UINT64_C(60000000);
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = look_at_tags;
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    done = false;
    for (i = 0; i < 2; i++) {
        loads[i].p = p;
        threads[i] = start_thread(load, &loads[i]);
    }
    for (n = 0; n < count_of(2000, 100); n++) {
        /* (Busy: captures that were interrupted keep too many former lists alive.) */
        const int32_t status = pipeline_rules_set_text(p, list_of(n % 5, text), 0);
        CHECK(status == PIPELINE_OK || status == PIPELINE_ERR_BUSY);
        if (status != PIPELINE_OK)
            continue;
        set++;
        own += offer(p, 1, (uint64_t)(n % 5) + 1, 7, "x") == PIPELINE_OK;
    }
    done = true;
    for (i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    CHECK_U64(own, set);
    CHECK_U64(by_parts, 0);
    CHECK_U64(not_by_the_new_one, 0);
    for (n = 0; n < 5; n++)
        CHECK(by_list[n] >= set / 10);
    CHECK_U64(by_list[0] + by_list[1] + by_list[2] + by_list[3] + by_list[4], metrics_of(p).captured);
    END(p);
}

/* The smallest stack that a thread may have. */
static void *on_a_small_stack(void *arg)
{
    pipeline_t *p = (pipeline_t *)arg;
    char text[300] = "drop if ";
    int i;
    for (i = 0; i < 9; i++)
        strcat(text, "not (kind = 3 and (");
    strcat(text, "true");
    for (i = 0; i < 9; i++)
        strcat(text, "))");
    CHECK_FAILS(pipeline_rules_set_text(p, text, 0), PIPELINE_ERR_INVALID, "may be nested 20 deep");
    CHECK_STATUS(pipeline_rules_set_text(p, "drop if not (not (not (not (not (not (not (not (not kind = 3))))))))", 0), PIPELINE_OK);
    CHECK_STATUS(define_kind(p, 1, "small"), PIPELINE_OK);
    CHECK_STATUS(offer(p, 3, 0, 0, "x"), PIPELINE_OK);
    CHECK_STATUS(offer(p, 4, 0, 0, "x"), PIPELINE_DROPPED_BY_RULE);
    return NULL;
}

static void small_stacks(void)
{
    pipeline_t *p = start(1);
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstacksize(&attributes, 32 << 10) == 0);
    CHECK(pthread_create(&thread, &attributes, on_a_small_stack, p) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    pthread_attr_destroy(&attributes);
    END(p);
}

static pipeline_t *of_callback;
static atomic_int set_in_callback;

static int32_t set_rules_in_store(recorder_t *r, const pipeline_batch_t *batch)
{
    (void)r;
    (void)batch;
    if (set_in_callback++ == 0) {
        CHECK_STATUS(pipeline_rules_set_text(of_callback, "drop if kind = 6", 0), PIPELINE_OK);
        CHECK_U64(rules_of(of_callback), 1);
        CHECK_STATUS(pipeline_capture(of_callback, 6, "", 0), PIPELINE_DROPPED_BY_RULE);
    }
    return PIPELINE_STORE_OK;
}

static void in_a_callback_after_close_and_in_a_child(void)
{
    pipeline_t *p = of_callback = start(1);
    uint32_t count = 0;
    int status = 0;
    pid_t child;
    rec.answer = set_rules_in_store;
    CHECK_STATUS(pipeline_capture(p, 1, "", 0), PIPELINE_OK);
    WAIT_FOR(set_in_callback > 0);
    CHECK_STATUS(pipeline_flush(p, 20000), PIPELINE_OK);
    rec.answer = NULL;
    CHECK_U64(rule_of(p, 0).matched, 1);
    child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0) {
        int failed = pipeline_rules_set_text(p, "drop", 0) != PIPELINE_ERR_FORKED ||
                     pipeline_rules_clear(p) != PIPELINE_ERR_FORKED || pipeline_rule_count(p, &count) != PIPELINE_ERR_FORKED ||
                     pipeline_capture(p, 6, "", 0) != PIPELINE_ERR_FORKED;
        _exit(failed);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_STATUS(pipeline_close(p, 20000), PIPELINE_OK);
    CHECK_FAILS(pipeline_rules_set_text(p, "tag 1", 0), PIPELINE_ERR_CLOSED, "closed");
    CHECK_U64(rules_of(p), 1);
    CHECK_U64(rule_of(p, 0).matched, 1);
    CHECK_STATUS(pipeline_rules_clear(p), PIPELINE_OK);
    CHECK_LEDGER(p);
    DESTROY_SOON(p);
}

int main(void)
{
    rules_change_a_thousand_times_a_second_and_the_ledger_is_exact();
    every_event_is_judged_by_one_list_as_a_whole();
    small_stacks();
    in_a_callback_after_close_and_in_a_child();
    return SUMMARY();
}
