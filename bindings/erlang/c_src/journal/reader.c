/* Readers of journals: see reader.h. */
#include "journal/reader.h"
#include "base/jobs.h"
#include "journal/definitions.h"
#include "journal/options.h"
#include "maps/config.h"
#include "pipeline/status.h"

#include <stdatomic.h>
#include <string.h>

enum {
    ASKED_EVENTS = 256,             /* of the library in one call */
    MOST_EVENTS = 4096,             /* of one call of reader_next, and their bytes: */
    MOST_BYTES = 1024 * 1024,       /* an event that is larger is given alone */
    READ_EVENTS = 64 * 1024,        /* by one call, filtered ones included */
    CAREFUL_BYTES = 64 * 1024,      /* a payload for which the VM may not have enough memory */
};

/* The parts of the state. */
enum {
    IN_USE = 1,                     /* a call is at work */
    IS_CLOSED = 2,                  /* no call begins any more. Who sets it, or the call that is at work, closes the library's reader */
};

struct reader_end;

/* `native` and what follows it belong to the call that has set IN_USE. */
struct reader {
    struct resource resource;
    _Atomic uint32_t state;
    struct reader_end *end;         /* memory for the destructor */
    pipeline_reader_t *native;
    struct reader_filter filter;
    size_t taken, given;            /* of `events` */
    pipeline_reader_event_t events[ASKED_EVENTS]; /* given by the library; their payloads are valid until it is asked again */
};

typedef ERL_NIF_TERM reader_call(struct reader *, ErlNifEnv *, const ERL_NIF_TERM argv[]);

/* Append-only. */
struct reader_ops {
    struct ops base;
    reader_call *next, *definitions, *losses, *close;
};

static ERL_NIF_TERM atom_done, atom_empty, atom_none, atom_busy;

void reader_load(ErlNifEnv *env)
{
    atom_done = enif_make_atom(env, "done");
    atom_empty = enif_make_atom(env, "empty");
    atom_none = enif_make_atom(env, "none");
    atom_busy = enif_make_atom(env, "busy");
}

/* ---- the resource ---- */

/* A library's reader whose resource is freed. */
struct reader_end {
    struct job job;                 /* must be the first member */
    pipeline_reader_t *native;
};

static void close_native(struct job *job)
{
    struct reader_end *end = (struct reader_end *)job;
    pipeline_reader_close(end->native);
    enif_free(end);
}

/* Closing frees up to memory_bytes and closes up to 256 files: a thread does it, if one can be started. */
static void reader_destroy(struct resource *resource)
{
    struct reader *r = (struct reader *)resource;
    reader_filter_free(&r->filter);
    if (!r->end)
        return;
    *r->end = (struct reader_end) { { NULL, close_native }, r->native };
    if (!r->native || !job_start(&r->end->job))
        close_native(&r->end->job);
}

static void close_reader(struct reader *r)
{
    pipeline_reader_close(r->native);
    r->native = NULL;
}

/* ---- one call at a time ---- */

static ERL_NIF_TERM with_reader(struct reader *r, ErlNifEnv *env, const ERL_NIF_TERM argv[], reader_call *body)
{
    uint32_t state = 0;
    if (!atomic_compare_exchange_strong(&r->state, &state, IN_USE)) {
        if (state & IS_CLOSED)
            return answer_detail(env, "closed", "the reader is closed");
        return answer_error_atom(env, atom_busy);
    }
    ERL_NIF_TERM answer = body(r, env, argv);
    if (atomic_fetch_and(&r->state, ~(uint32_t)IN_USE) & IS_CLOSED)
        close_reader(r);
    return answer;
}

static ERL_NIF_TERM do_close(struct reader *r, ErlNifEnv *env, const ERL_NIF_TERM argv[])
{
    (void)env;
    (void)argv;
    if (atomic_fetch_or(&r->state, IS_CLOSED) == 0)
        close_reader(r);
    return atom_ok;
}

/* ---- events ---- */

/* 0: there is not enough memory for the payload. */
static ERL_NIF_TERM payload_term(ErlNifEnv *env, const pipeline_reader_event_t *event)
{
    ERL_NIF_TERM term;
    ErlNifBinary binary;
    if (event->len <= CAREFUL_BYTES) {
        unsigned char *to = enif_make_new_binary(env, event->len, &term);
        if (to)
            memcpy(to, event->data, event->len);
        return term;
    }
    if (!enif_alloc_binary(event->len, &binary))
        return 0;
    memcpy(binary.data, event->data, event->len);
    return enif_make_binary(env, &binary);
}

static ERL_NIF_TERM event_term(ErlNifEnv *env, const pipeline_reader_event_t *event, bool without_payload)
{
    ERL_NIF_TERM payload = without_payload ? atom_none : payload_term(env, event);
    if (!payload)
        return 0;
    return enif_make_tuple(env, 12, enif_make_uint(env, event->kind), payload, enif_make_uint64(env, event->len),
        enif_make_uint64(env, event->timestamp_ns), enif_make_uint64(env, event->realtime_ns),
        enif_make_uint64(env, event->correlation_id), enif_make_uint64(env, event->node_id),
        enif_make_uint64(env, event->generation), enif_make_uint64(env, event->ring_id), enif_make_uint64(env, event->sequence),
        enif_make_uint(env, event->flags), enif_make_double(env, event->weight));
}

/* Asks the library for events, when all that it has given are taken. */
static int32_t ask(struct reader *r)
{
    if (r->taken < r->given)
        return PIPELINE_OK;
    r->taken = r->given = 0;
    r->events[0].struct_size = sizeof r->events[0];
    return pipeline_reader_next_many(r->native, 0, r->events, ASKED_EVENTS, &r->given);
}

static ERL_NIF_TERM do_next(struct reader *r, ErlNifEnv *env, const ERL_NIF_TERM argv[])
{
    ERL_NIF_TERM list = enif_make_list(env, 0);
    unsigned most, count = 0, read = 0;
    size_t bytes = 0;
    int32_t status = PIPELINE_OK;
    if (!enif_get_uint(env, argv[1], &most) || most == 0)
        return answer_badarg(env);
    if (most > MOST_EVENTS)
        most = MOST_EVENTS;
    while (count < most && read < READ_EVENTS && (status = ask(r)) == PIPELINE_OK) {
        const pipeline_reader_event_t *event = &r->events[r->taken];
        if (!reader_filter_wants(&r->filter, event)) {
            r->taken++;
            read++;
            continue;
        }
        size_t size = r->filter.without_payloads ? 0 : event->len;
        if (count > 0 && size > MOST_BYTES - bytes)
            break;
        ERL_NIF_TERM term = event_term(env, event, r->filter.without_payloads);
        if (!term) {
            if (count == 0)
                return answer_detail(env, "no_memory", "there is not enough memory for a payload; the call may be made again");
            break;
        }
        list = enif_make_list_cell(env, term, list);
        r->taken++;
        read++;
        count++;
        bytes += size;
        if (bytes >= MOST_BYTES)
            break;
    }
    /* What has ended or failed will do so again in the next call. */
    if (status == PIPELINE_OK || count > 0) {
        enif_make_reverse_list(env, list, &list);
        return list;
    }
    if (status == PIPELINE_END)
        return atom_done;
    return status == PIPELINE_ERR_TIMEOUT ? atom_empty : answer_status(env, status);
}

/* ---- what a reader knows beside the events ---- */

static ERL_NIF_TERM do_definitions(struct reader *r, ErlNifEnv *env, const ERL_NIF_TERM argv[])
{
    const pipeline_reader_kinds_t *kinds;
    (void)argv;
    int32_t status = pipeline_reader_definitions(r->native, &kinds);
    return status == PIPELINE_OK ? answer_ok(env, definitions_list(env, kinds)) : answer_status(env, status);
}

static ERL_NIF_TERM do_losses(struct reader *r, ErlNifEnv *env, const ERL_NIF_TERM argv[])
{
    pipeline_reader_losses_t losses = { .struct_size = sizeof losses };
    (void)argv;
    int32_t status = pipeline_reader_losses(r->native, &losses);
    return status == PIPELINE_OK ? answer_ok(env, reader_losses_to_map(env, &losses)) : answer_status(env, status);
}

/* ---- the table ---- */

#define READER_CALL(name) \
    static ERL_NIF_TERM name##_call(struct reader *r, ErlNifEnv *env, const ERL_NIF_TERM argv[]) \
    { \
        return with_reader(r, env, argv, do_##name); \
    }

READER_CALL(next)
READER_CALL(definitions)
READER_CALL(losses)

static const struct reader_ops reader_table = {
    .base = { .size = sizeof reader_table, .destroy = reader_destroy },
    .next = next_call,
    .definitions = definitions_call,
    .losses = losses_call,
    .close = do_close,
};

ERL_NIF_TERM reader_open(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct reader_options options;
    ERL_NIF_TERM answer;
    (void)argc;
    if (!reader_options_from_terms(env, argv[0], argv[1], &options, &answer))
        return answer;
    struct reader *r = resource_new(RESOURCE_READER, &reader_table.base, sizeof *r);
    if (r) {
        r->filter = options.filter;
        options.filter = (struct reader_filter) { .without_payloads = false };
        r->end = enif_alloc(sizeof *r->end);
    }
    if (!r || !r->end) {
        answer = answer_detail(env, "no_memory", "");
    } else {
        int32_t status = pipeline_reader_open(options.path, &options.native, &r->native);
        answer = status == PIPELINE_OK ? answer_ok(env, enif_make_resource(env, r)) : answer_status(env, status);
    }
    /* The term holds the reader. Without a term, this frees it. */
    if (r)
        enif_release_resource(r);
    reader_options_free(&options);
    return answer;
}

#define READER_NIF(name) \
    ERL_NIF_TERM reader_##name(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) \
    { \
        struct reader *r = resource_get(env, argv[0], RESOURCE_READER); \
        (void)argc; \
        return r ? ((const struct reader_ops *)(const void *)r->resource.ops)->name(r, env, argv) : answer_badarg(env); \
    }

READER_NIF(next)
READER_NIF(definitions)
READER_NIF(losses)
READER_NIF(close)
