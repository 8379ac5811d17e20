/* A reader gives every event of a journal once, with what it was captured with; one by one and several at once; in both orders; as a filter
 * says. It knows names, definitions and threads. */
#include "journal.h"

#define EVENTS 2000

static void every_event(const pipeline_reader_options_t *options)
{
    pipeline_reader_t *reader = open_reader(JOURNAL, options);
    pipeline_reader_event_t event, last;
    uint64_t n;
    memset(&last, 0, sizeof last);
    for (n = 0; n < EVENTS; n++) {
        memset(&event, 0xA5, sizeof event);
        event.struct_size = sizeof event;
        if (!CHECK_STATUS(pipeline_reader_next(reader, 0, &event), PIPELINE_OK))
            break;
        CHECK_U64(event.struct_size, sizeof event);
        CHECK_U64(number_of(&event), n);
        CHECK_U64(event.kind, n % 3);
        CHECK_U64(event.correlation_id, n / 10);
        CHECK(event.node_id == 0 && event.flags == 0 && event.reserved == 0 && event.weight == 1);
        CHECK(n == 0 || (event.sequence > last.sequence && event.timestamp_ns >= last.timestamp_ns));
        CHECK(n == 0 || (event.ring_id == last.ring_id && event.generation == last.generation));
        CHECK(event.realtime_ns > UINT64_C(1600000000) * 1000000000);
        last = event;
    }
    memset(&event, 0xA5, sizeof event);
    event.struct_size = sizeof event;
    CHECK_STATUS(pipeline_reader_next(reader, -1, &event), PIPELINE_END);
    CHECK_STATUS(pipeline_reader_next(reader, 0, &event), PIPELINE_END);
    CHECK_U64(event.ring_id, UINT64_C(0xA5A5A5A5A5A5A5A5));
    CHECK_U64(losses_of(reader).any, 0);
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
}

/* The struct of a caller that was built with a later header. */
typedef struct {
    pipeline_reader_event_t event;
    uint64_t later[3];
} later_event_t;

static void several_at_once(const pipeline_reader_options_t *options)
{
    pipeline_reader_t *reader = open_reader(JOURNAL, options);
    later_event_t events[50];
    uint64_t n = 0;
    size_t count, i;
    int32_t status;
    do {
        memset(events, 0xA5, sizeof events);
        events[0].event.struct_size = sizeof events[0];
        count = 12345;
        status = pipeline_reader_next_many(reader, 0, &events[0].event, 50, &count);
        if (status != PIPELINE_OK)
            break;
        CHECK(count >= 1 && count <= 50);
        /* All payloads are valid together. */
        for (i = 0; i < count && i < 50; i++) {
            CHECK_U64(number_of(&events[i].event), n + i);
            CHECK_U64(events[i].event.struct_size, sizeof events[0]);
            CHECK(events[i].later[0] == 0 && events[i].later[2] == 0);
        }
        n += count;
        for (; i < 50; i++)
            CHECK_U64(events[i].later[0], UINT64_C(0xA5A5A5A5A5A5A5A5));
    } while (1);
    CHECK_STATUS(status, PIPELINE_END);
    CHECK_U64(count, 12345);
    CHECK_U64(n, EVENTS);
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
}

static uint64_t count_of_events(const pipeline_reader_options_t *options)
{
    pipeline_reader_t *reader = open_reader(JOURNAL, options);
    pipeline_reader_event_t event;
    uint64_t count = 0;
    event.struct_size = sizeof event;
    while (pipeline_reader_next(reader, 0, &event) == PIPELINE_OK)
        count++;
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
    return count;
}

static void filters(void)
{
    static const uint32_t kinds[] = {2, 7, 0};
    pipeline_reader_options_t o = reader_defaults();
    pipeline_reader_event_t event;
    pipeline_reader_t *reader = open_reader(JOURNAL, NULL);
    event.struct_size = sizeof event;
    CHECK_STATUS(pipeline_reader_next(reader, 0, &event), PIPELINE_OK);
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
    o.kinds = kinds;
    o.kind_count = 3;
    CHECK_U64(count_of_events(&o), EVENTS - (EVENTS + 1) / 3);
    o.kind_count = 0;
    CHECK_U64(count_of_events(&o), 0);
    o = reader_defaults();
    o.correlation_id = 7;
    CHECK_U64(count_of_events(&o), 10);
    o = reader_defaults();
    o.generation = event.generation;
    CHECK_U64(count_of_events(&o), EVENTS);
    o.generation = event.generation + 1;
    CHECK_U64(count_of_events(&o), 0);
    o = reader_defaults();
    o.to_ns = event.timestamp_ns;
    CHECK_U64(count_of_events(&o), 0);
    o.to_ns = UINT64_MAX;
    o.from_realtime_ns = event.realtime_ns;
    CHECK_U64(count_of_events(&o), EVENTS);
}

static void kinds_and_threads(void)
{
    static const pipeline_enum_value_t results[] = {{0, "ok"}, {-5, "failed"}};
    static const pipeline_field_t fields[] = {
        {"size", PIPELINE_TYPE_U64, 0, 0, 8, "B", PIPELINE_HINT_BYTES, 0, NULL},
        {"result", PIPELINE_TYPE_ENUM, PIPELINE_TYPE_I32, 8, 4, NULL, 0, 2, results},
        {"text", PIPELINE_TYPE_STRING, 0, 12, PIPELINE_LENGTH_REST, NULL, 0, 0, NULL},
    };
    const pipeline_reader_kinds_t *list = NULL;
    pipeline_kind_definition_t definition;
    const pipeline_kind_definition_t *read;
    pipeline_reader_thread_t thread;
    pipeline_reader_event_t event;
    pipeline_reader_t *reader;
    pipeline_t *p = start_journal();
    CHECK_STATUS(pipeline_kind_definition_init(&definition, sizeof definition), PIPELINE_OK);
    definition.kind = 41;
    definition.name = "request";
    definition.category = "net";
    definition.role = PIPELINE_ROLE_COUNTER;
    definition.key_field = "text";
    PIPELINE_KIND_FIELDS(&definition, fields);
    CHECK_STATUS(pipeline_kind_define(p, &definition), PIPELINE_OK);
    CHECK_STATUS(pipeline_kind_name(p, 40, "named"), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p, 41, "012345678901text", 16), PIPELINE_OK);
    END(p);

    reader = open_reader(JOURNAL, NULL);
    CHECK_STATUS(pipeline_reader_definitions(reader, &list), PIPELINE_OK);
    CHECK_OR_STOP(list != NULL && list->count == 2);
    CHECK_U64(list->struct_size, sizeof *list);
    CHECK_U64(PIPELINE_READER_KIND(list, 0)->kind, 40);
    CHECK_HAS(PIPELINE_READER_KIND(list, 0)->name, "named");
    CHECK(PIPELINE_READER_KIND(list, 0)->definition == NULL);
    CHECK_HAS(PIPELINE_READER_KIND(list, 1)->name, "request");
    read = PIPELINE_READER_KIND(list, 1)->definition;
    CHECK_OR_STOP(read != NULL);
    CHECK(read->kind == 41 && read->role == PIPELINE_ROLE_COUNTER && read->pairs_with == PIPELINE_KIND_NONE);
    CHECK(strcmp(read->name, "request") == 0 && strcmp(read->category, "net") == 0);
    CHECK(strcmp(read->key_field, "text") == 0 && read->duration_field == NULL);
    CHECK_OR_STOP(read->field_count == 3 && read->field_size == sizeof(pipeline_field_t));
    CHECK(strcmp(read->fields[0].name, "size") == 0 && strcmp(read->fields[0].unit, "B") == 0);
    CHECK(read->fields[0].hint == PIPELINE_HINT_BYTES && read->fields[0].type == PIPELINE_TYPE_U64);
    CHECK(read->fields[1].integer == PIPELINE_TYPE_I32 && read->fields[1].value_count == 2);
    CHECK(read->fields[1].values[1].value == -5 && strcmp(read->fields[1].values[1].name, "failed") == 0);
    CHECK(read->fields[2].length == PIPELINE_LENGTH_REST && read->fields[2].unit == NULL);
    /* What was read can be defined again. */
    p = start_journal();
    CHECK_STATUS(pipeline_kind_define(p, read), PIPELINE_OK);
    END(p);

    event.struct_size = sizeof event;
    CHECK_STATUS(pipeline_reader_next(reader, 0, &event), PIPELINE_OK);
    memset(&thread, 0xA5, sizeof thread);
    thread.struct_size = sizeof thread;
    CHECK_STATUS(pipeline_reader_thread(reader, event.generation, event.ring_id, &thread), PIPELINE_OK);
    CHECK_U64(thread.thread_id, (uint64_t)getpid());
    CHECK(strcmp(thread.name, "reader_events") == 0);
    CHECK_FAILS(pipeline_reader_thread(reader, event.generation, 999999, &thread), PIPELINE_ERR_NOT_FOUND, "999999");
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
}

int main(void)
{
    pipeline_reader_options_t o = reader_defaults();
    /* (valgrind and emulators have names of their own.) */
    CHECK(pthread_setname_np(pthread_self(), "reader_events") == 0);
    write_journal(EVENTS);
    every_event(NULL);
    several_at_once(&o);
    o.flags = PIPELINE_READER_TIME_ORDER;
    every_event(&o);
    several_at_once(&o);
    filters();
    remove_journal();
    kinds_and_threads();
    return SUMMARY();
}
