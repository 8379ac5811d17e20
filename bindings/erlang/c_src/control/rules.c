/* Rules: from tuples of numbers, binaries and lists, which elixir_scope_capture_pipeline_rule makes, to the structs of the C API; from a text and from a
 * file; and what is known of those in force. */
#include "control/control.h"
#include "maps/config.h"
#include "maps/fields.h"
#include "pipeline/status.h"

#include <stdlib.h>
#include <string.h>

enum { PARTS = 17 };

/* What the structs point to: freed when the library has copied it. */
struct kept {
    struct kept *next;
    _Alignas(16) char bytes[];
};

static void *keep(struct kept **all, size_t count, size_t size)
{
    struct kept *kept = enif_alloc(sizeof *kept + (count ? count : 1) * size);
    if (!kept)
        return NULL;
    kept->next = *all;
    *all = kept;
    return kept->bytes;
}

static void forget(struct kept *all)
{
    for (struct kept *next; all; all = next) {
        next = all->next;
        enif_free(all);
    }
}

/* A copy of a binary as a text; *to stays NULL for an empty one. */
static bool take_text(ErlNifEnv *env, ERL_NIF_TERM term, struct kept **all, const char **to)
{
    ErlNifBinary binary;
    if (!enif_inspect_binary(env, term, &binary) || memchr(binary.data, 0, binary.size))
        return false;
    if (binary.size == 0)
        return true;
    char *text = keep(all, binary.size + 1, 1);
    if (!text)
        return false;
    memcpy(text, binary.data, binary.size);
    text[binary.size] = 0;
    *to = text;
    return true;
}

/* none, or a list of ids. An empty one is not NULL, so that the library refuses it by name. */
static bool take_ids(ErlNifEnv *env, ERL_NIF_TERM term, struct kept **all, const uint64_t **to, size_t *count)
{
    ERL_NIF_TERM head;
    unsigned length;
    if (enif_is_atom(env, term))
        return true;
    uint64_t *ids = enif_get_list_length(env, term, &length) ? keep(all, length, sizeof *ids) : NULL;
    if (!ids)
        return false;
    for (*count = 0; enif_get_list_cell(env, term, &head, &term); ++*count) {
        ErlNifUInt64 id;
        if (!enif_get_uint64(env, head, &id))
            return false;
        ids[*count] = id;
    }
    *to = ids;
    return true;
}

static bool take_kinds(ErlNifEnv *env, ERL_NIF_TERM term, struct kept **all, pipeline_rule_t *rule)
{
    const uint64_t *ids = NULL;
    if (!take_ids(env, term, all, &ids, &rule->kind_count))
        return false;
    if (!ids)
        return true;
    uint32_t *kinds = keep(all, rule->kind_count, sizeof *kinds);
    for (size_t i = 0; kinds && i < rule->kind_count; i++)
        kinds[i] = (uint32_t)ids[i]; /* the Erlang module has checked it */
    rule->kinds = kinds;
    return kinds != NULL;
}

static bool take_prefix(ErlNifEnv *env, ERL_NIF_TERM term, struct kept **all, pipeline_rule_t *rule)
{
    ErlNifBinary binary;
    if (enif_is_atom(env, term))
        return true;
    if (!enif_inspect_binary(env, term, &binary))
        return false;
    char *prefix = keep(all, binary.size, 1);
    if (!prefix)
        return false;
    memcpy(prefix, binary.data, binary.size);
    rule->payload_prefix = prefix;
    rule->payload_prefix_len = binary.size;
    return true;
}

static bool take_redacted(ErlNifEnv *env, ERL_NIF_TERM list, struct kept **all, pipeline_rule_t *rule)
{
    ERL_NIF_TERM head;
    unsigned length;
    if (!enif_get_list_length(env, list, &length))
        return false;
    if (length == 0)
        return true;
    const char **fields = keep(all, length, sizeof *fields);
    if (!fields)
        return false;
    for (unsigned i = 0; enif_get_list_cell(env, list, &head, &list); i++) {
        fields[i] = "";
        if (!take_text(env, head, all, &fields[i]))
            return false;
    }
    rule->redact = fields;
    rule->redact_count = length;
    return true;
}

static bool take_wide(ErlNifEnv *env, ERL_NIF_TERM term, uint64_t *to)
{
    ErlNifUInt64 wide;
    if (!enif_get_uint64(env, term, &wide))
        return false;
    *to = wide;
    return true;
}

/* {Name, When, Flags, Actions, Tags, Kinds, KindMin, KindMax, CorrelationIds, NodeIds, PayloadMin, PayloadMax, Prefix, Redact, Limit, Burst, OneIn} */
static bool take_rule(ErlNifEnv *env, ERL_NIF_TERM term, struct kept **all, pipeline_rule_t *rule)
{
    const ERL_NIF_TERM *part;
    int arity;
    return pipeline_rule_init(rule, sizeof *rule) == PIPELINE_OK && enif_get_tuple(env, term, &arity, &part) && arity == PARTS &&
        take_text(env, part[0], all, &rule->name) && take_text(env, part[1], all, &rule->when) &&
        enif_get_uint(env, part[2], &rule->flags) && enif_get_uint(env, part[3], &rule->actions) &&
        enif_get_uint(env, part[4], &rule->tags) && take_kinds(env, part[5], all, rule) &&
        enif_get_uint(env, part[6], &rule->kind_min) && enif_get_uint(env, part[7], &rule->kind_max) &&
        take_ids(env, part[8], all, &rule->correlation_ids, &rule->correlation_id_count) &&
        take_ids(env, part[9], all, &rule->node_ids, &rule->node_id_count) && take_wide(env, part[10], &rule->payload_min) &&
        take_wide(env, part[11], &rule->payload_max) && take_prefix(env, part[12], all, rule) &&
        take_redacted(env, part[13], all, rule) && take_wide(env, part[14], &rule->limit_per_second) &&
        take_wide(env, part[15], &rule->limit_burst) && enif_get_uint(env, part[16], &rule->sample_one_in);
}

ERL_NIF_TERM pipeline_rules_set_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    ERL_NIF_TERM head, list = argv[1], answer;
    struct kept *all = NULL;
    unsigned count, flags, taken = 0;
    (void)argc;
    if (!enif_get_list_length(env, list, &count) || !enif_get_uint(env, argv[2], &flags))
        return answer_badarg(env);
    pipeline_rule_t *rules = keep(&all, count, sizeof *rules);
    if (!rules)
        return answer_detail(env, "no_memory", "");
    while (enif_get_list_cell(env, list, &head, &list) && take_rule(env, head, &all, &rules[taken]))
        taken++;
    answer = taken == count ? answer_status(env, pipeline_rules_set(p->native, rules, count, flags)) : answer_badarg(env);
    forget(all);
    return answer;
}

ERL_NIF_TERM pipeline_rules_text_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    unsigned flags;
    (void)argc;
    char *text = enif_get_uint(env, argv[2], &flags) && enif_is_binary(env, argv[1]) ? get_text(env, argv[1], SIZE_MAX) : NULL;
    if (!text)
        return answer_badarg(env);
    ERL_NIF_TERM answer = answer_status(env, pipeline_rules_set_text(p->native, text, flags));
    enif_free(text);
    return answer;
}

ERL_NIF_TERM pipeline_rules_load_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    ERL_NIF_TERM answer;
    unsigned flags;
    (void)argc;
    if (!enif_get_uint(env, argv[2], &flags))
        return answer_badarg(env);
    char *path = get_path(env, argv[1], &answer);
    if (!path)
        return answer;
    answer = answer_status(env, pipeline_rules_load(p->native, path, flags));
    enif_free(path);
    return answer;
}

ERL_NIF_TERM pipeline_rules_clear_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    (void)argv;
    return answer_status(env, pipeline_rules_clear(p->native));
}

static ERL_NIF_TERM rule_map(ErlNifEnv *env, const pipeline_rule_metrics_t *rule)
{
    ERL_NIF_TERM map = map_put(env, enif_make_new_map(env), "name", make_text(env, rule->name));
    map = map_put(env, map, "line", enif_make_uint(env, rule->line));
    map = map_put(env, map, "active", rule->active ? atom_true : atom_false);
    map = map_put(env, map, "waits_for", make_text(env, rule->waits_for));
    map = map_put(env, map, "dry", rule->dry ? atom_true : atom_false);
    map = map_put(env, map, "matched", enif_make_uint64(env, rule->matched));
    map = map_put(env, map, "dropped", enif_make_uint64(env, rule->dropped));
    map = map_put(env, map, "limited", enif_make_uint64(env, rule->limited));
    map = map_put(env, map, "snapshots_asked", enif_make_uint64(env, rule->snapshots_asked));
    return map_put(env, map, "sampled_out", enif_make_uint64(env, rule->sampled_out));
}

ERL_NIF_TERM pipeline_rules_info_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    ERL_NIF_TERM list = enif_make_list(env, 0);
    pipeline_rule_metrics_t rule = { .struct_size = sizeof rule };
    uint32_t count = 0;
    int32_t status;
    (void)argc;
    (void)argv;
    status = pipeline_rule_count(p->native, &count);
    for (uint32_t i = 0; i < count && status == PIPELINE_OK; i++) {
        status = pipeline_rule_metrics(p->native, i, &rule);
        if (status == PIPELINE_OK)
            list = enif_make_list_cell(env, rule_map(env, &rule), list);
    }
    /* Not found: a shorter list was set meanwhile. */
    if (status != PIPELINE_OK && status != PIPELINE_ERR_NOT_FOUND)
        return answer_status(env, status);
    enif_make_reverse_list(env, list, &list);
    return answer_ok(env, list);
}

ERL_NIF_TERM pipeline_attribute_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    /* What is too long is refused by the library, by name. */
    char *name = get_text(env, argv[1], PATH_BYTES), *value = get_text(env, argv[2], PATH_BYTES);
    ERL_NIF_TERM answer = name && value ? answer_status(env, pipeline_attribute(p->native, name, value)) : answer_badarg(env);
    if (name)
        enif_free(name);
    if (value)
        enif_free(value);
    return answer;
}

ERL_NIF_TERM limit_calls(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    unsigned permits;
    (void)argc;
    return enif_get_uint(env, argv[0], &permits) ? answer_status(env, pipeline_limit_calls(permits)) : answer_badarg(env);
}
