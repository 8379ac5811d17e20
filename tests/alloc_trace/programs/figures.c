/* Allocations whose figures are known: what each function allocates, keeps, and releases at once. With an argument it keeps
 * some, and then waits or aborts. Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOT_INLINED __attribute__((noinline, noclone))
#define KEEP __asm__ volatile("" ::: "memory")

enum { BLOCKS = 50 };
static void *kept[10], *large[BLOCKS], *resized, *crossing;

/* 10 blocks of 1,000 bytes that are never released. */
NOT_INLINED void keeps(void) {
    for (int at = 0; at < 10; at++) kept[at] = malloc(1000);
    KEEP;
}

/* 100 blocks of 64 bytes, each released by the next call. */
NOT_INLINED void temporary(void) {
    for (int at = 0; at < 100; at++) free(malloc(64));
    KEEP;
}

/* 40 blocks of 128 bytes in pairs: the second of a pair is released by the next call, the first by the one after. */
NOT_INLINED void pairs(void) {
    for (int at = 0; at < 20; at++) {
        void *first = malloc(128), *second = malloc(128);
        free(second);
        free(first);
    }
    KEEP;
}

/* The peak: 50 blocks of 100,000 bytes. Half of them are released here, the others by another function. */
NOT_INLINED void allocates_much(void) {
    for (int at = 0; at < BLOCKS; at++) large[at] = calloc(1000, 100);
    for (int at = 0; at < BLOCKS; at += 2) free(large[at]);
    KEEP;
}

NOT_INLINED void releases_much(void) {
    for (int at = 1; at < BLOCKS; at += 2) free(large[at]);
    KEEP;
}

/* After the peak: 7 blocks of 200,000 bytes, one at a time. */
NOT_INLINED void after_the_peak(void) {
    for (int at = 0; at < 7; at++) {
        char *block = malloc(200000);
        memset(block, 1, 10);
        void *other = malloc(16);
        free(block);
        free(other);
    }
    KEEP;
}

/* A block that grows in 5 steps from 100 to 500 bytes, and one that is released by a realloc to 0 bytes. */
NOT_INLINED void resizes(void) {
    for (int step = 1; step <= 5; step++) resized = realloc(resized, (size_t)step * 100);
    void *gone = malloc(300);
    gone = realloc(gone, 0);
    free(gone);
    KEEP;
}

NOT_INLINED void fails(void) {
    for (int at = 0; at < 3; at++) free(malloc((size_t)1 << 60));
    KEEP;
}

/* Two threads: the first allocates 3 blocks of 5,000 bytes, the other releases one of them. */
NOT_INLINED void *allocates(void *unused) {
    (void)unused;
    for (int at = 0; at < 3; at++) {
        crossing = malloc(5000);
        KEEP;
    }
    return NULL;
}

NOT_INLINED void *releases(void *unused) {
    (void)unused;
    free(crossing);
    return NULL;
}

int main(int count, char **words) {
    pthread_t thread;
    keeps();
    if (count > 1 && strcmp(words[1], "aborts") == 0) abort();
    if (count > 1) {
        printf("ready\n");
        fflush(stdout);
        pause(); /* until it is killed */
    }
    temporary();
    pairs();
    allocates_much();
    releases_much();
    after_the_peak();
    resizes();
    fails();
    pthread_create(&thread, NULL, allocates, NULL);
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, releases, NULL);
    pthread_join(thread, NULL);
    return kept[9] == NULL;
}
