/* A capture pipeline as a resource of the VM: its state. control/lifecycle.c starts and ends it, capture.c is the way in, delivery/ the way out to
 * consumers, flush.c waits until everything is settled. */
#ifndef CAPTURE_NIF_PIPELINE_H
#define CAPTURE_NIF_PIPELINE_H

#include "base/resource.h"
#include "pipeline/flush_queue.h"
#include "term/block.h"

#include <capture_pipeline.h>
#include <stdatomic.h>

struct delivery;
struct watcher;

/* The producer and the block of one thread. Only that thread uses them; the destructor runs when no thread can. */
struct thread_cache {
    pipeline_producer_t *producer;  /* NULL: not opened yet, or the library has none left */
    struct block *block;            /* takes the thread's next terms; NULL: none yet */
    bool shared;                    /* max_rings are in use: the thread captures through the ring that all threads share */
} __attribute__((aligned(128)));

/* The library's handle is valid from the start to the destructor, which abandons it. `control` is held while a configuration is read, changed
 * and written back. Only dirty schedulers wait for it; other threads only try to take it (see delivery_adjust). */
struct pipeline {
    struct resource base;
    pipeline_t *native;
    struct delivery *delivery;      /* NULL: the storage is a native one. Freed by the storage's destroy */
    struct thread_cache *thread_caches;
    unsigned thread_cache_count;
    struct pipeline_end *end;       /* memory for the destructor */
    struct watcher *watcher;        /* whom the pressure callback tells; NULL: nobody. Under `control` */
    char name[256];                 /* the library does not tell it */
    size_t max_event_bytes;
    bool flat;                      /* terms may be captured as flat words */
    bool ring_file;                 /* terms are captured in a form that another VM can read (term/external.h) */
    ErlNifMutex *control;
    struct flush_queues flush_queues;
    _Atomic bool needs_adjust;      /* delivery_adjust has work to do */
    _Atomic bool blocks;            /* the overflow policy is block: the library drops, and the callers wait in Erlang */
    _Atomic bool paused;            /* by its owner */
    _Atomic bool closed;            /* nothing is left in it */
};

/* A function that the pipeline's table has, and that a NIF calls through it. */
typedef ERL_NIF_TERM pipeline_call(ErlNifEnv *, struct pipeline *, int argc, const ERL_NIF_TERM argv[]);

/* Defines name_dirty, which enif_schedule_nif runs on a dirty scheduler: the same call again. It is of the copy that made the pipeline, so that
 * it needs no table. */
#define PIPELINE_DIRTY(name) \
    static ERL_NIF_TERM name##_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) \
    { \
        struct pipeline *p = resource_get(env, argv[0], RESOURCE_PIPELINE); \
        return p ? name##_call(env, p, argc, argv) : answer_badarg(env); \
    }

#endif
