/* Threads that come and go: ROUNDS times 8 at once, each allocating, handing memory to the next, and allocating and
 * freeing again in a thread-specific destructor, when its thread is ending. Licence: MIT OR Apache-2.0. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { AT_ONCE = 8 };
static pthread_key_t key;
static _Atomic long ended;
static void *_Atomic handed[AT_ONCE];

static void at_end(void *value) {
    char *more = malloc(500);
    more[0] = 1;
    free(value);
    free(more);
    ended++;
}

static void *work(void *argument) {
    size_t self = (size_t)argument;
    pthread_setspecific(key, malloc(100));
    for (size_t i = 0; i < 50; i++) {
        char *mine = malloc(10 + i);
        mine[0] = 1;
        free(atomic_exchange(&handed[(self + i) % AT_ONCE], mine));
    }
    return NULL;
}

int main(int count, char **words) {
    int rounds = count > 1 ? atoi(words[1]) : 1;
    pthread_key_create(&key, at_end);
    for (int round = 0; round < rounds; round++) {
        pthread_t threads[AT_ONCE];
        for (size_t i = 0; i < AT_ONCE; i++)
            if (pthread_create(&threads[i], NULL, work, (void *)i) != 0) return 1;
        for (size_t i = 0; i < AT_ONCE; i++) pthread_join(threads[i], NULL);
    }
    for (size_t i = 0; i < AT_ONCE; i++) free(handed[i]);
    printf("%ld threads ended\n", (long)ended);
    return 0;
}
