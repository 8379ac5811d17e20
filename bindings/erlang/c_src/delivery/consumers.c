/* Processes that attach to a pipeline, detach from it and die: see consumers.h. */
#include "delivery/consumers.h"
#include "delivery/delivery.h"
#include "pipeline/status.h"

enum { MAX_CONSUMERS = 4096 };

/* Under the lock: shows all consumers that there are, one after the other. A reader that looks meanwhile may miss one. */
static void show(struct delivery *d)
{
    unsigned count = 0;
    for (struct consumer *each = d->consumers; each && count < SHOWN_CONSUMERS; each = each->next)
        atomic_store_explicit(&d->shown[count++], each->pid.pid, memory_order_relaxed);
    while (count < SHOWN_CONSUMERS && d->shown[count])
        atomic_store_explicit(&d->shown[count++], 0, memory_order_relaxed);
}

ERL_NIF_TERM pipeline_attach_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    struct delivery *d = pipeline->delivery;
    struct outgoing outgoing[CREDIT];
    const char *refused = NULL;
    ErlNifPid pid;
    (void)argc;
    (void)argv;
    if (!d)
        return answer_detail(env, "unsupported", "the pipeline's storage is a native one");
    if (!enif_self(env, &pid))
        return answer_badarg(env);
    struct consumer *consumer = enif_alloc(sizeof *consumer);
    if (!consumer)
        return answer_detail(env, "no_memory", "");
    *consumer = (struct consumer) { .pid = pid };
    enif_mutex_lock(d->lock);
    struct consumer **at = consumer_find(d, &pid);
    bool attached = *at != NULL;
    if (d->stopped || pipeline->closed)
        refused = "closed";
    else if (!attached && d->consumer_count >= MAX_CONSUMERS)
        refused = "limit";
    else if (!attached && enif_monitor_process(env, pipeline, &pid, &consumer->monitor) != 0)
        refused = "state"; /* the process is being killed */
    if (!refused && !attached) {
        *at = consumer;
        d->consumer_count++;
        enif_keep_resource(pipeline);
        show(d);
    }
    for (int i = 0; i < CREDIT; i++)
        outstanding_unpark(d, &outgoing[i]);
    enif_mutex_unlock(d->lock);
    if (refused || attached)
        enif_free(consumer);
    for (int i = 0; i < CREDIT; i++)
        outgoing_send(env, &outgoing[i]);
    if (refused)
        return answer_detail(env, refused, "");
    delivery_adjust(pipeline, false);
    return atom_ok;
}

/* Removes a consumer; NULL: the process is none. *list: its outstanding batches, to be returned. */
static struct consumer *remove_consumer(struct delivery *d, const ErlNifPid *pid, struct outstanding **list)
{
    *list = NULL;
    enif_mutex_lock(d->lock);
    struct consumer **at = consumer_find(d, pid);
    struct consumer *consumer = *at;
    if (consumer) {
        struct outstanding *o;
        while ((o = consumer->outstanding.last)) {
            outstanding_take(d, o);
            /* The process may be dead and still copy events on a dirty scheduler: delivery_events returns the batch when it is done. */
            o->orphan = o->reading;
            if (o->orphan)
                continue;
            o->next = *list;
            *list = o;
        }
        *at = consumer->next;
        d->consumer_count--;
        show(d);
    }
    enif_mutex_unlock(d->lock);
    return consumer;
}

/* After remove_consumer. */
static void end_consumer(struct pipeline *pipeline, struct consumer *consumer, struct outstanding *list)
{
    enif_free(consumer);
    outstanding_return(list);
    delivery_adjust(pipeline, false);
    enif_release_resource(pipeline);
}

void consumer_down(struct pipeline *pipeline, ErlNifPid *pid)
{
    struct outstanding *list;
    struct consumer *consumer = remove_consumer(pipeline->delivery, pid, &list);
    if (consumer)
        end_consumer(pipeline, consumer, list);
}

ERL_NIF_TERM pipeline_detach_call(ErlNifEnv *env, struct pipeline *pipeline, int argc, const ERL_NIF_TERM argv[])
{
    struct outstanding *list;
    ErlNifPid pid;
    (void)argc;
    (void)argv;
    if (!pipeline->delivery || !enif_self(env, &pid))
        return atom_ok;
    struct consumer *consumer = remove_consumer(pipeline->delivery, &pid, &list);
    if (consumer) {
        enif_demonitor_process(env, pipeline, &consumer->monitor);
        end_consumer(pipeline, consumer, list);
    }
    return atom_ok;
}
