/* The options of a reader: see options.h. */
#include "journal/options.h"
#include "maps/config.h"
#include "maps/fields.h"
#include "maps/lists.h"

#include <stdlib.h>

/* Of a list; a longer one is refused. */
enum { MOST_NUMBERS = 65536 };

static void free_if_given(void *memory)
{
    if (memory)
        enif_free(memory);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool set_numbers(ErlNifEnv *env, struct number_set *set, ERL_NIF_TERM list, uint64_t greatest)
{
    ERL_NIF_TERM head;
    ErlNifUInt64 number;
    unsigned length;
    if (!enif_get_list_length(env, list, &length) || length > MOST_NUMBERS)
        return false;
    set->sorted = enif_alloc((length + 1) * sizeof *set->sorted);
    if (!set->sorted)
        return false;
    set->count = length;
    set->is_given = true;
    for (unsigned i = 0; enif_get_list_cell(env, list, &head, &list); i++) {
        if (!enif_get_uint64(env, head, &number) || number > greatest)
            return false;
        set->sorted[i] = number;
    }
    qsort(set->sorted, length, sizeof *set->sorted, compare);
    return true;
}

static bool set_has(const struct number_set *set, uint64_t number)
{
    return !set->is_given || bsearch(&number, set->sorted, set->count, sizeof *set->sorted, compare) != NULL;
}

static bool set_flag(uint32_t *flags, uint32_t flag, bool set)
{
    *flags = set ? *flags | flag : *flags & ~flag;
    return true;
}

/* One of two atoms, the second of which sets a flag. */
static bool is_second(ErlNifEnv *env, ERL_NIF_TERM value, const char *first, const char *second, bool *answer)
{
    *answer = value == enif_make_atom(env, second);
    return *answer || value == enif_make_atom(env, first);
}

static bool set_option(ErlNifEnv *env, void *to, ERL_NIF_TERM key, ERL_NIF_TERM value)
{
    struct reader_options *options = to;
    bool second;
    if (key == enif_make_atom(env, "order"))
        return is_second(env, value, "stored", "time", &second) && set_flag(&options->native.flags, PIPELINE_READER_TIME_ORDER, second);
    if (key == enif_make_atom(env, "follow"))
        return is_second(env, value, "false", "true", &second) && set_flag(&options->native.flags, PIPELINE_READER_FOLLOW, second);
    if (key == enif_make_atom(env, "payloads"))
        return is_second(env, value, "binary", "none", &options->filter.without_payloads);
    if (key == enif_make_atom(env, "kinds"))
        return set_numbers(env, &options->filter.kinds, value, UINT32_MAX);
    if (key == enif_make_atom(env, "correlation_ids"))
        return set_numbers(env, &options->filter.correlation_ids, value, UINT64_MAX);
    /* One of the struct's fields. */
    const struct field *field = field_find(env, reader_options_fields, FIELD_COUNT(reader_options_fields), key);
    return field && key != enif_make_atom(env, "correlation_id") && field_set(env, field, &options->native, value, PATH_BYTES);
}

bool reader_options_from_terms(ErlNifEnv *env, ERL_NIF_TERM path, ERL_NIF_TERM map, struct reader_options *options, ERL_NIF_TERM *error)
{
    *options = (struct reader_options) { .path = NULL };
    pipeline_reader_options_init(&options->native, sizeof options->native);
    options->path = get_path(env, path, error);
    if (options->path && set_all(env, map, "options", set_option, options, error))
        return true;
    reader_options_free(options);
    return false;
}

void reader_options_free(struct reader_options *options)
{
    free_if_given(options->path);
    reader_filter_free(&options->filter);
}

bool reader_filter_wants(const struct reader_filter *filter, const pipeline_reader_event_t *event)
{
    return set_has(&filter->kinds, event->kind) && set_has(&filter->correlation_ids, event->correlation_id);
}

void reader_filter_free(struct reader_filter *filter)
{
    free_if_given(filter->kinds.sorted);
    free_if_given(filter->correlation_ids.sorted);
    *filter = (struct reader_filter) { .without_payloads = false };
}
