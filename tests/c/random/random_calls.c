/* Several threads make every public call in random order, with random structs, sizes and timeouts, valid and invalid, while a storage
 * answers at random: at once, later, in part, wrongly, too late. A model (model.h) checks the rules that hold all the same: the statuses
 * that a call may return; the metrics, which equal the results of the calls and the acknowledged events, to the last event; the contents
 * and identities of events; that serial calls never overlap; that release and destroy run exactly once, and nothing after destroy.
 *
 *   SEED=n      the first seed (a failing round prints its own)
 *   ROUNDS=n    the number of rounds, each with the next seed (default 40) */
#include "definitions.h"
#include "ends.h"
#include "many.h"
#include "offers.h"
#include "rules.h"

/* ---- the other calls of a thread ---- */

/* A struct that the library fills, in a heap block of exactly the claimed size. */
static void read_figures(worker_t *me)
{
    static const size_t known[] = {sizeof(pipeline_metrics_t), sizeof(pipeline_health_t), sizeof(pipeline_config_t),
                                   sizeof(pipeline_writer_metrics_t)};
    unsigned which = below(&me->rng, 4);
    uint32_t size = (uint32_t)known[which];
    uint32_t room, i;
    unsigned char *out;
    int32_t status;
    if (below(&me->rng, 3) == 0)
        size = below(&me->rng, 2) ? wrong_size(&me->rng, known[which]) : size + below(&me->rng, 4097 - size);
    room = size < known[which] || size > 4096 ? 4 : size;
    out = (unsigned char *)malloc(room);
    CHECK_OR_STOP(out != NULL);
    memset(out, 0xA5, room);
    memcpy(out, &size, 4);
    switch (which) {
    case 0:
        status = pipeline_metrics(world.p, (pipeline_metrics_t *)(void *)out);
        break;
    case 1:
        status = pipeline_health(world.p, (pipeline_health_t *)(void *)out);
        break;
    case 2:
        status = pipeline_config_read(world.p, (pipeline_config_t *)(void *)out);
        break;
    default:
        status = pipeline_writer_metrics(world.p, below(&me->rng, 4), (pipeline_writer_metrics_t *)(void *)out);
    }
    if (room == 4) {
        CHECK_AMONG(status, PIPELINE_ERR_VERSION, which == 3 ? PIPELINE_ERR_NOT_FOUND : NO_STATUS);
    } else {
        CHECK_AMONG(status, PIPELINE_OK, which == 3 ? PIPELINE_ERR_NOT_FOUND : NO_STATUS);
    }
    CHECK(memcmp(out, &size, 4) == 0);
    if (status == PIPELINE_OK) {
        for (i = (uint32_t)known[which]; i < size; i++)
            CHECK_OR_STOP(out[i] == 0);
        if (which == 0) {
            pipeline_metrics_t m;
            memcpy(&m, out, sizeof m);
            CHECK(m.captured <= m.offered);
            CHECK(m.stored + m.dead_lettered + m.discarded + m.overwritten <= m.captured);
        }
        if (which == 1)
            CHECK(memchr(out + offsetof(pipeline_health_t, message), 0, 256) != NULL);
    }
    free(out);
}

static void update_something(worker_t *me)
{
    pipeline_config_t c;
    bool overwrites;
    int32_t status;
    memset(&c, 0, sizeof c);
    c.struct_size = sizeof c;
    CHECK_STATUS(pipeline_config_read(world.p, &c), PIPELINE_OK);
    random_fields(&me->rng, &c, 1 + below(&me->rng, 3));
    overwrites = c.overflow == PIPELINE_OVERFLOW_DROP_OLDEST;
    if (overwrites && !world.has_release)
        world.may_overwrite = true;
    CHECK_STATUS(pipeline_limit_calls((uint32_t)below(&me->rng, 4)), PIPELINE_OK);
    status = pipeline_update(world.p, &c);
    CHECK_AMONG(status, PIPELINE_OK, PIPELINE_ERR_INVALID, PIPELINE_ERR_FIXED, PIPELINE_ERR_UNSUPPORTED,
                PIPELINE_ERR_VERSION, closed());
    if (overwrites && world.has_release && !world.may_overwrite)
        CHECK(status != PIPELINE_OK);
}

static uint32_t draw(void *from, uint32_t limit)
{
    return below((rng_t *)from, limit);
}

static void define_something(worker_t *me)
{
    drawn_t drawn = draw_definition(draw, &me->rng);
    int32_t status = pipeline_kind_define(world.p, &drawn.d);
    CHECK_AMONG(status, PIPELINE_OK, PIPELINE_ERR_INVALID, PIPELINE_ERR_NULL, PIPELINE_ERR_FIXED, PIPELINE_ERR_LIMIT,
                PIPELINE_ERR_FULL, closed());
    if (status == PIPELINE_OK) {
        CHECK(may_be_accepted(&drawn));
        /* The same again. */
        CHECK_AMONG(pipeline_kind_define(world.p, &drawn.d), PIPELINE_OK, closed());
    }
    free_definition(&drawn);
}

static atomic_int hooked;

static void thread_begins(void *user_data)
{
    CHECK(user_data == &hooked);
    hooked++;
}

static void thread_ends(void *user_data)
{
    CHECK(user_data == &hooked);
    CHECK(hooked-- > 0);
}

static void hear(void *user_data, int32_t level, const char *message)
{
    CHECK(user_data == &hooked && level >= PIPELINE_LOG_ERROR && level <= PIPELINE_LOG_DEBUG && *message != 0);
}

static void wrong_calls(worker_t *me)
{
    uint64_t token = below(&me->rng, 2) ? next(&me->rng) : below(&me->rng, 8) ? UINT64_MAX - below(&me->rng, 9) : 0;
    pipeline_t *none = NULL;
    char name[300];
    switch (below(&me->rng, 20)) {
    case 0:
        CHECK_STATUS(pipeline_batch_complete(token | UINT64_C(1) << 62, (int32_t)below(&me->rng, 5)),
                     PIPELINE_ERR_UNKNOWN_TOKEN);
        exchange_wrongly(token | UINT64_C(1) << 62, (int32_t)below(&me->rng, 5));
        break;
    case 1:
        CHECK_STATUS(pipeline_batch_complete_at(token | UINT64_C(1) << 62, below(&me->rng, 9), 0),
                     PIPELINE_ERR_UNKNOWN_TOKEN);
        break;
    case 2:
        CHECK_STATUS(pipeline_start(NULL, NULL, &none), PIPELINE_ERR_NULL);
        break;
    case 3:
        CHECK_STATUS(pipeline_capture(NULL, 1, &token, 8), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_capture_event(NULL, NULL), PIPELINE_ERR_NULL);
        break;
    case 4:
        CHECK_STATUS(pipeline_flush(NULL, -1), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_close(NULL, -1), PIPELINE_ERR_NULL);
        break;
    case 5:
        CHECK_STATUS(pipeline_destroy(NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_abandon(NULL), PIPELINE_ERR_NULL);
        break;
    case 6:
        CHECK_STATUS(pipeline_metrics(world.p, NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_health(world.p, NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_config_read(world.p, NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_update(world.p, NULL), PIPELINE_ERR_NULL);
        break;
    case 7:
        CHECK_STATUS(pipeline_producer_open(world.p, NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_producer_close(NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_producer_commit(NULL, 1), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_producer_abort(NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_producer_capture(NULL, 1, NULL, 0), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_producer_capture_event(NULL, NULL), PIPELINE_ERR_NULL);
        break;
    case 8:
        CHECK_STATUS(pipeline_batch_set_stored(NULL, 1), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_batch_set_rejected(NULL, 1), PIPELINE_ERR_NULL);
        break;
    case 9:
        offered(0, pipeline_capture_event(world.p, NULL), REFUSED_NULL);
        break;
    case 10:
        CHECK_AMONG(pipeline_scale(world.p, PIPELINE_MAX_WRITERS + 1 + below(&me->rng, 1000)), PIPELINE_ERR_LIMIT,
                    closed());
        break;
    case 11: {
        uint32_t size = (uint32_t)next(&me->rng) >> below(&me->rng, 32);
        bool fits = size >= STORAGE_FIRST && size <= 4096;
        unsigned char *out = (unsigned char *)malloc(fits ? size : 1);
        CHECK_STATUS(pipeline_storage_init((pipeline_storage_t *)(void *)out, size),
                     fits ? PIPELINE_OK : PIPELINE_ERR_VERSION);
        free(out);
        break;
    }
    case 12: {
        size_t size = (size_t)(next(&me->rng) >> below(&me->rng, 64));
        bool fits = size >= sizeof(pipeline_config_t) && size <= 4096;
        unsigned char *out = (unsigned char *)malloc(fits ? size : 1);
        CHECK_STATUS(pipeline_config_init((pipeline_config_t *)(void *)out, size),
                     fits ? PIPELINE_OK : PIPELINE_ERR_VERSION);
        free(out);
        break;
    }
    case 13:
        memset(name, 'n', sizeof name);
        name[below(&me->rng, 299)] = 0;
        name[299] = 0;
        CHECK_AMONG(pipeline_kind_name(world.p, below(&me->rng, 4) ? below(&me->rng, 40) : PIPELINE_KIND_RESERVED, name),
                    PIPELINE_OK, PIPELINE_ERR_INVALID, PIPELINE_ERR_FULL, closed());
        CHECK_STATUS(pipeline_kind_name(world.p, 1, NULL), PIPELINE_ERR_NULL);
        define_something(me);
        break;
    case 14:
        CHECK(pipeline_version() == PIPELINE_VERSION);
        CHECK(pipeline_status_message((int32_t)next(&me->rng)) != NULL && pipeline_last_error() != NULL);
        break;
    case 15: {
        int32_t level = (int32_t)below(&me->rng, 7);
        bool known = level >= PIPELINE_LOG_ERROR && level <= PIPELINE_LOG_DEBUG;
        CHECK_STATUS(pipeline_log_callback(hear, &hooked, level), known ? PIPELINE_OK : PIPELINE_ERR_INVALID);
        if (below(&me->rng, 2))
            CHECK_STATUS(pipeline_log_callback(NULL, NULL, 0), PIPELINE_OK);
        break;
    }
    case 16:
        CHECK_STATUS(pipeline_capture_many(NULL, NULL, 1, NULL), PIPELINE_ERR_NULL);
        CHECK_STATUS(pipeline_producer_capture_many(NULL, NULL, 1, NULL), PIPELINE_ERR_NULL);
        capture_alike(me);
        break;
    default:
        start_another(&me->rng);
    }
}

/* The pressure callback of the pipeline under test: it calls the library, and may end its thread. */
static void pressure_told(void *user_data, uint32_t pressure, int32_t is_high)
{
    CHECK(pressure <= 100 && (is_high == 0 || is_high == 1));
    CHECK(pipeline_pressure(world.p) <= 100);
    if (user_data != NULL)
        pthread_exit(NULL);
}

static void watch_pressure(rng_t *rng)
{
    uint32_t low = (uint32_t)below(rng, 50);
    CHECK_AMONG(pipeline_pressure_callback(world.p, low, low + 1 + (uint32_t)below(rng, 50),
                                           below(rng, 4) ? pressure_told : NULL, below(rng, 8) ? NULL : &world),
                PIPELINE_OK, PIPELINE_ERR_BUSY, closed());
}

/* Transforms of the pipeline under test. Its events are checked by their content, so a payload is rewritten to what it was. Some return nonsense
 * or call the library. */
static atomic_int transforms, transforms_destroyed;

static int32_t transform_somehow(void *user_data, const pipeline_event_view_t *event, pipeline_rewrite_t *rewrite)
{
    rng_t rng = callback_rng(event->sequence * 31 + event->ring_id + (uint64_t)(uintptr_t)user_data);
    CHECK(event->kind < PIPELINE_KIND_RESERVED && (event->flags & PIPELINE_EVENT_TRANSFORMED) == 0);
    fate_of(event);
    switch (below(&rng, 12)) {
    case 0:
    case 1:
        memcpy(rewrite->scratch, event->data, event->len);
        rewrite->data = rewrite->scratch;
        return PIPELINE_TRANSFORM_REWRITE;
    case 2:
        return PIPELINE_TRANSFORM_REWRITE;
    case 3:
        rewrite->len = rewrite->scratch_len + 1;
        return PIPELINE_TRANSFORM_REWRITE;
    case 4:
        return (int32_t)(next(&rng) | 4);
    case 5:
        reenter(&rng);
        return PIPELINE_TRANSFORM_KEEP;
    default:
        return PIPELINE_TRANSFORM_KEEP;
    }
}

static void transform_destroyed(void *user_data)
{
    (void)user_data;
    transforms_destroyed++;
}

static void set_transform(rng_t *rng)
{
    pipeline_transform_t t;
    if (below(rng, 3) == 0) {
        CHECK_AMONG(pipeline_transform(world.p, NULL), PIPELINE_OK, closed());
        return;
    }
    CHECK_STATUS(pipeline_transform_init(&t, sizeof t), PIPELINE_OK);
    t.user_data = (void *)(uintptr_t)below(rng, 1000);
    t.transform = below(rng, 8) ? transform_somehow : NULL;
    t.destroy = transform_destroyed;
    t.flags = below(rng, 8) ? 0 : (uint32_t)below(rng, 3);
    transforms++;
    CHECK_AMONG(pipeline_transform(world.p, &t), PIPELINE_OK, PIPELINE_ERR_NULL, PIPELINE_ERR_INVALID, closed());
}

static void *working(void *argument)
{
    worker_t *me = (worker_t *)argument;
    unsigned calls = 60 + below(&me->rng, 200);
    while (calls-- > 0 && !spent(&me->rng)) {
        switch (below(&me->rng, 32)) {
        case 0:
            CHECK_AMONG(pipeline_flush(world.p, below(&me->rng, 4)), PIPELINE_OK, PIPELINE_ERR_TIMEOUT, BAD_FLUSH,
                        PIPELINE_ERR_STORAGE, closed());
            break;
        case 1:
            CHECK_AMONG(pipeline_scale(world.p, below(&me->rng, 5)), PIPELINE_OK, closed());
            break;
        case 2:
            CHECK_AMONG(pipeline_pause(world.p), PIPELINE_OK, closed());
            break;
        case 3:
            CHECK_AMONG(pipeline_resume(world.p), PIPELINE_OK, closed());
            watch_pressure(&me->rng);
            set_transform(&me->rng);
            break;
        case 4:
        case 5:
            read_figures(me);
            break;
        case 6:
            update_something(me);
            break;
        case 7:
            wrong_calls(me);
            break;
        case 8:
            complete_one(&me->rng, OUTSIDE);
            break;
        case 9:
            if (below(&me->rng, 40) == 0) {
                world.close_called = true;
                CHECK_AMONG(pipeline_close(world.p, below(&me->rng, 3)), PIPELINE_OK, PIPELINE_ERR_TIMEOUT, BAD_FLUSH,
                            PIPELINE_ERR_STORAGE, PIPELINE_ERR_CLOSED);
            }
            break;
        case 10:
            use_rules(&me->rng);
            break;
        case 11:
            if (below(&me->rng, 4) == 0)
                pause_a_little();
            break;
        case 12:
        case 13:
        case 14:
        case 15:
        case 16:
        case 17:
            use_producer(me);
            break;
        case 18:
            capture_many_somewhere(me);
            break;
        case 19: { /* faster than any writer, until its ring is full */
            unsigned burst = below(&me->rng, 100);
            pipeline_producer_t *r = me->producer[0].reserved == 0 ? me->producer[0].handle : NULL;
            while (burst-- > 0 && !spent(&me->rng))
                capture_something(me, r);
            for (burst = 0; burst < 3; burst++)
                use_producer(me);
            break;
        }
        default:
            capture_something(me, NULL);
        }
    }
    return NULL;
}

static void *completing(void *argument)
{
    rng_t *rng = (rng_t *)argument;
    while (!world.over || complete_one(rng, OUTSIDE))
        if (!complete_one(rng, OUTSIDE))
            pause_a_little();
    return NULL;
}

/* ---- a round ---- */

/* `bytes`: a fuzzer's input, used by a single thread in place of random numbers until it is used up. */
static void round_of(uint64_t seed, const unsigned char *bytes, size_t size)
{
    static worker_t workers[SOURCES];
    pthread_t threads[SOURCES], completer;
    rng_t rng = seeded(seed, 0), completer_rng = seeded(seed, 99);
    unsigned count = bytes != NULL ? 1 : 1 + below(&rng, WORKERS), i, j, end;
    size_t first = size < 48 ? size : 48;
    int failed = checks_failed;
    if (bytes != NULL) {
        rng.at = bytes;
        rng.end = bytes + first;
    }
    begin_world(&rng, seed);
    completer = start_thread(completing, &completer_rng);
    for (i = 0; i < count; i++) {
        memset(&workers[i], 0, sizeof workers[i]);
        workers[i].source = i;
        workers[i].rng = seeded(seed, i + 1);
        if (bytes != NULL) {
            workers[i].rng.at = bytes + first;
            workers[i].rng.end = bytes + size;
        }
        threads[i] = start_thread(working, &workers[i]);
    }
    for (i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    end = below(&rng, 4);
    for (i = 0; i < count; i++)
        for (j = 0; j < 3; j++)
            if (workers[i].producer[j].handle != NULL && (end == 0 || below(&rng, 2))) {
                CHECK_STATUS(pipeline_producer_close(workers[i].producer[j].handle), PIPELINE_OK);
                workers[i].producer[j].handle = NULL;
            }
    world.calm = true;
    if (end <= 1)
        close_exactly();
    if (end <= 2)
        destroy_soon();
    else
        abandon();
    /* Some producers are still open, and some answers are still to come. */
    for (i = 0; i < count; i++)
        for (j = 0; j < 3; j++)
            if (workers[i].producer[j].handle != NULL) {
                pipeline_producer_t *r = workers[i].producer[j].handle;
                if (workers[i].producer[j].reserved != 0)
                    memset(workers[i].producer[j].room, 1, workers[i].producer[j].len);
                CHECK_AMONG(pipeline_producer_capture(r, 1, "", 1), PIPELINE_ERR_CLOSED,
                            workers[i].producer[j].reserved != 0 ? PIPELINE_ERR_BUSY : NO_STATUS);
                CHECK_STATUS(pipeline_producer_close(r), PIPELINE_OK);
            }
    WAIT_FOR(world.destroyed == 1);
    world.over = true;
    pthread_join(completer, NULL);
    account();
    CHECK_U64(transforms_destroyed, transforms);
    if (checks_failed != failed)
        fprintf(stderr, "  in the round SEED=%" PRIu64 " ROUNDS=1 (ended in way %u)\n", seed, end);
}

int main(void)
{
    uint64_t seed = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 10) : now_ms() * 1000003u % 1000000000u;
    uint64_t rounds = getenv("ROUNDS") ? strtoull(getenv("ROUNDS"), NULL, 10) : 40;
    uint64_t i;
    printf("SEED=%" PRIu64 " ROUNDS=%" PRIu64 "\n", seed, rounds);
    fflush(stdout);
    CHECK_STATUS(pipeline_thread_hooks(thread_begins, thread_ends, &hooked), PIPELINE_OK);
    for (i = 0; i < rounds && checks_failed == 0; i++)
        round_of(seed + i, NULL, 0);
    WAIT_FOR(hooked == 0); /* every thread of the library has ended */
    printf("%" PRIu64 " rounds, %" PRIu64 " events captured, %" PRIuFAST64 " batches by exchange, %" PRIuFAST64
           " tokens answered by two at once, %" PRIuFAST64 " of them by the second first\n",
           i, captured_in_all, given_in_all, contests_in_all, contests_lost);
    return SUMMARY();
}
