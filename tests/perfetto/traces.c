/* Writes traces by the Perfetto storage, and for some of them a journal of the same events, for check.py to compare. Run in an empty directory; prints
 * what check.py cannot know, a line of JSON.
 *
 *     direct, direct.journal   four threads: all roles, nested, in pairs with keys, complete ones of any length, kinds without a definition
 *     crossed, crossed.journal ends that cross others, that have no begin, begins that have no end
 *     rotated                  many files, slices that are open in all of them
 *     lossy                    a ring that was full
 *     many_threads             more threads than rings are remembered
 */
#define _GNU_SOURCE
#include <capture_pipeline.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

enum { CALL = 1, RETURN, JOB, LOAD, STEP, NOTE, ASK, ANSWER, MARK, LOCK, UNLOCK, PLAIN = 77 };

#define REQUIRE(good) \
    do \
        if (!(good)) { \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #good, pipeline_last_error()); \
            exit(1); \
        } \
    while (0)

struct call { uint32_t depth; double share; const void *at; char label[8]; };
struct job { uint64_t took; char what[16]; };
struct load { uint64_t used; int32_t rest; uint8_t core; };
struct step { uint32_t task; };
struct ask { uint64_t id; uint8_t how; };
struct note { uint8_t level; char text[64]; };

static const pipeline_enum_value_t ways[] = { { 0, "soon" }, { 1, "late" } };
static const pipeline_field_t call_fields[] = { PIPELINE_FIELD(struct call, depth, PIPELINE_TYPE_U32), PIPELINE_FIELD(struct call, share, PIPELINE_TYPE_F64),
                                                PIPELINE_FIELD(struct call, at, PIPELINE_TYPE_ADDRESS), PIPELINE_FIELD(struct call, label, PIPELINE_TYPE_STRING) };
static const pipeline_field_t job_fields[] = { PIPELINE_FIELD_SHOWN(struct job, took, PIPELINE_TYPE_U64, PIPELINE_HINT_NANOSECONDS, NULL),
                                               PIPELINE_FIELD(struct job, what, PIPELINE_TYPE_STRING) };
static const pipeline_field_t load_fields[] = { PIPELINE_FIELD_SHOWN(struct load, used, PIPELINE_TYPE_U64, PIPELINE_HINT_BYTES, NULL),
                                                PIPELINE_FIELD(struct load, rest, PIPELINE_TYPE_I32), PIPELINE_FIELD(struct load, core, PIPELINE_TYPE_U8) };
static const pipeline_field_t step_fields[] = { PIPELINE_FIELD(struct step, task, PIPELINE_TYPE_U32) };
static const pipeline_field_t ask_fields[] = { PIPELINE_FIELD(struct ask, id, PIPELINE_TYPE_U64), PIPELINE_FIELD_ENUM(struct ask, how, PIPELINE_TYPE_U8, ways) };
static const pipeline_field_t note_fields[] = { PIPELINE_FIELD(struct note, level, PIPELINE_TYPE_U8), PIPELINE_FIELD_REST(struct note, text, PIPELINE_TYPE_STRING) };

static void define(pipeline_t *p)
{
    static const struct {
        uint32_t kind;
        const char *name;
        uint32_t role, pairs_with;
        const char *key, *duration;
        const pipeline_field_t *fields;
        uint32_t count, size;
    } kinds[] = {
        { CALL, "call", PIPELINE_ROLE_BEGIN, RETURN, NULL, NULL, call_fields, 4, sizeof(struct call) },
        { RETURN, "call_end", PIPELINE_ROLE_END, CALL, NULL, NULL, NULL, 0, 0 },
        { JOB, "job", PIPELINE_ROLE_COMPLETE, 0, NULL, "took", job_fields, 2, sizeof(struct job) },
        { LOAD, "load", PIPELINE_ROLE_COUNTER, 0, "core", NULL, load_fields, 3, sizeof(struct load) },
        { STEP, "step", PIPELINE_ROLE_FLOW, 0, "task", NULL, step_fields, 1, sizeof(struct step) },
        { NOTE, "note", PIPELINE_ROLE_LOG, 0, NULL, NULL, note_fields, 2, 0 },
        { LOCK, "lock", PIPELINE_ROLE_BEGIN, UNLOCK, NULL, NULL, NULL, 0, 0 },
        { UNLOCK, "lock_end", PIPELINE_ROLE_END, LOCK, NULL, NULL, NULL, 0, 0 },
        { ASK, "ask", PIPELINE_ROLE_BEGIN, ANSWER, "id", NULL, ask_fields, 2, sizeof(struct ask) },
        { ANSWER, "ask_end", PIPELINE_ROLE_END, ASK, "id", NULL, ask_fields, 2, sizeof(struct ask) },
    };
    size_t i;
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        pipeline_kind_definition_t d;
        REQUIRE(pipeline_kind_definition_init(&d, sizeof d) == PIPELINE_OK);
        d.kind = kinds[i].kind, d.name = kinds[i].name, d.category = i % 2 ? NULL : "work";
        d.role = kinds[i].role, d.key_field = kinds[i].key, d.duration_field = kinds[i].duration;
        if (kinds[i].pairs_with)
            d.pairs_with = kinds[i].pairs_with;
        d.fields = kinds[i].fields, d.field_count = kinds[i].count, d.field_size = sizeof(pipeline_field_t), d.payload_size = kinds[i].size;
        REQUIRE(pipeline_kind_define(p, &d) == PIPELINE_OK);
    }
    REQUIRE(pipeline_kind_name(p, MARK, "mark\"\n2") == PIPELINE_OK);
}

/* Two pipelines that get the same events, or one. */
struct two { pipeline_t *p[2]; };

static void put(const struct two *to, uint32_t kind, uint64_t ns, const void *data, size_t len)
{
    int i;
    for (i = 0; i < 2 && to->p[i] != NULL; i++) {
        pipeline_event_t e;
        memset(&e, 0, sizeof e);
        e.struct_size = sizeof e, e.kind = kind, e.timestamp_ns = ns, e.flags = PIPELINE_EVENT_OWN_TIME, e.data = data, e.len = len;
        e.correlation_id = ns % 7 == 0 ? UINT64_MAX - ns : 0;
        REQUIRE(pipeline_capture_event(to->p[i], &e) == PIPELINE_OK);
    }
}

static pipeline_t *start(const char *directory, int journal, const pipeline_perfetto_options_t *options, pipeline_config_t *c)
{
    pipeline_storage_t s;
    pipeline_t *p = NULL;
    pipeline_config_t config;
    if (c == NULL) {
        c = &config;
        REQUIRE(pipeline_config_init(c, sizeof *c) == PIPELINE_OK);
        c->overflow = PIPELINE_OVERFLOW_BLOCK, c->block_timeout_us = 60000000, c->writers = 3;
    }
    c->name = "traces";
    REQUIRE((journal ? pipeline_storage_journal(directory, NULL, sizeof s, &s) : pipeline_storage_perfetto(directory, options, sizeof s, &s)) == PIPELINE_OK);
    REQUIRE(pipeline_start(c, &s, &p) == PIPELINE_OK);
    define(p);
    return p;
}

static struct two start_two(const char *name)
{
    char journal[64];
    struct two two;
    snprintf(journal, sizeof journal, "%s.journal", name);
    two.p[0] = start(name, 0, NULL, NULL);
    two.p[1] = start(journal, 1, NULL, NULL);
    return two;
}

static void end(pipeline_t *p)
{
    if (p != NULL) {
        REQUIRE(pipeline_close(p, 60000) == PIPELINE_OK);
        REQUIRE(pipeline_destroy(p) == PIPELINE_OK);
    }
}

static uint64_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

#define THREADS 4
#define ROUNDS 3000

struct worker { struct two two; unsigned number; };

/* All roles. Pairs without a key are closed in the reverse order, those with one in any. */
static void *work(void *argument)
{
    const struct worker *worker = argument;
    const struct two *two = &worker->two;
    uint64_t state = worker->number, ns = 1000000000u + worker->number, asked[64] = {0};
    unsigned depth = 0, i;
    char name[16];
    snprintf(name, sizeof name, "worker \"%u\"", worker->number);
    prctl(PR_SET_NAME, name);
    for (i = 0; i < ROUNDS; i++) {
        uint64_t r = next(&state);
        ns += 1 + r % 5000;
        switch (r % 9) {
        case 0: case 1:
            if (depth < 600) {
                struct call c = { depth++, (double)r / 1000, (const void *)(uintptr_t)(r << 20), "" };
                if (r % 2)
                    snprintf(c.label, sizeof c.label, "f%u", (unsigned)(r % 50)); /* otherwise it has the name of its kind */
                put(two, CALL, ns, &c, sizeof c);
                break;
            } /* fall through */
        case 2:
            if (depth > 0) {
                depth--;
                put(two, RETURN, ns, NULL, 0);
            }
            break;
        case 3: {
            struct job j = { next(&state) % 20000, "" };
            snprintf(j.what, sizeof j.what, "j%u", i);
            put(two, JOB, ns, &j, sizeof j);
            break;
        }
        case 4: {
            struct load l = { r, (int32_t)-(int64_t)(r % 1000), (uint8_t)(worker->number) };
            put(two, LOAD, ns, &l, sizeof l);
            break;
        }
        case 5: {
            struct step s = { (uint32_t)(i / 50) };
            put(two, STEP, ns, &s, sizeof s);
            break;
        }
        case 6: {
            struct note n = { (uint8_t)r, "" };
            int len = snprintf(n.text, sizeof n.text, "w\xc3\xb6rt %u \xff %s", i, i % 3 ? "" : "a longer text of a message");
            put(two, NOTE, ns, &n, 1 + (size_t)len);
            break;
        }
        case 7: {
            struct ask a = { (uint64_t)worker->number << 60 | r % 64, (uint8_t)(r % 3) };
            unsigned at = r % 64;
            put(two, asked[at] ? ANSWER : ASK, ns, &a, sizeof a);
            asked[at] = !asked[at];
            break;
        }
        default:
            put(two, r % 2 ? MARK : PLAIN, ns, &r, r % 9);
        }
    }
    while (depth-- > 0)
        put(two, RETURN, ++ns, NULL, 0);
    return NULL;
}

static void direct(void)
{
    pthread_t threads[THREADS];
    struct worker workers[THREADS];
    struct two two = start_two("direct");
    unsigned i;
    for (i = 0; i < THREADS; i++) {
        workers[i].two = two, workers[i].number = i + 1;
        REQUIRE(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    }
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    end(two.p[0]), end(two.p[1]);
}

static void crossed(void)
{
    struct two two = start_two("crossed");
    struct call c = { 1, 0.5, NULL, "crosses" };
    struct ask a = { 5, 0 };
    uint64_t ns = 5000;
    unsigned i;
    put(&two, RETURN, ns += 10, NULL, 0);   /* without a begin */
    put(&two, ANSWER, ns += 10, &a, sizeof a);
    for (i = 0; i < 5; i++) {
        put(&two, CALL, ns += 10, &c, sizeof c);
        put(&two, ASK, ns += 10, &a, sizeof a); /* the same key five times */
        a.how = (uint8_t)i;
    }
    for (i = 0; i < 3; i++)
        put(&two, RETURN, ns += 10, NULL, 0);
    for (i = 0; i < 3; i++)
        put(&two, ANSWER, ns += 10, &a, sizeof a);
    put(&two, LOCK, ns += 10, NULL, 0);
    put(&two, CALL, ns += 10, &c, sizeof c);
    put(&two, UNLOCK, ns += 10, NULL, 0); /* crosses the call */
    put(&two, MARK, ns += 10, NULL, 0); /* two calls and two questions stay open */
    end(two.p[0]), end(two.p[1]);
}

static void rotated(void)
{
    pipeline_perfetto_options_t o;
    struct two one = { { NULL, NULL } };
    struct call c = { 0, 0, NULL, "" };
    struct ask a = { 9, 1 };
    uint64_t ns = 1000;
    unsigned i, calls = 0;
    REQUIRE(pipeline_perfetto_options_init(&o, sizeof o) == PIPELINE_OK);
    o.file_bytes = 65536;
    one.p[0] = start("rotated", 0, &o, NULL);
    put(&one, CALL, ns, &c, sizeof c);
    put(&one, ASK, ++ns, &a, sizeof a);
    for (i = 0; i < 20000; i++) {
        c.depth = i;
        put(&one, CALL, ns += 5, &c, sizeof c), calls++;
        if (i % 100 == 99)
            REQUIRE(pipeline_flush(one.p[0], 60000) == PIPELINE_OK);
        put(&one, RETURN, ns += 5, NULL, 0);
    }
    put(&one, ANSWER, ns += 5, &a, sizeof a);
    put(&one, RETURN, ns += 5, NULL, 0);
    end(one.p[0]);
    printf("\"rotated_calls\": %u, \"rotated_last\": %llu, ", calls, (unsigned long long)ns);
}

static void lossy(void)
{
    pipeline_config_t c;
    struct two one = { { NULL, NULL } };
    struct call call = { 0, 0, NULL, "" };
    uint64_t ns = 1000;
    unsigned i, lost = 0, stored = 0;
    REQUIRE(pipeline_config_init(&c, sizeof c) == PIPELINE_OK);
    c.ring_bytes = 65536;
    one.p[0] = start("lossy", 0, NULL, &c);
    put(&one, CALL, ns, &call, sizeof call);
    REQUIRE(pipeline_flush(one.p[0], 60000) == PIPELINE_OK);
    REQUIRE(pipeline_pause(one.p[0]) == PIPELINE_OK);
    for (i = 0; i < 5000; i++)
        pipeline_capture(one.p[0], MARK, NULL, 0) == PIPELINE_OK ? stored++ : lost++;
    REQUIRE(pipeline_resume(one.p[0]) == PIPELINE_OK);
    REQUIRE(pipeline_flush(one.p[0], 60000) == PIPELINE_OK);
    REQUIRE(pipeline_capture(one.p[0], MARK, NULL, 0) == PIPELINE_OK);
    end(one.p[0]);
    REQUIRE(lost > 1000);
    printf("\"lossy_lost\": %u, \"lossy_stored\": %u, ", lost, stored + 1);
}

static void *one_call(void *argument)
{
    struct call c = { 7, 0, NULL, "" };
    static uint64_t ns = 10;
    put(argument, CALL, ns, &c, sizeof c);
    put(argument, RETURN, ns + 10, NULL, 0);
    ns += 20;
    return NULL;
}

static void many_threads(void)
{
    struct two one = { { NULL, NULL } };
    unsigned i;
    one.p[0] = start("many_threads", 0, NULL, NULL);
    for (i = 0; i < 5000; i++) {
        pthread_t thread;
        REQUIRE(pthread_create(&thread, NULL, one_call, &one) == 0);
        pthread_join(thread, NULL);
    }
    end(one.p[0]);
}

int main(void)
{
    printf("{");
    direct();
    crossed();
    rotated();
    lossy();
    many_threads();
    printf("\"rounds\": %d}\n", ROUNDS * THREADS);
    return 0;
}
