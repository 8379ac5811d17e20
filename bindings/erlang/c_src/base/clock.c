/* The conversion between the system's and the VM's monotonic clock: see clock.h. */
#include "base/clock.h"

#include <string.h>
#include <time.h>

enum {
    PIECES = 1024,          /* pieces that are kept: only a change of the VM's correction makes a new one */
    READINGS = 8,           /* readings of both clocks, of which the quickest is used */
    QUICK_NS = 250,
    TOLERATED_NS = 2000,    /* beside the error of the reading: a piece that is off by no more is extended */
    AHEAD_NS = 10000000,    /* how far beyond now a piece reaches */
};

/* Neither clock ever shows a larger time. */
#define MAX_NS (INT64_C(1) << 62)

enum { SYSTEM, VM };

/* One moment by the two clocks. */
struct moment {
    int64_t at[2];
};

/* From `start` to the next piece's start, the clocks advance in proportion to `run`, which never changes. */
struct piece {
    struct moment start, run;
};

static struct {
    ErlNifMutex *lock;
    struct piece pieces[PIECES];    /* ascending by both clocks */
    unsigned count;
    struct moment end;              /* of the last piece; it may be moved forward */
} chain;

static ERL_NIF_TERM atom_vm, atom_system;

/* ---- under the lock ---- */

static int64_t system_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Both clocks at one moment, and the largest error of the reading. */
static struct moment read_both(int64_t *error)
{
    struct moment best = { { 0, 0 } };
    *error = INT64_MAX;
    for (int i = 0; i < READINGS && *error > QUICK_NS; i++) {
        int64_t before = system_now(), vm = enif_monotonic_time(ERL_NIF_NSEC), after = system_now();
        if (after - before < *error) {
            *error = after - before;
            best = (struct moment) { { before + (after - before) / 2, vm } };
        }
    }
    return best;
}

static int64_t between(int64_t low, int64_t value, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static int64_t in_proportion(int64_t length, int64_t to, int64_t of)
{
    return (int64_t)((__int128)length * to / of);
}

/* The VM's time by the last piece, as if it reached that far. */
static int64_t expected_at(int64_t system)
{
    const struct piece *last = &chain.pieces[chain.count - 1];
    return last->start.at[VM] + in_proportion(system - last->start.at[SYSTEM], last->run.at[VM], last->run.at[SYSTEM]);
}

/* A new piece from the end of the last one to that moment, with a slope between a half and two, so that time neither stands still nor goes
 * back. A full chain loses its oldest piece. */
static void append_to(struct moment to)
{
    int64_t length = to.at[SYSTEM] - chain.end.at[SYSTEM];
    to.at[VM] = between(chain.end.at[VM] + length / 2 + 1, to.at[VM], chain.end.at[VM] + length * 2);
    if (chain.count == PIECES) {
        memmove(chain.pieces, chain.pieces + 1, (PIECES - 1) * sizeof *chain.pieces);
        chain.count--;
    }
    chain.pieces[chain.count++] = (struct piece) { chain.end, { { length, to.at[VM] - chain.end.at[VM] } } };
    chain.end = to;
}

/* Extends the chain to a little beyond now. */
static void extend(void)
{
    int64_t error;
    struct moment now = read_both(&error);
    int64_t off = expected_at(now.at[SYSTEM]) - now.at[VM], end = now.at[SYSTEM] + AHEAD_NS;
    int64_t since = now.at[SYSTEM] - chain.end.at[SYSTEM], rise = now.at[VM] - chain.end.at[VM];
    if (since <= 0)
        return;
    /* The last piece is still right: extend it. */
    if (off <= error + TOLERATED_NS && off >= -error - TOLERATED_NS) {
        chain.end = (struct moment) { { end, expected_at(end) } };
        return;
    }
    /* The next piece has the slope since the end, if that is long enough ago to measure it. A piece of its own bridges a gap without conversions. */
    int64_t ahead = since >= AHEAD_NS / 2 ? in_proportion(AHEAD_NS, rise, since) : AHEAD_NS;
    if (since > AHEAD_NS)
        append_to(now);
    append_to((struct moment) { { end, now.at[VM] + ahead } });
}

/* The last piece that begins at or before that time, or the first piece. */
static unsigned find(int clock, int64_t time)
{
    unsigned low = 0, high = chain.count - 1;
    while (low < high) {
        unsigned middle = (low + high + 1) / 2;
        if (chain.pieces[middle].start.at[clock] <= time)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static void initialize(void)
{
    int64_t error;
    struct moment now = read_both(&error);
    /* One piece, from the start of the system on. */
    chain.pieces[0] = (struct piece) { { { 0, now.at[VM] - now.at[SYSTEM] } }, { { 1, 1 } } };
    chain.end = (struct moment) { { now.at[SYSTEM] + AHEAD_NS, now.at[VM] + AHEAD_NS } };
    chain.count = 1;
}

/* ---- the NIF ---- */

void clock_load(ErlNifEnv *env)
{
    atom_vm = enif_make_atom(env, "vm");
    atom_system = enif_make_atom(env, "system");
    if (chain.lock)
        return; /* loaded again from the same file: the chain goes on */
    chain.lock = enif_mutex_create("capture_pipeline_clock");
    if (chain.lock)
        initialize();
}

ERL_NIF_TERM clock_piece(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    int from = argv[0] == atom_vm ? SYSTEM : VM;
    ErlNifSInt64 time;
    if ((argv[0] != atom_vm && argv[0] != atom_system) || !enif_get_int64(env, argv[1], &time) || time > MAX_NS ||
        time < -MAX_NS || !chain.lock)
        return answer_badarg(env);
    /* The lock is held for some hundred nanoseconds, unless the system has preempted the holder. */
    if (enif_mutex_trylock(chain.lock) != 0) {
        if (on_normal_scheduler())
            return enif_schedule_nif(env, "clock_piece", ERL_NIF_DIRTY_JOB_CPU_BOUND, clock_piece, argc, argv);
        enif_mutex_lock(chain.lock);
    }
    if (time >= chain.end.at[from])
        extend();
    unsigned at = find(from, time);
    struct piece piece = chain.pieces[at];
    struct moment until = at + 1 < chain.count ? chain.pieces[at + 1].start : chain.end;
    enif_mutex_unlock(chain.lock);
    if (time < piece.start.at[from] || time >= until.at[from]) {
        /* A time that the caller has set, before the start of the system or in the future: converted by the nearest offset. */
        struct moment near = time < piece.start.at[from] ? piece.start : until;
        int64_t away = time - near.at[from];
        piece = (struct piece) { { { near.at[SYSTEM] + away, near.at[VM] + away } }, { { 1, 1 } } };
        until.at[from] = time + 1;
    }
    return enif_make_tuple5(env, enif_make_int64(env, piece.start.at[from]), enif_make_int64(env, until.at[from]),
        enif_make_int64(env, piece.start.at[!from]), enif_make_int64(env, piece.run.at[!from]), enif_make_int64(env, piece.run.at[from]));
}
