/* Captures: see capture.h. A thread has a cache of its own in the pipeline, with a ring of its own: a capture takes no lock and uses no atomic
 * operation.
 *
 * A binary is captured as bytes. Where batches go to consumers, another term is captured as a flat term (term/flat.h), or as a handle if it
 * cannot be flat: the copy lies in the thread's block, and the record holds the handle. Where the storage is a native one, or the rings lie in a file, a term is
 * captured in the external term format. */
#include "pipeline/capture.h"
#include "pipeline/payload.h"
#include "pipeline/status.h"
#include "term/external.h"
#include "term/flat.h"
#include "term/walk.h"

#include <string.h>

enum {
    BLOCK_TERMS = 512,
    BLOCK_BYTES = 256 * 1024,
    SMALL_BINARY = 256,         /* bytes; a binary up to this size is captured as bytes by capture_term too */
    NORMAL_BYTES = 64 * 1024,   /* larger terms are copied on a dirty scheduler */
    MANY_BYTES = 64 * 1024,     /* of one call of capture_many */
    MANY_EVENTS = 256,
    IS_OPAQUE = 1000,           /* results beside the library's statuses, see put_term */
    IS_LARGE,
    IS_NOT_FLAT,
};

static ERL_NIF_TERM atom_opaque, atom_large;

void capture_load(ErlNifEnv *env)
{
    atom_opaque = enif_make_atom(env, "opaque");
    atom_large = enif_make_atom(env, "large");
}

static inline bool get_id(ErlNifEnv *env, ERL_NIF_TERM term, uint64_t *id)
{
    ErlNifUInt64 wide;
    if (layout.small_integers && layout_is_small(term)) {
        *id = term >> 4;
        return true;
    }
    if (!enif_get_uint64(env, term, &wide))
        return false;
    *id = wide;
    return true;
}

static inline bool get_kind(ErlNifEnv *env, ERL_NIF_TERM term, uint32_t *kind)
{
    uint64_t wide;
    if (!get_id(env, term, &wide) || wide >= KIND_END)
        return false;
    *kind = (uint32_t)wide;
    return true;
}

/* ---- thread caches ---- */

static inline struct thread_cache *cache_of(struct pipeline *p)
{
    unsigned thread = block_thread();
    return thread < p->thread_cache_count ? &p->thread_caches[thread] : NULL;
}

static __attribute__((noinline, cold)) pipeline_producer_t *open_producer(struct pipeline *p, struct thread_cache *cache)
{
    if (!cache || cache->shared)
        return NULL;
    int32_t status = pipeline_producer_open(p->native, &cache->producer);
    cache->shared = status == PIPELINE_ERR_LIMIT || status == PIPELINE_ERR_NO_MEMORY;
    return cache->producer;
}

/* The thread's producer. NULL: it has none; the library's own call then finds a ring for the thread, or says why it cannot. */
static inline pipeline_producer_t *producer_of(struct pipeline *p, struct thread_cache *cache)
{
    return cache && cache->producer ? cache->producer : open_producer(p, cache);
}

/* ---- bytes ---- */

static inline int32_t put_bytes(struct pipeline *p, pipeline_event_t *event)
{
    pipeline_producer_t *producer = producer_of(p, cache_of(p));
    return producer ? pipeline_producer_capture_event(producer, event) : pipeline_capture_event(p->native, event);
}

static int32_t put_encoded(ErlNifEnv *env, struct pipeline *p, pipeline_event_t *event, ERL_NIF_TERM term)
{
    ErlNifBinary encoded;
    if (!enif_term_to_binary(env, term, &encoded))
        return PIPELINE_ERR_NO_MEMORY;
    event->data = encoded.data;
    event->len = encoded.size;
    int32_t status = put_bytes(p, event);
    enif_release_binary(&encoded);
    return status;
}

/* As put_encoded, marked as a term and not as bytes. */
static int32_t put_external(ErlNifEnv *env, struct pipeline *p, pipeline_event_t *event, ERL_NIF_TERM term)
{
    ErlNifBinary encoded;
    int32_t status = PIPELINE_ERR_NO_MEMORY;
    if (!enif_term_to_binary(env, term, &encoded))
        return status;
    size_t bytes = encoded.size;
    uint64_t head = external_head(bytes);
    if (enif_realloc_binary(&encoded, bytes + EXTERNAL_HEAD)) {
        memmove(encoded.data + EXTERNAL_HEAD, encoded.data, bytes);
        memcpy(encoded.data, &head, sizeof head);
        event->flags |= EVENT_TERM;
        event->data = encoded.data;
        event->len = encoded.size;
        status = put_bytes(p, event);
    }
    enif_release_binary(&encoded);
    return status;
}

/* ---- terms ---- */

/* The block that takes the thread's next term. */
static inline struct block *block_of(struct pipeline *p, struct thread_cache *cache)
{
    if (cache->block && block_has_space(cache->block))
        return cache->block;
    block_close(cache->block);
    /* A block lives until the last of its events is released: it is small where events or the ring are small. */
    size_t bytes = p->max_event_bytes < BLOCK_BYTES ? p->max_event_bytes * 4 : BLOCK_BYTES;
    cache->block = block_open(BLOCK_TERMS, bytes < BLOCK_BYTES ? bytes : BLOCK_BYTES);
    return cache->block;
}

/* For a thread without a producer: a block for this term alone, and a record of the full length, copied into the shared ring. */
static __attribute__((noinline, cold)) int32_t put_handle_shared(
    ErlNifEnv *env, struct pipeline *p, pipeline_event_t *event, ERL_NIF_TERM term, size_t bytes, int needs)
{
    struct handle handle = { NULL, term };
    char *record = enif_alloc(event->len);
    if (!record)
        return PIPELINE_ERR_NO_MEMORY;
    if (bytes) {
        handle.block = block_open(1, bytes);
        handle.term = handle.block ? block_add(handle.block, env, term, bytes, needs) : 0;
    }
    int32_t status = PIPELINE_ERR_NO_MEMORY;
    if (handle.term) {
        memset(record, 0, event->len);
        memcpy(record, &handle, sizeof handle);
        event->data = record;
        status = pipeline_capture_event(p->native, event);
    }
    if (status == PIPELINE_OK && handle.block)
        block_give(handle.block);
    block_close(handle.block);
    enif_free(record);
    return status;
}

/* `bytes` 0: the term is an immediate. */
static inline int32_t put_handle(
    ErlNifEnv *env, struct pipeline *p, pipeline_event_t *event, ERL_NIF_TERM term, size_t bytes, int needs)
{
    struct handle handle = { NULL, term };
    struct thread_cache *cache = cache_of(p);
    pipeline_producer_t *producer = producer_of(p, cache);
    void *payload;
    event->flags |= EVENT_TERM | (bytes ? PIPELINE_EVENT_RELEASE : 0);
    event->len = bytes > sizeof handle ? bytes : sizeof handle;
    if (!producer)
        return put_handle_shared(env, p, event, term, bytes, needs);
    /* Reserve first: an event that is dropped is not copied. */
    int32_t status = pipeline_producer_reserve(producer, event, event->len, &payload);
    if (status != PIPELINE_OK)
        return status;
    if (bytes) {
        handle.block = block_of(p, cache);
        handle.term = handle.block ? block_add(handle.block, env, term, bytes, needs) : 0;
        if (!handle.term) {
            pipeline_producer_abort(producer);
            return PIPELINE_ERR_NO_MEMORY;
        }
    }
    memcpy(payload, &handle, sizeof handle);
    status = pipeline_producer_commit(producer, event->len);
    if (status == PIPELINE_OK && handle.block)
        block_give(handle.block);
    return status;
}

/* A flat term holds no reference, so that nothing has to be released. IS_NOT_FLAT: the term cannot be flat. */
static inline int32_t put_flat(ErlNifEnv *env, struct pipeline *p, pipeline_event_t *event, ERL_NIF_TERM term)
{
    struct flat flat; /* not cleared: it is big, and this is the hot path */
    /* The walk decides whether a term is too large, by the same measure for all terms. */
    if (!flat_make(env, term, &flat) || flat.bytes > p->max_event_bytes)
        return IS_NOT_FLAT;
    event->flags |= EVENT_TERM;
    event->data = flat.words;
    event->len = flat.bytes;
    return put_bytes(p, event);
}

/* More than max_event_bytes: an offer that the library refuses and counts. */
static __attribute__((noinline, cold)) int32_t put_too_large(struct pipeline *p, pipeline_event_t *event)
{
    static const char nothing[1];
    event->data = nothing;
    event->len = p->max_event_bytes + 1;
    return put_bytes(p, event);
}

static inline int32_t put_sized(
    ErlNifEnv *env, struct pipeline *p, pipeline_event_t *event, ERL_NIF_TERM term, size_t bytes, int needs)
{
    if (p->delivery && !p->ring_file)
        return put_handle(env, p, event, term, bytes, needs);
    return p->delivery ? put_external(env, p, event, term) : put_encoded(env, p, event, term);
}

/* IS_OPAQUE: the caller must measure the term; IS_LARGE: the term is too large for a normal scheduler. */
static inline int32_t put_term(ErlNifEnv *env, struct pipeline *p, pipeline_event_t *event, ERL_NIF_TERM term, bool normal)
{
    ErlNifBinary binary;
    size_t bytes, limit = p->max_event_bytes;
    int needs;
    if (normal && limit > NORMAL_BYTES)
        limit = NORMAL_BYTES;
    if (p->delivery && enif_is_binary(env, term) && enif_inspect_binary(env, term, &binary) &&
        binary.size <= SMALL_BINARY) {
        event->data = binary.data;
        event->len = binary.size;
        return put_bytes(p, event);
    }
    if (p->flat) {
        int32_t status = put_flat(env, p, event, term);
        if (status != IS_NOT_FLAT)
            return status;
    }
    if (!term_size(env, term, limit, &bytes, &needs))
        return limit < p->max_event_bytes ? IS_LARGE : put_too_large(p, event);
    if (needs & TERM_OPAQUE)
        return IS_OPAQUE;
    return put_sized(env, p, event, term, bytes, needs);
}

/* A binary as bytes, anything else as a term. */
static inline int32_t put_either(ErlNifEnv *env, struct pipeline *p, pipeline_event_t *event, ERL_NIF_TERM term, bool normal)
{
    ErlNifBinary binary;
    if (!enif_inspect_binary(env, term, &binary))
        return put_term(env, p, event, term, normal);
    event->data = binary.data;
    event->len = binary.size;
    return put_bytes(p, event);
}

/* ---- the NIFs ---- */

static inline pipeline_event_t event_of(uint32_t kind)
{
    return (pipeline_event_t) { .struct_size = sizeof(pipeline_event_t), .kind = kind };
}

/* The answer to any status but OK. `dirty`: the function that captures a large term, on a dirty scheduler. */
static __attribute__((noinline, cold)) ERL_NIF_TERM answer_other(
    ErlNifEnv *env, const struct pipeline *p, int32_t status, const char *name,
    ERL_NIF_TERM (*dirty)(ErlNifEnv *, int, const ERL_NIF_TERM[]), int argc, const ERL_NIF_TERM argv[])
{
    if (status == IS_OPAQUE)
        return enif_make_tuple2(env, atom_opaque, enif_make_uint64(env, p->max_event_bytes));
    if (status == IS_LARGE)
        return enif_schedule_nif(env, name, ERL_NIF_DIRTY_JOB_CPU_BOUND, dirty, argc, argv);
    return answer_refused(env, status);
}

ERL_NIF_TERM capture_binary_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifBinary binary;
    uint32_t kind;
    int32_t status;
    if (!get_kind(env, argv[1], &kind) || !enif_inspect_binary(env, argv[2], &binary))
        return answer_badarg(env);
    if (argc == 3) {
        pipeline_producer_t *producer = producer_of(p, cache_of(p));
        status = producer ? pipeline_producer_capture(producer, kind, binary.data, binary.size)
                          : pipeline_capture(p->native, kind, binary.data, binary.size);
    } else {
        pipeline_event_t event = event_of(kind);
        if (!get_id(env, argv[3], &event.correlation_id) || !get_id(env, argv[4], &event.node_id))
            return answer_badarg(env);
        event.data = binary.data;
        event.len = binary.size;
        status = put_bytes(p, &event);
    }
    return status == PIPELINE_OK ? atom_ok : answer_refused(env, status);
}

static inline __attribute__((always_inline)) ERL_NIF_TERM capture_term(
    ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[], bool normal);

static ERL_NIF_TERM capture_term_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct pipeline *p = resource_get(env, argv[0], RESOURCE_PIPELINE);
    return p ? capture_term(env, p, argc, argv, false) : answer_badarg(env);
}

static inline ERL_NIF_TERM capture_term(
    ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[], bool normal)
{
    pipeline_event_t event = event_of(0);
    if (!get_kind(env, argv[1], &event.kind))
        return answer_badarg(env);
    if (argc == 5 && (!get_id(env, argv[3], &event.correlation_id) || !get_id(env, argv[4], &event.node_id)))
        return answer_badarg(env);
    int32_t status = put_term(env, p, &event, argv[2], normal);
    return status == PIPELINE_OK ? atom_ok : answer_other(env, p, status, "capture_term", capture_term_dirty, argc, argv);
}

ERL_NIF_TERM capture_term_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    return capture_term(env, p, argc, argv, true);
}

/* Kind, ids, flags and time, from argv[2] on. */
static bool get_head(ErlNifEnv *env, const ERL_NIF_TERM argv[], pipeline_event_t *event)
{
    /* These say what the payload is, which is not the caller's to say. */
    const uint32_t own = EVENT_TERM | PIPELINE_EVENT_RELEASE;
    *event = event_of(0);
    return get_kind(env, argv[2], &event->kind) && get_id(env, argv[3], &event->correlation_id) &&
        get_id(env, argv[4], &event->node_id) && enif_get_uint(env, argv[5], &event->flags) &&
        (event->flags & own) == 0 && get_id(env, argv[6], &event->timestamp_ns);
}

PIPELINE_DIRTY(capture_event)

ERL_NIF_TERM capture_event_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    pipeline_event_t event;
    if (!get_head(env, argv, &event))
        return answer_badarg(env);
    int32_t status = put_either(env, p, &event, argv[1], on_normal_scheduler());
    return status == PIPELINE_OK ? atom_ok : answer_other(env, p, status, "capture_event", capture_event_dirty, argc, argv);
}

PIPELINE_DIRTY(capture_bound)

ERL_NIF_TERM capture_bound_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    pipeline_event_t event;
    uint64_t bytes;
    int needs;
    if (!get_head(env, argv, &event) || !get_id(env, argv[7], &bytes) || !enif_get_int(env, argv[8], &needs))
        return answer_badarg(env);
    if (bytes > p->max_event_bytes)
        return answer_refused(env, put_too_large(p, &event));
    if (bytes > NORMAL_BYTES && on_normal_scheduler())
        return enif_schedule_nif(env, "capture_bound", ERL_NIF_DIRTY_JOB_CPU_BOUND, capture_bound_dirty, argc, argv);
    /* Even with `bytes` 0 the term is copied: the caller's measure is not trusted to mean an immediate. */
    int32_t status = put_sized(env, p, &event, argv[1], bytes ? bytes : sizeof(struct handle), needs);
    return status == PIPELINE_OK ? atom_ok : answer_refused(env, status);
}

ERL_NIF_TERM capture_many_call(ErlNifEnv *env, struct pipeline *p, int argc, const ERL_NIF_TERM argv[])
{
    ERL_NIF_TERM list = argv[2], head, tail, reason = atom_ok;
    unsigned captured = 0;
    size_t bytes = 0;
    uint32_t kind;
    (void)argc;
    if (!get_kind(env, argv[1], &kind))
        return answer_badarg(env);
    while (captured < MANY_EVENTS && bytes < MANY_BYTES && reason == atom_ok &&
           enif_get_list_cell(env, list, &head, &tail)) {
        pipeline_event_t event = event_of(kind);
        int32_t status = put_either(env, p, &event, head, true);
        /* What sampling or a rule leaves out counts, too: the list goes on behind it. */
        if (status == PIPELINE_OK || status == PIPELINE_SAMPLED || status == PIPELINE_DROPPED_BY_RULE) {
            captured++;
            bytes += event.len;
            list = tail;
        } else if (status == IS_OPAQUE) {
            reason = atom_opaque;
        } else if (status == IS_LARGE) {
            reason = atom_large;
        } else {
            reason = status_atom(env, status);
        }
    }
    if (reason == atom_ok && !enif_is_list(env, list))
        reason = atom_badarg;
    /* At most a quarter of a time slice. */
    enif_consume_timeslice(env, captured / 10 + 1);
    return enif_make_tuple3(env, enif_make_uint(env, captured), list, reason);
}
