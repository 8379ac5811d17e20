/* Environment blocks: many terms in one environment, which is freed when the last of them has been let go.
 *
 * One thread at a time adds to a block (it owns it); any thread may meanwhile copy terms out that it holds a reference for: additions never move
 * what is there. References for all the terms that may come are taken when the block is opened, so that adding one costs no
 * atomic operation; block_close gives the unused ones back. */
#ifndef CAPTURE_NIF_BLOCK_H
#define CAPTURE_NIF_BLOCK_H

#include "resource.h"

#include <stdatomic.h>

struct block {
    _Atomic uint32_t references;   /* the owner's, those of the terms that are held, and those of the terms still to come */
    uint32_t to_come;              /* references for terms not yet handed out; the owner's word */
    size_t bytes;                  /* of all the terms added; the owner's word */
    size_t most_bytes;             /* the block takes no more terms once it has this many */
    ErlNifEnv *env;
};

/* A block for at most `terms` terms, closed to more after `bytes` bytes. The caller owns it. NULL without memory. */
struct block *block_open(uint32_t terms, size_t bytes);

/* Whether the block takes one more term. */
static inline bool block_has_room(const struct block *block)
{
    return block->to_come > 0 && block->bytes < block->most_bytes;
}

/* Copies a term of that size (from term_size) into the block: the copy, or 0 without memory. It is in nobody's hand yet: if it stays so,
 * it is garbage until the block goes. */
ERL_NIF_TERM block_add(struct block *block, ErlNifEnv *from, ERL_NIF_TERM term, size_t bytes, int needs);

/* The copy that was added last passes to a holder, who lets it go by block_unref. By the owner, before it passes. */
static inline void block_hand_out(struct block *block)
{
    block->to_come--;
}

/* One more reference, by someone who has one (a reader, while it copies). */
static inline void block_ref(struct block *block)
{
    atomic_fetch_add_explicit(&block->references, 1, memory_order_relaxed);
}

/* Lets one reference go, from any thread; the last one frees the environment. */
void block_unref(struct block *block);

/* The owner adds no more: its reference and the unused ones go. NULL is fine. */
void block_close(struct block *block);

/* A number of this thread that is below the number of threads that ever called: an index of slots. */
unsigned block_thread(void);

#endif
