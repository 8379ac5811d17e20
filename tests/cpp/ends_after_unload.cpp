// Destructors of static and of thread-local objects capture after the program has closed its handle of the library (dlclose). Those that run before the library's
// exit handler capture as ever, and the events are stored; later ones are refused as closed. Nothing crashes, and nothing is stored twice.
//
// This program names no function of the library, so with --as-needed it is not linked with it.
#include "../c/check.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include <new>
#include <thread>

namespace {

enum { THREADS = 3 };

int32_t (*storage_init)(pipeline_storage_t *, size_t);
int32_t (*start)(const pipeline_config_t *, const pipeline_storage_t *, pipeline_t **);
int32_t (*capture)(const pipeline_t *, uint32_t, const void *, size_t);
pipeline_t *pipeline;

// Shared with the child: what each destructor's capture returned, and how often each number was stored.
struct Seen {
    std::atomic<int32_t> returned[THREADS + 3];
    std::atomic<int> stored[THREADS + 3];
};
Seen *seen;

int32_t store(void *, const pipeline_batch_t *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        seen->stored[*static_cast<const uint64_t *>(PIPELINE_BATCH_EVENT(batch, i)->data)]++;
    return PIPELINE_STORE_OK;
}

struct Captures {
    explicit Captures(uint64_t number) : number(number) {}
    ~Captures() { seen->returned[number] = capture(pipeline, 1, &number, sizeof number); }
    uint64_t number;
};

void child()
{
    static Captures first(0); // constructed before the library's exit handler is registered, so destroyed after that has run
    void *library = dlopen("libcapture_pipeline.so.0", RTLD_NOW | RTLD_LOCAL);
    CHECK_OR_STOP(library != nullptr);
    *reinterpret_cast<void **>(&storage_init) = dlsym(library, "pipeline_storage_init");
    *reinterpret_cast<void **>(&start) = dlsym(library, "pipeline_start");
    *reinterpret_cast<void **>(&capture) = dlsym(library, "pipeline_capture");
    CHECK_OR_STOP(storage_init && start && capture);
    pipeline_storage_t storage;
    CHECK(storage_init(&storage, sizeof storage) == PIPELINE_OK);
    storage.store = store;
    CHECK_OR_STOP(start(nullptr, &storage, &pipeline) == PIPELINE_OK);
    static Captures last(1);
    thread_local Captures of_main(2);
    CHECK(of_main.number == 2);
    CHECK(dlclose(library) == 0);
    std::thread threads[THREADS];
    for (uint64_t n = 0; n < THREADS; n++)
        threads[n] = std::thread([n] {
            thread_local Captures own(3 + n);
            CHECK(own.number == 3 + n);
        });
    for (std::thread &thread : threads)
        thread.join();
    exit(checks_failed ? 1 : 0);
}

} // namespace

int main()
{
    if (dlopen("libcapture_pipeline.so.0", RTLD_NOW | RTLD_NOLOAD) != nullptr) {
        fprintf(stderr, "this program is linked with the library: build it with -Wl,--as-needed\n");
        return 1;
    }
    if (!children_can_start_threads())
        return SUMMARY();
    void *shared = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_OR_STOP(shared != MAP_FAILED);
    seen = new (shared) Seen();
    for (auto &returned : seen->returned)
        returned = 1000;
    fflush(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
        begin_child();
        child();
    }
    AWAIT_CHILD(pid);
    CHECK_U64(seen->returned[0], PIPELINE_ERR_CLOSED);
    CHECK_U64(seen->stored[0], 0);
    for (int n = 1; n < THREADS + 3; n++) {
        CHECK_U64(seen->returned[n], PIPELINE_OK);
        CHECK_U64(seen->stored[n], 1);
    }
    return SUMMARY();
}
