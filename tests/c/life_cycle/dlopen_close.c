/* The library is loaded with dlopen, used, and closed with dlclose: while a pipeline runs, while threads that captured have still to end,
 * and before the process exits. It stays mapped (nodelete), nothing crashes, and every event is drained.
 *
 * This program names no function of the library, so with --as-needed it is not linked with it. */
#include "../check.h"

#include <dlfcn.h>
#include <fcntl.h>

#define SONAME "libcapture_pipeline.so.0"

static int32_t (*storage_init)(pipeline_storage_t *, size_t);
static int32_t (*start)(const pipeline_config_t *, const pipeline_storage_t *, pipeline_t **);
static int32_t (*capture)(const pipeline_t *, uint32_t, const void *, size_t);
static int32_t (*flush)(pipeline_t *, int64_t);
static int32_t (*close_it)(pipeline_t *, int64_t);
static int32_t (*destroy)(pipeline_t *);

static int out = -1;
static atomic_ulong stored;

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    size_t i;
    (void)user_data;
    for (i = 0; i < batch->count && out >= 0; i++)
        (void)!write(out, ".", 1);
    stored += batch->count;
    return PIPELINE_STORE_OK;
}

static void *open_library(void)
{
    void *library = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        fprintf(stderr, "%s\n", dlerror());
    CHECK_OR_STOP(library != NULL);
    *(void **)&storage_init = dlsym(library, "pipeline_storage_init");
    *(void **)&start = dlsym(library, "pipeline_start");
    *(void **)&capture = dlsym(library, "pipeline_capture");
    *(void **)&flush = dlsym(library, "pipeline_flush");
    *(void **)&close_it = dlsym(library, "pipeline_close");
    *(void **)&destroy = dlsym(library, "pipeline_destroy");
    CHECK_OR_STOP(storage_init && start && capture && flush && close_it && destroy);
    return library;
}

static pipeline_t *begin(void)
{
    pipeline_storage_t s;
    pipeline_t *p = NULL;
    CHECK(storage_init(&s, sizeof s) == PIPELINE_OK);
    s.store = store;
    CHECK(start(NULL, &s, &p) == PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    return p;
}

static pipeline_t *shared;
static pthread_barrier_t barrier;
static void *captures_and_ends_later(void *unused)
{
    (void)unused;
    CHECK(capture(shared, 1, "x", 1) == PIPELINE_OK);
    pthread_barrier_wait(&barrier); /* captured */
    pthread_barrier_wait(&barrier); /* the library is closed */
    CHECK(capture(shared, 1, "x", 1) == PIPELINE_OK);
    return NULL;
}

int main(void)
{
    void *library;
    pthread_t threads[4];
    pid_t child;
    int i, round;
    char name[] = "dlopen_close.XXXXXX";

    if (dlopen(SONAME, RTLD_NOW | RTLD_NOLOAD) != NULL) {
        fprintf(stderr, "this program is linked with the library: build it with -Wl,--as-needed\n");
        return 1;
    }

    /* A child closes the library with a pipeline open, and exits: the events are drained. */
    out = mkstemp(name);
    CHECK_OR_STOP(out >= 0);
    unlink(name);
    fflush(NULL);
    child = fork();
    if (child == 0) {
        pipeline_t *p;
        begin_child();
        library = open_library();
        p = begin();
        for (i = 0; i < 1000; i++)
            CHECK(capture(p, 1, "x", 1) == PIPELINE_OK);
        dlclose(library);
        exit(checks_failed ? 1 : 0);
    }
    AWAIT_CHILD(child);
    CHECK_U64(lseek(out, 0, SEEK_END), 1000);
    out = -1;

    /* Threads that captured end after the library was closed; its thread-end destructor must be there still. */
    pthread_barrier_init(&barrier, NULL, 5);
    for (round = 0; round < 3; round++) {
        stored = 0;
        library = open_library();
        shared = begin();
        for (i = 0; i < 4; i++)
            threads[i] = start_thread(captures_and_ends_later, NULL);
        pthread_barrier_wait(&barrier);
        CHECK(dlclose(library) == 0);
        pthread_barrier_wait(&barrier);
        for (i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        CHECK(flush(shared, PATIENCE_MS) == PIPELINE_OK);
        CHECK_U64(stored, 8);
        CHECK(close_it(shared, PATIENCE_MS) == PIPELINE_OK);
        CHECK(destroy(shared) == PIPELINE_OK);
        /* nodelete: still loaded. */
        library = dlopen(SONAME, RTLD_NOW | RTLD_NOLOAD);
        CHECK(library != NULL);
    }
    return SUMMARY();
}
