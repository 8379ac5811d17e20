/* A consumer's shared cursor: which positions of a ring its workers have yet to take, which are taken, which came back.
 * It works for any log with positions; a cursor made on a NativeRingBuffer also settles into it. */
#ifndef CAPTURE_NIF_CURSOR_H
#define CAPTURE_NIF_CURSOR_H

#include "resource.h"

/* Called when the NIF is loaded or upgraded. */
void cursor_load(ErlNifEnv *env);

/* Every answer to a wrong argument is {error, badarg}.
 *
 * cursor_new(Ring | none) -> {ok, Cursor}                a consumer that starts at the oldest event held (none: at 0)
 * cursor_begin(Cursor, Max)                              what the caller shall do next:
 *     -> {again, Id, From, To}                           this came back: read it again (the claim is open); at most Max events
 *      | {read, From}                                    the turn is the caller's: read from there, then cursor_claim
 *      | busy                                            another living process has the turn
 * cursor_claim(Cursor, From, To)                         ends the turn: the caller has read From .. To-1
 *     -> {ok, Id} | empty                                (From =:= To: nothing read)
 *      | stale                                           the cursor was set or the ring cleared meanwhile: drop what was read
 * cursor_settle(Cursor, Id) -> ok | unknown              the claim is done with; any process may say so
 * cursor_return(Cursor, Id) -> ok | unknown              it is not: somebody is to read it again
 * cursor_set(Cursor, Position) -> ok                     everyone reads on from there; open claims and turns become stale
 * cursor_wait(Cursor) -> ready | {ok, Ref} | unsupported nothing to take: the next write sends {ring_ready, Ref} to one such waiter
 *                                                        of the cursor; `ready`: do not wait. `unsupported`: not a native ring: poll
 * cursor_info(Cursor) -> #{next, settled, open, claimed, returned, owners, epoch, turn}
 *
 * (epoch: counts the times that the ring was cleared)
 * A claim or a turn whose process dies comes back by itself. */
ERL_NIF_TERM cursor_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM cursor_begin(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM cursor_claim(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM cursor_settle(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM cursor_return(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM cursor_set(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM cursor_wait(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM cursor_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Rows of the function table: name, arity, function, flags. */
#define CURSOR_FUNCS(ROW) \
    ROW("cursor_new", 1, cursor_new, 0) \
    ROW("cursor_begin", 2, cursor_begin, 0) \
    ROW("cursor_claim", 3, cursor_claim, 0) \
    ROW("cursor_settle", 2, cursor_settle, 0) \
    ROW("cursor_return", 2, cursor_return, 0) \
    ROW("cursor_set", 2, cursor_set, 0) \
    ROW("cursor_wait", 1, cursor_wait, 0) \
    ROW("cursor_info", 1, cursor_info, 0)

#endif
