/* The functions that end a process image past every exit handler. Each gets what was captured into the database first,
 * within a bound, and then does what it does. In a vfork child there is nothing to do: the image that ends is not ours.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "trace.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

extern char **environ;

EXPORT _Noreturn void _exit(int status) {
    finish_for_exit();
    next_functions()->exit_now(status);
    __builtin_unreachable();
}

EXPORT _Noreturn void _Exit(int status) {
    finish_for_exit();
    next_functions()->exit_now_c(status);
    __builtin_unreachable();
}

/* The handlers that it runs may allocate: only flushed here, closed by the first handler registered, which runs last. */
EXPORT _Noreturn void quick_exit(int status) {
    flush_for_exit();
    next_functions()->quick_exit(status);
    __builtin_unreachable();
}

#define BEFORE_EXEC bool held = hold_for_exec()
#define AFTER_EXEC if (held) exec_failed()

EXPORT int execve(const char *path, char *const words[], char *const environment[]) {
    BEFORE_EXEC;
    int failed = next_functions()->execve(path, words, environment);
    AFTER_EXEC;
    return failed;
}

EXPORT int execv(const char *path, char *const words[]) {
    BEFORE_EXEC;
    int failed = next_functions()->execv(path, words);
    AFTER_EXEC;
    return failed;
}

EXPORT int execvp(const char *file, char *const words[]) {
    BEFORE_EXEC;
    int failed = next_functions()->execvp(file, words);
    AFTER_EXEC;
    return failed;
}

EXPORT int execvpe(const char *file, char *const words[], char *const environment[]) {
    BEFORE_EXEC;
    int failed = next_functions()->execvpe(file, words, environment);
    AFTER_EXEC;
    return failed;
}

EXPORT int fexecve(int fd, char *const words[], char *const environment[]) {
    BEFORE_EXEC;
    int failed = next_functions()->fexecve(fd, words, environment);
    AFTER_EXEC;
    return failed;
}

EXPORT int execveat(int directory, const char *path, char *const words[], char *const environment[], int flags) {
    BEFORE_EXEC;
    int failed;
    if (next_functions()->execveat != NULL)
        failed = next_functions()->execveat(directory, path, words, environment, flags);
    else
        failed = (int)syscall(SYS_execveat, directory, path, words, environment, flags);
    AFTER_EXEC;
    return failed;
}

/* The three with their words as arguments: counted first, then laid out on the stack, as libc does it (a vfork child must
 * not allocate). */
#define COUNT_WORDS(first)                                         \
    va_list rest;                                                  \
    size_t count = 1;                                              \
    va_start(rest, first);                                         \
    while (va_arg(rest, const char *) != NULL) count++;            \
    va_end(rest)

#define FILL_WORDS(first)                                          \
    words[0] = (char *)(uintptr_t)(first);                         \
    va_start(rest, first);                                         \
    for (size_t at = 1; at <= count; at++) words[at] = va_arg(rest, char *)

EXPORT int execl(const char *path, const char *first, ...) {
    COUNT_WORDS(first);
    char *words[count + 1];
    FILL_WORDS(first);
    va_end(rest);
    return execve(path, words, environ);
}

EXPORT int execlp(const char *file, const char *first, ...) {
    COUNT_WORDS(first);
    char *words[count + 1];
    FILL_WORDS(first);
    va_end(rest);
    return execvp(file, words);
}

EXPORT int execle(const char *path, const char *first, ...) {
    COUNT_WORDS(first);
    char *words[count + 1];
    FILL_WORDS(first);
    char *const *environment = va_arg(rest, char *const *);
    va_end(rest);
    return execve(path, words, environment);
}
