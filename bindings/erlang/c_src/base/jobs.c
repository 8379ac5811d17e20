/* Threads for work that may wait: see jobs.h. */
#define _GNU_SOURCE
#include "base/jobs.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
    IDLE_SECONDS = 5,
    STACK_BYTES = 1024 * 1024, /* the end of a pipeline may run the end of a storage */
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t ready;       /* its timeouts are of the monotonic clock */
    struct job *first, **end;
    unsigned queued, idle;      /* never more jobs than threads that are about to take one */
    bool initialized;
} jobs = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The next job; NULL after some seconds without one. */
static struct job *take(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    pthread_mutex_lock(&jobs.lock);
    jobs.idle++;
    while (!jobs.first && pthread_cond_timedwait(&jobs.ready, &jobs.lock, &until) != ETIMEDOUT)
        ;
    jobs.idle--;
    struct job *job = jobs.first;
    if (job) {
        jobs.queued--;
        jobs.first = job->next;
        if (!jobs.first)
            jobs.end = &jobs.first;
    }
    pthread_mutex_unlock(&jobs.lock);
    return job;
}

/* A scheduler that is bound to a processor may have started this thread, which inherits the binding and would pass it on. */
static void run_anywhere(void)
{
    cpu_set_t processors;
    if (sched_getaffinity(getpid(), sizeof processors, &processors) == 0)
        sched_setaffinity(0, sizeof processors, &processors);
}

static void *work(void *first)
{
    prctl(PR_SET_NAME, "capture_jobs");
    run_anywhere();
    for (struct job *job = first; job; job = take())
        job->run(job);
    return NULL;
}

static bool start_thread(struct job *job)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t blocked, before;
    if (pthread_attr_init(&attributes))
        return false;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    /* Signals that a fault of the thread itself raises stay unblocked: the VM's handlers must see them. */
    sigfillset(&blocked);
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    int failed = pthread_create(&thread, &attributes, work, job);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !failed;
}

static void initialize(void)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&jobs.ready, &attributes);
    pthread_condattr_destroy(&attributes);
    jobs.end = &jobs.first;
    jobs.initialized = true;
}

bool job_start(struct job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&jobs.lock);
    if (!jobs.initialized)
        initialize();
    bool taken = jobs.queued < jobs.idle;
    if (taken) {
        *jobs.end = job;
        jobs.end = &job->next;
        jobs.queued++;
        pthread_cond_signal(&jobs.ready);
    }
    pthread_mutex_unlock(&jobs.lock);
    return taken || start_thread(job);
}
