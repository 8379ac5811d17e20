/* Definitions of kinds, right and wrong in any part, for the random calls and the fuzzer: every block has exactly the size that its counts claim,
 * so that AddressSanitizer sees a read beyond it. */
#ifndef CAPTURE_PIPELINE_RANDOM_DEFINITIONS_H
#define CAPTURE_PIPELINE_RANDOM_DEFINITIONS_H

#include <capture_pipeline.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Draws a number below a limit. A fuzzer's input that has come to its end draws 0, which is never what makes a definition wrong. */
typedef uint32_t (*draw_t)(void *from, uint32_t limit);

static char *drawn_text(draw_t draw, void *from, const char *usual, uint32_t number)
{
    char text[96];
    size_t length;
    char *copy;
    if (draw(from, 24) == 1)
        return NULL;
    snprintf(text, sizeof text, "%s%u", usual, (unsigned)number);
    length = strlen(text);
    switch (draw(from, 24)) {
    case 1:
        length = draw(from, (uint32_t)length + 1);
        break;
    case 2:
        text[draw(from, (uint32_t)length)] = (char)(1 + draw(from, 255));
        break;
    case 3:
        memset(text, 'n', sizeof text);
        length = 60 + draw(from, 8);
        break;
    default:
        break;
    }
    copy = (char *)malloc(length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

/* Now and then any number, else the right one. */
static uint32_t drawn_number(draw_t draw, void *from, uint32_t right)
{
    switch (draw(from, 32)) {
    case 1:
        return draw(from, UINT32_MAX);
    case 2:
        return draw(from, 80);
    case 3:
        return UINT32_MAX - draw(from, 3);
    default:
        return right;
    }
}

typedef struct {
    pipeline_kind_definition_t d;
    unsigned char *fields;
    uint32_t count, stride; /* of the fields that there are */
} drawn_t;

static pipeline_field_t drawn_field(const drawn_t *drawn, uint32_t index)
{
    pipeline_field_t field;
    memcpy(&field, drawn->fields + (size_t)index * drawn->stride, sizeof field);
    return field;
}

static void draw_values(draw_t draw, void *from, pipeline_field_t *field)
{
    uint32_t i, count = 1 + draw(from, 4);
    pipeline_enum_value_t *values;
    field->integer = drawn_number(draw, from, PIPELINE_TYPE_U8 + draw(from, 8));
    field->value_count = drawn_number(draw, from, count);
    /* More than a definition can hold are refused before any is read. */
    count = field->value_count <= 1638 ? field->value_count : 0;
    values = (pipeline_enum_value_t *)calloc(count ? count : 1, sizeof *values);
    for (i = 0; i < count && values != NULL; i++) {
        values[i].value = (int64_t)(int32_t)drawn_number(draw, from, i);
        values[i].name = drawn_text(draw, from, "value", i);
    }
    field->values = values;
}

/* A definition that is right, but for what the draws make wrong. */
static drawn_t draw_definition(draw_t draw, void *from)
{
    drawn_t drawn;
    uint32_t i, offset = 0, extra = draw(from, 8) == 1 ? 8 * draw(from, 4) : 0;
    pipeline_kind_definition_init(&drawn.d, sizeof drawn.d);
    drawn.d.kind = drawn_number(draw, from, draw(from, 40));
    drawn.d.name = drawn_text(draw, from, "kind", drawn.d.kind);
    drawn.d.category = draw(from, 2) ? drawn_text(draw, from, "category", 1) : NULL;
    drawn.d.role = drawn_number(draw, from, PIPELINE_ROLE_INSTANT);
    if (draw(from, 4) == 1)
        drawn.d.role = draw(from, 7);
    if (drawn.d.role == PIPELINE_ROLE_BEGIN || drawn.d.role == PIPELINE_ROLE_END)
        drawn.d.pairs_with = drawn_number(draw, from, drawn.d.kind ^ 1);
    drawn.d.reserved = draw(from, 64) == 1;
    drawn.count = draw(from, 16) == 1 ? draw(from, 70) : draw(from, 6);
    drawn.stride = (uint32_t)sizeof(pipeline_field_t) + extra;
    drawn.fields = (unsigned char *)calloc(drawn.count ? drawn.count : 1, drawn.stride);
    if (drawn.fields == NULL)
        drawn.count = 0;
    for (i = 0; i < drawn.count; i++) {
        static const uint32_t sizes[] = {0, 1, 2, 4, 8, 1, 2, 4, 8, 4, 8, 1, 8, 5, 6, 0};
        pipeline_field_t field;
        memset(&field, 0, sizeof field);
        field.name = drawn_text(draw, from, "field", i);
        field.type = drawn_number(draw, from, 1 + draw(from, 15));
        field.offset = drawn_number(draw, from, offset);
        field.length = field.type < 16 ? drawn_number(draw, from, sizes[field.type]) : 0;
        if (field.type >= PIPELINE_TYPE_STRING && i + 1 == drawn.count && draw(from, 2))
            field.length = PIPELINE_LENGTH_REST;
        field.unit = draw(from, 4) ? NULL : drawn_text(draw, from, "unit", i);
        field.hint = draw(from, 16) == 1 ? draw(from, 5) : PIPELINE_HINT_NONE;
        if (field.type == PIPELINE_TYPE_ENUM)
            draw_values(draw, from, &field);
        offset += 8;
        memcpy(drawn.fields + (size_t)i * drawn.stride, &field, sizeof field);
        if (extra != 0 && draw(from, 16) == 1)
            drawn.fields[(size_t)(i + 1) * drawn.stride - 1] = 1;
    }
    drawn.d.fields = draw(from, 32) != 1 || drawn.count == 0 ? (const pipeline_field_t *)(void *)drawn.fields : NULL;
    drawn.d.field_size = draw(from, 32) != 1 ? drawn.stride : draw(from, sizeof(pipeline_field_t));
    /* The first 65 fields are all that is read, however many are claimed. */
    drawn.d.field_count = drawn.count > 64 && draw(from, 2) ? UINT32_MAX : drawn.count;
    drawn.d.payload_size = draw(from, 4) == 1 ? drawn_number(draw, from, offset) : 0;
    if (drawn.count > 0 && draw(from, 3) == 1)
        drawn.d.key_field = drawn_text(draw, from, "field", draw(from, drawn.count));
    if (drawn.count > 0 && drawn.d.role == PIPELINE_ROLE_COMPLETE)
        drawn.d.duration_field = drawn_text(draw, from, "field", draw(from, drawn.count));
    return drawn;
}

static void free_definition(drawn_t *drawn)
{
    uint32_t i, v;
    for (i = 0; i < drawn->count; i++) {
        pipeline_field_t field = drawn_field(drawn, i);
        free((void *)(uintptr_t)field.name);
        free((void *)(uintptr_t)field.unit);
        for (v = 0; field.values != NULL && v < field.value_count && field.value_count <= 1638; v++)
            free((void *)(uintptr_t)field.values[v].name);
        free((void *)(uintptr_t)field.values);
    }
    free(drawn->fields);
    free((void *)(uintptr_t)drawn->d.name);
    free((void *)(uintptr_t)drawn->d.category);
    free((void *)(uintptr_t)drawn->d.key_field);
    free((void *)(uintptr_t)drawn->d.duration_field);
}

/* Whether a name is one. */
static bool is_name(const char *name)
{
    size_t i, length = name == NULL ? 0 : strlen(name);
    for (i = 0; i < length; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '_')))
            return false;
    }
    return length >= 1 && length <= 63;
}

/* What a definition that was accepted must be, whatever else is checked. */
static bool may_be_accepted(const drawn_t *drawn)
{
    uint32_t i, j;
    const pipeline_kind_definition_t *d = &drawn->d;
    if (d->kind >= PIPELINE_KIND_RESERVED || !is_name(d->name) || d->role > PIPELINE_ROLE_LOG || d->reserved != 0 ||
        drawn->count > 64)
        return false;
    for (i = 0; i < drawn->count; i++) {
        pipeline_field_t a = drawn_field(drawn, i);
        uint64_t end = (uint64_t)a.offset + a.length;
        if (!is_name(a.name) || a.type < PIPELINE_TYPE_U8 || a.type > PIPELINE_TYPE_ENUM || a.hint > 3)
            return false;
        if (a.length == PIPELINE_LENGTH_REST && i + 1 != drawn->count)
            return false;
        if (a.length != PIPELINE_LENGTH_REST && d->payload_size != 0 && end > d->payload_size)
            return false;
        for (j = 0; j < i; j++) {
            pipeline_field_t b = drawn_field(drawn, j);
            if (a.offset == b.offset || strcmp(a.name, b.name) == 0)
                return false;
        }
    }
    return true;
}

#endif
