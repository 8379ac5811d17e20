/* The shared cursor of several workers: which positions of a ring are not yet claimed, which are claimed, and which were returned. It works for any
 * log with positions. A cursor on a NativeRingBuffer also acknowledges settled positions to the ring. */
#ifndef CAPTURE_NIF_CURSOR_H
#define CAPTURE_NIF_CURSOR_H

#include "base/resource.h"

/* Called when the NIF is loaded or upgraded. */
void cursor_load(ErlNifEnv *env);

/* A wrong argument gets {error, badarg}.
 *
 * cursor_new(Ring | none) -> {ok, Cursor}                starts at the oldest event held (none: at 0)
 * cursor_begin(Cursor, Max)                              the caller's next step:
 *     -> {again, Id, From, To}                           these were returned: read them again under claim Id; at most Max events
 *      | {read, From}                                    the caller has the turn: it reads from there, then calls cursor_claim
 *      | busy                                            another living process has the turn
 * cursor_claim(Cursor, From, To)                         ends the turn: the caller has read From .. To-1
 *     -> {ok, Id} | empty                                (From =:= To: nothing was read)
 *      | stale                                           the cursor was set or the ring cleared meanwhile: drop the events
 * cursor_settle(Cursor, Id) -> ok | unknown              ends a claim; any process may call it
 * cursor_return(Cursor, Id) -> ok | unknown              ends a claim whose events are to be read again
 * cursor_set(Cursor, Position) -> ok                     all workers read on from there; open claims and turns become stale
 * cursor_wait(Cursor) -> ready | {ok, Ref} | unsupported ready: there is something to claim. {ok, Ref}: the next write sends
 *                                                        {ring_ready, Ref} to one waiter of the cursor. unsupported: not a native
 *                                                        ring, poll instead
 * cursor_info(Cursor) -> #{next, settled, open, claimed, returned, owners, epoch, turn}
 *
 * (epoch: how often the ring was cleared)
 * The claims and the turn of a process that dies are returned. */
ERL_NIF_TERM cursor_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM cursor_begin(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM cursor_claim(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM cursor_settle(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM cursor_return(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM cursor_set(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM cursor_wait(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM cursor_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
