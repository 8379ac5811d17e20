/* Stacks and modules that are unusual or damaged: wild_stacks MODE [ARGUMENT...]. Untraced, each mode prints "done". Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define NOT_INLINED __attribute__((noinline, noclone))
#define KEEP __asm__ volatile("" ::: "memory") /* no tail call */

enum { PAGE = 4096 };

static volatile size_t never;
static void *volatile return_address; /* of the last call of innermost */

NOT_INLINED void innermost(size_t size) {
    return_address = __builtin_return_address(0);
    free(malloc(size));
    KEEP;
}

NOT_INLINED void middle(size_t size) {
    innermost(size);
    KEEP;
}

/* The callers of these two are found by the frame pointer, and by a pointer that lies beside it. */
NOT_INLINED void variable_frame(size_t size, size_t bytes) {
    volatile char variable[bytes];
    variable[0] = variable[bytes - 1] = 1;
    innermost(size);
    KEEP;
}

NOT_INLINED void aligned_frame(size_t size, size_t bytes) {
    volatile char variable[bytes];
    volatile _Alignas(256) char aligned[256];
    variable[0] = 1;
    aligned[size % 256] = variable[0];
    variable[1] = aligned[0];
    innermost(size);
    KEEP;
}

/* Allocates while the saved frame pointer and the return address are others. */
NOT_INLINED void damages(size_t size, uintptr_t pointer, uintptr_t address) {
    uintptr_t *frame = __builtin_frame_address(0);
    const uintptr_t kept[2] = {frame[0], frame[1]};
    frame[0] = pointer;
    frame[1] = address;
    KEEP;
    innermost(size);
    KEEP;
    frame[0] = kept[0];
    frame[1] = kept[1];
    KEEP;
}

NOT_INLINED static void wild_frame_pointers(void) {
    static const uintptr_t wild[] = {0, 8, 16, UINTPTR_MAX - 7, UINTPTR_MAX - 15, UINTPTR_MAX / 2 - 7, (uintptr_t)1 << 47, ((uintptr_t)1 << 47) - 8};
    variable_frame(1001001, 5000 + never);
    const uintptr_t in_variable_frame = (uintptr_t)return_address;
    aligned_frame(1001002, 300 + never);
    const uintptr_t in_aligned_frame = (uintptr_t)return_address;
    for (size_t at = 0; at < sizeof wild / sizeof *wild; at++) {
        damages(1001003, wild[at], in_variable_frame);
        damages(1001004, wild[at], in_aligned_frame);
    }
    middle(1001005);
}

/* A page above the stack is read by mistake, then unmapped. */
static void *beside_a_page(void *page) {
    variable_frame(1001101, 5000 + never);
    const uintptr_t in_variable_frame = (uintptr_t)return_address;
    for (int value = 0; value < 256; value += 255) {
        memset(page, value, PAGE);
        damages(1001102, (uintptr_t)page + 64, in_variable_frame);
    }
    munmap(page, PAGE);
    damages(1001103, (uintptr_t)page + 64, in_variable_frame);
    middle(1001104);
    return NULL;
}

static void unmapped_above(void) {
    enum { STACK = 65536 };
    char *memory = mmap(NULL, STACK + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    if (memory == MAP_FAILED || pthread_attr_setstack(&attributes, memory, STACK) != 0 ||
        pthread_create(&thread, &attributes, beside_a_page, memory + STACK) != 0)
        exit(2);
    pthread_join(thread, NULL);
}

/* Coroutines on small stacks that lie side by side, with guard pages between. */
enum { COROUTINES = 3, SMALL = 4 * PAGE };
static ucontext_t scheduler, contexts[COROUTINES];
static volatile int current;

void coroutine(void) {
    for (;;) {
        middle(1001200 + (size_t)current);
        swapcontext(&contexts[current], &scheduler);
    }
}

static void side_by_side(void) {
    char *memory = mmap(NULL, COROUTINES * (SMALL + PAGE) + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int at = 0; at < COROUTINES; at++) {
        char *stack = memory + PAGE + at * (SMALL + PAGE);
        if (mprotect(stack, SMALL, PROT_READ | PROT_WRITE) != 0) exit(2);
        getcontext(&contexts[at]);
        contexts[at].uc_stack.ss_sp = stack;
        contexts[at].uc_stack.ss_size = SMALL;
        makecontext(&contexts[at], coroutine, 0);
    }
    for (int turn = 0; turn < 10; turn++)
        for (current = 0; current < COROUTINES; current++) swapcontext(&scheduler, &contexts[current]);
}

/* Libraries whose call frame information is damaged. */
NOT_INLINED static void damaged_libraries(char **paths) {
    for (size_t at = 0; paths[at] != NULL; at++) {
        void *library = dlopen(paths[at], RTLD_NOW);
        if (library == NULL) exit(2);
        void (*through_library)(size_t, void (*)(size_t));
        *(void **)(void *)&through_library = dlsym(library, "through_library");
        through_library(1001300, innermost);
        dlclose(library);
    }
    middle(1001301);
}

/* The stack is aligned to 8 bytes, as some hand-written code leaves it. glibc's allocator bears it, unless it makes an arena for a thread. */
#if defined(__x86_64__)
static uintptr_t call_misaligned(void *function, uintptr_t first, uintptr_t second) {
    uintptr_t result;
    __asm__ volatile("mov %%rsp, %%rbx\n\tand $-16, %%rsp\n\tsub $8, %%rsp\n\tcall *%%rax\n\tmov %%rbx, %%rsp"
                     : "=a"(result), "+D"(first), "+S"(second)
                     : "a"(function)
                     : "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    return result;
}

static void misaligned(void) {
    for (unsigned turn = 0; turn < 1000; turn++) {
        uintptr_t block = call_misaligned((void *)malloc, 100, 0);
        block = call_misaligned((void *)realloc, block, 2000 + turn);
        call_misaligned((void *)free, block, 0);
        block = call_misaligned((void *)calloc, 3, 7 + turn);
        call_misaligned((void *)free, block, 0);
    }
}
#else
static void misaligned(void) {}
#endif

/* A handler that allocates, on a stack of so many bytes below which there is no memory. */
static void handler(int number) {
    middle(1001400);
    (void)number;
}

static void *raises(void *unused) {
    raise(SIGUSR1);
    return unused;
}

static void *on_alternate_stack(void *bytes) {
    char *memory = mmap(NULL, (size_t)bytes + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory, PAGE, PROT_NONE);
    stack_t other = {.ss_sp = memory + PAGE, .ss_size = (size_t)bytes};
    if (sigaltstack(&other, NULL) != 0) exit(2);
    return raises(NULL);
}

static void alternate(size_t bytes) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    pthread_t thread;
    sigaction(SIGUSR1, &action, NULL);
    if (pthread_create(&thread, NULL, on_alternate_stack, (void *)bytes) != 0) exit(2); /* its first allocation is the handler's */
    pthread_join(thread, NULL);
    on_alternate_stack((void *)bytes);
}

int main(int count, char **words) {
    const char *mode = count > 1 ? words[1] : "";
    if (strcmp(mode, "wild_frame_pointers") == 0)
        wild_frame_pointers();
    else if (strcmp(mode, "unmapped_above") == 0)
        unmapped_above();
    else if (strcmp(mode, "side_by_side") == 0)
        side_by_side();
    else if (strcmp(mode, "damaged_libraries") == 0)
        damaged_libraries(words + 2);
    else if (strcmp(mode, "misaligned") == 0)
        misaligned();
    else if (strcmp(mode, "alternate") == 0 && count > 2)
        alternate((size_t)atol(words[2]));
    else
        return 2;
    printf("done\n");
    return 0;
}
