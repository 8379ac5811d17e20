/* Fuzzes every struct that a caller fills in, byte by byte, and every number that a caller passes: sizes, tokens, results, timeouts, levels,
 * kinds, names. For any bytes the call returns a documented status with a message, reads nothing past the claimed size (AddressSanitizer
 * sees that, because the blocks are exactly that large), and has no effect if it fails. Accepted values read back as they were given, and
 * the storage's destroy runs once. */
#include "definitions.h"

#include <sched.h>

/* An accepted configuration reads back as it was given, except for its size, its pointers, and the number of writers where the pipeline
 * chooses it. */
static void reads_back(pipeline_t *of, const pipeline_config_t *given)
{
    pipeline_config_t now, want = *given;
    memset(&now, 0, sizeof now);
    now.struct_size = sizeof now;
    MUST(pipeline_config_read(of, &now) == PIPELINE_OK);
    if (now.max_writers != 0) {
        MUST(now.writers >= now.min_writers && now.writers <= now.max_writers);
        want.writers = now.writers;
    }
    want.struct_size = sizeof want;
    want.name = want.writer_cpus = NULL;
    if (want.max_event_bytes == 0)
        now.max_event_bytes = 0;
    MUST(memcmp(&now, &want, sizeof now) == 0);
}

/* The rest of the input as a text, if it has a terminating zero. */
static const char *text_or(const char *other)
{
    return at != end && memchr(at, 0, (size_t)(end - at)) != NULL ? (const char *)at : other;
}

/* Makes valid demands for memory and threads smaller. Values that must be refused stay as they are. */
static void temper(pipeline_config_t *c)
{
    if (c->writers > 8 && c->writers <= PIPELINE_MAX_WRITERS)
        c->writers %= 9;
    if (c->min_writers > 8 && c->min_writers <= c->max_writers && c->max_writers <= PIPELINE_MAX_WRITERS)
        c->min_writers %= 9;
    if (c->max_rings > 64 && c->max_rings <= 65536)
        c->max_rings = 1 + c->max_rings % 64;
    if (c->max_retired_rings > 64 && c->max_retired_rings <= 4096)
        c->max_retired_rings %= 65;
    if (c->max_in_flight > 256 && c->max_in_flight <= 4096)
        c->max_in_flight = 1 + c->max_in_flight % 256;
    if (c->name != NULL)
        c->name = text_or("a name");
    if (c->writer_cpus != NULL)
        c->writer_cpus = text_or("0");
    if (c->ring_dir != NULL)
        c->ring_dir = "nowhere";
}

/* The smallest accepted size of a storage: without `finish`. */
#define STORAGE_FIRST offsetof(pipeline_storage_t, finish)

static void fuzz_start(void)
{
    pipeline_config_t c = config_defaults(), *config;
    pipeline_storage_t s, *storage;
    kept_t *kept = (kept_t *)calloc(1, sizeof *kept);
    uint32_t config_size, storage_size;
    unsigned functions = (unsigned)number(1), i;
    pipeline_t *started = NULL;
    bool taken;
    int32_t status;
    MUST(kept != NULL && pipeline_storage_init(&s, sizeof s) == PIPELINE_OK);
    storage = (pipeline_storage_t *)block_from(STORAGE_FIRST, &s, sizeof s, &storage_size);
    if (storage_size >= STORAGE_FIRST && storage_size <= 4096) {
        storage->user_data = kept;
        storage->store = functions & 1 ? NULL : store;
        storage->open_writer = functions & 2 ? open_writer : NULL;
        storage->close_writer = functions & 4 ? close_writer : NULL;
        storage->flush = functions & 8 ? flush : NULL;
        storage->dead_letter = functions & 16 ? dead_letter : NULL;
        storage->release = functions & 32 ? release : NULL;
        storage->destroy = destroy;
        if (storage_size >= sizeof s)
            storage->finish = functions & 8 ? finish : NULL;
    }
    taken = readable_from(STORAGE_FIRST, storage, sizeof s, storage_size);
    config = (pipeline_config_t *)block_of(&c, sizeof c, &config_size);
    if (config_size >= sizeof c && config_size <= 4096)
        temper(config);
    status = explained(pipeline_start(functions & 64 ? NULL : config, storage, &started));
    MUST((status == PIPELINE_OK) == (started != NULL));
    if (!taken)
        MUST(status == PIPELINE_ERR_VERSION && kept->destroyed == 0);
    else if (started == NULL)
        MUST(kept->destroyed == 1);
    if (started != NULL) {
        uint64_t captured = 0, deadline = now_ms() + PATIENCE_MS;
        pipeline_metrics_t m;
        if ((functions & 64) == 0) {
            MUST(readable(config, sizeof c, config_size));
            reads_back(started, config);
        }
        for (i = 0; i < 3; i++) {
            status = known(pipeline_capture(started, i, "1234567", i * 3));
            captured += status == PIPELINE_OK;
        }
        if (functions & 128) {
            status = explained(pipeline_close(started, (int64_t)number(8)));
            MUST(status == PIPELINE_OK || status == PIPELINE_ERR_TIMEOUT);
            if (status == PIPELINE_OK) {
                m = metrics_of(started);
                MUST(m.stored == captured && m.captured == captured && m.left + m.buffered + m.in_flight == 0);
                MUST(CHECK_LEDGER(started));
            }
        }
        while ((status = known(pipeline_destroy(started))) == PIPELINE_ERR_BUSY && now_ms() < deadline)
            sched_yield();
        MUST(status == PIPELINE_OK && kept->destroyed == 1);
        /* With RELEASE_MARKED nothing is released, because no event is marked. */
        if (kept->released != (functions & 32 && (storage->flags & PIPELINE_STORAGE_RELEASE_MARKED) == 0 ? captured : 0)) {
            fprintf(stderr, "released %d of %d, functions %x, storage.flags %u, writers %u, overflow %u, linger %d\n",
                    (int)kept->released, (int)captured, functions, storage->flags,
                    functions & 64 ? 1 : config->writers, functions & 64 ? 0 : config->overflow,
                    functions & 64 ? 0 : (int)config->linger_us);
            abort();
        }
    }
    free(config);
    free(storage);
    free(kept);
}

static void fuzz_update(void)
{
    pipeline_config_t before, after, *config;
    uint32_t size;
    int32_t status;
    memset(&before, 0, sizeof before);
    before.struct_size = sizeof before;
    MUST(pipeline_config_read(p, &before) == PIPELINE_OK);
    config = (pipeline_config_t *)block_of(&before, sizeof before, &size);
    if (size >= sizeof before && size <= 4096)
        temper(config);
    status = explained(pipeline_update(p, config));
    if (!readable(config, sizeof before, size))
        MUST(status == PIPELINE_ERR_VERSION);
    if (status == PIPELINE_OK) {
        reads_back(p, config);
        MUST(pipeline_update(p, &before) == PIPELINE_OK);
    }
    memset(&after, 0, sizeof after);
    after.struct_size = sizeof after;
    MUST(pipeline_config_read(p, &after) == PIPELINE_OK && memcmp(&before, &after, sizeof after) == 0);
    free(config);
}

static void fuzz_sqlite(void)
{
    static unsigned files;
    pipeline_sqlite_options_t o, *options;
    pipeline_storage_t s;
    unsigned char *out;
    char path[64], side[80];
    uint32_t size;
    size_t out_size = number(1) & 7 ? sizeof s : (size_t)number(2);
    int32_t status;
    bool fits = out_size >= sizeof s && out_size <= 4096;
    snprintf(path, sizeof path, "fuzz-%d-%u.db", (int)getpid(), files++);
    MUST(pipeline_sqlite_options_init(&o, sizeof o) == PIPELINE_OK);
    options = (pipeline_sqlite_options_t *)block_of(&o, sizeof o, &size);
    if (size >= sizeof o && size <= 4096) {
        if (options->cache_kib > 4096 && options->cache_kib <= 1048576)
            options->cache_kib = 4096;
        if (options->synchronous <= PIPELINE_SQLITE_SYNC_FULL)
            options->synchronous = PIPELINE_SQLITE_SYNC_OFF;
    }
    out = (unsigned char *)malloc(fits ? out_size : 1);
    status = explained(pipeline_storage_sqlite(path, options, out_size, (pipeline_storage_t *)(void *)out));
    if (!readable(options, sizeof o, size) || !fits)
        MUST(status == PIPELINE_ERR_VERSION || status == PIPELINE_ERR_INVALID);
    else
        MUST(status == PIPELINE_OK || status == PIPELINE_ERR_INVALID || status == PIPELINE_ERR_STORAGE);
    if (status == PIPELINE_OK) {
        memcpy(&s, out, sizeof s);
        s.destroy(s.user_data);
    }
    free(out);
    free(options);
    unlink(path);
    snprintf(side, sizeof side, "%s-wal", path);
    unlink(side);
    snprintf(side, sizeof side, "%s-shm", path);
    unlink(side);
}

/* The functions that fill a struct, with any claimed size. */
static void fuzz_outputs(void)
{
    static const size_t sizes[] = {sizeof(pipeline_config_t),  STORAGE_FIRST,
                                   sizeof(pipeline_sqlite_options_t), sizeof(pipeline_metrics_t),
                                   sizeof(pipeline_health_t),  sizeof(pipeline_config_t),
                                   sizeof(pipeline_writer_metrics_t)};
    unsigned which = (unsigned)number(1) % 7;
    uint64_t given = number(1) & 3 ? sizes[which] + number(2) % 4096 : number(8);
    uint32_t index = 0;
    bool fits;
    size_t i;
    unsigned char *out;
    int32_t status;
    if (which > 2)
        given = (uint32_t)given;
    fits = given >= sizes[which] && given <= 4096;
    out = (unsigned char *)malloc(fits ? (size_t)given : 4);
    MUST(out != NULL);
    memset(out, 0xA5, fits ? (size_t)given : 4);
    memcpy(out, &given, 4);
    switch (which) {
    case 0:
        status = pipeline_config_init((pipeline_config_t *)(void *)out, (size_t)given);
        break;
    case 1:
        status = pipeline_storage_init((pipeline_storage_t *)(void *)out, (size_t)given);
        break;
    case 2:
        status = pipeline_sqlite_options_init((pipeline_sqlite_options_t *)(void *)out, (size_t)given);
        break;
    case 3:
        status = pipeline_metrics(p, (pipeline_metrics_t *)(void *)out);
        break;
    case 4:
        status = pipeline_health(p, (pipeline_health_t *)(void *)out);
        break;
    case 5:
        status = pipeline_config_read(p, (pipeline_config_t *)(void *)out);
        break;
    default:
        index = (uint32_t)number(4);
        status = pipeline_writer_metrics(p, index, (pipeline_writer_metrics_t *)(void *)out);
    }
    explained(status);
    if (which == 6 && status == PIPELINE_ERR_NOT_FOUND)
        MUST(index > 0);
    else
        MUST(status == (fits ? PIPELINE_OK : PIPELINE_ERR_VERSION));
    if (status == PIPELINE_OK) {
        MUST(memcmp(out, &given, 4) == 0);
        for (i = sizes[which]; i < given; i++)
            MUST(out[i] == 0);
    }
    free(out);
}

static void hear(void *user_data, int32_t level, const char *message)
{
    MUST(user_data == &staying && level >= PIPELINE_LOG_ERROR && level <= PIPELINE_LOG_DEBUG && message[0] != 0);
}

/* A token that was never issued: issued ones count up from 1. */
static uint64_t wrong_token(void)
{
    uint64_t token = number(8);
    return token == 0 ? 0 : token | UINT64_C(1) << 63;
}

/* The call is refused and writes nothing, once no writer holds the lock. */
static void fuzz_exchange(void)
{
    static const pipeline_batch_t untouched;
    const pipeline_batch_t *next = &untouched, **out = number(1) & 7 ? &next : NULL;
    uint64_t token = wrong_token(), deadline = now_ms() + PATIENCE_MS;
    int32_t result = (int32_t)number(4), status;
    while ((status = explained(pipeline_batch_exchange(token, result, out))) == PIPELINE_ERR_BUSY && now_ms() < deadline)
        MUST(next == &untouched);
    MUST(status == (out == NULL ? PIPELINE_ERR_NULL : PIPELINE_ERR_UNKNOWN_TOKEN) && next == &untouched);
    while ((status = explained(pipeline_batch_try_complete(token, result))) == PIPELINE_ERR_BUSY && now_ms() < deadline)
        sched_yield();
    MUST(status == PIPELINE_ERR_UNKNOWN_TOKEN);
}

static void fuzz_numbers(void)
{
    int32_t status;
    switch (number(1) % 9) {
    case 0: {
        uint64_t token = wrong_token();
        MUST(explained(pipeline_batch_complete(token, (int32_t)number(4))) == PIPELINE_ERR_UNKNOWN_TOKEN);
        break;
    }
    case 1: {
        uint64_t token = wrong_token();
        MUST(explained(pipeline_batch_complete_at(token, (size_t)number(8), (int32_t)number(4))) ==
             PIPELINE_ERR_UNKNOWN_TOKEN);
        break;
    }
    case 2: {
        pipeline_batch_t batch;
        memset(&batch, 0, sizeof batch);
        batch.token = wrong_token();
        batch.count = (size_t)number(8);
        MUST(explained(pipeline_batch_set_stored(&batch, (size_t)number(8))) == PIPELINE_ERR_UNKNOWN_TOKEN);
        MUST(explained(pipeline_batch_set_rejected(&batch, (size_t)number(8))) == PIPELINE_ERR_UNKNOWN_TOKEN);
        break;
    }
    case 3: {
        uint32_t writers = (uint32_t)number(4);
        if (writers > 8 && writers <= PIPELINE_MAX_WRITERS)
            writers %= 9;
        status = explained(pipeline_scale(p, writers));
        MUST(status == (writers > PIPELINE_MAX_WRITERS ? PIPELINE_ERR_LIMIT : PIPELINE_OK));
        MUST(pipeline_scale(p, 1) == PIPELINE_OK);
        break;
    }
    case 4:
        status = explained(pipeline_flush(p, (int64_t)number(8)));
        MUST(status == PIPELINE_OK || status == PIPELINE_ERR_TIMEOUT);
        break;
    case 5: {
        uint32_t kind = (uint32_t)number(4);
        char name[512];
        size_t length = (size_t)number(2) % (sizeof name - 1), i;
        for (i = 0; i < length; i++)
            name[i] = (char)(number(1) | 1);
        name[length] = 0;
        status = explained(pipeline_kind_name(p, kind, name));
        if (kind >= PIPELINE_KIND_RESERVED || length > 255)
            MUST(status == PIPELINE_ERR_INVALID);
        else
            MUST(status == PIPELINE_OK || status == PIPELINE_ERR_FULL);
        break;
    }
    case 6: {
        int32_t level = (int32_t)number(4);
        status = explained(pipeline_log_callback(hear, &staying, level % 64));
        MUST((status == PIPELINE_OK) == (level % 64 >= PIPELINE_LOG_ERROR && level % 64 <= PIPELINE_LOG_DEBUG));
        MUST(pipeline_log_callback(NULL, NULL, 0) == PIPELINE_OK);
        break;
    }
    case 7:
        fuzz_exchange();
        break;
    default:
        MUST(pipeline_status_message((int32_t)number(4))[0] != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned calls = 0;
    bool sqlite = false;
    if (p == NULL)
        begin();
    at = data;
    end = data + size;
    while (at != end && calls++ < 16) {
        unsigned what = (unsigned)number(1) % 64;
        if (what < 16)
            fuzz_event();
        else if (what < 24)
            fuzz_many();
        else if (what < 34)
            fuzz_update();
        else if (what < 44)
            fuzz_outputs();
        else if (what < 54)
            fuzz_numbers();
        else if (what < 58)
            fuzz_definition();
        else if (what < 61)
            fuzz_start();
        else if (!sqlite) {
            sqlite = true; /* some milliseconds each */
            fuzz_sqlite();
        }
    }
    if (pipeline_flush(p, PATIENCE_MS) == PIPELINE_OK)
        MUST(CHECK_LEDGER(p));
    MUST(staying.destroyed == 0 && checks_failed == 0);
    return 0;
}
