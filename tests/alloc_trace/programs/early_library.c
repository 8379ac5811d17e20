/* A library whose constructor allocates a lot, before alloc_trace's own constructor has run, and whose destructor goes on
 * when the program is all but gone. Licence: MIT OR Apache-2.0. */
#include <stdlib.h>

static void *kept[5000];

__attribute__((constructor)) static void come(void) {
    for (int i = 0; i < 5000; i++) kept[i] = malloc(16 + (size_t)i % 64);
}

__attribute__((destructor)) static void go(void) {
    for (int i = 0; i < 5000; i++) free(kept[i]);
}

int early_library(void);
int early_library(void) {
    return kept[4999] != NULL;
}
