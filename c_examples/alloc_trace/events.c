/* The events of a trace.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "events.h"

#include "ledger.h"
#include "settings.h"

#include <stddef.h>
#include <string.h>

enum { MAX_TIMEOUTS = 3 }; /* blocked captures that may time out before the tracer switches to drop mode */

pipeline_t *_Atomic trace_pipeline;
static _Atomic uint32_t timeouts;

/* --- Definitions --------------------------------------------------------------------------------------------------- */

static const pipeline_field_t release_fields[] = {
    PIPELINE_FIELD(struct release_payload, thread, PIPELINE_TYPE_U32),
};
static const pipeline_field_t allocation_fields[] = {
    PIPELINE_FIELD_SHOWN(struct allocation_payload, size, PIPELINE_TYPE_U64, PIPELINE_HINT_BYTES, NULL),
    PIPELINE_FIELD(struct allocation_payload, thread, PIPELINE_TYPE_U32),
    PIPELINE_FIELD(struct allocation_payload, stack, PIPELINE_TYPE_U32),
};
static const pipeline_field_t resize_fields[] = {
    PIPELINE_FIELD_SHOWN(struct resize_payload, size, PIPELINE_TYPE_U64, PIPELINE_HINT_BYTES, NULL),
    PIPELINE_FIELD(struct resize_payload, thread, PIPELINE_TYPE_U32),
    PIPELINE_FIELD(struct resize_payload, stack, PIPELINE_TYPE_U32),
    PIPELINE_FIELD(struct resize_payload, old, PIPELINE_TYPE_ADDRESS),
    PIPELINE_FIELD_SHOWN(struct resize_payload, took_ns, PIPELINE_TYPE_U64, PIPELINE_HINT_NANOSECONDS, NULL),
};
static const pipeline_enum_value_t ends[] = {
    {UNWIND_OUTERMOST, "outermost"}, {UNWIND_DEPTH, "depth"}, {UNWIND_UNKNOWN, "unknown"}};
static const pipeline_field_t stack_fields[] = {
    PIPELINE_FIELD(struct stack_payload, number, PIPELINE_TYPE_U32),
    PIPELINE_FIELD(struct stack_payload, frames, PIPELINE_TYPE_U16),
    PIPELINE_FIELD_ENUM(struct stack_payload, ended, PIPELINE_TYPE_U16, ends),
    PIPELINE_FIELD_REST(struct stack_payload, addresses, PIPELINE_TYPE_BYTES),
};
static const pipeline_field_t image_fields[] = {
    PIPELINE_FIELD(struct image_payload, pid, PIPELINE_TYPE_U32),
    PIPELINE_FIELD(struct image_payload, parent, PIPELINE_TYPE_U32),
    PIPELINE_FIELD(struct image_payload, number, PIPELINE_TYPE_U32),
    PIPELINE_FIELD(struct image_payload, frames, PIPELINE_TYPE_U32),
    PIPELINE_FIELD(struct image_payload, started_realtime_ns, PIPELINE_TYPE_U64),
    PIPELINE_FIELD_REST(struct image_payload, name, PIPELINE_TYPE_STRING),
};

static int32_t define(pipeline_t *p, uint32_t kind, const char *name, const pipeline_field_t *fields, size_t count) {
    pipeline_kind_definition_t definition;
    int32_t status = pipeline_kind_definition_init(&definition, sizeof definition);
    if (status != PIPELINE_OK) return status;
    definition.kind = kind;
    definition.name = name;
    definition.category = "alloc_trace";
    definition.fields = fields;
    definition.field_size = sizeof *fields;
    definition.field_count = (uint32_t)count;
    if (fields == resize_fields) {
        definition.role = PIPELINE_ROLE_COMPLETE;
        definition.duration_field = "took_ns";
    }
    return pipeline_kind_define(p, &definition);
}

#define DEFINE(p, kind, name, fields) define(p, kind, name, fields, sizeof(fields) / sizeof *(fields))

int32_t events_define(pipeline_t *p) {
    int32_t status = DEFINE(p, KIND_IMAGE, "image", image_fields);
    if (status == PIPELINE_OK) status = DEFINE(p, KIND_STACK, "stack", stack_fields);
    for (unsigned call = 1; call < CALL_END && status == PIPELINE_OK; call++) {
        if (call_releases(call))
            status = DEFINE(p, call, call_name(call), release_fields);
        else if (call_resizes(call))
            status = DEFINE(p, call, call_name(call), resize_fields);
        else
            status = DEFINE(p, call, call_name(call), allocation_fields);
    }
    return status;
}

/* --- Captures ------------------------------------------------------------------------------------------------------ */

void events_after_fork(void) {
    atomic_store(&timeouts, 0);
}

/* A program that waits a second for each allocation makes no progress. After MAX_TIMEOUTS blocked captures have timed out, events are
 * dropped instead, and the ledger records it. */
void event_was_dropped(void) {
    if (settings.drop || atomic_fetch_add(&timeouts, 1) + 1 != MAX_TIMEOUTS) return;
    pipeline_t *p = atomic_load(&trace_pipeline);
    pipeline_config_t config = {.struct_size = sizeof config};
    if (pipeline_config_read(p, &config) != PIPELINE_OK) return;
    config.overflow = PIPELINE_OVERFLOW_DROP_NEWEST;
    if (pipeline_update(p, &config) == PIPELINE_OK) atomic_store(&ledger->gave_up, 1);
}

int32_t event_offer(const pipeline_event_t *offered) {
    int32_t status = this_thread.producer != NULL
                         ? pipeline_producer_capture_event(this_thread.producer, offered)
                         : pipeline_capture_event(atomic_load_explicit(&trace_pipeline, memory_order_relaxed), offered);
    if (status == PIPELINE_ERR_FULL) event_was_dropped();
    return status;
}

int32_t event_capture(const struct call_event *event) {
    EVENT_PAYLOAD(payload, event->call, event->size, event->tid, event->stack, event->old, event->took_ns);
    const pipeline_event_t offered = {
        .struct_size = sizeof offered,
        .kind = event->call,
        .timestamp_ns = event->timestamp_ns,
        .correlation_id = event->address,
        .node_id = event->site,
        .flags = event->timestamp_ns != 0 ? PIPELINE_EVENT_OWN_TIME : 0,
        .data = payload,
        .len = payload_length,
    };
    return event_offer(&offered);
}

int32_t event_capture_stack(uint32_t number, const struct stack *stack, uint64_t timestamp_ns) {
    struct stack_payload payload = {.number = number, .frames = (uint16_t)stack->count, .ended = (uint16_t)stack->end};
    for (uint32_t at = 0; at < stack->count; at++) payload.addresses[at] = stack->addresses[at];
    pipeline_event_t offered = {
        .struct_size = sizeof offered,
        .kind = KIND_STACK,
        .timestamp_ns = timestamp_ns,
        .flags = timestamp_ns != 0 ? PIPELINE_EVENT_OWN_TIME : 0,
        .data = &payload,
        .len = offsetof(struct stack_payload, addresses) + stack->count * sizeof *payload.addresses,
    };
    return event_offer(&offered);
}

int32_t event_capture_image(const struct image_payload *image) {
    pipeline_event_t offered = {
        .struct_size = sizeof offered,
        .kind = KIND_IMAGE,
        .data = image,
        .len = offsetof(struct image_payload, name) + strnlen(image->name, sizeof image->name),
    };
    return event_offer(&offered);
}
