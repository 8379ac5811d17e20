/* A tracer of the VM (erl_tracer) that captures: the VM calls enabled/3 and trace/5 in the traced process's own scheduler, and the trace goes straight into
 * that scheduler's ring. No process and no mailbox is in between.
 *
 * The VM may call them with locks of its own held, on any scheduler, dirty ones too. They read terms, write into a ring, and count: they send
 * nothing, wait for nothing, open no ring (all rings are opened when the tracer is made) and call no Erlang. */
#ifndef CAPTURE_NIF_TRACER_H
#define CAPTURE_NIF_TRACER_H

#include "pipeline/pipeline.h"
#include "encoded/encoded.h"

/* The kinds of traces are these numbers, in the order of `tags` in trace.c. A new tag goes to the end. */
enum { TRACE_KINDS = 0x7FFE0100 };

/* Calls for a timeline, and what ends them. The payload is the process as a text in so many bytes, padded with zeros; at the end a byte, 1 if that is an exception;
 * and the function as a text. */
enum { TIMELINE_CALL = 0x7FFE0180, TIMELINE_RETURN, TRACK_BYTES = 32 };

enum { TRACER_EXCLUDED = 64 };

/* Why a tracer traces no longer. The first reason stays. */
enum tracer_state { TRACER_RUNS, TRACER_STOPPED, TRACER_OWNER_DIED, TRACER_TOO_FAST, TRACER_TOO_MUCH_MEMORY, TRACER_PIPELINE_CLOSED };

/* What one thread uses of a tracer. Only that thread writes the figures. */
struct tracer_ring {
    pipeline_producer_t *producer;
    ErlNifEnv *env;                     /* of a pipeline with a native storage: for the term that is encoded */
    uint64_t to_count;                  /* traces until the rate is looked at */
    _Atomic uint64_t captured, refused;
} __attribute__((aligned(128)));

struct tracer {
    struct resource base;
    struct pipeline *pipeline;          /* holds a reference to its resource */
    struct tracer_ring *rings;
    unsigned ring_count, depth, bytes;
    bool timeline;                      /* calls, returns and exceptions are typed */
    uint64_t max_rate, step;            /* traces a second, 0: no limit; each thread looks at the rate at every so many traces */
    _Atomic uint64_t second_began_us, second_traces;
    _Atomic int state;                  /* enum tracer_state */
    _Atomic uint64_t without_ring;      /* traces by threads that have no ring */
    ErlNifMonitor owner, guard;
    unsigned excluded_count;
    ERL_NIF_TERM excluded[TRACER_EXCLUDED];
};

/* Called when the NIF is loaded or upgraded. */
void tracer_load(ErlNifEnv *env);

/* (Pipeline, {Owner, Threads, Depth, Bytes, MaxRate, Excluded, Timeline}) -> {ok, Tracer} | {error, _}. The calling process is the guard. On a dirty scheduler. */
pipeline_call tracer_new_call;

/* The callbacks of erl_tracer, and (Tracer, stopped | owner_died | too_much_memory) -> ok | {error, badarg}, (Tracer) ->
 * {State, Captured, Refused, WithoutRing} | {error, badarg}. */
ERL_NIF_TERM tracer_enabled(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM tracer_trace(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM tracer_stop(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM tracer_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* () -> [{Tag, Kind}] */
ERL_NIF_TERM tracer_kinds(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* ---- for tracer.c: trace.c ---- */

void trace_load(ErlNifEnv *env);
ERL_NIF_TERM trace_enabled(struct tracer *tracer, ERL_NIF_TERM tracee);
void trace_capture(ErlNifEnv *env, struct tracer *tracer, const ERL_NIF_TERM argv[]);
void tracer_end(struct tracer *tracer, enum tracer_state reason);

#endif
