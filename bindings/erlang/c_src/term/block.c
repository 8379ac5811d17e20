/* Environment blocks: see block.h. */
#include "term/block.h"
#include "term/copy.h"

struct block *block_open(uint32_t terms, size_t bytes)
{
    struct block *block = enif_alloc(sizeof *block);
    if (!block)
        return NULL;
    block->env = enif_alloc_env();
    if (!block->env) {
        enif_free(block);
        return NULL;
    }
    atomic_init(&block->references, terms + 1);
    block->to_come = terms;
    block->bytes = 0;
    block->max_bytes = bytes;
    return block;
}

ERL_NIF_TERM block_add(struct block *block, ErlNifEnv *from, ERL_NIF_TERM term, size_t bytes, int needs)
{
    block->bytes += bytes;
    return term_copy(block->env, from, term, needs);
}

static void release(struct block *block, uint32_t references)
{
    /* Release: a reader has finished its reads before another thread frees the block. Acquire: the thread that frees it sees that. */
    if (atomic_fetch_sub_explicit(&block->references, references, memory_order_acq_rel) == references) {
        enif_free_env(block->env);
        enif_free(block);
    }
}

void block_unref(struct block *block)
{
    release(block, 1);
}

void block_unref_terms(struct block *block, uint32_t terms)
{
    release(block, terms);
}

void block_close(struct block *block)
{
    if (block)
        release(block, block->to_come + 1);
}

unsigned block_thread(void)
{
    static _Atomic unsigned threads;
    static __thread unsigned mine;   /* 0: none yet. A plain word: nothing to destroy at the end of the thread */
    if (!mine)
        mine = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
    return mine - 1;
}
