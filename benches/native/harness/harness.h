/* What the measurements share: who is measured, with what, and how its figures are printed. */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#define _GNU_SOURCE
#include "contender.h"
#include "store.h"

#include <stdbool.h>
#include <stdio.h>

enum { MOST_THREADS = 64 };

/* How many events, and the sum of their first 8 bytes. */
struct offered { uint64_t count, sum; };

/* A measurement, as the command line has it. */
struct measurement {
    const struct contender *who;
    struct bench_setup setup;
    struct bench_store *store;
    uint32_t bursts;  /* at most */
    uint32_t pin;     /* see place_others() */
    double seconds;   /* at most, or exactly where the measurement is by time */
    double rate;      /* events per second that are offered */
    double ns_a_tick;
    /* NULL, or another contender that is measured in the same process, in turns with this one: its own store, the same setup. */
    struct measurement *beside;
    struct offered offered; /* of the one beside */
};

/* One capturing thread: its handle, its payloads, what it has offered. */
struct capturer {
    const struct measurement *m;
    void *handle;
    unsigned char *payloads;
    uint32_t stride, mask, number;
    uint64_t seed, offered, sum;
    uint64_t *samples; /* ticks */
    uint64_t taken;
};

/* Each prints its figures as members of a JSON object, and answers what was offered. */
struct offered measure_capture(const struct measurement *m);
struct offered measure_each(const struct measurement *m);
struct offered measure_throughput(const struct measurement *m);
struct offered measure_wake(const struct measurement *m);
struct offered measure_load(const struct measurement *m);
struct offered measure_idle(const struct measurement *m);

/* capturers.c */
/* With `pin` a run does not hang on where the scheduler puts whom: a single capturing thread has the first processor, and the
 * contender's threads the second (APART) or the first as well (TOGETHER); of two capturing threads each has its own, and the
 * contender's go where they like. To be called before the contender starts, as its threads inherit their place. */
enum { FREE, APART, TOGETHER };
void place_others(const struct measurement *m);
void capturer_open(struct capturer *c, const struct measurement *m, uint32_t number);
void capturer_close(struct capturer *c);
/* New values for `count` events; answers the burst. */
struct bench_burst capturer_fill(struct capturer *c, uint32_t count);
/* Runs `work` on as many threads as the setup says. */
struct offered capturers_run(const struct measurement *m, struct capturer *all, void (*work)(struct capturer *));
/* All threads of the run meet here. */
void capturers_meet(const struct measurement *m);
/* Until the storage has so many events; false if that takes longer than 20 seconds. */
bool drained(const struct measurement *m, uint64_t count);

double now_s(void);
void rest_us(double us);
void spin_us(const struct measurement *m, double us);
/* Prints "name": {"p50": ..., "p90": ...} of samples in ticks, each divided by `each`; sorts them. */
void print_percentiles(const struct measurement *m, const char *name, uint64_t *samples, uint64_t count, double each);
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
