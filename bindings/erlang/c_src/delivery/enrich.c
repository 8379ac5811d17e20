/* Enriched events: see enrich.h. What is added, and when, is the rule of ElixirScope.Capture.Enrichment and Capture.Event, which do the same for the
 * events that are left to them. */
#include "delivery/enrich.h"
#include "delivery/events.h"
#include "pipeline/payload.h"

#include <stdio.h>
#include <string.h>

/* So many numbers a batch has: see Enrichment. */
enum { ENRICHMENT_NUMBERS = 1048576 };

/* The values that are not those of the captured map, by number: a plan has these numbers behind those of the map's own values. */
enum { OWN_MOST = SMALL_MAP, ENRICHED_AT = OWN_MOST, PROCESSED_BY, PROCESSING_ORDER, CORRELATION_ID, AST_NODE_ID, VALUES };

/* Which of the ids a map gets that has no such key. */
enum { ADDS_CORRELATION = 1, ADDS_NODE = 2, ADDS_UNKNOWN = 4 };

/* How the maps of one shape become enriched ones. */
struct plan {
    uint16_t shape;
    uint8_t adds;
    uint8_t correlation, node;      /* which of the map's own values these are; SMALL_MAP: it has no such key */
    uint8_t size;                   /* of the enriched map; 0: too many keys for a small map */
    uint8_t values[SMALL_MAP];      /* the number of each value, in the order of `keys` */
    ERL_NIF_TERM keys;              /* of the enriched map, in the environment */
};

/* The last plan for a shape: few shapes are in one batch. */
enum { PLANS = 16, NO_SHAPE = UINT16_MAX };

static struct {
    ERL_NIF_TERM keys[VALUES];      /* from ENRICHED_AT on */
    ERL_NIF_TERM nil;
} atoms;

void enrich_load(ErlNifEnv *env)
{
    static const char *const names[VALUES] = { [ENRICHED_AT] = "enriched_at", [PROCESSED_BY] = "processed_by",
        [PROCESSING_ORDER] = "processing_order", [CORRELATION_ID] = "correlation_id", [AST_NODE_ID] = "ast_node_id" };
    for (size_t i = ENRICHED_AT; i < VALUES; i++)
        atoms.keys[i] = enif_make_atom(env, names[i]);
    atoms.nil = enif_make_atom(env, "nil");
}

bool enrichment_get(ErlNifEnv *env, ERL_NIF_TERM term, struct enrichment *out)
{
    int arity;
    const ERL_NIF_TERM *parts;
    ErlNifUInt64 base;
    if (!enif_get_tuple(env, term, &arity, &parts) || arity != 4 || !enif_is_number(env, parts[0]) || !enif_is_atom(env, parts[1]) ||
        !enif_is_atom(env, parts[2]) || !enif_get_uint64(env, parts[3], &base))
        return false;
    *out = (struct enrichment) { parts[0], parts[1], base, enif_is_identical(parts[2], atom_true) };
    return true;
}

/* ---- plans ---- */

static size_t number_of(ERL_NIF_TERM key)
{
    for (size_t i = ENRICHED_AT; i < VALUES; i++)
        if (atoms.keys[i] == key)
            return i;
    return VALUES;
}

/* The index of the value of a key that the shape may have; SMALL_MAP: it does not have it. */
static uint8_t index_of(size_t shape, ERL_NIF_TERM key)
{
    size_t count;
    const ERL_NIF_TERM *keys = shape_keys(shape, &count);
    for (size_t i = 0; i < count; i++)
        if (keys[i] == key)
            return (uint8_t)i;
    return SMALL_MAP;
}

/* Where the enriched map has its values is learnt from a map with the same keys, whose values are their numbers. */
static __attribute__((noinline)) void complete_plan(ErlNifEnv *env, struct plan *plan, unsigned adds)
{
    ERL_NIF_TERM keys[SMALL_MAP + VALUES - OWN_MOST], numbers[SMALL_MAP + VALUES - OWN_MOST], map;
    bool has[VALUES] = { false };
    size_t count;
    const ERL_NIF_TERM *own = shape_keys(plan->shape, &count);
    for (size_t i = 0; i < count; i++) {
        size_t number = number_of(own[i]);
        keys[i] = own[i];
        has[number < VALUES ? number : i] = true;
        numbers[i] = enif_make_uint(env, (unsigned)(number < VALUES ? number : i));
    }
    for (size_t i = ENRICHED_AT; i < VALUES; i++) {
        bool wanted = i < CORRELATION_ID || (adds & (i == CORRELATION_ID ? ADDS_CORRELATION : ADDS_NODE));
        if (wanted && !has[i]) {
            keys[count] = atoms.keys[i];
            numbers[count++] = enif_make_uint(env, (unsigned)i);
        }
    }
    plan->adds = (uint8_t)adds;
    plan->size = 0;
    if (count > SMALL_MAP || !enif_make_map_from_arrays(env, keys, numbers, count, &map))
        return;
    const ERL_NIF_TERM *words = layout_words(map, TAG_BOXED);
    for (size_t i = 0; i < count; i++) {
        unsigned number;
        if (!enif_get_uint(env, words[3 + i], &number) || number >= VALUES)
            return;
        plan->values[i] = (uint8_t)number;
    }
    plan->keys = words[2];
    plan->size = (uint8_t)count;
}

static inline struct plan *plan_of(struct plan *plans, size_t shape)
{
    struct plan *plan = &plans[shape % PLANS];
    if (plan->shape != shape)
        *plan = (struct plan) { .shape = (uint16_t)shape, .adds = ADDS_UNKNOWN,
            .correlation = index_of(shape, atoms.keys[CORRELATION_ID]), .node = index_of(shape, atoms.keys[AST_NODE_ID]) };
    return plan;
}

/* ---- one event ---- */

static ERL_NIF_TERM new_correlation_id(ErlNifEnv *env, uint64_t order)
{
    char text[32];
    ERL_NIF_TERM term;
    int length = snprintf(text, sizeof text, "corr_%llu", (unsigned long long)order);
    unsigned char *to = enif_make_new_binary(env, (size_t)length, &term);
    if (!to)
        return atoms.nil;
    memcpy(to, text, (size_t)length);
    return term;
}

/* The enriched map; 0: it is left to the caller. */
static ERL_NIF_TERM enriched(ErlNifEnv *env, struct shapes_made *made, struct plan *plans, const struct enrichment *common,
    const pipeline_event_view_t *event, uint64_t index)
{
    if (!(event->flags & EVENT_TERM) || !flat_is(*(const uint64_t *)event->data) || index >= ENRICHMENT_NUMBERS)
        return 0;
    int shape = flat_map_shape(event->data);
    if (shape < 0)
        return 0;
    struct plan *plan = plan_of(plans, (size_t)shape);
    bool correlates = common->correlate || event->correlation_id;
    unsigned adds = (plan->correlation == SMALL_MAP && correlates ? ADDS_CORRELATION : 0) |
        (plan->node == SMALL_MAP && event->node_id ? ADDS_NODE : 0);
    if (plan->adds != adds)
        complete_plan(env, plan, adds);
    ERL_NIF_TERM values[VALUES], sorted[SMALL_MAP];
    if (!plan->size || !flat_map_values(env, made, event->data, values))
        return 0;
    uint64_t order = common->base + index;
    values[ENRICHED_AT] = common->at;
    values[PROCESSED_BY] = common->node;
    values[PROCESSING_ORDER] = event_number(env, order);
    values[CORRELATION_ID] = plan->correlation < SMALL_MAP ? values[plan->correlation] : atoms.nil;
    if (values[CORRELATION_ID] == atoms.nil && correlates)
        values[CORRELATION_ID] = event->correlation_id ? event_number(env, event->correlation_id) : new_correlation_id(env, order);
    values[AST_NODE_ID] = plan->node < SMALL_MAP ? values[plan->node] : atoms.nil;
    if (values[AST_NODE_ID] == atoms.nil && event->node_id)
        values[AST_NODE_ID] = event_number(env, event->node_id);
    for (size_t i = 0; i < plan->size; i++)
        sorted[i] = values[plan->values[i]];
    return flat_map_make(env, plan->keys, sorted, plan->size);
}

ERL_NIF_TERM enriched_list(ErlNifEnv *env, const struct enrichment *common, const pipeline_batch_t *batch, size_t from, size_t to, bool ring_file)
{
    struct shapes_made made = { 0 };
    struct plan plans[PLANS];
    ERL_NIF_TERM events[ENRICHED_MOST] = { 0 };
    bool all = true;
    for (size_t i = 0; i < PLANS; i++)
        plans[i].shape = NO_SHAPE;
    for (size_t i = from; i < to; i++) {
        const pipeline_event_view_t *event = PIPELINE_BATCH_EVENT(batch, i);
        ERL_NIF_TERM term = flat_known() && !ring_file ? enriched(env, &made, plans, common, event, i) : 0;
        all = all && term;
        events[i - from] = term ? term : event_captured(env, &made, event, ring_file);
    }
    return enif_make_tuple2(env, all ? atom_true : atom_false, enif_make_list_from_array(env, events, (unsigned)(to - from)));
}
