/* A timer's signal interrupts captures again and again, and its handler captures as well. The results of the handler's captures are
 * counted here, those of the interrupted captures by `storm_pass`. */
#ifndef CAPTURE_PIPELINE_TIMER_STORM_H
#define CAPTURE_PIPELINE_TIMER_STORM_H

#include "../recorder.h"

#include <signal.h>

enum { STORM_SIGNALS = 3000 };

static volatile uint64_t in_handler, ok_in_handler, busy_in_handler, other_in_handler;

/* The results of the interrupted captures, and how often each came. */
typedef struct {
    uint64_t ok, full, busy;
} storm_t;

CHECK_UNUSED static void storm_forget(void)
{
    in_handler = ok_in_handler = busy_in_handler = other_in_handler = 0;
}

/* A capture by the handler, of a number that no other capture of this kind has. */
static void storm_capture_in_handler(int32_t (*capture)(uint64_t number))
{
    int32_t status = capture(in_handler++);
    if (status == PIPELINE_OK)
        ok_in_handler++;
    else if (status == PIPELINE_ERR_BUSY)
        busy_in_handler++;
    else
        other_in_handler++;
}

static int32_t (*storm_handler_capture)(uint64_t number);

static void storm_on_timer(int signo)
{
    int saved = errno;
    (void)signo;
    storm_capture_in_handler(storm_handler_capture);
    errno = saved;
}

/* Captures the numbers from 0 on, each until it is captured, while the timer's handler captures its own, until the handler has run often
 * enough. */
static storm_t storm_pass(int32_t (*capture)(uint64_t number), int32_t (*capture_in_handler)(uint64_t number))
{
    struct sigaction act;
    struct sigevent event;
    struct itimerspec often = {{0, 100000}, {0, 100000}}, never = {{0, 0}, {0, 0}};
    timer_t timer;
    storm_t got = {0, 0, 0};
    uint64_t deadline = now_ms() + PATIENCE_MS, seen = 0;
    const uint64_t signals = (uint64_t)count_of(STORM_SIGNALS, 50);
    storm_handler_capture = capture_in_handler;
    memset(&act, 0, sizeof act);
    act.sa_handler = storm_on_timer;
    sigaction(SIGUSR2, &act, NULL);
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGUSR2;
    CHECK_OR_STOP(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    timer_settime(timer, 0, &often, NULL);
    while (in_handler < signals && now_ms() < deadline) {
        int32_t status = capture(got.ok);
        /* The wait is for the next signal: how often this process runs is up to the machine. */
        if (in_handler != seen) {
            seen = in_handler;
            deadline = now_ms() + PATIENCE_MS;
        }
        if (status == PIPELINE_OK) {
            got.ok++;
        } else if (status == PIPELINE_ERR_FULL) {
            got.full++;
            sched_yield();
        } else if (CHECK_STATUS(status, PIPELINE_ERR_BUSY)) {
            got.busy++;
        }
    }
    timer_settime(timer, 0, &never, NULL);
    timer_delete(timer);
    signal(SIGUSR2, SIG_IGN);
    CHECK(in_handler >= signals);
    return got;
}

#endif
