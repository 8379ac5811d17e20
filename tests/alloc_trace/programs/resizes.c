/* malloc and reallocarray by turns. Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    int times = 0;
    for (size_t i = 1; i <= 100; i++) {
        char *text = reallocarray(malloc(i), i, 100);
        times += text != NULL;
        free(text);
    }
    printf("%d times\n", times);
    return 0;
}
