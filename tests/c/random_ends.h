/* How a pipeline of random_calls.c begins, the ways in which it ends, and what must hold then: the figures are what the
 * calls answered and the storage acknowledged; no event came twice. */
#ifndef CAPTURE_PIPELINE_RANDOM_ENDS_H
#define CAPTURE_PIPELINE_RANDOM_ENDS_H

#include "random_storage.h"
#include "random_structs.h"

/* ---- begin and end ---- */

static void begin_world(rng_t *rng, uint64_t seed)
{
    pipeline_config_t c = good_config(rng);
    pipeline_storage_t s;
    size_t i;
    world.seed = seed;
    world.round = (world.round + 1) & 0x7FFFFFFF;
    world.has_release = below(rng, 2);
    world.has_dead = below(rng, 2);
    world.concurrent = below(rng, 2);
    world.meta = below(rng, 4) == 0;
    world.exchanges = below(rng, 3) == 0;
    if (world.exchanges) { /* so that events wait for an answer to make room for them */
        c.max_in_flight = 1 + below(rng, 3);
        c.batch_size = 1 + below(rng, 8);
        c.ordering = PIPELINE_ORDERING_NONE;
        world.concurrent |= below(rng, 2);
    }
    world.ordered = c.ordering == PIPELINE_ORDERING_PER_PRODUCER;
    world.slow_us = below(rng, 2) ? 4000 : 300;
    world.may_overwrite = c.overflow == PIPELINE_OVERFLOW_DROP_OLDEST;
    world.max_event_bytes = c.max_event_bytes != 0 ? c.max_event_bytes : c.ring_bytes / 4 - 64;
    world.close_called = world.calm = world.over = false;
    world.destroyed = 0;
    world.stored = world.dead = 0;
    world.callback_events = 0;
    world.generation = 0;
    for (i = 0; i < 32; i++)
        world.counts[i] = 0;
    memset(world.rings, 0, sizeof world.rings);
    memset(fates, 0, sizeof fates);
    CHECK_U64(world.waiting_count, 0);
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.user_data = &world;
    s.flags = (world.concurrent ? PIPELINE_STORAGE_CONCURRENT : 0) | (world.meta ? PIPELINE_STORAGE_META : 0);
    s.store = world_store;
    s.destroy = world_destroy;
    if (world.has_release)
        s.release = world_release;
    if (world.has_dead)
        s.dead_letter = world_dead_letter;
    if (below(rng, 2))
        s.flush = world_flush;
    if (below(rng, 2)) {
        s.open_writer = world_open;
        s.close_writer = world_close;
    }
    pthread_rwlock_wrlock(&world.holding); /* a writer's first callback may be quicker than we are */
    CHECK_STATUS(pipeline_start(&c, &s, &world.p), PIPELINE_OK);
    CHECK_OR_STOP(world.p != NULL);
    pthread_rwlock_unlock(&world.holding);
}

/* Closes, and compares the figures with what the calls answered and the storage acknowledged. */
static void close_exactly(void)
{
    pipeline_metrics_t m;
    uint64_t lost = 0;
    unsigned s, n;
    bool before = world.close_called;
    world.close_called = true;
    CHECK_AMONG(pipeline_close(world.p, PATIENCE_MS), PIPELINE_OK, before ? PIPELINE_ERR_CLOSED : NO_STATUS);
    CHECK_STATUS(pipeline_close(world.p, PATIENCE_MS), PIPELINE_ERR_CLOSED);
    m = metrics_of(world.p);
    CHECK_LEDGER(world.p);
    for (s = 0; s < SOURCES; s++)
        for (n = 0; n < EVENTS; n++)
            lost += fates[s][n].captured && fates[s][n].stored + fates[s][n].dead == 0;
    CHECK_U64(m.captured, world.counts[0]);
    CHECK_U64(m.dropped_full, world.counts[-PIPELINE_ERR_FULL]);
    CHECK_U64(m.refused_too_large, world.counts[-PIPELINE_ERR_TOO_LARGE]);
    CHECK_U64(m.refused_closed, world.counts[-PIPELINE_ERR_CLOSED]);
    CHECK_U64(m.refused_invalid, world.counts[-PIPELINE_ERR_INVALID]);
    CHECK_U64(m.refused_busy, world.counts[-PIPELINE_ERR_BUSY]);
    CHECK_U64(m.refused_no_ring, world.counts[-PIPELINE_ERR_NO_RING]);
    CHECK_U64(m.stored, world.stored);
    CHECK_U64(m.dead_lettered, world.dead);
    CHECK_U64(m.discarded + m.overwritten, lost);
    CHECK_U64(m.buffered + m.in_flight + m.in_doubt + m.left, 0);
    if (!world.may_overwrite)
        CHECK_U64(m.overwritten, 0);
    captured_in_all += m.captured;
}

static void destroy_soon(void)
{
    uint64_t deadline = now_ms() + PATIENCE_MS;
    int32_t status;
    do {
        pthread_rwlock_wrlock(&world.holding);
        status = pipeline_destroy(world.p);
        if (status == PIPELINE_OK)
            world.p = NULL;
        pthread_rwlock_unlock(&world.holding);
        if (status == PIPELINE_ERR_BUSY)
            pause_a_little();
    } while (status == PIPELINE_ERR_BUSY && now_ms() < deadline);
    CHECK_STATUS(status, PIPELINE_OK);
    CHECK_U64(world.destroyed, 1);
    CHECK_U64(world.inside, 0);
}

static void abandon(void)
{
    pthread_rwlock_wrlock(&world.holding);
    CHECK_STATUS(pipeline_abandon(world.p), PIPELINE_OK);
    world.p = NULL;
    pthread_rwlock_unlock(&world.holding);
}

static int by_ids(const void *a, const void *b)
{
    const uint64_t *x = (const uint64_t *)a, *y = (const uint64_t *)b;
    return x[0] != y[0] ? (x[0] < y[0] ? -1 : 1) : x[1] == y[1] ? 0 : x[1] < y[1] ? -1 : 1;
}

/* After everything: no event twice, none from nowhere, each released once. */
static void account(void)
{
    static uint64_t ids[SOURCES * EVENTS][2];
    uint64_t seen = 0, twice = 0, unknown = 0, unreleased = 0, i;
    unsigned s, n;
    for (s = 0; s < SOURCES; s++)
        for (n = 0; n < EVENTS; n++) {
            fate_t *f = &fates[s][n];
            twice += f->stored + f->dead > 1;
            unknown += !f->captured && f->seen;
            unreleased += f->released != (world.has_release ? f->captured : 0);
            if (f->seen) {
                ids[seen][0] = f->ring_id;
                ids[seen++][1] = f->sequence;
            }
        }
    CHECK_U64(twice, 0);
    CHECK_U64(unknown, 0);
    CHECK_U64(unreleased, 0);
    qsort(ids, seen, sizeof *ids, by_ids);
    for (i = 1; i < seen; i++)
        twice += by_ids(ids[i - 1], ids[i]) == 0;
    CHECK_U64(twice, 0);
    CHECK_U64(world.destroyed, 1);
}

#endif
