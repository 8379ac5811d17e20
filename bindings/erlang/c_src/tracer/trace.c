/* The callbacks of a tracer: see tracer.h. A trace is captured as the message that the VM would send to a tracer process: {trace, Tracee, Tag, Term},
 * with one or two more elements where there are any. */
#include "tracer/tracer.h"
#include "delivery/consumers.h"
#include "pipeline/payload.h"

#include <string.h>

static const char *const tags[] = {
    "call", "return_from", "exception_from", "return_to", "send", "send_to_non_existing_process", "receive", "in", "out", "in_exiting",
    "out_exiting", "out_exited", "gc_minor_start", "gc_minor_end", "gc_major_start", "gc_major_end", "spawn", "spawned", "exit", "link",
    "unlink", "getting_linked", "getting_unlinked", "register", "unregister", "open", "closed", "gc_max_heap_size",
};
enum { TAGS = sizeof tags / sizeof *tags, OTHER_TAG = 0xFF };

static ERL_NIF_TERM tag_atoms[TAGS], atom_trace, atom_discard, atom_remove, atom_extra, atom_match_spec_result, atom_trace_status;

void trace_load(ErlNifEnv *env)
{
    for (unsigned i = 0; i < TAGS; i++)
        tag_atoms[i] = enif_make_atom(env, tags[i]);
    atom_trace = enif_make_atom(env, "trace");
    atom_discard = enif_make_atom(env, "discard");
    atom_remove = enif_make_atom(env, "remove");
    atom_extra = enif_make_atom(env, "extra");
    atom_match_spec_result = enif_make_atom(env, "match_spec_result");
    atom_trace_status = enif_make_atom(env, "trace_status");
}

/* The number of the calling thread among all that have traced. The VM has a fixed number of schedulers, and the tracer a ring for each. */
static struct tracer_ring *ring_of(struct tracer *t)
{
    static _Atomic unsigned threads;
    static __thread unsigned mine;   /* 0: none yet. A plain word: nothing to destroy at the end of the thread */
    if (!mine)
        mine = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
    return mine <= t->ring_count ? &t->rings[mine - 1] : NULL;
}

void tracer_end(struct tracer *t, enum tracer_state reason)
{
    int runs = TRACER_RUNS;
    atomic_compare_exchange_strong(&t->state, &runs, reason);
}

static inline bool runs(struct tracer *t)
{
    return atomic_load_explicit(&t->state, memory_order_relaxed) == TRACER_RUNS;
}

/* A process that the events pass through: its traces would make more traces. */
static inline bool is_own(const struct tracer *t, ERL_NIF_TERM tracee)
{
    for (unsigned i = 0; i < t->excluded_count; i++)
        if (t->excluded[i] == tracee)
            return true;
    return t->pipeline->delivery && consumer_is_shown(t->pipeline->delivery, tracee);
}

ERL_NIF_TERM trace_enabled(struct tracer *t, ERL_NIF_TERM tracee)
{
    return runs(t) && !is_own(t, tracee) ? atom_trace : atom_remove;
}

/* ---- the rate ---- */

/* Each thread counts its own traces, and adds `step` of them to the sum. A thread that begins a new second may lose the steps that others add
 * meanwhile: the limit is exact to some steps. */
static __attribute__((noinline)) void count_step(struct tracer *t)
{
    uint64_t now = (uint64_t)enif_monotonic_time(ERL_NIF_USEC) + (UINT64_C(1) << 62); /* the VM's time may be negative */
    uint64_t began = atomic_load_explicit(&t->second_began_us, memory_order_relaxed);
    if (now - began >= 1000000 && atomic_compare_exchange_strong(&t->second_began_us, &began, now))
        atomic_store_explicit(&t->second_traces, 0, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&t->second_traces, t->step, memory_order_relaxed) + t->step > t->max_rate)
        tracer_end(t, TRACER_TOO_FAST);
}

static inline void add_one(_Atomic uint64_t *figure)
{
    atomic_store_explicit(figure, atomic_load_explicit(figure, memory_order_relaxed) + 1, memory_order_relaxed);
}

static inline void count(struct tracer *t, struct tracer_ring *ring, int32_t status)
{
    if (status == PIPELINE_OK)
        add_one(&ring->captured);
    else
        add_one(&ring->refused);
    if (status == PIPELINE_ERR_CLOSED)
        tracer_end(t, TRACER_PIPELINE_CLOSED);
    if (t->max_rate && --ring->to_count == 0) {
        ring->to_count = t->step;
        count_step(t);
    }
}

/* ---- the trace ---- */

static inline uint32_t kind_of(ERL_NIF_TERM tag)
{
    for (unsigned i = 0; i < TAGS; i++)
        if (tag_atoms[i] == tag)
            return TRACE_KINDS + i;
    return TRACE_KINDS + OTHER_TAG;
}

ERL_NIF_TERM tracer_kinds(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ERL_NIF_TERM list = enif_make_list(env, 0);
    (void)argc;
    (void)argv;
    for (unsigned i = TAGS; i-- > 0;)
        list = enif_make_list_cell(env, enif_make_tuple2(env, tag_atoms[i], enif_make_uint(env, TRACE_KINDS + i)), list);
    return list;
}

/* {Module, Function, Arguments or Arity}: the arguments get the whole depth. */
static void encode_call(struct encoder *e, ERL_NIF_TERM call)
{
    const ERL_NIF_TERM *parts;
    int arity;
    if (!enif_get_tuple(e->env, call, &arity, &parts) || arity != 3) {
        encode_term(e, call, e->depth);
        return;
    }
    encode_reserve(e, 1);
    encode_term(e, parts[0], 0);
    encode_term(e, parts[1], 0);
    encode_arguments(e, parts[2], e->depth);
    encode_release(e, 1);
    encode_tuple(e, 3);
}

/* argv: the tag, the tracer's state, the tracee, the term, the options. */
static size_t encode(struct tracer *t, ErlNifEnv *env, const ERL_NIF_TERM argv[], void *to, uint32_t kind)
{
    /* The words that the tuple and the elements that follow the term need at least. */
    enum { EXTRA = 8 };
    struct encoder e;
    ERL_NIF_TERM extra, result;
    size_t elements = 4, options;
    bool has_options = enif_get_map_size(env, argv[4], &options) && options > 0;
    encode_begin(&e, env, to, t->bytes, t->depth);
    encode_reserve(&e, 1);
    encode_term(&e, atom_trace, 0);
    encode_term(&e, argv[2], 0);
    encode_term(&e, argv[0], 0);
    encode_reserve(&e, EXTRA);
    if (kind <= TRACE_KINDS + 2) /* call, return_from, exception_from */
        encode_call(&e, argv[3]);
    else
        encode_term(&e, argv[3], t->depth);
    encode_release(&e, EXTRA);
    if (has_options && enif_get_map_value(env, argv[4], atom_extra, &extra)) {
        encode_reserve(&e, EXTRA / 2);
        encode_term(&e, extra, t->depth);
        encode_release(&e, EXTRA / 2);
        elements++;
    }
    if (has_options && enif_get_map_value(env, argv[4], atom_match_spec_result, &result)) {
        encode_term(&e, result, t->depth);
        elements++;
    }
    encode_release(&e, 1);
    encode_tuple(&e, elements);
    return encode_end(&e);
}

/* Into the ring as it is: a consumer reads the term from there. */
static int32_t put_encoded(struct tracer *t, struct tracer_ring *ring, ErlNifEnv *env, const ERL_NIF_TERM argv[], uint32_t kind)
{
    uint64_t words[ENCODED_BYTES / 8]; /* not cleared, because it is large and this is a hot path */
    pipeline_event_t event = { .struct_size = sizeof event, .kind = kind, .flags = EVENT_TERM, .data = words };
    event.len = encode(t, env, argv, words, kind);
    return pipeline_producer_capture_event(ring->producer, &event);
}

/* The text of an atom as Elixir's and Erlang's users write it in a call; false: it is no short text in ASCII. */
static bool plain_atom(ErlNifEnv *env, ERL_NIF_TERM atom, char *to, unsigned size)
{
    int length = enif_get_atom(env, atom, to, size, ERL_NIF_LATIN1);
    for (int i = 0; i + 1 < length; i++)
        if ((unsigned char)to[i] < 0x20 || (unsigned char)to[i] >= 0x7F)
            return false;
    return length > 0;
}

/* "Module.function/arity", or "module:function/arity" of a module that is none of Elixir's. Its length. */
static size_t label_of(ErlNifEnv *env, ERL_NIF_TERM call, char *to, size_t size)
{
    static const char elixir[] = "Elixir.";
    char module[256], function[256];
    const ERL_NIF_TERM *parts;
    int elements, arity;
    unsigned arguments;
    if (!enif_get_tuple(env, call, &elements, &parts) || elements != 3)
        enif_snprintf(to, size, "%.100T", call);
    else {
        if (!enif_get_int(env, parts[2], &arity))
            arity = enif_get_list_length(env, parts[2], &arguments) ? (int)arguments : -1;
        if (!plain_atom(env, parts[0], module, sizeof module) || !plain_atom(env, parts[1], function, sizeof function))
            enif_snprintf(to, size, "%T:%T/%d", parts[0], parts[1], arity);
        else if (strncmp(module, elixir, sizeof elixir - 1) == 0)
            enif_snprintf(to, size, "%s.%s/%d", module + sizeof elixir - 1, function, arity);
        else
            enif_snprintf(to, size, "%s:%s/%d", module, function, arity);
    }
    to[size - 1] = 0;
    return strlen(to);
}

/* For a timeline: the process and the function as the fields of a typed kind (elixir_scope_capture_pipeline_tracer has the definitions). */
static int32_t put_typed(struct tracer_ring *ring, ErlNifEnv *env, const ERL_NIF_TERM argv[], uint32_t kind)
{
    char payload[TRACK_BYTES + 1 + 2 * 256 + 64] = { 0 };
    size_t head = TRACK_BYTES;
    pipeline_event_t event = { .struct_size = sizeof event, .kind = kind == TRACE_KINDS ? TIMELINE_CALL : TIMELINE_RETURN, .data = payload };
    enif_snprintf(payload, TRACK_BYTES, "%T", argv[2]);
    payload[TRACK_BYTES - 1] = 0;
    if (event.kind == TIMELINE_RETURN)
        payload[head++] = kind == TRACE_KINDS + 2;
    event.len = head + label_of(env, argv[3], payload + head, sizeof payload - head);
    return pipeline_producer_capture_event(ring->producer, &event);
}

/* For a native storage: in the external term format, as other terms. */
static int32_t put_external(struct tracer *t, struct tracer_ring *ring, ErlNifEnv *env, const ERL_NIF_TERM argv[], uint32_t kind)
{
    uint64_t words[ENCODED_BYTES / 8];
    pipeline_event_t event = { .struct_size = sizeof event, .kind = kind };
    ErlNifBinary external;
    encode(t, env, argv, words, kind);
    ERL_NIF_TERM term = encoded_term(ring->env, words);
    int32_t status = PIPELINE_ERR_NO_MEMORY;
    if (term && enif_term_to_binary(ring->env, term, &external)) {
        event.data = external.data;
        event.len = external.size;
        status = pipeline_producer_capture_event(ring->producer, &event);
        enif_release_binary(&external);
    }
    enif_clear_env(ring->env);
    return status;
}

void trace_capture(ErlNifEnv *env, struct tracer *t, const ERL_NIF_TERM argv[])
{
    if (!runs(t))
        return;
    struct tracer_ring *ring = ring_of(t);
    if (!ring) {
        atomic_fetch_add_explicit(&t->without_ring, 1, memory_order_relaxed);
        return;
    }
    uint32_t kind = kind_of(argv[0]);
    count(t, ring,
        t->timeline && kind <= TRACE_KINDS + 2 ? put_typed(ring, env, argv, kind)
        : t->pipeline->delivery                ? put_encoded(t, ring, env, argv, kind)
                                               : put_external(t, ring, env, argv, kind));
}
