/* What the measurements share: the contender and its setup, the capturing threads, the clocks, the output. */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#define _GNU_SOURCE
#include "contender.h"
#include "store.h"

#include <stdbool.h>
#include <stdio.h>

enum { MAX_THREADS = 64 };

/* The offered events: their count, and the sum of their first 8 bytes. */
struct offered { uint64_t count, sum; };

/* A measurement, as the command line describes it. */
struct measurement {
    const struct contender *contender;
    const struct storage_contender *storage; /* the same contender, for the measurements `storage`, `read` and `paced`; else NULL */
    struct bench_setup setup;
    struct bench_store *store;
    uint32_t bursts;  /* the most */
    uint32_t pin;     /* see place_contender() */
    double seconds;   /* the duration, for measurements by time */
    double rate;      /* offered events per second */
    uint64_t events;  /* the number of events, for measurements by number */
    uint32_t keep;    /* 1: files are not deleted */
    double ns_per_tick;
    /* NULL, or a second contender that is measured in the same process, alternately with this one. It has its own store. */
    struct measurement *beside;
    struct offered offered; /* for the second contender: what it was offered */
};

/* One capturing thread: its handle, its payloads, the events that it has offered. */
struct capturer {
    const struct measurement *m;
    void *handle;
    unsigned char *payloads;
    uint32_t stride, mask, number;
    uint64_t seed, offered, sum;
    uint64_t *samples; /* ticks */
    uint64_t sample_count;
};

/* Each prints its figures as members of a JSON object and returns what was offered. */
struct offered measure_capture(const struct measurement *m);
struct offered measure_each(const struct measurement *m);
struct offered measure_throughput(const struct measurement *m);
struct offered measure_wake(const struct measurement *m);
struct offered measure_load(const struct measurement *m);
struct offered measure_idle(const struct measurement *m);
/* These also stop the contender and read its files back. */
struct offered measure_storage(const struct measurement *m);
struct offered measure_read(const struct measurement *m);
struct offered measure_paced(const struct measurement *m);

/* capturers.c */

/* `pin` makes a run independent of the scheduler. A single capturing thread gets the first processor; the contender's threads get
 * the second (APART) or also the first (TOGETHER). Two capturing threads get one processor each, and the contender's threads are
 * not bound. To be called before the contender starts, because its threads inherit the affinity. */
enum { FREE, APART, TOGETHER };
void place_contender(const struct measurement *m);
void capturer_open(struct capturer *c, const struct measurement *m, uint32_t number);
void capturer_close(struct capturer *c);
/* A burst of `count` events with new values. */
struct bench_burst capturer_fill(struct capturer *c, uint32_t count);
/* Runs `work` on setup.threads threads. */
struct offered capturers_run(const struct measurement *m, struct capturer *all, void (*work)(struct capturer *));
/* A barrier for all capturing threads of the run. */
void capturers_barrier(const struct measurement *m);
/* Waits until the storage has `count` events; false after 20 seconds. */
bool wait_until_stored(const struct measurement *m, uint64_t count);

/* clock.c */
double now_s(void);
/* The processor time of this process. */
double processor_s(void);
double measure_ns_per_tick(void);
void sleep_for_us(double us);
void spin_us(const struct measurement *m, double us);

/* report.c */
/* Prints "name": {"50": ..., "90": ...}: percentiles in ns of samples in ticks, each divided by `each`. Sorts the samples. */
void print_percentiles(const struct measurement *m, const char *name, uint64_t *samples, uint64_t count, double each);
/* Prints the message and ends the process with status 1. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
