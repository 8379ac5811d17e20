/* Forks without exec, while other threads allocate and have events under way; children of children; each child ends in
 * its own way. Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static _Atomic int stop;

static void *busy(void *unused) {
    (void)unused;
    while (!stop) {
        free(malloc(40));
        for (volatile int i = 0; i < 300; i++) {}
    }
    return NULL;
}

static void allocate(int times) {
    for (int i = 0; i < times; i++) free(malloc(100 + (size_t)i % 50));
}

static int wait_for(pid_t child) {
    int status = 0;
    if (waitpid(child, &status, 0) != child) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, busy, NULL);
    int sizes[] = {0, 3, 300, 3000};
    int sum = 0;
    for (int i = 0; i < 16; i++) {
        pid_t child = fork();
        if (child == 0) {
            allocate(sizes[i % 4]);
            if (i % 8 == 5) { /* a grandchild */
                pid_t grandchild = fork();
                if (grandchild == 0) {
                    allocate(1000);
                    exit(3);
                }
                if (wait_for(grandchild) != 3) _exit(99);
            }
            if (i / 4 % 2 == 0) _exit(i + 1);
            exit(i + 1);
        }
        sum += wait_for(child);
    }
    stop = 1;
    pthread_join(thread, NULL);
    printf("sum of exit codes %d\n", sum);
    return 0;
}
