/* Environment blocks: many terms in one environment, which is freed when the last of them has been released.
 *
 * One thread at a time owns a block and adds terms to it. Meanwhile any thread may copy a term for which it holds a reference: an addition
 * never moves the terms that are there. The references of all terms that may come are counted when the block is opened, so that adding a
 * term costs no atomic operation. block_close releases the unused ones. */
#ifndef CAPTURE_NIF_BLOCK_H
#define CAPTURE_NIF_BLOCK_H

#include "base/resource.h"

#include <stdatomic.h>

struct block {
    _Atomic uint32_t references;   /* the owner's, those of the terms that are held, and those of the terms to come */
    uint32_t to_come;              /* references that block_give has not passed on; only the owner uses it */
    size_t bytes;                  /* of all the terms added; only the owner uses it */
    size_t max_bytes;              /* the block takes no more terms once it has this many */
    ErlNifEnv *env;
};

/* A block for at most `terms` terms, which takes no more after `bytes` bytes. The caller owns it. NULL without memory. */
struct block *block_open(uint32_t terms, size_t bytes);

/* Whether the block takes one more term. */
static inline bool block_has_space(const struct block *block)
{
    return block->to_come > 0 && block->bytes < block->max_bytes;
}

/* Copies a term of that size (from term_size) into the block: the copy, or 0 without memory. Without a block_give the copy holds no reference
 * and is garbage until the block is freed. */
ERL_NIF_TERM block_add(struct block *block, ErlNifEnv *from, ERL_NIF_TERM term, size_t bytes, int needs);

/* Passes a reference to the holder of the copy that was added last, which releases it by block_unref. The owner calls it after the add and before
 * its next one. */
static inline void block_give(struct block *block)
{
    block->to_come--;
}

/* One more reference, for a caller that holds one or the lock under which one is held (a reader, while it copies). */
static inline void block_ref(struct block *block)
{
    atomic_fetch_add_explicit(&block->references, 1, memory_order_relaxed);
}

/* Releases a reference, on any thread. The last one frees the environment. */
void block_unref(struct block *block);

/* The same for the references of several terms. */
void block_unref_terms(struct block *block, uint32_t terms);

/* The owner adds no more: its reference and the unused ones are released. NULL is allowed. */
void block_close(struct block *block);

/* The number of this thread: 0 for the first thread that called, and so on. An index of per-thread slots. */
unsigned block_thread(void);

#endif
