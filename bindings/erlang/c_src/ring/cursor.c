/* The shared cursor: see cursor.h.
 *
 * One mutex guards all of a cursor. It is held for a few dozen instructions, and while the ring's lock is taken (order: cursor, then ring). The
 * memory is bounded by the claims (claims.h) and by the live processes that used the cursor. */
#include "ring/cursor.h"
#include "ring/claims.h"
#include "ring/ring.h"

/* A process that has had a turn or a claim: monitored from then until its death. */
struct owner {
    ErlNifPid pid;
    ErlNifMonitor monitor;
};

struct cursor {
    struct resource resource;
    ErlNifMutex *lock;
    struct ring *ring;                 /* holds a reference; NULL: not a native ring */
    struct ring_follower follower;     /* guarded by the ring's lock */
    uint64_t epoch;                    /* of the ring when the fields below were valid */
    uint64_t next;                     /* the first position that was never claimed */
    uint64_t version;                  /* changes with set and clear; a turn of an older version is stale */
    bool turn;                         /* turn_owner reads, since turn_version */
    ErlNifPid turn_owner;
    uint64_t turn_version;
    struct claims claims;
    struct owner *owners;
    size_t owners_count, owners_capacity;
};

struct cursor_ops {
    struct ops base;
    ERL_NIF_TERM (*begin)(struct cursor *, ErlNifEnv *, const ERL_NIF_TERM argv[]);
    ERL_NIF_TERM (*claim)(struct cursor *, ErlNifEnv *, const ERL_NIF_TERM argv[]);
    ERL_NIF_TERM (*settle)(struct cursor *, ErlNifEnv *, const ERL_NIF_TERM argv[]);
    ERL_NIF_TERM (*give_back)(struct cursor *, ErlNifEnv *, const ERL_NIF_TERM argv[]);
    ERL_NIF_TERM (*set)(struct cursor *, ErlNifEnv *, const ERL_NIF_TERM argv[]);
    ERL_NIF_TERM (*wait)(struct cursor *, ErlNifEnv *, const ERL_NIF_TERM argv[]);
    ERL_NIF_TERM (*info)(struct cursor *, ErlNifEnv *, const ERL_NIF_TERM argv[]);
};

static ERL_NIF_TERM atom_again, atom_read, atom_busy, atom_empty, atom_stale, atom_unknown, atom_none;

static const struct ring_ops *ring_ops(struct cursor *cursor)
{
    return (const struct ring_ops *)((struct resource *)cursor->ring)->ops;
}

/* ---- state ---- */

/* All positions below this one are settled. */
static uint64_t settled_below(const struct cursor *cursor)
{
    return claims_lowest(&cursor->claims, cursor->next);
}

static void acknowledge(struct cursor *cursor)
{
    if (cursor->ring)
        ring_ops(cursor)->settle(cursor->ring, &cursor->follower, settled_below(cursor), cursor->epoch);
}

static void start_at(struct cursor *cursor, uint64_t position)
{
    cursor->next = position;
    cursor->version++;
    cursor->turn = false;
    claims_clear(&cursor->claims);
}

/* A ring that was cleared starts again at 0. */
static void follow_epoch(struct cursor *cursor)
{
    if (!cursor->ring)
        return;
    uint64_t epoch = ring_ops(cursor)->epoch(cursor->ring);
    if (epoch != cursor->epoch) {
        cursor->epoch = epoch;
        start_at(cursor, 0);
    }
}

static struct owner *owner_find(struct cursor *cursor, const ErlNifPid *pid)
{
    for (size_t i = 0; i < cursor->owners_count; i++)
        if (enif_compare_pids(&cursor->owners[i].pid, pid) == 0)
            return &cursor->owners[i];
    return NULL;
}

/* Monitors the caller. False without memory, or if it is dying. */
static bool owner_add(struct cursor *cursor, ErlNifEnv *env, const ErlNifPid *pid)
{
    if (owner_find(cursor, pid))
        return true;
    if (!array_grow((void **)&cursor->owners, &cursor->owners_capacity, cursor->owners_count, sizeof *cursor->owners))
        return false;
    struct owner *owner = &cursor->owners[cursor->owners_count];
    owner->pid = *pid;
    if (enif_monitor_process(env, cursor, pid, &owner->monitor) != 0)
        return false;
    cursor->owners_count++;
    return true;
}

static void owner_died(struct resource *resource, ErlNifEnv *env, ErlNifPid *pid, ErlNifMonitor *monitor)
{
    struct cursor *cursor = (struct cursor *)resource;
    (void)env;
    (void)monitor;
    enif_mutex_lock(cursor->lock);
    struct owner *owner = owner_find(cursor, pid);
    if (owner) {
        *owner = cursor->owners[--cursor->owners_count];
        array_shrink((void **)&cursor->owners, &cursor->owners_capacity, cursor->owners_count, sizeof *cursor->owners);
    }
    if (cursor->turn && enif_compare_pids(&cursor->turn_owner, pid) == 0)
        cursor->turn = false;
    claims_return_of(&cursor->claims, pid);
    enif_mutex_unlock(cursor->lock);
}

static void destroy(struct resource *resource)
{
    struct cursor *cursor = (struct cursor *)resource;
    if (cursor->ring) {
        ring_ops(cursor)->unfollow(cursor->ring, &cursor->follower);
        enif_release_resource(cursor->ring);
    }
    claims_free(&cursor->claims);
    enif_free(cursor->owners);
    if (cursor->lock)
        enif_mutex_destroy(cursor->lock);
}

/* ---- the table ---- */

static ERL_NIF_TERM number(ErlNifEnv *env, uint64_t value)
{
    return enif_make_uint64(env, value);
}

/* After a call that may have acknowledged events. Not under the lock. A ring of an older copy has no watcher. */
static void tell(struct cursor *cursor, ErlNifEnv *env)
{
    if (cursor->ring && ring_ops(cursor)->base.size >= offsetof(struct ring_ops, tell) + sizeof ring_ops(cursor)->tell)
        ring_ops(cursor)->tell(cursor->ring, env);
}

static ERL_NIF_TERM do_begin(struct cursor *cursor, ErlNifEnv *env, const ERL_NIF_TERM argv[])
{
    ErlNifUInt64 max;
    ErlNifPid self;
    if (!enif_get_uint64(env, argv[1], &max) || max == 0 || !enif_self(env, &self))
        return answer_badarg(env);
    ERL_NIF_TERM answer = atom_busy;
    enif_mutex_lock(cursor->lock);
    follow_epoch(cursor);
    struct range range;
    uint64_t id;
    if (!owner_add(cursor, env, &self)) {
        /* No memory: the same answer as if another process had the turn. */
    } else if ((id = claims_take_returned(&cursor->claims, max, &self, &range))) {
        answer = enif_make_tuple4(env, atom_again, number(env, id), number(env, range.from), number(env, range.to));
    } else if (!cursor->turn || enif_compare_pids(&cursor->turn_owner, &self) == 0) {
        cursor->turn = true;
        cursor->turn_owner = self;
        cursor->turn_version = cursor->version;
        answer = enif_make_tuple2(env, atom_read, number(env, cursor->next));
    }
    enif_mutex_unlock(cursor->lock);
    return answer;
}

static ERL_NIF_TERM do_claim(struct cursor *cursor, ErlNifEnv *env, const ERL_NIF_TERM argv[])
{
    ErlNifUInt64 from, to;
    ErlNifPid self;
    if (!enif_get_uint64(env, argv[1], &from) || !enif_get_uint64(env, argv[2], &to) || from > to || !enif_self(env, &self))
        return answer_badarg(env);
    ERL_NIF_TERM answer = atom_stale;
    enif_mutex_lock(cursor->lock);
    follow_epoch(cursor);
    if (cursor->turn && enif_compare_pids(&cursor->turn_owner, &self) == 0) {
        cursor->turn = false;
        if (cursor->turn_version == cursor->version && from >= cursor->next) {
            uint64_t id = 0;
            if (from == to || (id = claims_open(&cursor->claims, (struct range){ from, to }, &self))) {
                bool jumped = from > cursor->next; /* the events in between were overwritten */
                cursor->next = to;
                answer = id ? answer_ok(env, number(env, id)) : atom_empty;
                /* Also when idle: a ring releases settled events in bounded steps. */
                if (jumped || !id)
                    acknowledge(cursor);
            }
        }
    }
    enif_mutex_unlock(cursor->lock);
    tell(cursor, env);
    return answer;
}

static ERL_NIF_TERM close_claim(struct cursor *cursor, ErlNifEnv *env, ERL_NIF_TERM which, bool settled)
{
    ErlNifUInt64 id;
    if (!enif_get_uint64(env, which, &id))
        return answer_badarg(env);
    enif_mutex_lock(cursor->lock);
    follow_epoch(cursor);
    bool known = claims_close(&cursor->claims, id, settled);
    if (known && settled)
        acknowledge(cursor);
    enif_mutex_unlock(cursor->lock);
    tell(cursor, env);
    return known ? atom_ok : atom_unknown;
}

static ERL_NIF_TERM do_settle(struct cursor *cursor, ErlNifEnv *env, const ERL_NIF_TERM argv[])
{
    return close_claim(cursor, env, argv[1], true);
}

static ERL_NIF_TERM do_return(struct cursor *cursor, ErlNifEnv *env, const ERL_NIF_TERM argv[])
{
    return close_claim(cursor, env, argv[1], false);
}

static ERL_NIF_TERM do_set(struct cursor *cursor, ErlNifEnv *env, const ERL_NIF_TERM argv[])
{
    ErlNifUInt64 position;
    if (!enif_get_uint64(env, argv[1], &position))
        return answer_badarg(env);
    enif_mutex_lock(cursor->lock);
    follow_epoch(cursor);
    start_at(cursor, position);
    acknowledge(cursor);
    enif_mutex_unlock(cursor->lock);
    tell(cursor, env);
    return atom_ok;
}

static ERL_NIF_TERM do_wait(struct cursor *cursor, ErlNifEnv *env, const ERL_NIF_TERM argv[])
{
    (void)argv;
    if (!cursor->ring)
        return enif_make_atom(env, "unsupported");
    enif_mutex_lock(cursor->lock);
    follow_epoch(cursor);
    bool ready = cursor->claims.returned_count > 0;
    uint64_t next = cursor->next;
    enif_mutex_unlock(cursor->lock);
    if (ready)
        return enif_make_atom(env, "ready");
    return ring_ops(cursor)->wait(cursor->ring, env, next, (uintptr_t)cursor);
}

static ERL_NIF_TERM do_info(struct cursor *cursor, ErlNifEnv *env, const ERL_NIF_TERM argv[])
{
    static const char *names[] = { "next", "settled", "open", "claimed", "returned", "owners", "epoch", "turn" };
    enum { COUNT = sizeof names / sizeof *names };
    ERL_NIF_TERM keys[COUNT], values[COUNT], map;
    (void)argv;
    for (int i = 0; i < COUNT; i++)
        keys[i] = enif_make_atom(env, names[i]);
    enif_mutex_lock(cursor->lock);
    follow_epoch(cursor);
    uint64_t claimed, returned;
    claims_count(&cursor->claims, &claimed, &returned);
    values[0] = number(env, cursor->next);
    values[1] = number(env, settled_below(cursor));
    values[2] = number(env, cursor->claims.open_count);
    values[3] = number(env, claimed);
    values[4] = number(env, returned);
    values[5] = number(env, cursor->owners_count);
    values[6] = number(env, cursor->epoch);
    values[7] = cursor->turn ? enif_make_pid(env, &cursor->turn_owner) : atom_none;
    enif_mutex_unlock(cursor->lock);
    return enif_make_map_from_arrays(env, keys, values, COUNT, &map) ? map : answer_badarg(env);
}

static const struct cursor_ops cursor_table = {
    .base = { .size = sizeof cursor_table, .destroy = destroy, .down = owner_died },
    .begin = do_begin,
    .claim = do_claim,
    .settle = do_settle,
    .give_back = do_return,
    .set = do_set,
    .wait = do_wait,
    .info = do_info,
};

/* ---- the NIFs ---- */

void cursor_load(ErlNifEnv *env)
{
    atom_again = enif_make_atom(env, "again");
    atom_read = enif_make_atom(env, "read");
    atom_busy = enif_make_atom(env, "busy");
    atom_empty = enif_make_atom(env, "empty");
    atom_stale = enif_make_atom(env, "stale");
    atom_unknown = enif_make_atom(env, "unknown");
    atom_none = enif_make_atom(env, "none");
}

ERL_NIF_TERM cursor_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    struct ring *ring = resource_get(env, argv[0], RESOURCE_RING);
    if (!ring && !enif_is_identical(argv[0], atom_none))
        return answer_badarg(env);
    struct cursor *cursor = resource_new(RESOURCE_CURSOR, &cursor_table.base, sizeof *cursor);
    if (!cursor)
        return answer_error(env, "out_of_memory");
    cursor->lock = enif_mutex_create("capture_cursor");
    if (!cursor->lock) {
        enif_release_resource(cursor);
        return answer_error(env, "out_of_memory");
    }
    if (ring) {
        enif_keep_resource(ring);
        cursor->ring = ring;
        ring_ops(cursor)->follow(ring, &cursor->follower, &cursor->next, &cursor->epoch);
    }
    ERL_NIF_TERM term = enif_make_resource(env, cursor);
    enif_release_resource(cursor);
    return answer_ok(env, term);
}

#define CURSOR_NIF(name, entry) \
    ERL_NIF_TERM name(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) \
    { \
        struct cursor *cursor = resource_get(env, argv[0], RESOURCE_CURSOR); \
        (void)argc; \
        if (!cursor) \
            return answer_badarg(env); \
        return ((const struct cursor_ops *)cursor->resource.ops)->entry(cursor, env, argv); \
    }

CURSOR_NIF(cursor_begin, begin)
CURSOR_NIF(cursor_claim, claim)
CURSOR_NIF(cursor_settle, settle)
CURSOR_NIF(cursor_return, give_back)
CURSOR_NIF(cursor_set, set)
CURSOR_NIF(cursor_wait, wait)
CURSOR_NIF(cursor_info, info)
