/* The library is loaded and unloaded again and again, by programs and plug-ins that have no order among themselves: with writers running, while a writer is inside
 * store, beside a copy at another path, and with captures that come after the last dlclose, from thread-local destructors and exit handlers. It stays mapped
 * (nodelete), the symbols that are looked up again are those of before, and every event is stored once. docs/guarantees.md has the table.
 *
 * This program names no function of the library, so with --as-needed it is not linked with it. */
#include "../check.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define SONAME "libcapture_pipeline.so.0"
enum { ROUNDS = 5, WRITERS = 2, THREADS = 3 };

/* A loaded library. */
typedef struct {
    void *handle;
    int32_t (*config_init)(pipeline_config_t *, size_t);
    int32_t (*storage_init)(pipeline_storage_t *, size_t);
    int32_t (*start)(const pipeline_config_t *, const pipeline_storage_t *, pipeline_t **);
    int32_t (*capture)(const pipeline_t *, uint32_t, const void *, size_t);
    int32_t (*flush)(pipeline_t *, int64_t);
    int32_t (*metrics)(const pipeline_t *, pipeline_metrics_t *);
    int32_t (*close)(pipeline_t *, int64_t);
    int32_t (*destroy)(pipeline_t *);
} library_t;

static library_t load(const char *name)
{
    library_t l;
    l.handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (l.handle == NULL)
        fprintf(stderr, "%s\n", dlerror());
    CHECK_OR_STOP(l.handle != NULL);
    *(void **)&l.config_init = dlsym(l.handle, "pipeline_config_init");
    *(void **)&l.storage_init = dlsym(l.handle, "pipeline_storage_init");
    *(void **)&l.start = dlsym(l.handle, "pipeline_start");
    *(void **)&l.capture = dlsym(l.handle, "pipeline_capture");
    *(void **)&l.flush = dlsym(l.handle, "pipeline_flush");
    *(void **)&l.metrics = dlsym(l.handle, "pipeline_metrics");
    *(void **)&l.close = dlsym(l.handle, "pipeline_close");
    *(void **)&l.destroy = dlsym(l.handle, "pipeline_destroy");
    CHECK_OR_STOP(l.config_init && l.storage_init && l.start && l.capture && l.flush && l.metrics && l.close && l.destroy);
    return l;
}

/* What a storage was given. In shared memory, so that a parent sees what its child stored at its exit. */
typedef struct {
    atomic_ulong stored, sum;
    atomic_bool hold, inside;
} seen_t;

static seen_t *seen;

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    seen_t *s = (seen_t *)user_data;
    uint64_t deadline = now_ms() + 60000;
    size_t i;
    s->inside = true;
    while (s->hold && now_ms() < deadline)
        pause_a_little();
    for (i = 0; i < batch->count; i++)
        s->sum += *(const uint64_t *)PIPELINE_BATCH_EVENT(batch, i)->data;
    s->stored += batch->count;
    s->inside = false;
    return PIPELINE_STORE_OK;
}

static pipeline_t *begin(const library_t *l, seen_t *s)
{
    pipeline_config_t c;
    pipeline_storage_t storage;
    pipeline_t *p = NULL;
    CHECK(l->config_init(&c, sizeof c) == PIPELINE_OK);
    c.writers = WRITERS;
    CHECK(l->storage_init(&storage, sizeof storage) == PIPELINE_OK);
    storage.store = store;
    storage.user_data = s;
    CHECK(l->start(&c, &storage, &p) == PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    return p;
}

/* Closes the pipeline: it has captured so many events, and the storage has each once. */
static void finish(const library_t *l, pipeline_t *p, seen_t *s, uint64_t events, uint64_t sum)
{
    pipeline_metrics_t m;
    CHECK(l->close(p, 60000) == PIPELINE_OK);
    m.struct_size = sizeof m;
    CHECK(l->metrics(p, &m) == PIPELINE_OK);
    CHECK_U64(m.captured, events);
    CHECK_U64(m.stored, events);
    CHECK_U64(s->stored, events);
    CHECK_U64(s->sum, sum);
    CHECK(l->destroy(p) == PIPELINE_OK);
}

/* ---- loaded and unloaded while threads capture and writers store ---- */

static library_t used;
static pipeline_t *shared;
static atomic_bool stop;
static atomic_ulong captured, captured_sum;

static void *captures(void *unused)
{
    uint64_t n = 0;
    (void)unused;
    for (; !stop; n++)
        if (used.capture(shared, 1, &n, sizeof n) == PIPELINE_OK) {
            captured++;
            captured_sum += n;
        } else {
            sched_yield();
        }
    return NULL;
}

/* Loads the library several times while one is in use. Each time the symbols are those of the first time, and give the same pipeline. */
static void again_and_again(const char *name)
{
    int round;
    for (round = 0; round < ROUNDS; round++) {
        library_t again = load(name);
        uint64_t one = 1;
        CHECK((void *)again.capture == (void *)used.capture && (void *)again.start == (void *)used.start);
        while (again.capture(shared, 1, &one, sizeof one) != PIPELINE_OK)
            sched_yield();
        captured++;
        captured_sum++;
        CHECK(again.flush(shared, 60000) == PIPELINE_OK);
        CHECK(dlclose(again.handle) == 0);
    }
}

static void with_writers_running(void)
{
    pthread_t threads[THREADS];
    int i;
    memset(seen, 0, sizeof *seen);
    captured = captured_sum = 0;
    stop = false;
    used = load(SONAME);
    shared = begin(&used, seen);
    for (i = 0; i < THREADS; i++)
        threads[i] = start_thread(captures, NULL);
    CHECK(dlclose(used.handle) == 0); /* the last handle, again and again */
    again_and_again(SONAME);
    stop = true;
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    finish(&used, shared, seen, captured, captured_sum);
}

/* ---- unloaded while a writer is inside store, and used on ---- */

static void inside_store(void)
{
    uint64_t one = 1;
    memset(seen, 0, sizeof *seen);
    seen->hold = true;
    used = load(SONAME);
    shared = begin(&used, seen);
    CHECK(used.capture(shared, 1, &one, sizeof one) == PIPELINE_OK);
    WAIT_FOR(seen->inside);
    CHECK(dlclose(used.handle) == 0);
    captured = captured_sum = 1;
    seen->hold = false;
    again_and_again(SONAME);
    finish(&used, shared, seen, captured, captured_sum);
}

/* ---- two copies at different paths ---- */

static void copy_of_the_library(char *path, size_t size)
{
    const char *prefix = getenv("PIPELINE_PREFIX");
    char from[512];
    struct stat status;
    int in, out;
    snprintf(from, sizeof from, "%.400s/lib/" SONAME, prefix != NULL ? prefix : "/usr/local");
    snprintf(path, size, "%s", "./libcopy_of_the_library.so");
    in = open(from, O_RDONLY | O_CLOEXEC);
    out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    CHECK_OR_STOP(in >= 0 && out >= 0 && fstat(in, &status) == 0);
    while (status.st_size > 0) {
        ssize_t sent = sendfile(out, in, NULL, (size_t)status.st_size);
        CHECK_OR_STOP(sent > 0);
        status.st_size -= sent;
    }
    close(in);
    close(out);
}

/* A thread that has captured into both copies: both learn of its end. */
static library_t copies[2];
static pipeline_t *pipelines[2];
static void *captures_into_both(void *unused)
{
    uint64_t n, copy;
    (void)unused;
    for (n = 0; n < 500; n++)
        for (copy = 0; copy < 2; copy++)
            while (copies[copy].capture(pipelines[copy], 1, &copy, sizeof copy) != PIPELINE_OK)
                sched_yield();
    return NULL;
}

static void two_copies(void)
{
    char path[64];
    pthread_t threads[THREADS];
    int i, round;
    pid_t child;
    copy_of_the_library(path, sizeof path);
    for (round = 0; round < 2; round++) {
        memset(seen, 0, 2 * sizeof *seen);
        copies[0] = load(SONAME);
        copies[1] = load(path);
        CHECK((void *)copies[0].start != (void *)copies[1].start);
        for (i = 0; i < 2; i++)
            pipelines[i] = begin(&copies[i], &seen[i]);
        for (i = 0; i < THREADS; i++)
            threads[i] = start_thread(captures_into_both, NULL);
        for (i = 0; i < 2; i++)
            CHECK(dlclose(copies[i].handle) == 0);
        for (i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        /* A forked child is told of by both. */
        fflush(NULL);
        child = fork();
        if (child == 0) {
            begin_child();
            for (i = 0; i < 2; i++) {
                CHECK(copies[i].capture(pipelines[i], 1, "12345678", 8) == PIPELINE_ERR_FORKED);
                CHECK(copies[i].destroy(pipelines[i]) == PIPELINE_OK);
            }
            _exit(checks_failed ? 1 : 0);
        }
        AWAIT_CHILD(child);
        for (i = 0; i < 2; i++)
            finish(&copies[i], pipelines[i], &seen[i], THREADS * 500, (uint64_t)i * THREADS * 500);
    }
    unlink(path);
}

/* ---- captures that come after the last dlclose, in a process that exits ---- */

static pthread_key_t key;

static void captures_at_the_threads_end(void *value)
{
    uint64_t one = 1;
    static __thread int rounds;
    CHECK(used.capture(shared, 1, &one, sizeof one) == PIPELINE_OK);
    if (++rounds < 3)
        pthread_setspecific(key, value); /* once more, after the library's own */
}

static void *ends_after_the_unload(void *unused)
{
    (void)unused;
    pthread_setspecific(key, &key);
    return NULL;
}

static void captures_at_exit(void)
{
    uint64_t one = 1;
    /* This handler runs before the library's, which drains, or after it: then the pipeline is closed. */
    int32_t status = used.capture(shared, 1, &one, sizeof one);
    seen[1].stored += status == PIPELINE_OK;
    if (status != PIPELINE_OK && status != PIPELINE_ERR_CLOSED)
        _exit(1);
}

static void after_the_unload(bool handler_first)
{
    pid_t child;
    memset(seen, 0, 2 * sizeof *seen);
    fflush(NULL);
    child = fork();
    if (child == 0) {
        begin_child();
        pthread_key_create(&key, captures_at_the_threads_end);
        if (handler_first) /* it runs last */
            atexit(captures_at_exit);
        used = load(SONAME);
        shared = begin(&used, seen);
        if (!handler_first)
            atexit(captures_at_exit);
        CHECK(dlclose(used.handle) == 0);
        pthread_join(start_thread(ends_after_the_unload, NULL), NULL);
        exit(checks_failed ? 1 : 0);
    }
    AWAIT_CHILD(child);
    CHECK_U64(seen[1].stored, !handler_first);
    CHECK_U64(seen[0].stored, 3 + seen[1].stored);
}

int main(void)
{
    if (dlopen(SONAME, RTLD_NOW | RTLD_NOLOAD) != NULL) {
        fprintf(stderr, "this program is linked with the library: build it with -Wl,--as-needed\n");
        return 1;
    }
    seen = (seen_t *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_OR_STOP(seen != MAP_FAILED);
    if (children_can_start_threads()) {
        after_the_unload(true);
        after_the_unload(false);
    }
    with_writers_running();
    inside_store();
    two_copies();
    return SUMMARY();
}
