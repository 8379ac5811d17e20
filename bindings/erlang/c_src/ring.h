/* NativeRingBuffer: a totally ordered log of terms with positions from 0, bounded by a number of events.
 *
 * This header also says what a cursor (cursor.c) sees of a ring; a ring may have been made by an older copy of the NIF, so all goes
 * through its table. */
#ifndef CAPTURE_NIF_RING_H
#define CAPTURE_NIF_RING_H

#include "resource.h"

struct ring;

/* A cursor's place in a ring: how far it has settled. It lies in the cursor, and is linked into the ring; all of it is guarded by
 * the ring's lock. Append-only: both sides may be different copies. */
struct ring_follower {
    struct ring_follower *next, **link;   /* link is NULL outside the list */
    uint64_t settled;                     /* all below is settled */
};

struct ring_ops {
    struct ops base;
    /* A new follower starts at the oldest event held: its position and the ring's epoch are written. */
    void (*follow)(struct ring *, struct ring_follower *, uint64_t *position, uint64_t *epoch);
    void (*unfollow)(struct ring *, struct ring_follower *);
    /* The epoch changes with each clear. One atomic load. */
    uint64_t (*epoch)(struct ring *);
    /* The follower has settled all below that position; nothing happens if the epoch is another by now. */
    void (*settle)(struct ring *, struct ring_follower *, uint64_t position, uint64_t epoch);
    /* ring_wait below. `group`: of the waiters of one group, one is woken per write; 0: a group of its own. */
    ERL_NIF_TERM (*wait)(struct ring *, ErlNifEnv *, uint64_t position, uint64_t group);
    ERL_NIF_TERM (*write)(struct ring *, ErlNifEnv *, int argc, const ERL_NIF_TERM argv[]);
    ERL_NIF_TERM (*read)(struct ring *, ErlNifEnv *, int argc, const ERL_NIF_TERM argv[]);
    ERL_NIF_TERM (*read_batch)(struct ring *, ErlNifEnv *, int argc, const ERL_NIF_TERM argv[]);
    ERL_NIF_TERM (*stats)(struct ring *, ErlNifEnv *);
    ERL_NIF_TERM (*clear)(struct ring *, ErlNifEnv *);
    ERL_NIF_TERM (*end)(struct ring *, ErlNifEnv *);
};

/* Called when the NIF is loaded or upgraded. */
void ring_load(ErlNifEnv *env);

/* A wrong argument is answered by {error, badarg}, a destroyed ring by {error, destroyed}; nothing raises.
 *
 * ring_new(Size, drop_oldest | drop_newest | block, MaxEventBytes) -> {ok, Ring} | {error, out_of_memory}   (Size: a power of 2)
 * ring_write(Ring, Term) -> ok | opaque | {error, buffer_full | too_large | out_of_memory}
 *     opaque: elixir_scope_capture_pipeline_term:bound(Term, MaxEventBytes) tells Bytes and Needs for
 * ring_write(Ring, Term, Bytes, Needs)                    a write whose size the Erlang side has measured
 * ring_read(Ring, Position) -> {ok, Term, Next} | empty   an older position reads the oldest event held
 * ring_read_batch(Ring, Position, Count) -> {Terms, First, Next}
 *     the terms of First .. Next-1. [] only at the end (or for a Count of 0); may be fewer than Count although there are more: the work of a call is bounded
 * ring_stats(Ring) -> {Write, Read, TotalWrites, TotalReads, Dropped}
 * ring_clear(Ring) -> ok, ring_destroy(Ring) -> ok        (dirty: they let many events go)
 * ring_wait(Ring, Position) -> ready | {ok, Ref} | {error, limit}
 *     ready: there is an event at or behind Position. Else the next write sends {ring_ready, Ref} to the caller, once. */
ERL_NIF_TERM ring_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_write(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_read(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_read_batch(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_stats(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_clear(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_destroy(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM ring_wait(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Rows of the function table: name, arity, function, flags. */
#define RING_FUNCS(ROW) \
    ROW("ring_new", 3, ring_new, 0) \
    ROW("ring_write", 2, ring_write, 0) \
    ROW("ring_write", 4, ring_write, 0) \
    ROW("ring_read", 2, ring_read, 0) \
    ROW("ring_read_batch", 3, ring_read_batch, 0) \
    ROW("ring_stats", 1, ring_stats, 0) \
    ROW("ring_clear", 1, ring_clear, ERL_NIF_DIRTY_JOB_CPU_BOUND) \
    ROW("ring_destroy", 1, ring_destroy, ERL_NIF_DIRTY_JOB_CPU_BOUND) \
    ROW("ring_wait", 2, ring_wait, 0)

#endif
