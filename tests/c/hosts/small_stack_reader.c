/* A thread with the smallest stack that the system allows, and with a pthread_cancel pending, reads a journal, in both orders, raw and
 * compressed, and with damage.
 * Neither ends the process, and the cancellation is not lost. */
#include "../journal/journal.h"

#include <limits.h>

#define EVENTS 3000

static uint64_t given;

static void read_it(uint32_t flags)
{
    pipeline_reader_options_t o = reader_defaults();
    pipeline_reader_event_t events[4];
    const pipeline_reader_kinds_t *kinds;
    pipeline_reader_t *reader;
    size_t count;
    o.flags = flags;
    reader = open_reader(JOURNAL, &o);
    events[0].struct_size = sizeof *events;
    while (pipeline_reader_next_many(reader, 0, events, 4, &count) == PIPELINE_OK)
        given += count;
    CHECK_STATUS(pipeline_reader_definitions(reader, &kinds), PIPELINE_OK);
    CHECK(losses_of(reader).any == 1);
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
    CHECK_FAILS(pipeline_reader_open("nothing", NULL, &reader), PIPELINE_ERR_NOT_FOUND, "nothing");
}

static void *reads(void *cancelled)
{
    if (cancelled != NULL)
        CHECK(pthread_cancel(pthread_self()) == 0);
    read_it(0);
    read_it(PIPELINE_READER_TIME_ORDER);
    read_it(PIPELINE_READER_FOLLOW);
    if (cancelled != NULL) {
        pthread_testcancel();
        CHECK(!"the cancellation was lost");
    }
    return NULL;
}

int main(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    void *result = NULL;
    FILE *file;
    for (journal_encoding = 0; journal_encoding <= PIPELINE_JOURNAL_COLUMNS_ZSTD; journal_encoding++)
        write_journal(EVENTS);
    file = fopen(segment_path(), "ab");
    CHECK_OR_STOP(file != NULL && fputs("no block", file) >= 0 && fclose(file) == 0);
    CHECK_OR_STOP(pthread_attr_init(&attributes) == 0);
    CHECK_OR_STOP(pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN) == 0);
    CHECK_OR_STOP(pthread_create(&thread, &attributes, reads, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_U64(given, 12 * EVENTS);
    CHECK_OR_STOP(pthread_create(&thread, &attributes, reads, &given) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
    CHECK_U64(given, 24 * EVENTS);
    return SUMMARY();
}
