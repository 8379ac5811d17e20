/* The NIFs of rings. A wrong argument gets {error, badarg}, a destroyed ring {error, destroyed}; none of them raises.
 *
 * ring_new(Size, drop_oldest | drop_newest | block, MaxEventBytes) -> {ok, Ring} | {error, out_of_memory}   (Size: a power of 2)
 * ring_write(Ring, Term) -> ok | opaque | {error, buffer_full | too_large | out_of_memory}
 *     opaque: elixir_scope_capture_pipeline_term:bound(Term, MaxEventBytes) returns Bytes and Needs for
 * ring_write(Ring, Term, Bytes, Needs)                    a write of a term that was measured in Erlang
 * ring_read(Ring, Position) -> {ok, Term, Next} | empty   an older position reads the oldest event held
 * ring_read_batch(Ring, Position, Count) -> {Terms, First, Next}
 *     the terms of First .. Next-1. [] only at the end (or for a Count of 0). The work of a call is bounded, so there may be fewer than Count
 *     terms although the ring has more
 * ring_stats(Ring) -> {Write, Read, TotalWrites, TotalReads, Dropped}
 * ring_clear(Ring) -> ok, ring_destroy(Ring) -> ok        (dirty: they release many events)
 * ring_wait(Ring, Position) -> ready | {ok, Ref} | {error, limit}
 *     ready: there is an event at Position or behind it. Otherwise the next write sends {ring_ready, Ref} to the caller, once.
 * ring_watch(Ring, Low, High, Ref | none) -> ok           0 =< Low < High =< 100; none: ends it
 *     {capture_pressure, Ref, Percent, high | low} comes when so many percent of the places are in use, by turns; at once, if they are already */
#ifndef CAPTURE_NIF_RING_NIF_H
#define CAPTURE_NIF_RING_NIF_H

#include "base/resource.h"

/* Called when the NIF is loaded or upgraded. */
void ring_load(ErlNifEnv *env);

ERL_NIF_TERM ring_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_write(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_read(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_read_batch(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_stats(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_clear(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_destroy(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_watch(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_wait(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
