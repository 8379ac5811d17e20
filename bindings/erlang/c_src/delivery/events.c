/* The events of a batch as a consumer gets them: in a message, or read by the consumer into its own heap. */
#include "delivery/events.h"
#include "pipeline/payload.h"
#include "encoded/encoded.h"
#include "term/external.h"

#include <string.h>

enum {
    CALLS_CHUNK = 256,      /* events per chunk of list_by_calls */
    WORDS_CHUNK = 64,       /* of list_by_words */
};

/* The first word of a tuple of seven; 0: the layout of terms is not known well enough to write lists by words. */
static ERL_NIF_TERM first_of_seven;

void events_load(ErlNifEnv *env)
{
    ERL_NIF_TERM seven[7];
    for (size_t i = 0; i < 7; i++)
        seven[i] = atom_ok;
    if (flat_known() && layout.small_integers)
        first_of_seven = *layout_words(enif_make_tuple_from_array(env, seven, 7), TAG_BOXED);
}

static ERL_NIF_TERM event_term(ErlNifEnv *env, struct shapes_made *made, const pipeline_event_view_t *event, bool ring_file)
{
    ERL_NIF_TERM term;
    if (ring_file) {
        /* Recovered events may be of any program. */
        if (event->flags & EVENT_TERM && (term = external_term(env, event->data, event->len)))
            return term;
    } else if (event->flags & EVENT_TERM) {
        const struct handle *handle = event->data;
        if (flat_is(*(const uint64_t *)event->data))
            return flat_term(env, made, event->data);
        if (encoded_is(*(const uint64_t *)event->data))
            return encoded_term(env, event->data);
        return handle->block ? enif_make_copy(env, handle->term) : handle->term;
    }
    unsigned char *to = enif_make_new_binary(env, event->len, &term);
    if (to)
        memcpy(to, event->data, event->len);
    return term;
}

/* ---- lists of events ---- */

ERL_NIF_TERM event_captured(ErlNifEnv *env, struct shapes_made *made, const pipeline_event_view_t *e, bool ring_file)
{
    ERL_NIF_TERM parts[7] = { event_term(env, made, e, ring_file), event_number(env, e->ring_id), event_number(env, e->sequence), event_number(env, e->timestamp_ns),
        event_number(env, e->kind), event_number(env, e->correlation_id), event_number(env, e->node_id) };
    return enif_make_tuple_from_array(env, parts, 7);
}

/* A list grows at its head, but each chunk of events is read in memory order, which the processor prefetches. */
static ERL_NIF_TERM list_by_calls(
    ErlNifEnv *env, struct shapes_made *made, const pipeline_batch_t *batch, size_t from, size_t to, bool ring_file)
{
    ERL_NIF_TERM some[CALLS_CHUNK], events = enif_make_list(env, 0);
    while (to > from) {
        size_t count = to - from < CALLS_CHUNK ? to - from : CALLS_CHUNK;
        to -= count;
        for (size_t i = 0; i < count; i++)
            some[i] = event_captured(env, made, PIPELINE_BATCH_EVENT(batch, to + i), ring_file);
        while (count-- > 0)
            events = enif_make_list_cell(env, some[count], events);
    }
    return events;
}

/* An event and its list cell, as they lie on a heap. */
struct linked {
    ERL_NIF_TERM first, captured[7], head, tail;
};

enum { LINKED_WORDS = sizeof(struct linked) / WORD };

/* The same list, written by words where the layout of terms is known. The events and list cells of a chunk get their memory at once, as one tuple
 * to which no term refers. */
static ERL_NIF_TERM list_by_words(
    ErlNifEnv *env, struct shapes_made *made, const pipeline_batch_t *batch, size_t from, size_t to, bool ring_file)
{
    struct linked some[WORDS_CHUNK];
    ERL_NIF_TERM nil = enif_make_list(env, 0), events = nil, *end = &events;
    while (from < to) {
        size_t count = to - from < WORDS_CHUNK ? to - from : WORDS_CHUNK;
        for (size_t i = 0; i < count; i++) {
            const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, from + i);
            some[i] = (struct linked) { first_of_seven, { event_term(env, made, e, ring_file), event_number(env, e->ring_id),
                event_number(env, e->sequence), event_number(env, e->timestamp_ns), event_number(env, e->kind),
                event_number(env, e->correlation_id), event_number(env, e->node_id) }, nil, nil };
        }
        ERL_NIF_TERM tuple = enif_make_tuple_from_array(env, some[0].captured, (unsigned)(count * LINKED_WORDS - 1));
        struct linked *there = (struct linked *)layout_words(tuple, TAG_BOXED);
        there->first = first_of_seven;
        for (size_t i = 0; i < count; i++) {
            there[i].head = (ERL_NIF_TERM)&there[i].first | TAG_BOXED;
            *end = (ERL_NIF_TERM)&there[i].head | TAG_LIST;
            end = &there[i].tail;
        }
        from += count;
    }
    return events;
}

ERL_NIF_TERM events_list(ErlNifEnv *env, const pipeline_batch_t *batch, size_t from, size_t to, bool ring_file)
{
    struct shapes_made made = { 0 };
    return first_of_seven ? list_by_words(env, &made, batch, from, to, ring_file) : list_by_calls(env, &made, batch, from, to, ring_file);
}
