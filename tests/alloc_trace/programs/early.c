/* Uses a library that allocates before main and after it. Licence: MIT OR Apache-2.0. */
#include <stdio.h>
#include <stdlib.h>

int early_library(void);

static void last(void) {
    free(malloc(77));
}

int main(void) {
    atexit(last);
    printf("library there: %d\n", early_library());
    return 0;
}
