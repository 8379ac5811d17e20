/* The storage of random_calls.c, which answers at random. */
#ifndef CAPTURE_PIPELINE_RANDOM_STORAGE_H
#define CAPTURE_PIPELINE_RANDOM_STORAGE_H

#include "answers.h"

static int32_t world_store(void *user_data, const pipeline_batch_t *batch)
{
    rng_t rng = callback_rng(batch->token);
    int32_t answer = PIPELINE_STORE_OK;
    size_t prefix;
    enter(user_data, true);
    check_batch(batch, true);
    reenter(&rng);
    if (!world.calm && below(&rng, 16) == 0) {
        /* A storage that is slow at times. */
        struct timespec t = {0, (long)below(&rng, (uint32_t)world.slow_us + 1) * 1000};
        nanosleep(&t, NULL);
    }
    switch (world.calm ? 99 : world.exchanges && below(&rng, 4) ? 6 : below(&rng, 16)) {
    case 0:
    case 1:
        answer = some_answer(&rng, false);
        break;
    case 2:
    case 3:
        prefix = below(&rng, (uint32_t)batch->count + 1);
        CHECK_STATUS(pipeline_batch_set_stored(batch, batch->count), PIPELINE_OK); /* the last word counts */
        CHECK_STATUS(pipeline_batch_set_stored(batch, prefix), PIPELINE_OK);
        mark_stored(batch, prefix, NULL);
        answer = some_answer(&rng, false);
        break;
    case 4:
    case 5: {
        bool *rejected = reject_some(&rng, batch);
        mark_stored(batch, batch->count, rejected);
        free(rejected);
        break;
    }
    case 6:
    case 7:
    case 8:
        answer = PIPELINE_STORE_PENDING;
        wait_for_answer(batch);
        if (below(&rng, 4) == 0)
            complete_one(&rng, IN_STORE);
        break;
    case 9:
        complete(&rng, batch, IN_ITS_STORE);
        answer = below(&rng, 2) ? PIPELINE_STORE_PENDING : (int32_t)below(&rng, 9); /* the first answer stands */
        break;
    default:
        mark_stored(batch, batch->count, NULL);
    }
    if (answer != PIPELINE_STORE_PENDING)
        put_down(batch);
    leave(true);
    return answer;
}

static int32_t world_dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    rng_t rng = callback_rng(batch->batch_id * 77 + batch->attempt);
    int32_t answer = 0;
    size_t i;
    enter(user_data, true);
    CHECK(reason >= PIPELINE_REASON_REJECTED && reason <= PIPELINE_REASON_RETRY_AGE);
    CHECK(!check_batch(batch, false));
    put_down(batch);
    reenter(&rng);
    if (!world.calm && below(&rng, 3) == 0)
        answer = some_answer(&rng, true);
    if (answer == 0)
        for (i = 0; i < batch->count; i++) {
            CHECK_U64(fate_of(PIPELINE_BATCH_EVENT(batch, i))->dead++, 0);
            world.dead++;
        }
    leave(true);
    return answer;
}

static int32_t world_flush(void *user_data, int64_t timeout_ms)
{
    rng_t rng = callback_rng((uint64_t)now_ms());
    int32_t answer = 0;
    enter(user_data, true);
    CHECK(timeout_ms >= -1);
    reenter(&rng);
    if (!world.calm && below(&rng, 4) == 0)
        answer = below(&rng, 2) ? BAD_FLUSH : 5;
    leave(true);
    return answer;
}

static int32_t world_open(void *user_data, uint32_t writer_id, void **writer_data)
{
    static atomic_uint turn;
    rng_t rng = callback_rng(turn++);
    int32_t answer = 0;
    enter(user_data, false);
    reenter(&rng);
    if (!world.calm && below(&rng, 4) == 0) {
        answer = (int32_t)next(&rng) | 1;
    } else {
        CHECK_OR_STOP(writer_id < 1024);
        CHECK_U64(world.opened[writer_id]++, 0);
        *writer_data = &writer_words[writer_id];
    }
    leave(false);
    return answer;
}

static void world_close(void *user_data, uint32_t writer_id, void *writer_data)
{
    enter(user_data, false);
    CHECK(writer_data == &writer_words[writer_id]);
    CHECK_U64(world.opened[writer_id]--, 1);
    leave(false);
}

static void world_release(void *user_data, const pipeline_event_view_t *event)
{
    rng_t rng = callback_rng(event->sequence);
    enter(user_data, false);
    CHECK(event->kind < PIPELINE_KIND_RESERVED);
    CHECK_U64(fate_of(event)->released++, 0);
    if (below(&rng, 16) == 0)
        reenter(&rng);
    leave(false);
}

static void world_destroy(void *user_data)
{
    size_t i;
    CHECK(user_data == &world);
    CHECK_U64(world.inside, 0);
    for (i = 0; i < 1024; i++)
        CHECK_U64(world.opened[i], 0);
    CHECK_U64(world.destroyed++, 0);
}

#endif
