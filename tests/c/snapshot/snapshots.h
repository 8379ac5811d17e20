/* Shared by the tests of snapshots: events that prove themselves, and readers of what snapshots have written. */
#ifndef CAPTURE_PIPELINE_SNAPSHOTS_H
#define CAPTURE_PIPELINE_SNAPSHOTS_H

#include "../check.h"

#include <dirent.h>
#include <sys/stat.h>

enum { MOST_WORDS = 40 };

/* The payload of event n of a thread: who, n, and words that follow from both. Returns its length. */
CHECK_UNUSED static size_t payload_of(uint64_t who, uint64_t n, uint64_t *words)
{
    uint64_t mixed = (n + 1) * 0x9E3779B97F4A7C15u ^ who << 56;
    size_t i, count = 3 + mixed % (MOST_WORDS - 3);
    words[0] = who;
    words[1] = n;
    for (i = 2; i < count; i++)
        words[i] = mixed = mixed * 6364136223846793005u + 1442695040888963407u;
    return count * sizeof *words - mixed % 8;
}

/* Whether an event is the one that its payload says; sets who and n. */
CHECK_UNUSED static bool proves_itself(const pipeline_reader_event_t *e, uint64_t *who, uint64_t *n)
{
    uint64_t words[MOST_WORDS];
    if (e->len < 16)
        return false;
    memcpy(who, e->data, 8);
    memcpy(n, (const char *)e->data + 8, 8);
    return payload_of(*who, *n, words) == e->len && memcmp(words, e->data, e->len) == 0 && e->kind == *who + 1
        && e->correlation_id == *n + 7 && e->node_id == *who + 9 && e->weight == 1;
}

CHECK_UNUSED static pipeline_event_t proving_event(uint64_t who, uint64_t n, uint64_t *words)
{
    pipeline_event_t e = event_of((uint32_t)who + 1, words, payload_of(who, n, words));
    e.correlation_id = n + 7;
    e.node_id = who + 9;
    return e;
}

CHECK_UNUSED static pipeline_snapshot_options_t snapshot_defaults(void)
{
    pipeline_snapshot_options_t o;
    memset(&o, 0xA5, sizeof o);
    CHECK_STATUS(pipeline_snapshot_options_init(&o, sizeof o), PIPELINE_OK);
    return o;
}

/* A snapshot with these options (NULL: the defaults), which succeeds. */
CHECK_UNUSED static pipeline_snapshot_t snapshot(const pipeline_t *p, const char *dir, const pipeline_snapshot_options_t *options)
{
    pipeline_snapshot_t s;
    memset(&s, 0xA5, sizeof s);
    s.struct_size = sizeof s;
    CHECK_OR_STOP(CHECK_STATUS(pipeline_snapshot(p, dir, options, &s), PIPELINE_OK));
    CHECK_U64(s.reserved, 0);
    CHECK_U64(s.damaged_bytes, 0);
    return s;
}

/* Reads a directory, shows each event, and checks that nothing is missing or contradicts itself. Returns the number of events. */
CHECK_UNUSED static uint64_t each_event(const char *dir, void (*see)(void *with, const pipeline_reader_event_t *e), void *with)
{
    pipeline_reader_t *reader = NULL;
    pipeline_reader_event_t e = {.struct_size = sizeof e};
    pipeline_reader_losses_t losses = {.struct_size = sizeof losses};
    uint64_t events = 0;
    int32_t status;
    CHECK_OR_STOP(CHECK_STATUS(pipeline_reader_open(dir, NULL, &reader), PIPELINE_OK));
    while ((status = pipeline_reader_next(reader, 0, &e)) == PIPELINE_OK) {
        events++;
        if (see != NULL)
            see(with, &e);
    }
    CHECK_STATUS(status, PIPELINE_END);
    CHECK_STATUS(pipeline_reader_losses(reader, &losses), PIPELINE_OK);
    if (losses.any != 0)
        fprintf(stderr, "%s: %s\n", dir, losses.details);
    CHECK_U64(losses.any, 0);
    pipeline_reader_close(reader);
    return events;
}

/* Deletes a directory of segments. Returns how many there were. */
CHECK_UNUSED static unsigned remove_snapshots(const char *dir)
{
    char path[1024];
    struct dirent *entry;
    unsigned segments = 0;
    DIR *list = opendir(dir);
    while (list != NULL && (entry = readdir(list)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        segments += strstr(entry->d_name, ".journal") != NULL;
        unlink(path);
    }
    if (list != NULL)
        closedir(list);
    rmdir(dir);
    return segments;
}

/* The segments in a directory. */
CHECK_UNUSED static unsigned segments_in(const char *dir)
{
    struct dirent *entry;
    unsigned segments = 0;
    DIR *list = opendir(dir);
    while (list != NULL && (entry = readdir(list)) != NULL)
        segments += strstr(entry->d_name, ".journal") != NULL;
    if (list != NULL)
        closedir(list);
    return segments;
}

#endif
