/* What the tests of forks share: the ways in which a program gets a child, and what the library owes a child.
 *
 * A child that runs the handlers of pthread_atfork may do whatever a process may. One that does not (_Fork, a bare system call) may have inherited a lock
 * of the C library's allocator, so it may call what allocates nothing: every call on the parent's pipeline. */
#ifndef CAPTURE_PIPELINE_FORK_H
#define CAPTURE_PIPELINE_FORK_H

#include "../check.h"

#include <signal.h>
#include <sys/syscall.h>

enum fork_way { WAY_FORK, WAY_PLAIN_FORK, WAY_CLONE, FORK_WAYS };

CHECK_UNUSED static const char *const fork_ways[FORK_WAYS] = {"fork", "_Fork", "clone without handlers"};

extern pid_t _Fork(void) __attribute__((weak)); /* glibc has it from 2.34 on */

/* Whether this way is there. An emulator notices neither of the latter two, and ThreadSanitizer locks what its handlers unlock. */
CHECK_UNUSED static bool has_fork_way(enum fork_way way)
{
#ifdef UNDER_THREAD_SANITIZER
    if (way != WAY_FORK)
        return false;
#endif
    return way == WAY_FORK || (children_can_start_threads() && (way == WAY_CLONE || _Fork != NULL));
}

CHECK_UNUSED static pid_t fork_by(enum fork_way way)
{
    if (way == WAY_CLONE)
        return (pid_t)syscall(SYS_clone, SIGCHLD, 0L, 0L, 0L, 0L);
    return way == WAY_FORK ? fork() : _Fork();
}

/* The storage of a child's own pipeline. It has no lock, because any may have been held at the fork by a thread that the child does not have. */
static uint64_t child_numbers, child_sum, child_destroyed;

CHECK_UNUSED static int32_t child_store(void *user_data, const pipeline_batch_t *batch)
{
    size_t i;
    (void)user_data;
    for (i = 0; i < batch->count; i++)
        __atomic_fetch_add(&child_sum, *(const uint64_t *)PIPELINE_BATCH_EVENT(batch, i)->data, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&child_numbers, batch->count, __ATOMIC_SEQ_CST);
    return PIPELINE_STORE_OK;
}

CHECK_UNUSED static void child_destroy(void *user_data)
{
    (void)user_data;
    child_destroyed++;
}

/* A pipeline of the child's own, from start to end: its events are stored once. */
CHECK_UNUSED static void childs_own_pipeline(uint64_t events)
{
    pipeline_storage_t s;
    pipeline_t *own = NULL;
    uint64_t n;
    if (!children_can_start_threads())
        return;
    child_numbers = child_sum = child_destroyed = 0;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = child_store;
    s.destroy = child_destroy;
    CHECK_STATUS(pipeline_start(NULL, &s, &own), PIPELINE_OK);
    if (own == NULL)
        return;
    for (n = 0; n < events; n++)
        CHECK_STATUS(pipeline_capture(own, 1, &n, sizeof n), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(own, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_close(own, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(own);
    CHECK_STATUS(pipeline_destroy(own), PIPELINE_OK);
    CHECK_U64(child_numbers, events);
    CHECK_U64(child_sum, events * (events - 1) / 2);
    CHECK_U64(child_destroyed, 1);
}

/* The default configuration, from the first call on. */
CHECK_UNUSED static pipeline_config_t *default_config(void)
{
    static pipeline_config_t config;
    if (config.struct_size == 0)
        CHECK_STATUS(pipeline_config_init(&config, sizeof config), PIPELINE_OK);
    return &config;
}

/* Every call on the parent's pipeline, and on a producer of it that no thread uses, is refused at once. */
CHECK_UNUSED static void everything_is_refused(pipeline_t *p, pipeline_producer_t *r, uint64_t parents_token)
{
    const pipeline_t *const list[1] = {p};
    pipeline_event_t e = event_of(1, "x", 1), unknown = {.struct_size = 3};
    pipeline_config_t *c = default_config();
    pipeline_transform_t t;
    pipeline_rule_t rule;
    pipeline_rule_metrics_t rm;
    pipeline_metrics_t m;
    pipeline_writer_metrics_t w;
    pipeline_health_t h;
    pipeline_producer_t *another = NULL;
    void *payload = NULL;
    char text[64];
    size_t captured = 12345, length = 0;
    uint32_t count = 0;
    m.struct_size = sizeof m;
    w.struct_size = sizeof w;
    h.struct_size = sizeof h;
    rm.struct_size = sizeof rm;
    CHECK_STATUS(pipeline_transform_init(&t, sizeof t), PIPELINE_OK);
    t.transform = (int32_t(*)(void *, const pipeline_event_view_t *, pipeline_rewrite_t *))(void (*)(void))child_destroy;
    CHECK_STATUS(pipeline_rule_init(&rule, sizeof rule), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p, 1, "x", 1), PIPELINE_ERR_FORKED);
    CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_ERR_FORKED);
    CHECK_STATUS(pipeline_capture_event(p, NULL), PIPELINE_ERR_FORKED);
    CHECK_STATUS(pipeline_capture_event(p, &unknown), PIPELINE_ERR_FORKED);
    CHECK_STATUS(pipeline_capture_many(p, &e, 1, NULL), PIPELINE_ERR_FORKED);
    CHECK_STATUS(pipeline_capture_many(p, NULL, 0, NULL), PIPELINE_ERR_FORKED);
    CHECK_U64(pipeline_pressure(p), 0);
    if (r != NULL) {
        CHECK_STATUS(pipeline_producer_capture(r, 1, "x", 1), PIPELINE_ERR_FORKED);
        CHECK_STATUS(pipeline_producer_capture_event(r, &e), PIPELINE_ERR_FORKED);
        CHECK_STATUS(pipeline_producer_capture_many(r, &e, 1, &captured), PIPELINE_ERR_FORKED);
        CHECK_U64(captured, 0);
        CHECK_STATUS(pipeline_producer_capture_many(r, NULL, 0, NULL), PIPELINE_ERR_FORKED);
        CHECK_STATUS(pipeline_producer_reserve(r, NULL, 1, &payload), PIPELINE_ERR_FORKED);
        CHECK(payload == NULL);
        CHECK_STATUS(pipeline_producer_commit(r, 1), PIPELINE_ERR_FORKED);
        CHECK_STATUS(pipeline_producer_abort(r), PIPELINE_ERR_FORKED);
    }
    CHECK_FAILS(pipeline_producer_open(p, &another), PIPELINE_ERR_FORKED, "parent");
    CHECK(another == NULL);
    CHECK_FAILS(pipeline_flush(p, -1), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_scale(p, 2), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_pause(p), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_resume(p), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_kind_name(p, 1, "one"), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(define_kind(p, 1, "one"), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_attribute(p, "host", "here"), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_rules_set(p, &rule, 1, 0), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_rules_set_text(p, "kind 1: drop", 0), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_rules_load(p, "/dev/null", 0), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_rules_clear(p), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_rule_count(p, &count), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_rule_metrics(p, 0, &rm), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_transform(p, NULL), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_transform(p, &t), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_pressure_callback(p, 0, 0, NULL, NULL), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_update(p, c), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_config_read(p, c), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_metrics(p, &m), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_metrics_text(list, 1, PIPELINE_METRICS_PROMETHEUS, text, sizeof text, &length), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_writer_metrics(p, 0, &w), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_health(p, &h), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_close(p, -1), PIPELINE_ERR_FORKED, "parent");
    CHECK_FAILS(pipeline_batch_complete(parents_token, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
    CHECK_FAILS(pipeline_batch_complete_at(parents_token, 0, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
    CHECK_FAILS(pipeline_batch_try_complete(parents_token, PIPELINE_STORE_OK), PIPELINE_ERR_UNKNOWN_TOKEN, "token");
    if (r != NULL)
        CHECK_FAILS(pipeline_producer_close(r), PIPELINE_ERR_FORKED, "parent");
}

#endif
