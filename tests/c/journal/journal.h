/* Journals for the tests: written by the library into the directory `journal` of the program's own, and changed byte by byte. */
#ifndef CAPTURE_PIPELINE_TEST_JOURNAL_H
#define CAPTURE_PIPELINE_TEST_JOURNAL_H

#include "../check.h"

#include <dirent.h>
#include <sys/stat.h>

#define JOURNAL "journal"

/* How start_journal stores events: PIPELINE_JOURNAL_RAW or ..._COLUMNS... */
static uint32_t journal_encoding;

/* A pipeline that writes into the journal. */
CHECK_UNUSED static pipeline_t *start_journal(void)
{
    pipeline_journal_options_t o;
    pipeline_storage_t storage;
    pipeline_t *p = NULL;
    CHECK_OR_STOP(pipeline_journal_options_init(&o, sizeof o) == PIPELINE_OK);
    o.encoding = journal_encoding;
    CHECK_OR_STOP(pipeline_storage_journal(JOURNAL, &o, sizeof storage, &storage) == PIPELINE_OK);
    CHECK_OR_STOP(pipeline_start(NULL, &storage, &p) == PIPELINE_OK);
    return p;
}

/* A journal with `count` events of kinds 0 to 2, whose payloads are their numbers, from one run. */
CHECK_UNUSED static void write_journal(uint64_t count)
{
    pipeline_t *p = start_journal();
    uint64_t n;
    for (n = 0; n < count; n++) {
        pipeline_event_t e = event_of((uint32_t)(n % 3), &n, sizeof n);
        e.correlation_id = n / 10;
        CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK);
    }
    END(p);
}

/* Deletes the journal. */
CHECK_UNUSED static void remove_journal(void)
{
    char path[512];
    struct dirent *entry;
    DIR *dir = opendir(JOURNAL);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof path, JOURNAL "/%s", entry->d_name);
        unlink(path);
    }
    if (dir != NULL)
        closedir(dir);
    rmdir(JOURNAL);
}

/* The path of the journal's only segment. */
CHECK_UNUSED static const char *segment_path(void)
{
    static char path[512];
    struct dirent *entry;
    DIR *dir = opendir(JOURNAL);
    path[0] = '\0';
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (strstr(entry->d_name, ".journal") != NULL)
            snprintf(path, sizeof path, JOURNAL "/%s", entry->d_name);
    if (dir != NULL)
        closedir(dir);
    CHECK_OR_STOP(path[0] != '\0');
    return path;
}

CHECK_UNUSED static pipeline_reader_options_t reader_defaults(void)
{
    pipeline_reader_options_t o;
    memset(&o, 0xA5, sizeof o);
    CHECK_STATUS(pipeline_reader_options_init(&o, sizeof o), PIPELINE_OK);
    return o;
}

CHECK_UNUSED static pipeline_reader_t *open_reader(const char *path, const pipeline_reader_options_t *options)
{
    pipeline_reader_t *reader = NULL;
    CHECK_STATUS(pipeline_reader_open(path, options, &reader), PIPELINE_OK);
    CHECK_OR_STOP(reader != NULL);
    return reader;
}

CHECK_UNUSED static pipeline_reader_losses_t losses_of(pipeline_reader_t *reader)
{
    pipeline_reader_losses_t losses;
    memset(&losses, 0xA5, sizeof losses);
    losses.struct_size = sizeof losses;
    CHECK_STATUS(pipeline_reader_losses(reader, &losses), PIPELINE_OK);
    CHECK(losses.details != NULL && (losses.any != 0) == (*losses.details != '\0'));
    return losses;
}

/* The number in a payload of write_journal. */
CHECK_UNUSED static uint64_t number_of(const pipeline_reader_event_t *event)
{
    uint64_t n = UINT64_MAX;
    CHECK_U64(event->len, sizeof n);
    if (event->len == sizeof n)
        memcpy(&n, event->data, sizeof n);
    return n;
}

#endif
