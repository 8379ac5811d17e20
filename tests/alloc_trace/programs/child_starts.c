/* The 256th allocation of a forked child starts its pipeline. Here the child makes it on a thread of 16 KiB stack, or on one
 * with a pthread_cancel pending: malloc is no cancellation point. Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *work(void *cancelled) {
    if (cancelled != NULL) pthread_cancel(pthread_self());
    for (int i = 0; i < 20000; i++) free(malloc(100 + (size_t)i % 50));
    return (void *)1; /* no cancellation point until here */
}

static int run_thread(int cancelled, size_t stack_bytes) {
    pthread_attr_t attributes;
    pthread_t thread;
    void *result = NULL;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstacksize(&attributes, stack_bytes) != 0) return 2;
    if (pthread_create(&thread, &attributes, work, cancelled ? &attributes : NULL) != 0) return 3;
    if (pthread_join(thread, &result) != 0) return 4;
    return result == PTHREAD_CANCELED ? 5 : result == (void *)1 ? 0 : 6;
}

int main(int count, char **words) {
    if (count < 2) return 1;
    int cancelled = strcmp(words[1], "cancelled") == 0;
    size_t stack_bytes = strcmp(words[1], "small_stack") == 0 ? PTHREAD_STACK_MIN : 1 << 20;
    if (strcmp(words[1], "small_stack_here") == 0) return run_thread(0, PTHREAD_STACK_MIN);
    pid_t child = fork();
    if (child == 0) _exit(run_thread(cancelled, stack_bytes));
    int status = 0;
    if (waitpid(child, &status, 0) != child) return 7;
    printf("child: %d %d\n", WEXITSTATUS(status), WIFSIGNALED(status));
    return 0;
}
