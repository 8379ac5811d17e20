/* The definition of a kind: from a tuple of numbers and binaries, which elixir_scope_capture_pipeline_kind makes, to the structs of the C API. */
#include "control/control.h"
#include "maps/fields.h"
#include "pipeline/status.h"

#include <string.h>

/* The limits of the C API, and a little more: what exceeds them is refused there, by name. */
#define MAX_TEXT 255
#define MAX_FIELDS 65
#define MAX_VALUES 1700

/* One block of memory for a whole definition: the structs, then the texts. */
struct definition {
    pipeline_kind_definition_t native;
    pipeline_field_t fields[MAX_FIELDS];
    struct texts *texts;
};

/* Texts to be freed. */
struct texts {
    struct texts *next;
    char text[];
};

/* A copy of a binary as a text; *to stays NULL for an empty one. false: the term is none, or is too long, or there is no memory. */
static bool take_text(ErlNifEnv *env, ERL_NIF_TERM term, struct definition *d, const char **to)
{
    ErlNifBinary binary;
    if (!enif_inspect_binary(env, term, &binary) || binary.size > MAX_TEXT || memchr(binary.data, 0, binary.size))
        return false;
    if (binary.size == 0)
        return true;
    struct texts *kept = enif_alloc(sizeof *kept + binary.size + 1);
    if (!kept)
        return false;
    memcpy(kept->text, binary.data, binary.size);
    kept->text[binary.size] = 0;
    kept->next = d->texts;
    d->texts = kept;
    *to = kept->text;
    return true;
}

/* [{Value, Name}] */
static bool take_values(ErlNifEnv *env, ERL_NIF_TERM list, struct definition *d, pipeline_field_t *field)
{
    unsigned count;
    if (!enif_get_list_length(env, list, &count) || count > MAX_VALUES)
        return false;
    if (count == 0)
        return true;
    /* They live as long as the texts. */
    struct texts *kept = enif_alloc(sizeof *kept + count * sizeof(pipeline_enum_value_t) + _Alignof(pipeline_enum_value_t));
    if (!kept)
        return false;
    kept->next = d->texts;
    d->texts = kept;
    size_t misaligned = (uintptr_t)kept->text % _Alignof(pipeline_enum_value_t);
    pipeline_enum_value_t *values = (void *)(kept->text + (misaligned ? _Alignof(pipeline_enum_value_t) - misaligned : 0));
    ERL_NIF_TERM head;
    for (unsigned i = 0; enif_get_list_cell(env, list, &head, &list); i++) {
        const ERL_NIF_TERM *pair;
        int arity;
        ErlNifUInt64 large;
        ErlNifSInt64 value;
        if (!enif_get_tuple(env, head, &arity, &pair) || arity != 2)
            return false;
        if (!enif_get_int64(env, pair[0], &value)) {
            if (!enif_get_uint64(env, pair[0], &large))
                return false;
            value = (ErlNifSInt64)large;
        }
        values[i].value = value;
        values[i].name = "";
        if (!take_text(env, pair[1], d, &values[i].name))
            return false;
    }
    field->values = values;
    field->value_count = count;
    return true;
}

/* {Name, Type, Integer, Offset, Length, Unit, Hint, Values} */
static bool take_field(ErlNifEnv *env, ERL_NIF_TERM term, struct definition *d, pipeline_field_t *field)
{
    const ERL_NIF_TERM *part;
    int arity;
    *field = (pipeline_field_t){ .name = "" };
    return enif_get_tuple(env, term, &arity, &part) && arity == 8 && take_text(env, part[0], d, &field->name) &&
        enif_get_uint(env, part[1], &field->type) && enif_get_uint(env, part[2], &field->integer) &&
        enif_get_uint(env, part[3], &field->offset) && enif_get_uint(env, part[4], &field->length) &&
        take_text(env, part[5], d, &field->unit) && enif_get_uint(env, part[6], &field->hint) &&
        take_values(env, part[7], d, field);
}

/* {Kind, Name, Category, Role, PairsWith, KeyField, DurationField, Size, Fields} */
static bool take_definition(ErlNifEnv *env, ERL_NIF_TERM term, struct definition *d)
{
    const ERL_NIF_TERM *part;
    pipeline_kind_definition_t *n = &d->native;
    ERL_NIF_TERM head, list;
    int arity;
    if (pipeline_kind_definition_init(n, sizeof *n) != PIPELINE_OK || !enif_get_tuple(env, term, &arity, &part) || arity != 9)
        return false;
    n->name = "";
    list = part[8];
    if (!enif_get_uint(env, part[0], &n->kind) || !take_text(env, part[1], d, &n->name) ||
        !take_text(env, part[2], d, &n->category) || !enif_get_uint(env, part[3], &n->role) ||
        !enif_get_uint(env, part[4], &n->pairs_with) || !take_text(env, part[5], d, &n->key_field) ||
        !take_text(env, part[6], d, &n->duration_field) || !enif_get_uint(env, part[7], &n->payload_size))
        return false;
    for (; enif_get_list_cell(env, list, &head, &list); n->field_count++) {
        if (n->field_count == MAX_FIELDS || !take_field(env, head, d, &d->fields[n->field_count]))
            return false;
    }
    n->fields = d->fields;
    n->field_size = n->field_count ? sizeof *d->fields : 0;
    return enif_is_empty_list(env, list);
}

ERL_NIF_TERM pipeline_kind_define_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    struct definition *d = enif_alloc(sizeof *d);
    if (!d)
        return answer_detail(env, "no_memory", "");
    d->texts = NULL;
    ERL_NIF_TERM answer = take_definition(env, argv[1], d) ? answer_status(env, pipeline_kind_define(p->native, &d->native))
                                                           : answer_badarg(env);
    for (struct texts *next; d->texts; d->texts = next) {
        next = d->texts->next;
        enif_free(d->texts);
    }
    enif_free(d);
    return answer;
}
