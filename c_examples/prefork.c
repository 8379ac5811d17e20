/* A server that forks its workers before it has work. Each process has a pipeline of its own, and all of them store into one journal:
 *
 * - The parent has started its pipeline before the forks. In a worker every call on it returns PIPELINE_ERR_FORKED; destroying it there frees its
 *   memory and touches nothing of the parent's.
 * - A worker answers a request once its event is acknowledged. So a worker that is killed loses no event of an answered request; here one is killed in the
 *   middle of its work and replaced.
 * - The journal tells the processes apart: each run has a generation of its own. */
#define _POSIX_C_SOURCE 200809L
#include <capture_pipeline.h>

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 4, REQUESTS = 2000, KILLED_AFTER = 500 };
enum { KIND_STARTED = 1, KIND_REQUEST = 2 };

typedef struct {
    pid_t pid;
    int socket;
    int request; /* the one that it works on; -1: none */
} worker_t;

static pipeline_t *start(const char *directory, const char *name)
{
    pipeline_config_t config;
    pipeline_storage_t storage;
    pipeline_t *pipeline = NULL;
    pipeline_config_init(&config, sizeof config);
    config.name = name;
    if (pipeline_storage_journal(directory, NULL, sizeof storage, &storage) < 0 || pipeline_start(&config, &storage, &pipeline) < 0) {
        fprintf(stderr, "%s: %s\n", name, pipeline_last_error());
        exit(1);
    }
    return pipeline;
}

static void work(pipeline_t *parents, const char *directory, int socket)
{
    pipeline_t *pipeline;
    int request;
    if (pipeline_capture(parents, KIND_STARTED, "", 0) != PIPELINE_ERR_FORKED)
        _exit(2);
    pipeline_destroy(parents);
    pipeline = start(directory, "worker");
    while (read(socket, &request, sizeof request) == sizeof request) {
        /* The request would be served here. */
        if (pipeline_capture(pipeline, KIND_REQUEST, &request, sizeof request) < 0 || pipeline_flush(pipeline, 60000) < 0)
            _exit(3);
        if (write(socket, &request, sizeof request) != sizeof request)
            break;
    }
    if (pipeline_close(pipeline, 60000) < 0 || pipeline_destroy(pipeline) < 0)
        _exit(4);
    _exit(0);
}

static void fork_worker(worker_t *worker, const worker_t *all, pipeline_t *parents, const char *directory)
{
    int pair[2], i;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        perror("socketpair");
        exit(1);
    }
    worker->pid = fork();
    if (worker->pid < 0) {
        perror("fork");
        exit(1);
    }
    if (worker->pid == 0) {
        /* The others' sockets end when the parent closes them. */
        for (i = 0; i < WORKERS; i++)
            if (all[i].socket >= 0)
                close(all[i].socket);
        close(pair[0]);
        work(parents, directory, pair[1]);
    }
    close(pair[1]);
    worker->socket = pair[0];
    worker->request = -1;
}

/* Reads the journal: how often each request is in it. Answers the number of events, or -1. */
static long check(const char *directory, unsigned *times, unsigned *runs)
{
    static uint64_t generations[WORKERS + 8];
    pipeline_reader_t *reader;
    pipeline_reader_event_t event;
    long events = 0;
    int status;
    unsigned i;
    if (pipeline_reader_open(directory, NULL, &reader) < 0)
        return -1;
    memset(&event, 0, sizeof event);
    event.struct_size = sizeof event;
    while ((status = pipeline_reader_next(reader, 0, &event)) == PIPELINE_OK) {
        int request;
        events++;
        for (i = 0; i < *runs && generations[i] != event.generation; i++)
            ;
        if (i == *runs && *runs < sizeof generations / sizeof *generations)
            generations[(*runs)++] = event.generation;
        if (event.kind != KIND_REQUEST || event.len != sizeof request)
            continue;
        memcpy(&request, event.data, sizeof request);
        if (request >= 0 && request < REQUESTS)
            times[request]++;
    }
    pipeline_reader_close(reader);
    return status == PIPELINE_END ? events : -1;
}

static void remove_directory(const char *directory)
{
    char path[512];
    struct dirent *entry;
    DIR *all = opendir(directory);
    while (all != NULL && (entry = readdir(all)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        unlink(path); /* fails for "." and ".." */
    }
    if (all != NULL)
        closedir(all);
    rmdir(directory);
}

int main(void)
{
    char directory[] = "prefork.XXXXXX";
    static unsigned times[REQUESTS];
    static char again[REQUESTS]; /* requests of the killed worker, which another one serves */
    worker_t workers[WORKERS];
    pipeline_t *pipeline;
    unsigned runs = 0, missing = 0, twice = 0, killed = 0;
    int next = 0, answered = 0, lost = -1, i, good = 1;
    long events;

    signal(SIGPIPE, SIG_IGN);
    if (mkdtemp(directory) == NULL)
        return 1;
    pipeline = start(directory, "parent");
    for (i = 0; i < WORKERS; i++)
        workers[i].socket = -1;
    for (i = 0; i < WORKERS; i++) {
        fork_worker(&workers[i], workers, pipeline, directory);
        pipeline_capture(pipeline, KIND_STARTED, &workers[i].pid, sizeof workers[i].pid);
    }
    while (answered < REQUESTS) {
        struct pollfd polled[WORKERS];
        for (i = 0; i < WORKERS; i++) {
            worker_t *w = &workers[i];
            if (w->request < 0 && (lost >= 0 || next < REQUESTS)) {
                w->request = lost >= 0 ? lost : next++;
                lost = -1;
                if (write(w->socket, &w->request, sizeof w->request) != sizeof w->request)
                    perror("write"); /* its end is noticed below */
            }
            polled[i].fd = w->socket;
            polled[i].events = POLLIN;
        }
        if (killed == 0 && answered >= KILLED_AFTER) {
            kill(workers[0].pid, SIGKILL);
            killed++;
        }
        if (poll(polled, WORKERS, 60000) <= 0)
            return 1;
        for (i = 0; i < WORKERS; i++) {
            worker_t *w = &workers[i];
            int request;
            if (polled[i].revents == 0)
                continue;
            if (read(w->socket, &request, sizeof request) == sizeof request) {
                answered++;
                w->request = -1;
                continue;
            }
            /* It has died. What it was working on is given to another worker; its event may be there already. */
            close(w->socket);
            w->socket = -1;
            waitpid(w->pid, NULL, 0);
            lost = w->request;
            if (lost >= 0)
                again[lost] = 1;
            fork_worker(w, workers, pipeline, directory);
            pipeline_capture(pipeline, KIND_STARTED, &w->pid, sizeof w->pid);
        }
    }
    for (i = 0; i < WORKERS; i++) {
        int status = 1;
        close(workers[i].socket);
        if (waitpid(workers[i].pid, &status, 0) != workers[i].pid || status != 0)
            good = 0;
    }
    if (pipeline_close(pipeline, 60000) < 0 || pipeline_destroy(pipeline) < 0)
        good = 0;

    events = check(directory, times, &runs);
    for (i = 0; i < REQUESTS; i++) {
        missing += times[i] == 0;
        twice += times[i] > 1;
        good = good && times[i] <= 1u + (unsigned)again[i];
    }
    printf("%d requests answered by %d workers, one of which was killed and replaced\n", answered, WORKERS);
    printf("journal: %ld events of %u runs; %u answered requests missing, %u served twice\n", events, runs, missing, twice);
    good = good && killed == 1 && missing == 0 && runs > WORKERS && events >= REQUESTS + WORKERS + 1;
    remove_directory(directory);
    printf("%s\n", good ? "good" : "WRONG");
    return good ? 0 : 1;
}
