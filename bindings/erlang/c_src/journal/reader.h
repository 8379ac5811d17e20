/* Readers of journals (docs/reader.md): a resource each. A wrong argument gets {error, badarg}; none of the NIFs raises.
 *
 * They run on dirty I/O schedulers, because they read files. None waits for an event, or for another process: one call at a time works on a reader,
 * and another one meanwhile gets {error, busy}. A reader is closed by reader_close, or with the last term that refers to it.
 *
 * reader_open(Path, Options) -> {ok, Reader} | {error, {Reason, Text}} | {error, {badarg, Key}}
 * reader_next(Reader, Most) -> [Event, ...] | [] | done | empty | {error, busy | {Reason, Text}}
 *     at most Most events, and no more than fit in a call; [] if all that the call has read were filtered out. done: the last event was read. empty:
 *     there is nothing new, and the reader follows the journal. Event is
 *     {Kind, Payload | none, Bytes, TimestampNs, RealtimeNs, CorrelationId, NodeId, Generation, RingId, Sequence, Flags, Weight}
 * reader_definitions(Reader) -> {ok, [{Generation, Kind, Name, none | Definition}]} | {error, ...}      Definition as pipeline_kind_define takes it
 * reader_losses(Reader) -> {ok, Map} | {error, ...}
 * reader_close(Reader) -> ok     if another process's call is at work, that call closes the reader at its end */
#ifndef CAPTURE_NIF_READER_H
#define CAPTURE_NIF_READER_H

#include "base/resource.h"

/* Called when the NIF is loaded or upgraded. */
void reader_load(ErlNifEnv *env);

ERL_NIF_TERM reader_open(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM reader_next(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM reader_definitions(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM reader_losses(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM reader_close(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
