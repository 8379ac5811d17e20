/* The answers of consumers to their batches: see completion.h. */
#include "delivery/completion.h"
#include "delivery/delivery.h"
#include "pipeline/status.h"

enum {
    ANSWERS_PER_WAKE = 3,   /* answered batches whose space is worth the cost of waking a process */
    LARGE = 8192,           /* a batch with more events is completed on a dirty scheduler, */
    LARGE_BYTES = 1 << 20,  /* and one whose terms take more bytes in blocks, which are freed then */
    MAX_REJECTED = 65536,
};

static ERL_NIF_TERM atom_retry;

void completion_load(ErlNifEnv *env)
{
    atom_retry = enif_make_atom(env, "retry");
}

struct answer {
    uint64_t token;
    int32_t result;
    unsigned *rejected;         /* indexes of events (enif_free); NULL without any */
    unsigned count, max;        /* how many indexes, and the largest */
};

static bool get_indexes(ErlNifEnv *env, ERL_NIF_TERM list, struct answer *answer)
{
    ERL_NIF_TERM head;
    if (!enif_get_list_length(env, list, &answer->count) || answer->count > MAX_REJECTED)
        return false;
    if (answer->count && !(answer->rejected = enif_alloc(answer->count * sizeof *answer->rejected)))
        return false;
    for (unsigned i = 0; enif_get_list_cell(env, list, &head, &list); i++) {
        if (!enif_get_uint(env, head, &answer->rejected[i])) {
            enif_free(answer->rejected);
            return false;
        }
        if (answer->rejected[i] > answer->max)
            answer->max = answer->rejected[i];
    }
    return true;
}

/* Token, ok | retry | {ok, Indexes}. */
static bool get_answer(ErlNifEnv *env, ERL_NIF_TERM token, ERL_NIF_TERM result, struct answer *answer)
{
    int arity;
    const ERL_NIF_TERM *parts;
    ErlNifUInt64 number;
    if (!enif_get_uint64(env, token, &number))
        return false;
    *answer = (struct answer) { .token = number, .result = result == atom_retry ? PIPELINE_STORE_RETRY : PIPELINE_STORE_OK };
    if (result == atom_ok || result == atom_retry)
        return true;
    return enif_get_tuple(env, result, &arity, &parts) && arity == 2 && parts[0] == atom_ok && get_indexes(env, parts[1], answer);
}

static void free_answer(struct answer *answer)
{
    if (answer->rejected)
        enif_free(answer->rejected);
}

PIPELINE_DIRTY(delivery_complete)
PIPELINE_DIRTY(delivery_next)

static ERL_NIF_TERM reschedule(ErlNifEnv *env, struct answer *answer, int argc, const ERL_NIF_TERM argv[], bool wants_next)
{
    free_answer(answer);
    return enif_schedule_nif(env, wants_next ? "delivery_next" : "delivery_complete", ERL_NIF_DIRTY_JOB_IO_BOUND,
        wants_next ? delivery_next_dirty : delivery_complete_dirty, argc, argv);
}

/* On a normal scheduler nothing waits: not for the lock, whose holder may be preempted, and not for the library's counters (PIPELINE_ERR_BUSY). If
 * one of them is held, or the batch is large, the call is made again on a dirty scheduler. */
static ERL_NIF_TERM complete(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[], bool wants_next)
{
    struct delivery *d = pipeline->delivery;
    struct outgoing outgoing = { .pipeline = NULL };
    struct answer answer;
    int32_t status = PIPELINE_ERR_BUSY;
    bool normal = on_normal_scheduler();
    if (!d || !get_answer(env, argv[1], argv[2], &answer))
        return answer_badarg(env);
    if (!normal)
        enif_mutex_lock(d->lock);
    else if (answer.count > 0 || enif_mutex_trylock(d->lock) != 0)
        return reschedule(env, &answer, argc, argv, wants_next);
    struct outstanding *o = outstanding_find(d, answer.token);
    /* While its consumer copies events out of a batch, no other process may answer it. */
    bool known = o && !o->reading, fits = known && (answer.count == 0 || answer.max < o->count);
    bool large = fits && (o->count > LARGE || o->held.bytes > LARGE_BYTES || !o->held.known);
    if (!fits || (normal && large)) {
        enif_mutex_unlock(d->lock);
        if (fits)
            return reschedule(env, &answer, argc, argv, wants_next);
        free_answer(&answer);
        return known ? answer_badarg(env) : answer_refused(env, PIPELINE_ERR_UNKNOWN_TOKEN);
    }
    if (!o->held.known && !held_note(&o->held, o->batch)) {
        enif_mutex_unlock(d->lock);
        free_answer(&answer);
        return answer_refused(env, PIPELINE_ERR_NO_MEMORY);
    }
    /* The batch is taken out before it is answered: after the answer it may come again, with another token. */
    outstanding_take(d, o);
    struct held held = { .count = 0 }; /* what is released after the lock */
    ErlNifPid self;
    struct consumer *consumer = o->consumer;
    /* Whether the next notice may be the answer of this call: that needs no message and wakes no process. */
    bool asks = wants_next && d->notices && enif_self(env, &self) && enif_compare_pids(&consumer->pid, &self) == 0;
    bool next = false;
    if (normal) {
        const pipeline_batch_t *claimed = NULL;
        if (asks && d->exchanges && d->parked_count == 0 && !d->stopped) {
            /* The claim takes its time, so that the lock is released. The consumer is the caller, so that it stays. */
            enif_mutex_unlock(d->lock);
            status = pipeline_batch_exchange(answer.token, answer.result, &claimed);
            enif_mutex_lock(d->lock);
        } else {
            status = pipeline_batch_try_complete(answer.token, answer.result);
        }
        if (status == PIPELINE_ERR_BUSY) {
            outstanding_put_back(d, o);
            enif_mutex_unlock(d->lock);
            return reschedule(env, &answer, argc, argv, wants_next);
        }
        if (status == PIPELINE_OK && answer.result == PIPELINE_STORE_OK) {
            held = o->held;
            o->held = (struct held) { .count = 0 };
        }
        if (claimed) {
            enif_consume_timeslice(env, (int)(claimed->count / 500) + 1);
            outstanding_init(o, claimed);
            outstanding_add_to(d, consumer, o, &outgoing);
            o = NULL;
            next = true;
        }
    }
    if (!next) {
        next = asks && outstanding_unpark_to(d, consumer, &outgoing);
        if (!next)
            outstanding_unpark(d, &outgoing);
    }
    bool wake = ++d->answers_since_wake >= ANSWERS_PER_WAKE || d->parked_count == 0;
    if (wake)
        d->answers_since_wake = 0;
    enif_mutex_unlock(d->lock);
    if (!normal) {
        bool rejected = false;
        for (unsigned i = 0; i < answer.count; i++)
            rejected |= pipeline_batch_set_rejected(o->batch, answer.rejected[i]) == PIPELINE_OK;
        status = outstanding_complete(o, answer.result, rejected);
    } else if (o) {
        outstanding_free(o);
    }
    held_release(&held);
    if (!next)
        outgoing_send(env, &outgoing);
    if (wake)
        space_waiters_wake(&d->space_waiters, env);
    free_answer(&answer);
    /* An error is about the answered batch, which is completed already. The next batch is valid all the same. */
    if (next)
        return outgoing_answer(env, &outgoing);
    return status == PIPELINE_OK ? atom_ok : answer_refused(env, status);
}

ERL_NIF_TERM delivery_complete_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    return complete(env, pipeline, argc, argv, false);
}

ERL_NIF_TERM delivery_next_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    return complete(env, pipeline, argc, argv, true);
}
