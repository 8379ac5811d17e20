/* What a stream has: every event of every message, by the number that is its payload. */
#ifndef NATS_TESTS_STORED_H
#define NATS_TESTS_STORED_H

#include "server.h"
#include <capture_pipeline_nats.h>

typedef struct {
    uint32_t *seen;          /* how often the stream has the event with this number */
    uint64_t numbers;        /* there are none beyond */
    uint64_t events, messages, facts, unknown;
    uint64_t most_in_a_message, largest;
    char last_id[256];
} stored_t;

static void count_event(stored_t *stored, uint64_t number)
{
    stored->events++;
    if (number < stored->numbers)
        stored->seen[number]++;
    else
        stored->unknown++;
}

static uint64_t decode(stored_t *stored, const char *data, size_t length)
{
    static pipeline_message_reader_t *reader;
    pipeline_message_t message;
    pipeline_reader_event_t event;
    uint64_t number, count = 0;
    memset(&message, 0, sizeof message);
    message.struct_size = sizeof message;
    if (reader == NULL)
        CHECK_STATUS(pipeline_message_reader_open(0, &reader), PIPELINE_OK);
    CHECK_STATUS(pipeline_message_reader_take(reader, data, length, &message), PIPELINE_OK);
    memset(&event, 0, sizeof event);
    event.struct_size = sizeof event;
    while (pipeline_message_reader_next(reader, &event) == PIPELINE_OK) {
        memcpy(&number, event.data, sizeof number);
        count_event(stored, number);
        count++;
    }
    return count;
}

static void take_message(void *data, const wire_message_t *m)
{
    stored_t *stored = (stored_t *)data;
    char value[256];
    uint64_t count;
    CHECK(strcmp(wire_header(m, "Capture-Format", value, sizeof value), "1") == 0);
    if (*wire_header(m, "Capture-Facts", value, sizeof value)) {
        stored->facts++;
        CHECK(strstr(m->subject, ".facts.") != NULL);
        return;
    }
    stored->messages++;
    count = decode(stored, m->payload, m->payload_len);
    CHECK_U64(count, strtoull(wire_header(m, "Capture-Count", value, sizeof value), NULL, 10));
    wire_header(m, "Nats-Msg-Id", stored->last_id, sizeof stored->last_id);
    if (count > stored->most_in_a_message)
        stored->most_in_a_message = count;
    if (m->headers_len + m->payload_len > stored->largest)
        stored->largest = m->headers_len + m->payload_len;
}

/* Reads the stream CAPTURE. The events have the numbers 0 to numbers - 1. */
CHECK_UNUSED static stored_t stored_in(const server_t *server, const char *login, uint64_t numbers)
{
    stored_t stored;
    memset(&stored, 0, sizeof stored);
    stored.seen = (uint32_t *)calloc(numbers + 1, sizeof *stored.seen);
    stored.numbers = numbers;
    each_message(server->port, login, "CAPTURE", take_message, &stored);
    CHECK_U64(stored.unknown, 0);
    return stored;
}

/* How many numbers from `from` on, below `to`, the stream has `times` times. */
CHECK_UNUSED static uint64_t seen_times(const stored_t *stored, uint64_t from, uint64_t to, uint32_t times)
{
    uint64_t i, count = 0;
    for (i = from; i < to; i++)
        count += stored->seen[i] == times;
    return count;
}

CHECK_UNUSED static pipeline_nats_options_t nats_options(const server_t *server)
{
    pipeline_nats_options_t options;
    CHECK_STATUS(pipeline_nats_options_init(&options, sizeof options), PIPELINE_OK);
    options.servers = server->address;
    options.flags = PIPELINE_NATS_CREATE_STREAM;
    return options;
}

CHECK_UNUSED static pipeline_nats_status_t nats_status(const pipeline_storage_t *storage)
{
    pipeline_nats_status_t status;
    memset(&status, 0, sizeof status);
    status.struct_size = sizeof status;
    CHECK_STATUS(pipeline_nats_status(storage, &status), PIPELINE_OK);
    return status;
}

/* Captures the numbers from `from` on, below `to`, each as the beginning of a payload of `size` bytes. */
CHECK_UNUSED static void capture_range(pipeline_t *p, uint64_t from, uint64_t to, size_t size)
{
    char *payload = (char *)calloc(1, size);
    uint64_t i;
    for (i = from; i < to; i++) {
        memcpy(payload, &i, sizeof i);
        CHECK_STATUS(pipeline_capture(p, 7, payload, size), PIPELINE_OK);
    }
    free(payload);
}

/* A pipeline that drops nothing: captures wait. */
CHECK_UNUSED static pipeline_config_t patient_config(void)
{
    pipeline_config_t c = config_defaults();
    c.overflow = PIPELINE_OVERFLOW_BLOCK;
    c.block_timeout_us = 60000000;
    c.retry_limit = UINT32_MAX;
    c.retry_max_age_ms = 600000;
    c.retry_max_us = 50000;
    return c;
}

#endif
