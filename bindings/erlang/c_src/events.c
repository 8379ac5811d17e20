/* What processes see of a batch's events: as a part of a message, or taken by a face into its own heap. */
#include "events.h"
#include "flat.h"
#include "handed.h"

#include <string.h>

enum {
    EVENTS_AT_ONCE = 256,       /* per call on a normal scheduler, some 50 us */
    LINKED_AT_ONCE = 64,
    BYTES_AT_ONCE = 128 * 1024,
};

static ERL_NIF_TERM atom_done;
static ERL_NIF_TERM first_of_seven; /* the first word of a tuple of seven; 0: the layout of terms is not known so well */

void events_load(ErlNifEnv *env)
{
    ERL_NIF_TERM seven[7];
    atom_done = enif_make_atom(env, "done");
    for (size_t i = 0; i < 7; i++)
        seven[i] = atom_done;
    if (flat_known() && layout.small_integers)
        first_of_seven = *layout_words(enif_make_tuple_from_array(env, seven, 7), TAG_BOXED);
}

static ERL_NIF_TERM event_term(ErlNifEnv *env, struct shapes_made *made, const pipeline_event_view_t *event)
{
    ERL_NIF_TERM term;
    if (event->kind & KIND_TERM) {
        const struct handle *handle = event->data;
        if (flat_is(*(const uint64_t *)event->data))
            return flat_term(env, made, event->data);
        return handle->block ? enif_make_copy(env, handle->term) : handle->term;
    }
    unsigned char *to = enif_make_new_binary(env, event->len, &term);
    if (to)
        memcpy(to, event->data, event->len);
    return term;
}

/* ---- lists of events ---- */

static ERL_NIF_TERM captured(ErlNifEnv *env, struct shapes_made *made, const pipeline_event_view_t *e)
{
    return enif_make_tuple7(env, event_term(env, made, e), enif_make_uint64(env, e->ring_id), enif_make_uint64(env, e->sequence),
        enif_make_uint64(env, e->timestamp_ns), enif_make_uint(env, e->kind & ~KIND_TERM),
        enif_make_uint64(env, e->correlation_id), enif_make_uint64(env, e->node_id));
}

/* The list grows at its head, but events are read in the order in which they lie: the processor fetches ahead what is read so. */
static ERL_NIF_TERM list_by_calls(
    ErlNifEnv *env, struct shapes_made *made, const pipeline_batch_t *batch, size_t from, size_t to)
{
    ERL_NIF_TERM some[EVENTS_AT_ONCE], events = enif_make_list(env, 0);
    while (to > from) {
        size_t count = to - from < EVENTS_AT_ONCE ? to - from : EVENTS_AT_ONCE;
        to -= count;
        for (size_t i = 0; i < count; i++)
            some[i] = captured(env, made, PIPELINE_BATCH_EVENT(batch, to + i));
        while (count-- > 0)
            events = enif_make_list_cell(env, some[count], events);
    }
    return events;
}

static inline ERL_NIF_TERM number(ErlNifEnv *env, uint64_t value)
{
    return value <= SMALL_MOST ? layout_small(value) : enif_make_uint64(env, value);
}

/* An event and its list cell, as they lie on a heap. */
struct linked {
    ERL_NIF_TERM first, captured[7], head, tail;
};

enum { LINKED_WORDS = sizeof(struct linked) / WORD };

/* The same list, by words, where the layout of terms is known: each so many events and their cells get their memory at once, as a tuple of
 * so many words that nobody ever sees. */
static ERL_NIF_TERM list_by_words(
    ErlNifEnv *env, struct shapes_made *made, const pipeline_batch_t *batch, size_t from, size_t to)
{
    struct linked some[LINKED_AT_ONCE];
    ERL_NIF_TERM nil = enif_make_list(env, 0), events = nil, *end = &events;
    while (from < to) {
        size_t count = to - from < LINKED_AT_ONCE ? to - from : LINKED_AT_ONCE;
        for (size_t i = 0; i < count; i++) {
            const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, from + i);
            some[i] = (struct linked) { first_of_seven, { event_term(env, made, e), number(env, e->ring_id),
                number(env, e->sequence), number(env, e->timestamp_ns), number(env, e->kind & ~KIND_TERM),
                number(env, e->correlation_id), number(env, e->node_id) }, nil, nil };
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

ERL_NIF_TERM events_list(ErlNifEnv *env, const pipeline_batch_t *batch, size_t from, size_t to)
{
    struct shapes_made made = { 0 };
    return first_of_seven ? list_by_words(env, &made, batch, from, to) : list_by_calls(env, &made, batch, from, to);
}

/* ---- the NIF ---- */

/* The caller's own batch, from here on not to be finished by others; NULL: the token is not of one that it has. */
static struct handed *begin(struct delivery *d, uint64_t token, const ErlNifPid *self)
{
    enif_mutex_lock(d->lock);
    struct handed *h = handed_find(d, token);
    if (h && (h->taking || enif_compare_pids(&h->face->pid, self) != 0))
        h = NULL;
    if (h)
        h->taking = true;
    enif_mutex_unlock(d->lock);
    return h;
}

/* A process that runs on a dirty scheduler may be dead by now, and its face gone. */
static void end(struct delivery *d, struct handed *h)
{
    enif_mutex_lock(d->lock);
    h->taking = false;
    bool orphan = h->orphan;
    enif_mutex_unlock(d->lock);
    if (orphan)
        handed_finish(h, PIPELINE_STORE_RETRY);
}

/* (Pipeline, Token, From) -> {Events, Next | done}: some of the batch's events, from index From on. Only for the face that has it. */
ERL_NIF_TERM delivery_events_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    struct delivery *d = pipeline->delivery;
    ErlNifUInt64 token, from;
    ErlNifPid self;
    if (!d || !enif_get_uint64(env, argv[1], &token) || !enif_get_uint64(env, argv[2], &from) || !enif_self(env, &self))
        return answer_badarg(env);
    struct handed *h = begin(d, token, &self);
    if (!h)
        return answer_refused(env, PIPELINE_ERR_UNKNOWN_TOKEN);
    bool quick = enif_thread_type() == ERL_NIF_THR_NORMAL_SCHEDULER, later = false;
    size_t to = from, bytes = 0;
    while (to < h->count && to - from < EVENTS_AT_ONCE) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(h->batch, to);
        bytes += e->len;
        if (bytes > BYTES_AT_ONCE && (to > from || quick))
            break;
        to++;
    }
    ERL_NIF_TERM answer = 0;
    if (to == from && from < h->count)
        later = true; /* a single large one */
    else
        answer = enif_make_tuple2(env, events_list(env, h->batch, from < to ? from : to, to),
            to < h->count ? enif_make_uint64(env, to) : atom_done);
    end(d, h);
    if (later)
        return enif_schedule_nif(env, "delivery_events", ERL_NIF_DIRTY_JOB_CPU_BOUND, delivery_events_nif, argc, argv);
    if (quick)
        enif_consume_timeslice(env, (int)(to - from) / 25 + 1);
    return answer;
}
