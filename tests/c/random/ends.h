/* How a pipeline of random_calls.c starts, the ways in which it ends, and the checks at its end: the metrics equal the results of the
 * calls and the events that the storage acknowledged, and no event came twice. */
#ifndef CAPTURE_PIPELINE_RANDOM_ENDS_H
#define CAPTURE_PIPELINE_RANDOM_ENDS_H

#include "storage.h"
#include "structs.h"

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
    if (world.exchanges) { /* so that events wait until an answer frees a place in flight */
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

/* Closes, and compares the metrics with the results of the calls and the events that the storage acknowledged. */
static void close_exactly(void)
{
    pipeline_metrics_t m;
    bool before = world.close_called;
    world.close_called = true;
    CHECK_AMONG(pipeline_close(world.p, PATIENCE_MS), PIPELINE_OK, before ? PIPELINE_ERR_CLOSED : NO_STATUS);
    CHECK_STATUS(pipeline_close(world.p, PATIENCE_MS), PIPELINE_ERR_CLOSED);
    m = metrics_of(world.p);
    CHECK_LEDGER(world.p);
    CHECK_U64(m.captured, world.counts[0]);
    CHECK_U64(m.dropped_full, world.counts[-PIPELINE_ERR_FULL]);
    CHECK_U64(m.refused_too_large, world.counts[-PIPELINE_ERR_TOO_LARGE]);
    CHECK_U64(m.refused_closed, world.counts[-PIPELINE_ERR_CLOSED]);
    CHECK_U64(m.refused_invalid, world.counts[-PIPELINE_ERR_INVALID]);
    CHECK_U64(m.refused_busy, world.counts[-PIPELINE_ERR_BUSY]);
    CHECK_U64(m.refused_no_ring, world.counts[-PIPELINE_ERR_NO_RING]);
    CHECK_U64(m.stored, world.stored);
    CHECK_U64(m.dead_lettered, world.dead);
    CHECK_U64(m.discarded + m.overwritten, fate_sums(&fates[0][0], SOURCES * EVENTS).lost);
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

/* At the very end: no event came twice, each was offered, and each was released once. */
static void account(void)
{
    fate_sums_t sums = fate_sums(&fates[0][0], SOURCES * EVENTS);
    CHECK_U64(sums.twice, 0);
    CHECK_U64(sums.unknown, 0);
    CHECK_U64(sums.unreleased, world.has_release ? 0 : sums.captured);
    CHECK_U64(sums.released_twice, 0);
    CHECK_U64(world.destroyed, 1);
}

#endif
