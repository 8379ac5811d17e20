/* A run that has ended, and what it has left in a directory for ring files. */
#ifndef CAPTURE_PIPELINE_TEST_LEFT_H
#define CAPTURE_PIPELINE_TEST_LEFT_H

#include "ring_file.h"

static recorder_t left_rec = RECORDER_INIT;

/* The number of ring files in a directory. */
CHECK_UNUSED static size_t ring_files(const char *directory)
{
    struct dirent *entry;
    DIR *dir = opendir(directory);
    size_t count = 0;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        count += strlen(entry->d_name) == 22 && strcmp(entry->d_name + 16, ".rings") == 0;
    if (dir != NULL)
        closedir(dir);
    return count;
}

static void *capturing_left(void *argument)
{
    uint64_t *range = (uint64_t *)argument, n;
    for (n = range[0]; n < range[1]; n++) {
        pipeline_event_t e = event_of((uint32_t)(n % 5), &n, 8);
        e.correlation_id = n + 1;
        e.flags = n % 10 == 0 ? PIPELINE_EVENT_PRIORITY : 0;
        CHECK_STATUS(pipeline_capture_event((pipeline_t *)(uintptr_t)range[2], &e), PIPELINE_OK);
    }
    return NULL;
}

/* A child captures the numbers 0 to `count` - 1 from two threads, with nothing stored, and is killed. Returns the run's generation. */
CHECK_UNUSED static uint64_t leave_events(const char *directory, uint64_t count)
{
    uint64_t generation = 0;
    ring_file_t f;
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        pipeline_config_t c = ring_file_config(directory);
        pipeline_storage_t s = recorder_storage(&left_rec);
        pipeline_t *p = NULL;
        pthread_t threads[2];
        uint64_t ranges[2][3] = {{0, count / 2, 0}, {count / 2, count, 0}};
        int n;
        begin_child();
        c.writers = 0;
        CHECK_OR_STOP(pipeline_start(&c, &s, &p) == PIPELINE_OK);
        CHECK_STATUS(pipeline_kind_name(p, 3, "three"), PIPELINE_OK);
        for (n = 0; n < 2; n++) {
            ranges[n][2] = (uint64_t)(uintptr_t)p;
            pthread_create(&threads[n], NULL, capturing_left, ranges[n]);
        }
        for (n = 0; n < 2; n++)
            pthread_join(threads[n], NULL);
        if (checks_failed)
            end_child();
        kill(getpid(), SIGKILL);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK_OR_STOP(ring_files(directory) == 1);
    f = read_ring_file(find_ring_file(directory));
    CHECK_U64(f.count, count);
    generation = f.generation;
    free_ring_file(&f);
    return generation;
}

/* Waits until the recovery is over, and the old file gone. */
#define WAIT_FOR_RECOVERED(p, directory, count)                                                                        \
    do {                                                                                                               \
        WAIT_FOR(ring_files(directory) == 1);                                                                          \
        CHECK_U64(metrics_of(p).recovered, (count));                                                                   \
        CHECK_U64(metrics_of(p).torn, 0);                                                                              \
        CHECK_LEDGER(p);                                                                                               \
    } while (0)

#endif
