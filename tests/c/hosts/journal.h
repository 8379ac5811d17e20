/* Shared by the programs with a journal storage: a pipeline into a journal, and a reader of raw segments written from docs/format.md alone, which checks
 * every checksum. */
#ifndef CAPTURE_PIPELINE_JOURNAL_TEST_H
#define CAPTURE_PIPELINE_JOURNAL_TEST_H

#include "../check.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

typedef struct {
    uint64_t generation, ring, sequence, correlation_id, node_id;
    uint32_t kind, flags;
    size_t len;
    const unsigned char *data;
} journal_event_t;

/* What is in a journal beside the events that were given to `see`. */
typedef struct {
    unsigned segments, sealed;
    unsigned blocks, damaged; /* blocks whose header is right, and those of them whose body is not */
    uint64_t bytes, torn;     /* of all segments; behind the last block of each */
    uint64_t deleted_segments, deleted_events; /* that the run has deleted, as its last segments say */
} journal_state_t;

typedef void (*journal_see_t)(void *with, const journal_event_t *event);

CHECK_UNUSED static uint32_t journal_sum(uint32_t sum, const unsigned char *bytes, size_t len)
{
    static uint32_t table[256];
    size_t i;
    if (table[1] == 0)
        for (i = 0; i < 256; i++) {
            uint32_t value = (uint32_t)i;
            int bit;
            for (bit = 0; bit < 8; bit++)
                value = value & 1 ? value >> 1 ^ 0x82F63B78u : value >> 1;
            table[i] = value;
        }
    sum = ~sum;
    for (i = 0; i < len; i++)
        sum = table[(sum ^ bytes[i]) & 0xFF] ^ sum >> 8;
    return ~sum;
}

CHECK_UNUSED static uint32_t u32_at(const unsigned char *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}
CHECK_UNUSED static uint64_t u64_at(const unsigned char *at)
{
    return u32_at(at) | (uint64_t)u32_at(at + 4) << 32;
}

/* The records of a block of type 1 or 2. */
CHECK_UNUSED static void read_block(const unsigned char *header, const unsigned char *body, size_t len, journal_see_t see, void *with)
{
    size_t at = 0;
    while (at + 48 <= len) {
        const unsigned char *r = body + at;
        journal_event_t e;
        e.generation = u64_at(header + 8);
        e.ring = u64_at(header + 24);
        e.len = u32_at(r);
        e.flags = u32_at(r + 4);
        e.kind = u32_at(r + 8);
        e.sequence = u64_at(r + 16);
        e.correlation_id = u64_at(r + 32);
        e.node_id = u64_at(r + 40);
        e.data = r + 48;
        CHECK_OR_STOP(at + 48 + e.len <= len);
        see(with, &e);
        at += 48 + ((e.len + 7) & ~(size_t)7);
    }
}

/* A fact: segments that were deleted. The counts only rise. */
CHECK_UNUSED static void note_deleted(void *with, const journal_event_t *fact)
{
    journal_state_t *state = (journal_state_t *)with;
    if (fact->kind == 0xFFFF0005u && fact->node_id >= state->deleted_segments) {
        state->deleted_segments = fact->node_id;
        state->deleted_events = fact->correlation_id;
    }
}

CHECK_UNUSED static void read_segment(const unsigned char *bytes, size_t len, journal_state_t *state, journal_see_t see, void *with)
{
    size_t size, at;
    uint64_t generation;
    uint32_t salted;
    if (len < 192 || memcmp(bytes, "\x89" "CPJ\r\n\x1a\n", 8) != 0 || u32_at(bytes + 12) != 1)
        return;
    size = u32_at(bytes + 16);
    if (size > len || journal_sum(0, bytes, size - 4) != u32_at(bytes + size - 4))
        return;
    state->segments++;
    generation = u64_at(bytes + 24);
    salted = journal_sum(0, bytes + 40, 8);
    for (at = size; at + 128 <= len;) {
        const unsigned char *h = bytes + at;
        static const unsigned char none[4];
        size_t head = u32_at(h + 60), body;
        uint32_t sum;
        uint16_t type = (uint16_t)(h[4] | h[5] << 8);
        if (memcmp(h, "CPB1", 4) != 0 || head % 64 != 0 || head < 128 || at + head > len || u64_at(h + 8) != generation ||
            u64_at(h + 16) != at)
            break;
        sum = journal_sum(journal_sum(journal_sum(salted, h, 116), none, 4), h + 120, head - 120);
        body = u64_at(h + 64);
        if (sum != u32_at(h + 116) || at + head + body > len)
            break;
        state->blocks++;
        if (journal_sum(salted, h + head, body) != u32_at(h + 112))
            state->damaged++;
        else if (type == 1 && h[58] == 0 && h[59] == 0)
            read_block(h, h + head, body, see, with);
        else if (type == 2)
            read_block(h, h + head, body, note_deleted, state);
        state->sealed += type == 4;
        at = (at + head + body + 63) & ~(size_t)63;
    }
    state->torn += at < len ? len - at : 0;
}

/* Shows `see` all events of a journal, as often as they are there. */
CHECK_UNUSED static journal_state_t read_journal(const char *directory, journal_see_t see, void *with)
{
    journal_state_t state;
    struct dirent *entry;
    DIR *all = opendir(directory);
    memset(&state, 0, sizeof state);
    while (all != NULL && (entry = readdir(all)) != NULL) {
        char path[512];
        unsigned char *bytes;
        size_t len = 0;
        struct stat st;
        int fd;
        if (strstr(entry->d_name, ".journal") == NULL)
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) != 0)
            continue;
        bytes = (unsigned char *)malloc((size_t)st.st_size + 1);
        CHECK_OR_STOP(bytes != NULL);
        for (;;) {
            ssize_t got = pread(fd, bytes + len, (size_t)st.st_size - len, (off_t)len);
            if (got <= 0)
                break;
            len += (size_t)got;
        }
        close(fd);
        state.bytes += len;
        read_segment(bytes, len, &state, see, with);
        free(bytes);
    }
    if (all != NULL)
        closedir(all);
    return state;
}

/* Events that differ in their identity. */
typedef struct {
    journal_event_t *all;
    size_t count, room;
} journal_events_t;

CHECK_UNUSED static void collect_event(void *with, const journal_event_t *event)
{
    journal_events_t *e = (journal_events_t *)with;
    if (e->count == e->room) {
        e->room = e->room ? 2 * e->room : 1024;
        e->all = (journal_event_t *)realloc(e->all, e->room * sizeof *e->all);
        CHECK_OR_STOP(e->all != NULL);
    }
    e->all[e->count] = *event;
    e->all[e->count++].data = NULL;
}

CHECK_UNUSED static int compare_events(const void *a, const void *b)
{
    const journal_event_t *x = (const journal_event_t *)a, *y = (const journal_event_t *)b;
    if (x->generation != y->generation)
        return x->generation < y->generation ? -1 : 1;
    if (x->ring != y->ring)
        return x->ring < y->ring ? -1 : 1;
    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

/* How many events a journal has, each counted once. */
CHECK_UNUSED static uint64_t count_events(const char *directory, journal_state_t *state)
{
    journal_events_t e = {NULL, 0, 0};
    journal_state_t found = read_journal(directory, collect_event, &e);
    uint64_t different = 0;
    size_t i;
    if (e.count != 0)
        qsort(e.all, e.count, sizeof *e.all, compare_events);
    for (i = 0; i < e.count; i++)
        different += i == 0 || compare_events(&e.all[i - 1], &e.all[i]) != 0;
    free(e.all);
    if (state != NULL)
        *state = found;
    return different;
}

/* That many events, and no damage. */
CHECK_UNUSED static void check_events(const char *file, int line, const char *directory, uint64_t want)
{
    journal_state_t state;
    check_u64(file, line, "events in the journal", count_events(directory, &state), want);
    check_u64(file, line, "damaged blocks", state.damaged, 0);
    check_u64(file, line, "bytes that are no block", state.torn, 0);
}
#define CHECK_EVENTS(directory, want) check_events(__FILE__, __LINE__, (directory), (want))

/* Defaults, but for the live figures, so that their file meets what the others meet. */
CHECK_UNUSED static pipeline_journal_options_t journal_options(void)
{
    pipeline_journal_options_t o;
    memset(&o, 0xA5, sizeof o);
    CHECK_STATUS(pipeline_journal_options_init(&o, sizeof o), PIPELINE_OK);
    o.flags = PIPELINE_JOURNAL_LIVE_FIGURES;
    return o;
}

/* How many events the file of live figures in the directory has counted as captured; 0: there is none, or it is being written. (docs/format.md) */
CHECK_UNUSED static uint64_t live_captured(const char *directory)
{
    static unsigned char bytes[32768];
    uint64_t captured = 0, in_words;
    struct dirent *entry;
    DIR *all = opendir(directory);
    CHECK_OR_STOP(all != NULL);
    while ((entry = readdir(all)) != NULL) {
        char path[512];
        size_t at = 128, text;
        int fd;
        if (strstr(entry->d_name, ".figures") == NULL)
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (pread(fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes && u64_at(bytes + 64) % 2 == 0 && u64_at(bytes + 72) > 0) {
            /* The names of the pipeline and of the storage, the number of figures, reserved, offered, captured. */
            for (text = 0; text < 2; text++) {
                in_words = (u64_at(bytes + at) + 7) / 8;
                at += 8 + 8 * in_words;
            }
            captured = u64_at(bytes + at + 8 * 3);
        }
        close(fd);
    }
    closedir(all);
    return captured;
}

/* A pipeline that loses no event while its storage fails for some time. */
CHECK_UNUSED static pipeline_t *start_journal_with(const char *directory, const pipeline_journal_options_t *options)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    pipeline_t *p = NULL;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = 60000000;
    c.retry_limit = 100000;
    c.retry_max_us = 20000;
    memset(&s, 0, sizeof s);
    CHECK_STATUS(pipeline_storage_journal(directory, options, sizeof s, &s), PIPELINE_OK);
    CHECK_OR_STOP(s.store != NULL);
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    return p;
}

CHECK_UNUSED static pipeline_t *start_journal(const char *directory)
{
    pipeline_journal_options_t o = journal_options();
    return start_journal_with(directory, &o);
}

/* Captures that many events, and has them stored. */
CHECK_UNUSED static void journal_events(const char *file, int line, pipeline_t *p, unsigned many)
{
    uint64_t before = metrics_of(p).stored;
    unsigned i;
    for (i = 0; i < many; i++)
        check_status(file, line, "pipeline_capture", pipeline_capture(p, 1, &i, sizeof i), PIPELINE_OK);
    check_status(file, line, "pipeline_flush", pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    check_u64(file, line, "acknowledged", metrics_of(p).stored - before, many);
}
#define JOURNAL_EVENTS(p, many) journal_events(__FILE__, __LINE__, (p), (many))

#endif
