/* The kinds of a journal as terms: see definitions.h. */
#include "journal/definitions.h"
#include "maps/fields.h"

/* A text that may be NULL. */
static ERL_NIF_TERM text_or_empty(ErlNifEnv *env, const char *text)
{
    return make_text(env, text ? text : "");
}

/* [{Value, Name}] */
static ERL_NIF_TERM values_list(ErlNifEnv *env, const pipeline_field_t *field)
{
    ERL_NIF_TERM list = enif_make_list(env, 0);
    for (uint32_t i = field->value_count; i-- > 0;) {
        ERL_NIF_TERM value = enif_make_int64(env, field->values[i].value);
        list = enif_make_list_cell(env, enif_make_tuple2(env, value, make_text(env, field->values[i].name)), list);
    }
    return list;
}

/* {Name, Type, Integer, Offset, Length, Unit, Hint, Values} */
static ERL_NIF_TERM field_term(ErlNifEnv *env, const pipeline_field_t *field)
{
    return enif_make_tuple8(env, make_text(env, field->name), enif_make_uint(env, field->type), enif_make_uint(env, field->integer),
        enif_make_uint(env, field->offset), enif_make_uint(env, field->length), text_or_empty(env, field->unit),
        enif_make_uint(env, field->hint), values_list(env, field));
}

/* {Kind, Name, Category, Role, PairsWith, KeyField, DurationField, Size, Fields} */
static ERL_NIF_TERM definition_term(ErlNifEnv *env, const pipeline_kind_definition_t *d)
{
    ERL_NIF_TERM fields = enif_make_list(env, 0);
    for (uint32_t i = d->field_count; i-- > 0;) {
        const char *field = (const char *)d->fields + (size_t)i * d->field_size;
        fields = enif_make_list_cell(env, field_term(env, (const pipeline_field_t *)(const void *)field), fields);
    }
    return enif_make_tuple9(env, enif_make_uint(env, d->kind), make_text(env, d->name), text_or_empty(env, d->category),
        enif_make_uint(env, d->role), enif_make_uint(env, d->pairs_with), text_or_empty(env, d->key_field),
        text_or_empty(env, d->duration_field), enif_make_uint(env, d->payload_size), fields);
}

ERL_NIF_TERM definitions_list(ErlNifEnv *env, const pipeline_reader_kinds_t *kinds)
{
    ERL_NIF_TERM none = enif_make_atom(env, "none"), list = enif_make_list(env, 0);
    for (size_t i = kinds->count; i-- > 0;) {
        const pipeline_reader_kind_t *kind = PIPELINE_READER_KIND(kinds, i);
        ERL_NIF_TERM definition = kind->definition ? definition_term(env, kind->definition) : none;
        list = enif_make_list_cell(env,
            enif_make_tuple4(env, enif_make_uint64(env, kind->generation), enif_make_uint(env, kind->kind),
                text_or_empty(env, kind->name), definition),
            list);
    }
    return list;
}
