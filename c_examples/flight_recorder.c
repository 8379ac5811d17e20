/* A flight recorder: a program keeps the last events of each thread in memory, which costs it a copy for each, and writes them to files when something
 * goes wrong, or when it is told to by a signal. It runs on meanwhile. The end shows what led to the fault.
 *
 *   flight_recorder    works for a moment, meets a fault, and explains it
 *
 * In a program of your own: kill -USR1 PID, then capture-pipeline cat DIR. */
#define _POSIX_C_SOURCE 200809L
#include <capture_pipeline.h>

#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS = 2, REQUESTS = 200000, FAULTY = 150001 };
enum { KIND_REQUEST = 1, KIND_STEP = 2, KIND_FAULT = 3 };

static pipeline_t *pipeline;
static char directory[] = "flight-XXXXXX";
static sem_t wanted;       /* posted: a snapshot is wanted, or the end has come */
static volatile sig_atomic_t ended;
static int signalled;      /* snapshots that the helper has written */

/* The events stay in memory. What is left at the end is not needed. */
static int32_t forget(void *user_data, const pipeline_batch_t *batch)
{
    (void)user_data, (void)batch;
    return PIPELINE_STORE_OK;
}

static pipeline_t *start(void)
{
    pipeline_config_t config;
    pipeline_storage_t storage;
    pipeline_t *started = NULL;

    pipeline_config_init(&config, sizeof config);
    pipeline_storage_init(&storage, sizeof storage);
    storage.store = forget;
    config.writers = 0;                                /* nothing is stored, */
    config.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;   /* so each thread's ring keeps its last events: */
    config.ring_bytes = 4 << 20;                       /* 4 MiB a thread */
    if (pipeline_start(&config, &storage, &started) != PIPELINE_OK)
        fprintf(stderr, "%s\n", pipeline_last_error());
    return started;
}

static int write_snapshot(const char *why)
{
    pipeline_snapshot_t snapshot;

    memset(&snapshot, 0, sizeof snapshot);
    snapshot.struct_size = sizeof snapshot;
    if (pipeline_snapshot(pipeline, directory, NULL, &snapshot) != PIPELINE_OK) {
        fprintf(stderr, "%s\n", pipeline_last_error()); /* the program goes on all the same */
        return 0;
    }
    printf("%s: %llu events of the last %.1f ms\n", why, (unsigned long long)snapshot.events,
           (double)(snapshot.last_ns - snapshot.first_ns) / 1e6);
    return 1;
}

/* A signal handler must not take a snapshot, but it may wake a thread that does. */
static void on_signal(int number)
{
    (void)number;
    sem_post(&wanted);
}

static void *helper(void *unused)
{
    (void)unused;
    for (;;) {
        while (sem_wait(&wanted) != 0)
            ;
        if (ended)
            return NULL;
        signalled += write_snapshot("a signal asked for it");
    }
}

static void capture(uint32_t kind, uint64_t trace, const char *text)
{
    pipeline_event_t event;

    memset(&event, 0, sizeof event);
    event.struct_size = sizeof event;
    event.kind = kind;
    event.correlation_id = trace;
    event.data = text;
    event.len = strlen(text);
    pipeline_capture_event(pipeline, &event);
}

/* Works on every second request. One of them goes wrong. */
static void *work(void *first)
{
    uint64_t request;

    for (request = (uint64_t)(size_t)first; request <= REQUESTS; request += WORKERS) {
        capture(KIND_REQUEST, request, "GET /basket");
        capture(KIND_STEP, request, request == FAULTY ? "price of item 7: -1" : "price of item 7: 12");
        capture(KIND_STEP, request, request == FAULTY ? "sum: -1" : "sum: 12");
        if (request == FAULTY) {
            capture(KIND_FAULT, request, "the sum is negative");
            write_snapshot("a fault");
        }
    }
    return NULL;
}

/* Prints the events of the request that went wrong, in the order of time. Returns how many there are. */
static int explain(void)
{
    pipeline_reader_options_t options;
    pipeline_reader_t *reader = NULL;
    pipeline_reader_event_t event;
    int events = 0;

    pipeline_reader_options_init(&options, sizeof options);
    options.flags = PIPELINE_READER_TIME_ORDER;
    options.correlation_id = FAULTY;
    if (pipeline_reader_open(directory, &options, &reader) != PIPELINE_OK) {
        fprintf(stderr, "%s\n", pipeline_last_error());
        return 0;
    }
    printf("what led to the fault in request %d:\n", FAULTY);
    memset(&event, 0, sizeof event);
    event.struct_size = sizeof event;
    while (pipeline_reader_next(reader, 0, &event) == PIPELINE_OK) {
        printf("  %.*s\n", (int)event.len, (const char *)event.data);
        events++;
    }
    pipeline_reader_close(reader);
    return events;
}

static void remove_directory(void)
{
    struct dirent *entry;
    char path[600];
    DIR *all = opendir(directory);

    while (all != NULL && (entry = readdir(all)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        unlink(path);
    }
    if (all != NULL)
        closedir(all);
    rmdir(directory);
}

int main(void)
{
    struct sigaction action;
    pthread_t workers[WORKERS], waiting;
    size_t i;
    int explained;

    if (mkdtemp(directory) == NULL || sem_init(&wanted, 0, 0) != 0 || (pipeline = start()) == NULL)
        return 1;
    pipeline_kind_name(pipeline, KIND_REQUEST, "request");
    pipeline_kind_name(pipeline, KIND_STEP, "step");
    pipeline_kind_name(pipeline, KIND_FAULT, "fault");
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    if (sigaction(SIGUSR1, &action, NULL) != 0 || pthread_create(&waiting, NULL, helper, NULL) != 0)
        return 1;
    for (i = 0; i < WORKERS; i++)
        if (pthread_create(&workers[i], NULL, work, (void *)(i + 1)) != 0)
            return 1;
    raise(SIGUSR1); /* as kill -USR1 does, while the workers run */
    for (i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    ended = 1;
    sem_post(&wanted);
    pthread_join(waiting, NULL);
    explained = explain();
    remove_directory();
    pipeline_abandon(pipeline);
    return !(explained == 4 && signalled <= 1);
}
