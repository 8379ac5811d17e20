/* What is special about some events of a batch: see marks.h. */
#include "delivery/marks.h"
#include "delivery/events.h"

struct mark {
    uint32_t index, flags;
    double weight;
};

struct marks {
    size_t count;
    struct mark list[];
};

static struct marks unknown;

struct marks *marks_make(const pipeline_batch_t *batch)
{
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++)
        count += marks_has(PIPELINE_BATCH_EVENT(batch, i));
    if (count == 0)
        return NULL;
    struct marks *marks = enif_alloc(sizeof *marks + count * sizeof *marks->list);
    if (!marks)
        return &unknown;
    marks->count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *event = PIPELINE_BATCH_EVENT(batch, i);
        if (marks_has(event))
            marks->list[marks->count++] = (struct mark) { (uint32_t)i, event->flags & MARK_FLAGS, event->weight };
    }
    return marks;
}

/* Weights are whole numbers as a rule. */
static ERL_NIF_TERM weight_term(ErlNifEnv *env, double weight)
{
    uint64_t whole = weight >= 0 && weight < 1e15 ? (uint64_t)weight : 0;
    return (double)whole == weight ? event_number(env, whole) : enif_make_double(env, weight);
}

ERL_NIF_TERM marks_term(ErlNifEnv *env, const struct marks *marks)
{
    if (marks == &unknown)
        return enif_make_atom(env, "unknown");
    ERL_NIF_TERM list = enif_make_list(env, 0);
    for (size_t i = marks->count; i-- > 0;) {
        const struct mark *mark = &marks->list[i];
        list = enif_make_list_cell(env, enif_make_tuple3(env, event_number(env, mark->index), weight_term(env, mark->weight),
            event_number(env, mark->flags)), list);
    }
    return list;
}

void marks_free(struct marks *marks)
{
    if (marks != &unknown)
        enif_free(marks);
}
