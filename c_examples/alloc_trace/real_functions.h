/* The real functions: the definitions after ours in the dynamic linker's search order, which an untraced program would call. */
#ifndef ALLOC_TRACE_REAL_FUNCTIONS_H
#define ALLOC_TRACE_REAL_FUNCTIONS_H

#include <spawn.h>
#include <stdatomic.h>
#include <stddef.h>

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                           char *const[], char *const[]);

enum { REAL_UNKNOWN, REAL_LOOKING_UP, REAL_KNOWN };

struct real_functions {
    _Atomic int state; /* beside the functions, because each call reads both */
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    void *(*memalign)(size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    void *(*reallocarray)(void *, size_t, size_t); /* NULL: it is libc's, which only calls array_realloc */
    void *(*array_realloc)(void *, size_t);        /* the realloc that libc's reallocarray calls in an untraced program */

    void (*exit_now)(int);   /* _exit */
    void (*exit_now_c)(int); /* _Exit */
    void (*quick_exit)(int);
    void (*abort)(void);
    int (*daemon)(int, int);
    void (*pthread_exit)(void *);
    void (*thrd_exit)(int);
    int (*execve)(const char *, char *const[], char *const[]);
    int (*execv)(const char *, char *const[]);
    int (*execvp)(const char *, char *const[]);
    int (*execvpe)(const char *, char *const[], char *const[]);
    int (*fexecve)(int, char *const[], char *const[]);
    int (*execveat)(int, const char *, char *const[], char *const[], int);
    spawn_function *posix_spawn, *posix_spawnp;
    int (*dlclose)(void *);

    void *find_object; /* _dl_find_object, which glibc has from 2.35 on; else NULL */
};

extern struct real_functions real_known;
const struct real_functions *real_look_up(void);

/* Looked up at the first call. During the look-up its own thread gets functions that use the arena. */
static inline const struct real_functions *real_functions(void) {
    if (__builtin_expect(atomic_load_explicit(&real_known.state, memory_order_acquire) == REAL_KNOWN, 1)) return &real_known;
    return real_look_up();
}

#endif
