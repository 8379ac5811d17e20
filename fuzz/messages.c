/* Fuzzes the reader of messages. An input becomes a message, whose magic numbers, offsets and checksums are mostly made right. Whatever the bytes are: a message is refused with
 * words, or all of its events can be read, as many as it says, twice the same; every status is documented. */
#include "blocks.h"

/* Takes a message and reads it. Returns a sum over the events; 0 if it is refused. */
static uint64_t read_message(pipeline_message_reader_t *reader, const uint8_t *bytes, size_t length, int32_t *status)
{
    pipeline_message_t message;
    pipeline_reader_event_t event;
    uint64_t sum = 1, count = 0;
    size_t i;
    message.struct_size = sizeof message;
    event.struct_size = sizeof event;
    *status = explained(pipeline_message_reader_take(reader, bytes, length, &message));
    if (*status != PIPELINE_OK) {
        MUST(*status == PIPELINE_ERR_INVALID || *status == PIPELINE_ERR_UNSUPPORTED || *status == PIPELINE_ERR_LIMIT);
        MUST(pipeline_message_reader_next(reader, &event) == PIPELINE_END);
        return 0;
    }
    MUST(message.length == length && message.schema == 0);
    while (pipeline_message_reader_next(reader, &event) == PIPELINE_OK) {
        MUST(event.generation == message.generation);
        if (count++ == 0)
            MUST(event.ring_id == message.ring_id && event.sequence == message.first_sequence);
        sum = sum * 31 + event.ring_id * 17 + event.sequence * 13 + event.timestamp_ns * 7 + event.kind + event.flags;
        for (i = 0; i < event.len; i++)
            sum = sum * 131 + ((const uint8_t *)event.data)[i];
    }
    MUST(count == (message.blocks == 0 ? 0 : message.count));
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[MOST_BYTES + 4096];
    static int ready;
    pipeline_message_reader_t *reader;
    const pipeline_reader_kinds_t *kinds;
    pipeline_reader_thread_t thread;
    pipeline_reader_attribute_t attribute;
    size_t messages, i;
    if (!ready) {
        crc_prepare();
        ready = 1;
    }
    at = data;
    end = data + size;
    MUST(pipeline_message_reader_open(16 << 20, &reader) == PIPELINE_OK);
    for (messages = 0; messages < 3; messages++) {
        uint8_t style = (uint8_t)number(1);
        size_t length;
        uint8_t *message;
        int32_t status, again;
        uint64_t sum;
        if ((style & 3) == 3) { /* arbitrary bytes */
            length = (size_t)(end - at) < MOST_BYTES ? (size_t)(end - at) : MOST_BYTES;
            memcpy(bytes, at, length);
            at = end;
        } else {
            length = make_blocks(bytes, 0, 7, 0, style);
            length -= (style & 16) != 0 && length > 0 ? number(1) % (length < 192 ? length : 192) : 0;
        }
        /* Exactly as long as it is. */
        message = (uint8_t *)malloc(length > 0 ? length : 1);
        MUST(message != NULL);
        memcpy(message, bytes, length);
        sum = read_message(reader, message, length, &status);
        MUST(read_message(reader, message, length, &again) == sum && again == status);
        MUST(pipeline_message_reader_definitions(reader, &kinds) == PIPELINE_OK);
        for (i = 0; i < kinds->count; i++) {
            const pipeline_reader_kind_t *kind = PIPELINE_READER_KIND(kinds, i);
            MUST(kind->name == NULL || strlen(kind->name) < MOST_BYTES);
            MUST(kind->definition == NULL || kind->definition->field_count <= 64);
        }
        thread.struct_size = sizeof thread;
        if (known(pipeline_message_reader_thread(reader, 7, number(1), &thread)) == PIPELINE_OK)
            MUST(strlen(thread.name) < MOST_BYTES);
        attribute.struct_size = sizeof attribute;
        for (i = 0; known(pipeline_message_reader_attribute(reader, 7, i, &attribute)) == PIPELINE_OK; i++)
            MUST(strlen(attribute.name) > 0 && strlen(attribute.value) < MOST_BYTES);
        free(message);
    }
    MUST(pipeline_message_reader_close(reader) == PIPELINE_OK);
    return 0;
}
