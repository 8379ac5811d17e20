/* Calls each allocation function with sizes that nothing else uses, and checks what libc promises of errno. The test
 * looks the sizes up in the database. Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                              \
    do {                                                         \
        if (!(what)) {                                           \
            printf("line %d: not so: %s\n", __LINE__, #what);    \
            return 1;                                            \
        }                                                        \
    } while (0)

int main(void) {
    volatile size_t huge = SIZE_MAX / 2;
    errno = 77;
    char *a = malloc(1000003);
    CHECK(a != NULL && errno == 77);
    memset(a, 'a', 1000003);
    char *b = calloc(7, 142861); /* 1000027 */
    CHECK(b != NULL && b[0] == 0 && b[1000026] == 0 && errno == 77);
    a = realloc(a, 1000033);
    CHECK(a != NULL && a[1000002] == 'a' && errno == 77);
    a = reallocarray(a, 3, 333347); /* 1000041 */
    CHECK(a != NULL && a[1000002] == 'a' && errno == 77);
    void *c = NULL;
    CHECK(posix_memalign(&c, 4096, 1000049) == 0 && (uintptr_t)c % 4096 == 0 && errno == 77);
    void *d = aligned_alloc(256, 1000192);
    CHECK(d != NULL && (uintptr_t)d % 256 == 0);
    void *e = memalign(512, 1000061);
    CHECK(e != NULL && (uintptr_t)e % 512 == 0);
    void *f = valloc(1000063);
    void *g = pvalloc(1000067);
    CHECK(f != NULL && g != NULL && (uintptr_t)f % 4096 == 0 && (uintptr_t)g % 4096 == 0);
    errno = 78;
    free(a), free(b), free(c), free(d), free(e), free(f), free(g), free(NULL);
    CHECK(errno == 78);
    errno = 0;
    CHECK(malloc(huge) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(calloc(huge, 16) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(reallocarray(NULL, huge, 16) == NULL && errno == ENOMEM);
    void *keep = &keep;
    CHECK(posix_memalign(&keep, 3, 100) == EINVAL && keep == &keep);
    char *h = realloc(NULL, 1000081);
    CHECK(h != NULL);
    for (int i = 0; i < 100; i++) CHECK((h = realloc(h, 1000081 + (size_t)i * 4096)) != NULL);
    free(h);
    printf("all calls as promised\n");
    return 0;
}
