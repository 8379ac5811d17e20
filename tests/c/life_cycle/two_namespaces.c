/* Two copies of the library in one process, in two link namespaces (dlmopen), each with a C library of its own beside that of the program. Each has a pipeline
 * with its own threads, its own errors and its own end; the events of one never reach the storage of the other.
 *
 * This program names no function of the library, so with --as-needed it is not linked with it. */
#include "../check.h"

#include <dlfcn.h>

#define SONAME "libcapture_pipeline.so.0"
enum { COPIES = 2, EVENTS = 5000 };

typedef struct {
    void *library;
    int32_t (*storage_init)(pipeline_storage_t *, size_t);
    int32_t (*start)(const pipeline_config_t *, const pipeline_storage_t *, pipeline_t **);
    int32_t (*capture)(const pipeline_t *, uint32_t, const void *, size_t);
    int32_t (*flush)(pipeline_t *, int64_t);
    int32_t (*close)(pipeline_t *, int64_t);
    int32_t (*destroy)(pipeline_t *);
    const char *(*last_error)(void);
    pipeline_t *pipeline;
    atomic_ulong stored, foreign;
} copy_t;

static copy_t copies[COPIES];

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    copy_t *own = (copy_t *)user_data;
    size_t i;
    for (i = 0; i < batch->count; i++)
        own->foreign += *(const unsigned *)PIPELINE_BATCH_EVENT(batch, i)->data != (unsigned)(own - copies);
    own->stored += batch->count;
    return PIPELINE_STORE_OK;
}

static bool open_copy(copy_t *own)
{
    own->library = dlmopen(LM_ID_NEWLM, SONAME, RTLD_NOW | RTLD_LOCAL);
    if (own->library == NULL) {
        printf("dlmopen: %s\n", dlerror());
        return false;
    }
    *(void **)&own->storage_init = dlsym(own->library, "pipeline_storage_init");
    *(void **)&own->start = dlsym(own->library, "pipeline_start");
    *(void **)&own->capture = dlsym(own->library, "pipeline_capture");
    *(void **)&own->flush = dlsym(own->library, "pipeline_flush");
    *(void **)&own->close = dlsym(own->library, "pipeline_close");
    *(void **)&own->destroy = dlsym(own->library, "pipeline_destroy");
    *(void **)&own->last_error = dlsym(own->library, "pipeline_last_error");
    CHECK_OR_STOP(own->storage_init && own->start && own->capture && own->flush && own->close && own->destroy && own->last_error);
    return true;
}

static void begin(copy_t *own)
{
    pipeline_storage_t s;
    CHECK(own->storage_init(&s, sizeof s) == PIPELINE_OK);
    s.store = store;
    s.user_data = own;
    CHECK(own->start(NULL, &s, &own->pipeline) == PIPELINE_OK);
    CHECK_OR_STOP(own->pipeline != NULL);
}

/* A thread of the program's own C library that captures into both. */
static void *captures(void *unused)
{
    unsigned i, copy;
    (void)unused;
    for (i = 0; i < EVENTS; i++)
        for (copy = 0; copy < COPIES; copy++)
            while (copies[copy].capture(copies[copy].pipeline, 1, &copy, sizeof copy) == PIPELINE_ERR_FULL)
                CHECK(copies[copy].flush(copies[copy].pipeline, PATIENCE_MS) == PIPELINE_OK);
    return NULL;
}

int main(void)
{
    pthread_t threads[2];
    int copy, i;
    for (copy = 0; copy < COPIES; copy++)
        if (!open_copy(&copies[copy]))
            return 1;
    CHECK((void *)copies[0].start != (void *)copies[1].start);
    for (copy = 0; copy < COPIES; copy++)
        begin(&copies[copy]);
    for (i = 0; i < 2; i++)
        threads[i] = start_thread(captures, NULL);
    captures(NULL);
    for (i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    /* The text of an error is the copy's own. */
    CHECK(copies[0].capture(NULL, 1, "x", 1) == PIPELINE_ERR_NULL);
    CHECK(copies[0].last_error()[0] != '\0');
    CHECK(copies[1].last_error()[0] == '\0');
    /* One ends and is closed; the other goes on. */
    CHECK(copies[0].close(copies[0].pipeline, PATIENCE_MS) == PIPELINE_OK);
    CHECK(copies[0].destroy(copies[0].pipeline) == PIPELINE_OK);
    CHECK(dlclose(copies[0].library) == 0);
    copy = 1;
    CHECK(copies[1].capture(copies[1].pipeline, 1, &copy, sizeof copy) == PIPELINE_OK);
    CHECK(copies[1].close(copies[1].pipeline, PATIENCE_MS) == PIPELINE_OK);
    CHECK(copies[1].destroy(copies[1].pipeline) == PIPELINE_OK);
    CHECK_U64(copies[0].stored, 3 * EVENTS);
    CHECK_U64(copies[1].stored, 3 * EVENTS + 1);
    CHECK_U64(copies[0].foreign + copies[1].foreign, 0);
    return SUMMARY();
}
