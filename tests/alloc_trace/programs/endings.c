/* Ends in the way that is asked for, right after some allocations. Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <err.h>
#include <error.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <threads.h>
#include <unistd.h>

static void allocate(int times) {
    for (int i = 0; i < times; i++) free(malloc(100 + (size_t)i % 50));
}

static void late_work(void) {
    allocate(10);
}

static void on_signal(int number) {
    (void)number;
    _exit(44);
}

static void *end_in_thread(void *unused) {
    (void)unused;
    allocate(100);
    exit(45);
}

/* The process ends with status 0 when this thread, its last one, has ended. */
static void *last_thread(void *unused) {
    usleep(50000); /* the main thread is gone by then, most likely; the result is the same if not */
    allocate(100);
    return unused;
}

static void *go_on(void *unused) {
    (void)unused;
    for (;;) {
        free(malloc(30));
        usleep(100); /* its pace: it goes on for as long as the process does */
    }
    return NULL;
}

int main(int count, char **words) {
    const char *how = count > 1 ? words[1] : "return";
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("%s\n", how);
    atexit(late_work);
    at_quick_exit(late_work);
    allocate(2000);
    pthread_t thread;
    if (strcmp(how, "exit") == 0) exit(41);
    if (strcmp(how, "_exit") == 0) _exit(42);
    if (strcmp(how, "_Exit") == 0) _Exit(43);
    if (strcmp(how, "quick_exit") == 0) quick_exit(40);
    if (strcmp(how, "abort") == 0) abort();
    if (strcmp(how, "kill") == 0) raise(SIGKILL);
    if (strcmp(how, "signal") == 0) {
        signal(SIGUSR1, on_signal);
        raise(SIGUSR1);
    }
    if (strcmp(how, "thread") == 0) {
        pthread_create(&thread, NULL, end_in_thread, NULL);
        pthread_exit(NULL);
    }
    if (strcmp(how, "last_thread") == 0) {
        pthread_create(&thread, NULL, last_thread, NULL);
        pthread_exit(NULL);
    }
    if (strcmp(how, "only_thread") == 0) thrd_exit(0);
    if (strcmp(how, "error") == 0) error(48, 0, "ends in error");
    if (strcmp(how, "err") == 0) errx(49, "ends in err");
    if (strcmp(how, "system_call") == 0) syscall(SYS_exit_group, 50);
    if (strcmp(how, "daemon") == 0) {
        if (daemon(1, 1) != 0) return 51;
        allocate(1500);
        printf("the daemon\n");
        return 0;
    }
    if (strcmp(how, "busy") == 0) { /* another thread goes on allocating until the very end */
        pthread_create(&thread, NULL, go_on, NULL);
        allocate(2000);
        exit(46);
    }
    return 47;
}
