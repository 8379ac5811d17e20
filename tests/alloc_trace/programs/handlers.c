/* A signal handler that comes in the middle of captures and makes calls of its own. free(NULL) is an
 * allocation call that a handler can make without harm in an untraced program, wherever it interrupts.
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static volatile sig_atomic_t handled;

static void on_timer(int number) {
    (void)number;
    for (int i = 0; i < 10; i++) free(NULL);
    handled++;
}

int main(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_timer;
    action.sa_flags = SA_RESTART;
    sigaction(SIGPROF, &action, NULL);
    struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_PROF, &often, NULL);
    for (int i = 0; i < 2000 || handled < 50; i++)
        for (int j = 0; j < 100; j++) free(malloc(24));
    setitimer(ITIMER_PROF, &never, NULL);
    printf("handled\n");
    return 0;
}
