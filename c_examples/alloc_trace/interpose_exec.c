/* Functions that replace the process image, and posix_spawn. Before an exec, captured events are stored, for at most
 * ALLOC_TRACE_EXIT_MS. Nothing is stored in a vfork child, which runs in the memory of its parent.
 *
 * If the new environment preloads this library but lacks the settings, they are added.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "interpose.h"
#include "lifecycle.h"
#include "real_functions.h"
#include "settings.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BEFORE_EXEC bool suspended = suspend_for_exec()
#define AFTER_EXEC if (suspended) resume_capture()

/* Declares `complete`: the environment with the missing settings added. It is on the stack, because a vfork child must not
 * allocate. */
#define COMPLETE(environment)                                        \
    size_t words_needed = settings_words_needed(environment);             \
    char *extended[words_needed + 1];                                \
    char *const *complete = (environment);                           \
    if (words_needed != 0) {                                         \
        settings_complete(environment, extended);                    \
        complete = extended;                                         \
    }

EXPORT int execve(const char *path, char *const words[], char *const environment[]) {
    BEFORE_EXEC;
    COMPLETE(environment);
    int failed = real_functions()->execve(path, words, complete);
    AFTER_EXEC;
    return failed;
}

EXPORT int execv(const char *path, char *const words[]) {
    BEFORE_EXEC;
    COMPLETE(environ);
    int failed = words_needed != 0 ? real_functions()->execve(path, words, complete) : real_functions()->execv(path, words);
    AFTER_EXEC;
    return failed;
}

EXPORT int execvpe(const char *file, char *const words[], char *const environment[]) {
    BEFORE_EXEC;
    COMPLETE(environment);
    int failed = real_functions()->execvpe(file, words, complete);
    AFTER_EXEC;
    return failed;
}

EXPORT int execvp(const char *file, char *const words[]) {
    BEFORE_EXEC;
    COMPLETE(environ);
    int failed = words_needed != 0 ? real_functions()->execvpe(file, words, complete) : real_functions()->execvp(file, words);
    AFTER_EXEC;
    return failed;
}

EXPORT int fexecve(int fd, char *const words[], char *const environment[]) {
    BEFORE_EXEC;
    COMPLETE(environment);
    int failed = real_functions()->fexecve(fd, words, complete);
    AFTER_EXEC;
    return failed;
}

EXPORT int execveat(int directory, const char *path, char *const words[], char *const environment[], int flags) {
    BEFORE_EXEC;
    COMPLETE(environment);
    int failed;
    if (real_functions()->execveat != NULL)
        failed = real_functions()->execveat(directory, path, words, complete, flags);
    else
        failed = (int)syscall(SYS_execveat, directory, path, words, complete, flags);
    AFTER_EXEC;
    return failed;
}

/* The next three take their words as arguments. These are counted, then copied to an array on the stack, because a vfork child
 * must not allocate. */
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

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const words[], char *const environment[]) {
    COMPLETE(environment);
    return real_functions()->posix_spawn(pid, path, actions, attributes, words, complete);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const words[], char *const environment[]) {
    COMPLETE(environment);
    return real_functions()->posix_spawnp(pid, file, actions, attributes, words, complete);
}
