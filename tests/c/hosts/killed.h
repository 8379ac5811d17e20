/* The process that journal_killed.c kills: how it writes its journal, and what it tells meanwhile through shared memory. */
#ifndef CAPTURE_PIPELINE_KILLED_TEST_H
#define CAPTURE_PIPELINE_KILLED_TEST_H

#include "journal.h"

#include <signal.h>
#include <sys/mman.h>

enum { THREADS = 3, LIVES = 4 };
/* Small enough that it is exceeded within some thousand events. */
#define MAX_BYTES (1u << 20)
/* A kind with a definition, and one without. */
#define DEFINED 7u
#define PLAIN 1u
/* What the last process adds, which is not killed. */
#define LAST 99u
#define LAST_EVENTS 10u

/* What a process has told. Each that is killed in the same directory has its own. */
typedef struct {
    _Atomic uint64_t stored;                /* by the metrics, so acknowledged before */
    _Atomic uint64_t offered[THREADS];      /* events that a thread was about to offer, or has offered */
    _Atomic uint64_t captured[THREADS];     /* of these, those that were taken */
    _Atomic uint64_t acknowledged[THREADS]; /* of these, those before a flush or close that returned OK */
} told_t;

/* How a process writes. */
typedef struct {
    uint32_t encoding, sync, writers;
    uint64_t segment_bytes, max_bytes;
    bool rejects; /* with max_bytes: new events are rejected, instead of old ones deleted */
    bool reopens; /* it opens and closes journals, one after the other */
    bool flushes; /* one thread flushes again and again */
    bool scales;  /* writers begin and end */
    bool large;   /* some events have up to a mebibyte and a half */
} shape_t;

static told_t *told; /* LIVES of them */

typedef struct {
    uint32_t life, thread;
    uint64_t number;
} head_t;

static size_t payload_len(const shape_t *shape, uint64_t thread, uint64_t number)
{
    if (shape->large && thread == 0 && number % 64 == 63)
        return sizeof(head_t) + 65536 + number * 7919 % 23 * 65536;
    return sizeof(head_t) + number * 7 % 200;
}

/* Each payload can be told from its life, thread and number. */
static void fill(unsigned char *p, size_t len, uint32_t life, uint32_t thread, uint64_t number)
{
    head_t head = {life, thread, number};
    memcpy(p, &head, sizeof head);
    memset(p + sizeof head, (int)(number * 31 + thread * 7 + life), len - sizeof head);
}

static uint32_t kind_of(uint64_t number)
{
    return number % 2 ? DEFINED : PLAIN;
}

/* --- in the process --- */

static struct {
    const shape_t *shape;
    told_t *told;
    uint32_t life;
    pipeline_t *pipeline;
    uint64_t each; /* so many events each thread captures; 0: without an end */
} mine;

/* A check that fails here is told by the way in which the process ends: nobody has killed it. */
static void must(int code, bool holds)
{
    if (!holds) {
        fprintf(stderr, "the process that is to be killed: step %d failed: %s\n", code, pipeline_last_error());
        _exit(code);
    }
}

static void *captures(void *at)
{
    uint32_t thread = (uint32_t)(uintptr_t)at;
    unsigned char *payload = (unsigned char *)malloc(sizeof(head_t) + 24 * 65536);
    uint64_t number = atomic_load(&mine.told->captured[thread]), end = mine.each ? number + mine.each : UINT64_MAX;
    must(3, payload != NULL);
    for (; number < end; number++) {
        size_t len = payload_len(mine.shape, thread, number);
        fill(payload, len, mine.life, thread, number);
        atomic_store(&mine.told->offered[thread], number + 1);
        must(4, pipeline_capture(mine.pipeline, kind_of(number), payload, len) == PIPELINE_OK);
        atomic_store(&mine.told->captured[thread], number + 1);
    }
    free(payload);
    return NULL;
}

static void load_captured(uint64_t *captured)
{
    int i;
    for (i = 0; i < THREADS; i++)
        captured[i] = atomic_load(&mine.told->captured[i]);
}

static void store_acknowledged(const uint64_t *captured)
{
    int i;
    for (i = 0; i < THREADS; i++)
        atomic_store(&mine.told->acknowledged[i], captured[i]);
}

static void *flushes(void *none)
{
    uint64_t captured[THREADS];
    (void)none;
    for (;;) {
        load_captured(captured);
        must(5, pipeline_flush(mine.pipeline, -1) == PIPELINE_OK);
        store_acknowledged(captured);
        pause_a_little();
    }
    return NULL;
}

static pipeline_t *start_killed(const shape_t *shape)
{
    pipeline_journal_options_t o;
    pipeline_config_t c;
    pipeline_storage_t s;
    pipeline_t *p = NULL;
    must(6, pipeline_journal_options_init(&o, sizeof o) == PIPELINE_OK && pipeline_config_init(&c, sizeof c) == PIPELINE_OK);
    o.encoding = shape->encoding;
    o.sync = shape->sync;
    o.sync_interval_ms = 5;
    o.segment_bytes = shape->segment_bytes;
    o.max_bytes = shape->max_bytes;
    o.on_full = shape->rejects ? PIPELINE_JOURNAL_REJECT : PIPELINE_JOURNAL_DELETE_OLDEST;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = 60000000;
    c.retry_limit = 100000;
    c.retry_max_us = 20000;
    if (shape->large) {
        c.ring_bytes = 8 << 20;
        c.max_event_bytes = (2 << 20) - 64;
    }
    must(7, pipeline_storage_journal("killed", &o, sizeof s, &s) == PIPELINE_OK);
    must(8, pipeline_start(&c, &s, &p) == PIPELINE_OK);
    must(9, define_kind(p, DEFINED, "killed") == PIPELINE_OK);
    must(10, shape->writers == 1 || pipeline_scale(p, shape->writers) == PIPELINE_OK);
    return p;
}

/* Never returns. */
static void live(const shape_t *shape, uint32_t life)
{
    pthread_t threads[THREADS];
    uint64_t turn;
    uintptr_t i;
    alarm(60);
    mine.shape = shape;
    mine.told = &told[life];
    mine.life = life;
    mine.each = shape->reopens ? 40 : 0;
    for (turn = 0; shape->reopens; turn++) {
        uint64_t captured[THREADS];
        mine.pipeline = start_killed(shape);
        for (i = 0; i < THREADS; i++)
            threads[i] = start_thread(captures, (void *)i);
        for (i = 0; i < THREADS; i++)
            must(11, pthread_join(threads[i], NULL) == 0);
        load_captured(captured);
        must(12, pipeline_close(mine.pipeline, -1) == PIPELINE_OK);
        store_acknowledged(captured);
        must(13, pipeline_destroy(mine.pipeline) == PIPELINE_OK);
    }
    mine.pipeline = start_killed(shape);
    for (i = 0; i < THREADS; i++)
        start_thread(captures, (void *)i);
    if (shape->flushes)
        start_thread(flushes, NULL);
    for (;; turn++) {
        atomic_store(&mine.told->stored, metrics_of(mine.pipeline).stored);
        if (shape->scales && turn % 256 == 255)
            must(14, pipeline_scale(mine.pipeline, 1 + (uint32_t)(turn / 256 % 3)) == PIPELINE_OK);
    }
}

#endif
