/* Allocations whose stacks are known: stacks MODE [LIBRARY...]. Each is malloc of a size that occurs once; the functions on its stack are
 * external, so that their names are in the symbol table. Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define NOT_INLINED __attribute__((noinline, noclone))
#define KEEP __asm__ volatile("" ::: "memory") /* no tail call */

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

NOT_INLINED void outermost(size_t size) {
    middle(size);
    KEEP;
}

/* A frame of 100,000 bytes, and one of a size that is not known to the compiler. */
NOT_INLINED void large_frame(size_t size) {
    volatile char bytes[100000];
    bytes[size % sizeof bytes] = 1;
    innermost(size);
    KEEP;
}

NOT_INLINED void variable_frame(size_t size, size_t bytes) {
    volatile char variable[bytes];
    variable[0] = variable[bytes - 1] = 1;
    innermost(size);
    KEEP;
}

/* The function aligns its stack: its frame is found by way of a saved pointer. */
NOT_INLINED void aligned_frame(size_t size, size_t bytes) {
    volatile char variable[bytes];
    volatile _Alignas(256) char aligned[256];
    variable[0] = 1;
    aligned[size % 256] = variable[0];
    variable[1] = aligned[0];
    innermost(size);
    KEEP;
}

NOT_INLINED void recursive(size_t size, unsigned depth) {
    if (depth == 0)
        innermost(size);
    else
        recursive(size, depth - 1);
    KEEP;
}

NOT_INLINED void handler(int number) {
    innermost(number == SIGUSR1 ? 1000100 : 1000101);
    KEEP;
}

NOT_INLINED void raises(int number) {
    raise(number);
    KEEP;
}

static void signals(void) {
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
    raises(SIGUSR1);
    static char memory[65536];
    stack_t other = {.ss_sp = memory, .ss_size = sizeof memory};
    sigaltstack(&other, NULL);
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR2, &action, NULL);
    raises(SIGUSR2);
    innermost(1000102);
}

/* A signal interrupts the tracer at any instruction; its handler makes calls that are traced, on the same stack. Only calls that never reach the
 * heap, which may be in the middle of a change: glibc refuses such a size at once, and ignores NULL. */
static volatile sig_atomic_t handled;
static volatile size_t too_large = SIZE_MAX;
static void on_timer(int number) {
    (void)number;
    int kept = errno;
    handled++;
    free(malloc(too_large));
    errno = kept;
}

static void storm(void) {
    struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    const struct itimerspec often = {{0, 50000}, {0, 50000}};
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &often, NULL) != 0) exit(2);
    for (unsigned turn = 0; turn < 200000 || handled < 100; turn++) recursive(900000 + turn % 64, turn % 30);
    timer_delete(timer);
}

static void *small_thread(void *unused) {
    (void)unused;
    outermost(1000200);
    return NULL;
}

static void thread_with_small_stack(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 16384);
    if (pthread_create(&thread, &attributes, small_thread, NULL) != 0) exit(2);
    pthread_join(thread, NULL);
}

/* A stack of its own, in memory that is unmapped afterwards. */
static ucontext_t back, there;
void coroutine(void) {
    outermost(1000300);
    KEEP;
}

static void coroutines(void) {
    for (unsigned turn = 0; turn < 3; turn++) {
        size_t bytes = turn == 1 ? 16384 : 65536;
        void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        getcontext(&there);
        there.uc_stack.ss_sp = memory;
        there.uc_stack.ss_size = bytes;
        there.uc_link = &back;
        makecontext(&there, coroutine, 0);
        swapcontext(&back, &there);
        munmap(memory, bytes);
    }
    innermost(1000301);
}

void called_by_generated(void) {
    innermost(1000400);
    KEEP;
}

/* Generated code, of which there is no information for unwinding: calls its argument. */
static void generated(void) {
#if defined(__x86_64__)
    static const unsigned char code[] = {0x50, 0xff, 0xd7, 0x58, 0xc3}; /* push rax; call rdi; pop rax; ret */
#elif defined(__aarch64__)
    static const unsigned char code[] = {0xfd, 0x7b, 0xbf, 0xa9, 0x00, 0x00, 0x3f, 0xd6, 0xfd, 0x7b, 0xc1, 0xa8, 0xc0, 0x03, 0x5f, 0xd6};
#endif
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page, code, sizeof code);
    mprotect(page, 4096, PROT_READ | PROT_EXEC);
    void (*call)(void (*)(void));
    memcpy(&call, &page, sizeof call);
    call(called_by_generated);
}

/* The saved frame pointer and the return address are overwritten while the stack is unwound, and put back before they are used. The address
 * is in variable_frame, whose caller is found by the frame pointer. */
NOT_INLINED void damages(size_t size) {
    uintptr_t *frame = __builtin_frame_address(0);
    const uintptr_t kept[2] = {frame[0], frame[1]};
    void *unmapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(unmapped, 4096);
    const uintptr_t wild[] = {0, 8, 12345, UINTPTR_MAX - 7, UINTPTR_MAX / 2 - 7, (uintptr_t)unmapped, (uintptr_t)frame + (1 << 24),
                              (uintptr_t)frame - (1 << 24), (uintptr_t)frame, (uintptr_t)&never};
    for (size_t turn = 0; turn < sizeof wild / sizeof *wild; turn++) {
        variable_frame(size, 5000 + never);
        const uintptr_t in_variable_frame = (uintptr_t)return_address;
        frame[0] = wild[turn];
        frame[1] = in_variable_frame;
        KEEP;
        innermost(size + 1);
        KEEP;
        frame[1] = wild[turn];
        KEEP;
        innermost(size + 2);
        KEEP;
        frame[0] = kept[0];
        frame[1] = kept[1];
        KEEP;
        innermost(size + 3);
    }
    KEEP;
}

/* Libraries that are loaded at the same place, one after the other, whose functions have other frames. */
static void libraries(char **paths) {
    void *first_place = NULL;
    for (size_t at = 0; paths[at] != NULL; at++) {
        void *library = dlopen(paths[at], RTLD_NOW);
        if (library == NULL) exit(2);
        void (*through_library)(size_t, void (*)(size_t));
        *(void **)(void *)&through_library = dlsym(library, "through_library");
        if (at == 0) first_place = *(void **)(void *)&through_library;
        if (*(void **)(void *)&through_library != first_place) printf("another place\n");
        through_library(1000500 + at, innermost);
        dlclose(library);
    }
}

static void forks(void) {
    outermost(1000600);
    fflush(stdout);
    for (unsigned child = 0; child < 2; child++) {
        pid_t pid = fork();
        if (pid == 0) {
            outermost(1000601);
            middle(1000602);
            outermost(1000601);
            exit(0);
        }
        waitpid(pid, NULL, 0);
    }
    middle(1000603);
}

/* Many different stacks: the table of the tracer is too small for them. */
NOT_INLINED void left(size_t bits, unsigned depth, void (*then)(size_t, unsigned));
NOT_INLINED void right(size_t bits, unsigned depth, void (*then)(size_t, unsigned));
NOT_INLINED void branches(size_t bits, unsigned depth) {
    if (depth == 0)
        innermost(1000700);
    else if (bits & 1)
        left(bits >> 1, depth - 1, branches);
    else
        right(bits >> 1, depth - 1, branches);
    KEEP;
}
NOT_INLINED void left(size_t bits, unsigned depth, void (*then)(size_t, unsigned)) {
    then(bits, depth);
    KEEP;
}
NOT_INLINED void right(size_t bits, unsigned depth, void (*then)(size_t, unsigned)) {
    then(bits, depth);
    KEEP;
    __asm__ volatile("nop");
}

static void *many_of_a_thread(void *first) {
    for (size_t bits = (size_t)first; bits < (size_t)first + 100000; bits++) branches(bits, 20);
    return NULL;
}

static void many(void) {
    pthread_t threads[6];
    for (size_t at = 0; at < 6; at++) pthread_create(&threads[at], NULL, many_of_a_thread, (void *)(at * 100000));
    for (size_t at = 0; at < 6; at++) pthread_join(threads[at], NULL);
}

int main(int count, char **words) {
    const char *mode = count > 1 ? words[1] : "";
    if (strcmp(mode, "chain") == 0) {
        outermost(1000001);
        middle(1000002);
        large_frame(1000003);
        variable_frame(1000004, 5000 + never);
        aligned_frame(1000005, 300 + never);
        recursive(1000006, 10);
        recursive(1000007, 1000);
        outermost(1000008);
    } else if (strcmp(mode, "signals") == 0) {
        signals();
    } else if (strcmp(mode, "storm") == 0) {
        storm();
    } else if (strcmp(mode, "thread") == 0) {
        thread_with_small_stack();
    } else if (strcmp(mode, "coroutines") == 0) {
        coroutines();
    } else if (strcmp(mode, "generated") == 0) {
        generated();
    } else if (strcmp(mode, "damages") == 0) {
        damages(1000450);
    } else if (strcmp(mode, "libraries") == 0) {
        libraries(words + 2);
    } else if (strcmp(mode, "forks") == 0) {
        forks();
    } else if (strcmp(mode, "many") == 0) {
        many();
    } else {
        return 2;
    }
    printf("done\n");
    return 0;
}
