/* Allocates and frees COUNT times, the n-th time 16 + n % 1000 bytes. Then ends or, with a second argument, says so and waits until its standard input ends. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long n, count = argc > 1 ? atol(argv[1]) : 0;
    char byte;
    for (n = 0; n < count; n++) {
        char *block = malloc(16 + (size_t)n % 1000);
        if (block == NULL)
            return 1;
        free(block);
    }
    if (argc > 2) {
        if (write(1, "ready\n", 6) != 6)
            return 1;
        while (read(0, &byte, 1) > 0)
            ;
    }
    return 0;
}
