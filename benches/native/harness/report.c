/* What the harness prints: figures to stdout, failures to stderr. */
#include "harness.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

void fail(const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    vfprintf(stderr, format, rest);
    va_end(rest);
    fputc('\n', stderr);
    _exit(1);
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void print_percentiles(const struct measurement *m, const char *name, uint64_t *samples, uint64_t count, double each) {
    static const double wanted[] = {1, 10, 50, 75, 90, 99, 99.9, 99.99, 100};
    qsort(samples, count, sizeof *samples, by_size);
    printf("\"%s\": {", name);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        uint64_t at = (uint64_t)((double)count * wanted[i] / 100);
        if (at >= count) at = count - 1;
        printf("%s\"%g\": %.2f", i ? ", " : "", wanted[i], (double)samples[at] * m->ns_per_tick / each);
    }
    printf("}, ");
}
