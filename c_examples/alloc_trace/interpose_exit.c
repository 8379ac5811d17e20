/* Functions that end a process without running its exit handlers, or without libc's public _exit. Captured events are stored
 * first, for at most ALLOC_TRACE_EXIT_MS; then the real function is called. Nothing is done in a vfork child.
 *
 *   _exit, _Exit   the pipeline is closed
 *   quick_exit     flush: the handlers that it runs may allocate. Our own handler is the last and closes the pipeline
 *   abort          flush: a SIGABRT handler may go on. The process then dies by the signal; its ledger stays open
 *   daemon         flush: libc forks inside, and ends the parent by its internal _exit
 *   pthread_exit   in the main thread: flush; last_thread.c ends the process later
 *   thrd_exit      as pthread_exit
 *
 * exit, error, err and a return from main run the exit handlers and need nothing here. If a process ends by a bare system call
 * or by a signal, its database has what was stored by then.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "interpose.h"
#include "last_thread.h"
#include "lifecycle.h"
#include "real_functions.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <threads.h>
#include <unistd.h>

EXPORT _Noreturn void _exit(int status) {
    close_for_exit();
    real_functions()->exit_now(status);
    __builtin_unreachable();
}

EXPORT _Noreturn void _Exit(int status) {
    close_for_exit();
    real_functions()->exit_now_c(status);
    __builtin_unreachable();
}

EXPORT _Noreturn void quick_exit(int status) {
    flush_for_exit();
    real_functions()->quick_exit(status);
    __builtin_unreachable();
}

EXPORT _Noreturn void abort(void) {
    flush_for_exit();
    real_functions()->abort();
    __builtin_unreachable();
}

EXPORT int daemon(int keep_directory, int keep_files) {
    bool suspended = suspend_for_daemon();
    int failed = real_functions()->daemon(keep_directory, keep_files);
    if (suspended) resume_capture(); /* the fork has failed; does nothing in the child */
    return failed;
}

static void before_thread_exit(void) {
    if (syscall(SYS_gettid) != getpid() || !is_traced_process()) return;
    main_thread_ends();
    flush_for_exit(); /* also wakes the helper, which checks for the last thread from now on */
}

EXPORT _Noreturn void pthread_exit(void *result) {
    before_thread_exit();
    real_functions()->pthread_exit(result);
    __builtin_unreachable();
}

EXPORT _Noreturn void thrd_exit(int result) {
    before_thread_exit();
    real_functions()->thrd_exit(result);
    __builtin_unreachable();
}
