/* A definition that is wrong in any way is refused, by a message that names the field, the limit and the value; nothing is told of it, and a right one is
 * accepted afterwards. The number of kinds is bounded. */
#include "../recorder.h"

static recorder_t *rec;
static pipeline_t *p;
static uint64_t told, names;

static int32_t count(recorder_t *r, const pipeline_batch_t *batch)
{
    size_t i;
    (void)r;
    for (i = 0; i < batch->count; i++) {
        uint32_t kind = PIPELINE_BATCH_EVENT(batch, i)->kind;
        told += kind == PIPELINE_KIND_DEFINITION;
        names += kind == PIPELINE_KIND_KIND_NAME;
    }
    return PIPELINE_STORE_OK;
}

/* The definition that every case changes in one place. */
static const pipeline_enum_value_t right_values[] = { { -1, "failed" }, { 0, "ok" }, { 127, "most" } };
static const pipeline_field_t right_fields[] = {
    { "size", PIPELINE_TYPE_U64, 0, 0, 8, "bytes", PIPELINE_HINT_BYTES, 0, NULL },
    { "code", PIPELINE_TYPE_ENUM, PIPELINE_TYPE_I8, 8, 0, NULL, PIPELINE_HINT_NONE, 3, right_values },
    { "load", PIPELINE_TYPE_F32, 0, 12, 4, "", PIPELINE_HINT_NONE, 0, NULL },
    { "host", PIPELINE_TYPE_STRING, 0, 16, 16, NULL, PIPELINE_HINT_NONE, 0, NULL },
    { "body", PIPELINE_TYPE_BYTES, 0, 32, PIPELINE_LENGTH_REST, NULL, PIPELINE_HINT_NONE, 0, NULL },
};
enum { FIELDS = 5 };
static pipeline_enum_value_t v[3];
static pipeline_field_t f[FIELDS];
static pipeline_kind_definition_t d;

static void right(void)
{
    memcpy(v, right_values, sizeof v);
    memcpy(f, right_fields, sizeof f);
    f[1].values = v;
    CHECK_STATUS(pipeline_kind_definition_init(&d, sizeof d), PIPELINE_OK);
    d.kind = 7;
    d.name = "request";
    PIPELINE_KIND_FIELDS(&d, f);
}

#define REFUSED(change, part)                                                                                          \
    do {                                                                                                               \
        right();                                                                                                       \
        change;                                                                                                        \
        CHECK_FAILS(pipeline_kind_define(p, &d), PIPELINE_ERR_INVALID, (part));                                        \
    } while (0)

static char long_name[65];

static void wrong_kinds(void)
{
    REFUSED(d.kind = PIPELINE_KIND_RESERVED, "kind 0xffff0000: kind: below 0xffff0000 allowed, 0xffff0000 given");
    REFUSED(d.kind = PIPELINE_KIND_NONE, "kind: below 0xffff0000 allowed, 0xffffffff given");
    REFUSED(d.name = "", "kind 7: name: it is empty");
    REFUSED(d.name = "a-b", "name: a letter, then letters, digits and underscores expected, \"a-b\" given");
    REFUSED(d.name = "x; DROP TABLE events", "name: a letter");
    REFUSED(d.name = "_x", "name: a letter");
    REFUSED(d.name = "9x", "name: a letter");
    REFUSED(d.name = long_name, "name: at most 63 bytes allowed, 64 given");
    REFUSED(d.name = "\xff\xfe", "name: UTF-8 expected");
    REFUSED(d.category = long_name, "category: at most 63 bytes allowed, 64 given");
    REFUSED(d.category = "a\tb", "category: no control characters allowed");
    REFUSED(d.category = "\xc3", "category: UTF-8 expected");
    REFUSED(d.reserved = 1, "reserved: 0 allowed, 1 given");
    REFUSED(d.role = 7, "role: 0 to 6 allowed, 7 given");
    REFUSED(d.role = PIPELINE_ROLE_BEGIN, "pairs_with: a kind of role begin names the other kind");
    REFUSED(d.pairs_with = 8, "pairs_with: only for the roles begin and end, 8 given with instant");
    REFUSED((d.role = PIPELINE_ROLE_END, d.pairs_with = 7), "pairs_with: 7 is the kind itself");
    REFUSED((d.role = PIPELINE_ROLE_END, d.pairs_with = PIPELINE_KIND_RESERVED), "pairs_with: below 0xffff0000 allowed");
    REFUSED(d.key_field = "missing", "key_field: there is no field \"missing\"");
    REFUSED(d.key_field = "Size", "key_field: there is no field \"Size\"");
    REFUSED(d.duration_field = "size", "duration_field: only for the role complete, given with instant");
    REFUSED(d.role = PIPELINE_ROLE_COMPLETE, "duration_field: a kind of role complete names it");
    REFUSED((d.role = PIPELINE_ROLE_COMPLETE, d.duration_field = "load"), "field load: duration_field: an integer of nanoseconds expected, f32 given");
    REFUSED((d.role = PIPELINE_ROLE_COUNTER, d.fields = f + 3, d.field_count = 2),
            "fields: a kind of role counter has a field with an integer or a float");
}

static void wrong_fields(void)
{
    REFUSED(f[1].name = "", "kind 7: field fields[1]: name: it is empty");
    REFUSED(f[1].name = "a b", "field fields[1]: name: a letter, then letters, digits and underscores expected, \"a b\" given");
    REFUSED(f[1].name = long_name, "field fields[1]: name: at most 63 bytes allowed, 64 given");
    REFUSED(f[1].name = "\xff", "field fields[1]: name: UTF-8 expected");
    REFUSED(f[3].name = "SIZE", "field SIZE: name: fields[0] and fields[3] have it; names differ by more than case");
    REFUSED(f[0].type = 0, "field size: type: 0 is unknown");
    REFUSED(f[0].type = 16, "field size: type: 16 is unknown");
    REFUSED(f[0].type = 256 + PIPELINE_TYPE_U64, "field size: type: 260 is unknown");
    REFUSED(f[0].hint = 4, "field size: hint: 0 to 3 allowed, 4 given");
    REFUSED(f[3].hint = PIPELINE_HINT_BYTES, "field host: hint: bytes is not for the type string");
    REFUSED(f[0].unit = "a unit of more than 31 characters", "field size: unit: at most 31 bytes allowed, 33 given");
    REFUSED(f[0].unit = "\n", "field size: unit: no control characters allowed");
    REFUSED(f[0].length = 7, "field size: length: 8 expected for the type u64, 7 given");
    REFUSED(f[0].length = PIPELINE_LENGTH_REST, "field size: length: the rest is for strings and bytes, u64 has 8");
    REFUSED(f[3].length = 0, "field host: length: at least 1 expected, 0 given");
    REFUSED(f[3].length = PIPELINE_LENGTH_REST, "field host: length: only the last field can have the rest of the payload");
    REFUSED((d.payload_size = 31), "field host: offset 16, length 16 is outside of the payload, which has 31 bytes");
    REFUSED((d.payload_size = 32, f[4].offset = 33), "field body: offset: at most 32 allowed (the payload's size), 33 given");
    REFUSED(f[3].offset = UINT32_MAX, "field host: offset 4294967295, length 16 is outside of the payload, which has 4294967295 bytes");
    REFUSED(f[3].length = UINT32_MAX - 1, "field host: offset 16, length 4294967294 is outside of the payload");
    REFUSED(f[2].offset = 8, "field load: overlaps with the field code: offset 8, length 1, offset 8, length 4");
    REFUSED((d.payload_size = 32, f[4].offset = 31), "field body: overlaps with the field host");
    REFUSED(f[0].integer = PIPELINE_TYPE_U8, "field size: integer: only for an enum, 1 given");
    REFUSED(f[0].value_count = 1, "field size: value_count: only for an enum, 1 given");
    REFUSED(f[1].integer = 0, "field code: integer: 1 to 8 allowed for an enum, 0 given");
    REFUSED(f[1].integer = PIPELINE_TYPE_F32, "field code: integer: 1 to 8 allowed for an enum, 9 given");
    REFUSED(f[1].integer = 256 + PIPELINE_TYPE_U8, "field code: integer: 1 to 8 allowed for an enum, 257 given");
    REFUSED(f[1].value_count = 0, "field code: values: an enum names at least one");
    REFUSED(f[1].value_count = UINT32_MAX, "field code: value_count: at most 1638 allowed, 4294967295 given");
    REFUSED(v[1].name = "", "field code: values[1]: name: it is empty");
    REFUSED(v[1].name = long_name, "field code: values[1]: name: at most 63 bytes allowed, 64 given");
    REFUSED(v[1].name = "failed", "field code: values: failed is the name of two, -1 and 0");
    REFUSED(v[1].value = -1, "field code: values: -1 has two names, failed and ok");
    REFUSED(v[2].value = 128, "field code: values[2]: -128 to 127 allowed (i8), 128 given");
    REFUSED(d.field_size = 0, "field_size: sizeof(pipeline_field_t) expected (48), 0 given");
    REFUSED(d.field_size = 40, "field_size: sizeof(pipeline_field_t) expected (48), 40 given");
    REFUSED(d.field_size = 4104, "field_size: sizeof(pipeline_field_t) expected (48), 4104 given");
    right();
    d.fields = NULL;
    CHECK_FAILS(pipeline_kind_define(p, &d), PIPELINE_ERR_NULL, "kind 7: fields is NULL");
    right();
    f[2].name = NULL;
    CHECK_FAILS(pipeline_kind_define(p, &d), PIPELINE_ERR_NULL, "kind 7: fields[2].name is NULL");
    right();
    f[1].values = NULL;
    CHECK_FAILS(pipeline_kind_define(p, &d), PIPELINE_ERR_NULL, "field code: values is NULL");
    right();
    v[2].name = NULL;
    CHECK_FAILS(pipeline_kind_define(p, &d), PIPELINE_ERR_NULL, "field code: values[2]: name is NULL");
}

/* 64 fields are allowed; the 65th is named, and no more of them are read. */
static void many_fields(void)
{
    static char names[65][8];
    static pipeline_field_t many[65];
    unsigned i;
    for (i = 0; i < 65; i++) {
        snprintf(names[i], sizeof names[i], "f%u", i);
        many[i].name = names[i];
        many[i].type = PIPELINE_TYPE_U16;
        many[i].offset = 2 * i;
    }
    right();
    PIPELINE_KIND_FIELDS(&d, many);
    CHECK_FAILS(pipeline_kind_define(p, &d), PIPELINE_ERR_INVALID, "kind 7: field f64: fields: at most 64 allowed, 65 given");
    d.field_count = UINT32_MAX;
    CHECK_FAILS(pipeline_kind_define(p, &d), PIPELINE_ERR_INVALID, "field f64: fields: at most 64 allowed, 4294967295 given");
    d.field_count = 64;
    d.kind = 6;
    d.name = "wide";
    CHECK_STATUS(pipeline_kind_define(p, &d), PIPELINE_OK);
}

/* A program that was built with a larger pipeline_field_t: what this library does not know must be zero. */
static void larger_fields(void)
{
    struct { pipeline_field_t known; uint64_t new_member; } larger[FIELDS];
    unsigned i;
    right();
    memset(larger, 0, sizeof larger);
    for (i = 0; i < FIELDS; i++)
        larger[i].known = f[i];
    d.fields = &larger[0].known;
    d.field_size = sizeof larger[0];
    larger[3].new_member = (uint64_t)1 << 56;
    CHECK_FAILS(pipeline_kind_define(p, &d), PIPELINE_ERR_INVALID, "fields[3]: byte 55 of 56 is not zero, and this library knows 48 bytes");
    larger[3].new_member = 0;
    CHECK_STATUS(pipeline_kind_define(p, &d), PIPELINE_OK);
    /* That is the same definition as with fields of the known size. */
    right();
    CHECK_STATUS(pipeline_kind_define(p, &d), PIPELINE_OK);
}

/* Texts that take more than a definition may have in all. */
static void large_definitions(void)
{
    static char names[1638][64];
    static pipeline_enum_value_t values[1638];
    pipeline_field_t field = { "e", PIPELINE_TYPE_ENUM, PIPELINE_TYPE_U64, 0, 0, NULL, 0, 0, NULL };
    unsigned i;
    for (i = 0; i < 1638; i++) {
        snprintf(names[i], sizeof names[i], "%063u", i);
        values[i].value = (int64_t)i;
        values[i].name = names[i];
    }
    field.values = values;
    right();
    d.kind = 8;
    d.name = "large";
    d.fields = &field;
    d.field_count = 1;
    field.value_count = 1638;
    CHECK_FAILS(pipeline_kind_define(p, &d), PIPELINE_ERR_INVALID, "kind 8: the names and values take 117986 bytes in all, 16384 allowed");
    field.value_count = 226;
    CHECK_STATUS(pipeline_kind_define(p, &d), PIPELINE_OK);
    for (i = 0; i < 226; i++) /* copied during the call */
        names[i][0] = 'x';
    CHECK_FAILS(pipeline_kind_define(p, &d), PIPELINE_ERR_FIXED, "e");
}

static void pairs(void)
{
    right();
    d.kind = 10;
    d.name = "begin";
    d.role = PIPELINE_ROLE_BEGIN;
    d.pairs_with = 11;
    d.key_field = "size";
    CHECK_STATUS(pipeline_kind_define(p, &d), PIPELINE_OK);
    d.kind = 11;
    d.name = "end";
    CHECK_FAILS(pipeline_kind_define(p, &d), PIPELINE_ERR_INVALID, "kind 11: pairs_with: 11 is the kind itself");
    d.pairs_with = 10;
    CHECK_FAILS(pipeline_kind_define(p, &d), PIPELINE_ERR_INVALID, "kind 11: pairs_with: kind 10 has the role begin, end expected");
    d.role = PIPELINE_ROLE_END;
    d.key_field = "load";
    CHECK_FAILS(pipeline_kind_define(p, &d), PIPELINE_ERR_INVALID, "kind 11: field load: key_field: u64 expected, the type of size in kind 10, f32 given");
    d.key_field = "size";
    CHECK_STATUS(pipeline_kind_define(p, &d), PIPELINE_OK);
}

static void too_many_kinds(void)
{
    uint32_t kind;
    char name[16];
    int32_t status = PIPELINE_OK;
    for (kind = 100; kind < 2000 && status == PIPELINE_OK; kind++) {
        right();
        snprintf(name, sizeof name, "k%u", kind);
        d.kind = kind;
        d.name = name;
        /* While definitions wait to be stored, there is no room for more. */
        do {
            status = pipeline_kind_define(p, &d);
            if (status == PIPELINE_ERR_FULL) {
                CHECK_HAS(pipeline_last_error(), "full");
                pause_a_little();
            }
        } while (status == PIPELINE_ERR_FULL);
    }
    CHECK_STATUS(status, PIPELINE_ERR_LIMIT);
    CHECK_HAS(pipeline_last_error(), "1024 kinds may be defined");
    CHECK_U64(kind - 1 - 100, 1024 - 5);
    right();
    CHECK_STATUS(pipeline_kind_define(p, &d), PIPELINE_OK); /* it is defined already */
}

int main(void)
{
    pipeline_storage_t s;
    rec = recorder_new();
    s = recorder_storage(rec);
    s.flags = PIPELINE_STORAGE_META;
    rec->answer = count;
    p = start_pipeline(NULL, &s);
    memset(long_name, 'n', 64);
    wrong_kinds();
    wrong_fields();
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(told + names, 0);
    many_fields();
    larger_fields();
    large_definitions();
    pairs();
    too_many_kinds();
    CHECK_U64(metrics_of(p).offered, 0);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(told, 1024);
    CHECK(names >= 1024); /* a name is told again if there was no room for its definition */
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    recorder_free(rec);
    return SUMMARY();
}
