/* One thread of a host forks while another makes its first call into the library. The child uses the library at once: it must not wait for
 * a thread that it does not have, and its pipeline is drained at its exit.
 *
 * The moment of the fork is exact. The library's first use registers an exit handler, and a fork handler where the kernel does not wipe
 * pages in a forked child (here madvise is made to refuse that). This program replaces both functions; its versions fork and then go on.
 *
 * Build flags: -rdynamic */
#include "../check.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef __GLIBC__
int main(void)
{
    puts("skipped: the functions are interposed by names that glibc alone has");
    return 0;
}
#else
#include <dlfcn.h>

static atomic_ullong *stored; /* shared with the children */
static atomic_int at_fork_handler, at_exit_handler;
static const char payload[8] = "payload";

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data;
    atomic_fetch_add(stored, batch->count);
    return PIPELINE_STORE_OK;
}

static pipeline_t *start(void)
{
    pipeline_storage_t s;
    pipeline_t *p = NULL;
    pipeline_storage_init(&s, sizeof s);
    s.store = store;
    CHECK_STATUS(pipeline_start(NULL, &s, &p), PIPELINE_OK);
    return p;
}

/* Flushes an event, and leaves another to the exit handler. */
static void child(void)
{
    pipeline_t *p;
    begin_child();
    alarm(20);
    atomic_store(&at_fork_handler, 0);
    atomic_store(&at_exit_handler, 0);
    p = start();
    CHECK_OR_STOP(p != NULL);
    CHECK_STATUS(pipeline_capture(p, 1, payload, sizeof payload), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p, 1, payload, sizeof payload), PIPELINE_OK);
    exit(checks_failed != 0);
}

static void *fork_here(void *what)
{
    int status = -1;
    uint64_t before = atomic_load(stored);
    pid_t pid;
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        child();
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    if (!CHECK(status == 0))
        fprintf(stderr, "  the child that was forked while %s: %s %d\n", (const char *)what,
                WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    CHECK_U64(atomic_load(stored) - before, 2);
    return NULL;
}

/* Another thread forks, and the calling one goes on when its child has ended. */
static void fork_meanwhile(const char *what)
{
    pthread_t thread;
    CHECK_OR_STOP(pthread_create(&thread, NULL, fork_here, (void *)what) == 0);
    CHECK_OR_STOP(pthread_join(thread, NULL) == 0);
}

/* ThreadSanitizer calls these functions before it is ready for the code that it adds to functions. */
#ifdef UNDER_THREAD_SANITIZER
#define UNCHANGED __attribute__((disable_sanitizer_instrumentation))
#else
#define UNCHANGED
#endif

UNCHANGED int madvise(void *at, size_t len, int advice)
{
    if (advice == MADV_WIPEONFORK) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_madvise, at, len, advice);
}

/* What pthread_atfork and atexit call. */
UNCHANGED int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*in_child)(void), void *object)
{
    static int (*next)(void (*)(void), void (*)(void), void (*)(void), void *);
    *(void **)&next = dlsym(RTLD_NEXT, "__register_atfork");
    if (atomic_exchange(&at_fork_handler, 0))
        fork_meanwhile("a fork handler was registered");
    return next(prepare, parent, in_child, object);
}

UNCHANGED int __cxa_atexit(void (*function)(void *), void *argument, void *object)
{
    static int (*next)(void (*)(void *), void *, void *);
    *(void **)&next = dlsym(RTLD_NEXT, "__cxa_atexit");
    if (atomic_exchange(&at_exit_handler, 0))
        fork_meanwhile("an exit handler was registered");
    return next(function, argument, object);
}

static void hear(void *user_data, int32_t level, const char *message)
{
    (void)user_data, (void)level, (void)message;
}

/* Threads that make their first calls while the program forks, at any moment. */
static void *first_calls(void *p)
{
    CHECK_STATUS(pipeline_log_callback(hear, NULL, PIPELINE_LOG_ERROR), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture((pipeline_t *)p, 1, payload, sizeof payload), PIPELINE_OK);
    return NULL;
}

static void at_any_moment(void)
{
    int round;
    for (round = 0; round < 20; round++) {
        pthread_t threads[2];
        pipeline_t *p = start();
        pid_t pid;
        int n, status = -1;
        for (n = 0; n < 2; n++)
            CHECK_OR_STOP(pthread_create(&threads[n], NULL, first_calls, p) == 0);
        fflush(NULL);
        pid = fork();
        if (pid == 0) {
            alarm(20);
            checks_failed = 0;
            CHECK_STATUS(pipeline_log_callback(hear, NULL, PIPELINE_LOG_ERROR), PIPELINE_OK);
            CHECK_STATUS(pipeline_capture(p, 1, payload, sizeof payload), PIPELINE_ERR_FORKED);
            child();
        }
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
        for (n = 0; n < 2; n++)
            CHECK_OR_STOP(pthread_join(threads[n], NULL) == 0);
        END(p);
    }
}

int main(void)
{
    pipeline_t *p;
    if (!children_can_start_threads())
        return SUMMARY();
    stored = (atomic_ullong *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_OR_STOP(stored != MAP_FAILED);
    atomic_store(&at_fork_handler, 1);
    atomic_store(&at_exit_handler, 1);
    p = start();
    CHECK(!atomic_load(&at_fork_handler) && !atomic_load(&at_exit_handler));
    CHECK_OR_STOP(p != NULL);
    CHECK_STATUS(pipeline_capture(p, 1, payload, sizeof payload), PIPELINE_OK);
    END(p);
    at_any_moment();
    return SUMMARY();
}
#endif
