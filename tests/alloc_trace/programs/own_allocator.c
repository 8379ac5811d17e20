/* A program with an allocator of its own: malloc, calloc, realloc and free, no reallocarray. libc's reallocarray calls the
 * program's realloc. A pointer that another allocator made, or that another allocator was given, ends it.
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 0x5a5a5a5a };
struct block {
    uint64_t magic, size;
};
static _Alignas(16) char heap[16 << 20];
static size_t used;

void *malloc(size_t size) {
    size_t room = (size + sizeof(struct block) + 15) & ~(size_t)15;
    if (room > sizeof heap - used) return NULL;
    struct block *block = (struct block *)(heap + used);
    used += room;
    *block = (struct block){MAGIC, size};
    return block + 1;
}

static struct block *block_of(void *address) {
    struct block *block = (struct block *)address - 1;
    if ((char *)block < heap || (char *)block >= heap + sizeof heap || block->magic != MAGIC) abort();
    return block;
}

void free(void *address) {
    if (address != NULL) block_of(address);
}

void *calloc(size_t count, size_t size) {
    void *address = malloc(count * size);
    return address == NULL ? NULL : memset(address, 0, count * size);
}

void *realloc(void *old, size_t size) {
    void *address = malloc(size);
    if (old == NULL || address == NULL) return address;
    size_t had = block_of(old)->size;
    return memcpy(address, old, had < size ? had : size);
}

int main(void) {
    char *text = malloc(6);
    strcpy(text, "moved");
    for (size_t i = 1; i < 100; i++) text = reallocarray(text, i, 100);
    block_of(text);
    printf("%s\n", text);
    free(text);
    free(reallocarray(NULL, 3, 5));
    return 0;
}
