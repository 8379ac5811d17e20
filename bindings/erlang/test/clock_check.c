/* The conversion of base/clock.c with clocks as a VM shows them when it corrects its time: a time always converts to the same one, order is kept, and the
 * result stays near to the clock. Built and run by tests/beam.sh. Defines the functions of the VM and the system that clock.c calls. */
#include <erl_nif.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t now_ns = 1000000000;                  /* of the system's clock */
static int64_t vm_ns = -576460751000000000;          /* of the VM's */
static int64_t rate_ppm = 0, jitter_ns = 0;
static uint64_t seed = 1;

static uint64_t random_below(uint64_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % n;
}

static void pass(int64_t ns)
{
    now_ns += ns;
    vm_ns += ns + ns * rate_ppm / 1000000;
}

int fake_gettime(clockid_t clock, struct timespec *out)
{
    (void)clock;
    pass(20 + (jitter_ns ? (int64_t)random_below((uint64_t)jitter_ns) : 0));
    *out = (struct timespec) { now_ns / 1000000000, now_ns % 1000000000 };
    return 0;
}

#define clock_gettime fake_gettime
#include "base/clock.c"
#undef clock_gettime

ERL_NIF_TERM atom_error, atom_badarg;
static ERL_NIF_TERM answered[5];

ErlNifTime enif_monotonic_time(ErlNifTimeUnit unit) { (void)unit; pass(20); return vm_ns; }
ErlNifMutex *enif_mutex_create(char *name) { return (ErlNifMutex *)name; }
int enif_mutex_trylock(ErlNifMutex *lock) { (void)lock; return 0; }
void enif_mutex_lock(ErlNifMutex *lock) { (void)lock; }
void enif_mutex_unlock(ErlNifMutex *lock) { (void)lock; }
int enif_thread_type(void) { return 0; }
ERL_NIF_TERM enif_make_atom(ErlNifEnv *env, const char *name) { (void)env; return (ERL_NIF_TERM)name[0]; }
ERL_NIF_TERM enif_make_int64(ErlNifEnv *env, ErlNifSInt64 value) { (void)env; return (ERL_NIF_TERM)value; }
int enif_get_int64(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifSInt64 *value) { (void)env; *value = (ErlNifSInt64)term; return 1; }
ERL_NIF_TERM enif_schedule_nif(ErlNifEnv *env, const char *name, int flags, ERL_NIF_TERM (*nif)(ErlNifEnv *, int, const ERL_NIF_TERM[]), int argc,
    const ERL_NIF_TERM argv[])
{
    (void)env, (void)name, (void)flags, (void)nif, (void)argc, (void)argv;
    abort();
}
ERL_NIF_TERM enif_make_tuple(ErlNifEnv *env, unsigned count, ...)
{
    va_list list;
    (void)env;
    va_start(list, count);
    for (unsigned i = 0; i < count && i < 5; i++)
        answered[i] = va_arg(list, ERL_NIF_TERM);
    va_end(list);
    return count;
}

static void check(int good, const char *what, int64_t a, int64_t b)
{
    if (good)
        return;
    fprintf(stderr, "%s: %" PRId64 " %" PRId64 "\n", what, a, b);
    exit(1);
}

static int64_t convert(ERL_NIF_TERM clock, int64_t time)
{
    ERL_NIF_TERM arguments[2] = { clock, (ERL_NIF_TERM)time };
    clock_piece(NULL, 2, arguments);
    int64_t from = (int64_t)answered[0], until = (int64_t)answered[1], there = (int64_t)answered[2], rise = (int64_t)answered[3],
            run = (int64_t)answered[4];
    check(from <= time && time < until && rise > 0 && run > 0, "a time outside its piece", time, from);
    return there + (int64_t)((__int128)(time - from) * rise / run);
}

enum { EVENTS = 200000 };
static int64_t events[EVENTS], vm_then[EVENTS], converted[EVENTS];

/* A stream of events, converted in groups: some soon, some late. */
static void run(const char *what, int64_t step_ns, int64_t change_ns, const int64_t *rates, size_t rate_count, int64_t near_ns)
{
    int64_t next = now_ns + change_ns;
    size_t rate = 0, done = 0;
    for (size_t i = 0; i < EVENTS; i++) {
        pass(1 + (int64_t)random_below((uint64_t)step_ns * 2));
        if (now_ns >= next) {
            rate_ppm = rates[rate++ % rate_count];
            next = now_ns + change_ns;
        }
        events[i] = now_ns;
        vm_then[i] = vm_ns;
        if (random_below(100) == 0)
            for (; done <= i; done++)
                converted[done] = convert(atom_vm, events[done]);
    }
    for (; done < EVENTS; done++)
        converted[done] = convert(atom_vm, events[done]);
    int64_t worst = 0;
    for (size_t i = 0; i < EVENTS; i++) {
        check(!i || converted[i] > converted[i - 1] || events[i] - events[i - 1] < 3, "time went back or stood", converted[i], converted[i ? i - 1 : 0]);
        int64_t off = llabs(converted[i] - vm_then[i]);
        if (off > worst)
            worst = off;
    }
    check(worst <= near_ns, what, worst, near_ns);
    /* A second conversion gives the same time, and the way back the original one, but for rounding. */
    for (size_t i = EVENTS - 1000; i < EVENTS; i++) {
        check(convert(atom_vm, events[i]) == converted[i], "another time", convert(atom_vm, events[i]), converted[i]);
        check(llabs(convert(atom_system, converted[i]) - events[i]) <= 2, "not the way back", convert(atom_system, converted[i]), events[i]);
    }
    printf("%-50s off by %" PRId64 " ns at most, %u pieces\n", what, worst, chain.count);
}

int main(void)
{
    static const int64_t none[] = { 0 }, some[] = { 10000, 0, -10000, 0, 500, -37 }, much[] = { 10000, -10000 };
    clock_load(NULL);
    run("as a VM is nearly always", 500, 1000000000, none, 1, 1000);
    check(chain.count == 1, "one piece", chain.count, 1);
    jitter_ns = 20000;
    run("with readings that are interrupted", 500, 1000000000, none, 1, 25000);
    jitter_ns = 0;
    run("corrected now and then", 1000, 20000000, some, 6, 150000);
    run("corrected one way and the other", 100, 1000000, much, 2, 150000);
    run("seldom asked", 1000000, 3000000000, some, 6, 40000000);
    run("as it was again", 500, 1000000000, none, 1, 150000);
    /* Times from before the first reading convert by the oldest piece that is kept. */
    check(convert(atom_vm, 5) < convert(atom_vm, 6), "before the beginning", 5, 6);
    return 0;
}
