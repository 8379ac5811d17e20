/* Shared by the programs with a Perfetto storage: a pipeline into traces, and a reader of their packets, written from the format's description, which counts
 * how often each event is there. The events are of a kind without a definition; their payload, a number of 32 bits, is in the trace as a text. */
#ifndef CAPTURE_PIPELINE_PERFETTO_TEST_H
#define CAPTURE_PIPELINE_PERFETTO_TEST_H

#include "../check.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { TRACE_NUMBERS = 100000 };

typedef struct {
    unsigned files, torn; /* files that end within a packet */
    uint64_t bytes, events;
    unsigned lost, twice; /* numbers below `wanted` that are not there, or more than once */
    unsigned disorder, last; /* events with a number below that of the event before them in the file */
    unsigned nameless;    /* names that the packets of their sequence have not said before, and sequences that have not begun */
    unsigned char seen[TRACE_NUMBERS];
} traces_t;

/* The next field of a message: its number, and its integer or bytes. False: the message ends, or is cut. */
CHECK_UNUSED static bool trace_integer(const unsigned char **at, const unsigned char *end, uint64_t *value)
{
    unsigned shift;
    *value = 0;
    for (shift = 0; *at < end && shift < 64; shift += 7) {
        unsigned char byte = *(*at)++;
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return true;
    }
    return false;
}

CHECK_UNUSED static bool trace_field(const unsigned char **at, const unsigned char *end, unsigned *field, uint64_t *value, const unsigned char **bytes)
{
    uint64_t key;
    if (!trace_integer(at, end, &key))
        return false;
    *field = (unsigned)(key >> 3);
    *bytes = NULL;
    if ((key & 7) == 0)
        return trace_integer(at, end, value);
    if ((key & 7) == 1)
        *value = 8;
    else if ((key & 7) == 5)
        *value = 4;
    else if (!trace_integer(at, end, value))
        return false;
    *bytes = *at;
    if (*value > (uint64_t)(end - *at))
        return false;
    *at += *value;
    return true;
}

/* The names that sequences of the file have said. */
enum { TRACE_SEQUENCES = 64, TRACE_NAMES = 512 };
static unsigned char trace_named[TRACE_SEQUENCES][TRACE_NAMES];

/* Notes the number in a track event: the text of its only annotation without another meaning. */
CHECK_UNUSED static void trace_event(traces_t *traces, uint64_t sequence, const unsigned char *at, const unsigned char *end)
{
    unsigned field, inner;
    uint64_t value, inner_value;
    const unsigned char *bytes, *inner_bytes;
    bool instant = false;
    while (trace_field(&at, end, &field, &value, &bytes)) {
        if (field == 9)
            instant = value == 3;
        if (field == 10 && sequence < TRACE_SEQUENCES && value < TRACE_NAMES)
            traces->nameless += !trace_named[sequence][value];
        if (field != 4 || bytes == NULL || !instant)
            continue;
        const unsigned char *from = bytes, *to = bytes + value;
        while (trace_field(&from, to, &inner, &inner_value, &inner_bytes)) {
            if (inner == 1 && sequence < TRACE_SEQUENCES && inner_value < TRACE_NAMES)
                traces->nameless += !trace_named[sequence][inner_value];
            if (inner == 6 && inner_value == 8) {
                char text[9] = {0};
                unsigned char number[4];
                unsigned i, byte, n;
                memcpy(text, inner_bytes, 8);
                for (i = 0; i < 4; i++) {
                    CHECK_OR_STOP(sscanf(text + 2 * i, "%2x", &byte) == 1);
                    number[i] = (unsigned char)byte;
                }
                memcpy(&n, number, 4);
                traces->events++;
                CHECK_OR_STOP(n < TRACE_NUMBERS && traces->seen[n] < 255);
                traces->seen[n]++;
                traces->disorder += n < traces->last;
                traces->last = n;
            }
        }
    }
}

/* Notes the numbers of the names that a packet says. */
CHECK_UNUSED static void trace_names(uint64_t sequence, const unsigned char *at, const unsigned char *end)
{
    unsigned field, inner;
    uint64_t value, inner_value;
    const unsigned char *bytes, *inner_bytes;
    while (trace_field(&at, end, &field, &value, &bytes)) {
        const unsigned char *from = bytes, *to = bytes + value;
        while (bytes != NULL && trace_field(&from, to, &inner, &inner_value, &inner_bytes))
            if (inner == 1 && inner_value < TRACE_NAMES)
                trace_named[sequence][inner_value] = 1;
    }
}

CHECK_UNUSED static void read_trace(traces_t *traces, const char *path)
{
    struct stat st;
    unsigned char *all;
    const unsigned char *at, *end, *bytes, *inner_bytes;
    unsigned field, inner;
    uint64_t value, inner_value;
    int fd = open(path, O_RDONLY);
    CHECK_OR_STOP(fd >= 0 && fstat(fd, &st) == 0);
    all = (unsigned char *)malloc((size_t)st.st_size + 1);
    CHECK_OR_STOP(all != NULL && read(fd, all, (size_t)st.st_size + 1) == st.st_size);
    close(fd);
    traces->files++;
    traces->last = 0;
    memset(trace_named, 0, sizeof trace_named);
    traces->bytes += (uint64_t)st.st_size;
    at = all;
    end = all + st.st_size;
    while (at < end && trace_field(&at, end, &field, &value, &bytes)) {
        CHECK_U64(field, 1);
        const unsigned char *from = bytes, *to = bytes + value;
        uint64_t sequence = 0;
        while (from < to) {
            CHECK_OR_STOP(trace_field(&from, to, &inner, &inner_value, &inner_bytes));
            if (inner == 10)
                sequence = inner_value;
            if (inner == 13 && sequence < TRACE_SEQUENCES) {
                if (inner_value & 1)
                    memset(trace_named[sequence], 0, TRACE_NAMES), trace_named[sequence][0] = 1;
                else
                    traces->nameless += !trace_named[sequence][0];
            }
            if (inner == 12 && sequence < TRACE_SEQUENCES)
                trace_names(sequence, inner_bytes, inner_bytes + inner_value);
            if (inner == 11)
                trace_event(traces, sequence, inner_bytes, inner_bytes + inner_value);
        }
        bytes = NULL;
    }
    traces->torn += at < end || (st.st_size > 0 && bytes != NULL);
    free(all);
}

/* Reads all traces of a directory. Numbers below `wanted` must be there once. */
CHECK_UNUSED static traces_t *read_traces(const char *directory, unsigned wanted)
{
    static traces_t traces;
    char path[512];
    struct dirent *entry;
    unsigned i;
    DIR *dir = opendir(directory);
    memset(&traces, 0, sizeof traces);
    CHECK_OR_STOP(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof path, "%s/%.200s", directory, entry->d_name);
        if (strstr(entry->d_name, ".perfetto-trace"))
            read_trace(&traces, path);
        else
            CHECK(entry->d_name[0] == '.' || strcmp(entry->d_name, "lock") == 0);
    }
    closedir(dir);
    for (i = 0; i < wanted; i++) {
        traces.lost += traces.seen[i] == 0;
        traces.twice += traces.seen[i] > 1;
    }
    return &traces;
}

#define CHECK_TRACES(directory, wanted) \
    do { \
        const traces_t *read_ = read_traces(directory, wanted); \
        CHECK_U64(read_->lost, 0); \
        CHECK_U64(read_->twice, 0); \
        CHECK_U64(read_->events, wanted); \
        CHECK_U64(read_->nameless, 0); \
        CHECK_U64(read_->disorder, 0); \
    } while (0)

CHECK_UNUSED static pipeline_t *start_traces(const char *directory, const pipeline_perfetto_options_t *options)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    pipeline_t *p = NULL;
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = 60000000;
    c.retry_limit = 100000;
    c.retry_max_us = 20000;
    memset(&s, 0, sizeof s);
    CHECK_STATUS(pipeline_storage_perfetto(directory, options, sizeof s, &s), PIPELINE_OK);
    CHECK_OR_STOP(s.store != NULL);
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    return p;
}

/* Captures the next numbers, and has them stored. */
CHECK_UNUSED static unsigned trace_events(pipeline_t *p, unsigned from, unsigned many)
{
    unsigned i;
    for (i = from; i < from + many; i++)
        CHECK_STATUS(pipeline_capture(p, 1, &i, sizeof i), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    return from + many;
}

CHECK_UNUSED static pipeline_perfetto_options_t trace_options(void)
{
    pipeline_perfetto_options_t o;
    CHECK_STATUS(pipeline_perfetto_options_init(&o, sizeof o), PIPELINE_OK);
    return o;
}

#endif
