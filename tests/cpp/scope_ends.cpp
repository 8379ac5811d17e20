// A Pipeline that ends without close: at the end of a scope, by an exception, by a move assignment, at the end of the process, inside a
// callback, in a forked child. The destructor drains for at most exit_timeout_ms; detach() does not drain.
#include "../c/check.h"

#include <capture_pipeline.hpp>

#include <memory>
#include <stdexcept>
#include <sys/mman.h>
#include <thread>

namespace cp = capture_pipeline;
const auto patience = std::chrono::milliseconds(PATIENCE_MS);

// The counts of the storages; shared with forked children.
struct Counts {
    std::atomic<unsigned> stored{0}, destroyed{0}, called_in_child{0};
};
static Counts *shared_counts() {
    void *memory = mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_OR_STOP(memory != MAP_FAILED);
    return new (memory) Counts;
}

// Counts events, and its own destruction.
struct Counting {
    Counts *counts;
    pid_t owner = getpid();
    explicit Counting(Counts *c) : counts(c) {}
    Counting(Counting &&from) noexcept : counts(std::exchange(from.counts, nullptr)), owner(from.owner) {}
    ~Counting() {
        if (counts == nullptr) return;
        counts->destroyed += 1;
        if (getpid() != owner) counts->called_in_child += 1;
    }
    void operator()(const cp::Batch &batch) {
        counts->stored += static_cast<unsigned>(batch.size());
        if (getpid() != owner) counts->called_in_child += 1;
    }
};

static cp::Config patient() {
    cp::Config config;
    config.exit_timeout_ms = static_cast<std::uint64_t>(PATIENCE_MS);
    return config;
}

static void capture(cp::Pipeline &pipeline, unsigned count) {
    for (unsigned n = 0; n < count; ++n) CHECK_STATUS(pipeline.capture(1, n).code(), PIPELINE_OK);
}

static void by_leaving_a_scope() {
    Counts counts;
    {
        cp::Pipeline pipeline(patient(), Counting(&counts));
        capture(pipeline, 1000);
    }
    CHECK_U64(counts.stored, 1000);
    CHECK_U64(counts.destroyed, 1);
}

static void by_leaving_a_scope_into_sqlite() {
    const std::string database = "scope_ends.db"; // the runner gives each program a directory of its own
    {
        cp::Pipeline pipeline(patient(), cp::Storage::sqlite(database));
        capture(pipeline, 1000);
    }
    unsigned rows = 0;
    FILE *answer = popen(("sqlite3 " + database + " 'SELECT count(*) FROM events'").c_str(), "r");
    CHECK_OR_STOP(answer != nullptr);
    CHECK(fscanf(answer, "%u", &rows) == 1);
    CHECK(pclose(answer) == 0);
    CHECK_U64(rows, 1000);
    remove(database.c_str());
}

static void by_an_exception() {
    Counts counts;
    bool caught = false;
    try {
        cp::Pipeline pipeline(patient(), Counting(&counts));
        capture(pipeline, 1000);
        throw std::runtime_error("out of here");
    } catch (const std::runtime_error &) {
        caught = true;
    }
    CHECK(caught);
    CHECK_U64(counts.stored, 1000);
    CHECK_U64(counts.destroyed, 1);
}

static void by_a_move_assignment() {
    Counts first, second;
    {
        cp::Pipeline pipeline(patient(), Counting(&first));
        capture(pipeline, 1000);
        pipeline = cp::Pipeline(patient(), Counting(&second));
        CHECK_U64(first.stored, 1000);
        CHECK_U64(first.destroyed, 1);
        capture(pipeline, 10);
    }
    CHECK_U64(second.stored, 10);
    CHECK_U64(second.destroyed, 1);
}

// A paused pipeline and one without writers are drained, too.
static void while_paused() {
    Counts counts;
    {
        cp::Pipeline pipeline(patient(), Counting(&counts));
        pipeline.pause();
        capture(pipeline, 100);
    }
    CHECK_U64(counts.stored, 100);
    {
        cp::Config config = patient();
        config.writers = 0;
        cp::Pipeline pipeline(config, Counting(&counts));
        capture(pipeline, 100);
    }
    CHECK_U64(counts.stored, 200);
}

static void after_close() {
    Counts counts;
    {
        cp::Pipeline pipeline(patient(), Counting(&counts));
        capture(pipeline, 100);
        CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
        CHECK_U64(counts.stored, 100);
    }
    CHECK_U64(counts.destroyed, 1);
}

// A close has timed out: the destructor continues it.
static void after_a_close_that_ran_out_of_time() {
    Counts counts;
    std::atomic<bool> hold{true};
    {
        cp::Config config = patient();
        config.batch_size = 1;
        cp::Pipeline pipeline(config, cp::Storage([&, counting = Counting(&counts)](const cp::Batch &batch) mutable {
            while (hold) pause_a_little();
            counting(batch);
        }));
        capture(pipeline, 100);
        CHECK_STATUS(pipeline.close(std::chrono::milliseconds(1)).code(), PIPELINE_ERR_TIMEOUT);
        CHECK_U64(counts.stored, 0);
        hold = false;
    }
    CHECK_U64(counts.stored, 100);
}

// A storage that hangs: the destructor gives up after exit_timeout_ms, and the call ends later by itself.
static void while_the_storage_hangs() {
    Counts counts;
    auto hold = std::make_shared<std::atomic<bool>>(true);
    auto inside = std::make_shared<std::atomic<bool>>(false);
    {
        cp::Pipeline pipeline(cp::Storage([hold, inside, counting = Counting(&counts)](const cp::Batch &batch) mutable {
            *inside = true;
            while (*hold) pause_a_little();
            counting(batch);
        }));
        cp::Config config = pipeline.config();
        config.exit_timeout_ms = 5;
        pipeline.update(config);
        capture(pipeline, 1);
        WAIT_FOR(*inside);
    }
    CHECK_U64(counts.destroyed, 0);
    *hold = false;
    WAIT_FOR(counts.destroyed == 1);
    CHECK_U64(counts.stored, 1);
}

// detach() drains nothing. Afterwards the object is empty and can take another pipeline.
static void by_detach() {
    Counts counts;
    cp::Pipeline pipeline(patient(), Counting(&counts));
    pipeline.pause();
    capture(pipeline, 100);
    pipeline.detach();
    CHECK(pipeline.raw() == nullptr);
    CHECK_STATUS(pipeline.capture(1, 1u).code(), PIPELINE_ERR_NULL);
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_ERR_NULL);
    pipeline.detach();
    WAIT_FOR(counts.destroyed == 1);
    CHECK_U64(counts.stored, 0);
    pipeline = cp::Pipeline(patient(), Counting(&counts));
    capture(pipeline, 3);
    CHECK_STATUS(pipeline.flush(patience).code(), PIPELINE_OK);
    CHECK_U64(counts.stored, 3);
}

// exit_timeout_ms 0: the destructor does not wait.
static void without_time() {
    Counts counts;
    auto hold = std::make_shared<std::atomic<bool>>(true);
    {
        cp::Config config;
        config.exit_timeout_ms = 0;
        cp::Pipeline pipeline(config, cp::Storage([hold, counting = Counting(&counts)](const cp::Batch &) {
            (void)counting;
            while (*hold) pause_a_little();
        }));
        capture(pipeline, 1);
    }
    *hold = false;
    WAIT_FOR(counts.destroyed == 1);
}

// A function of the storage holds the last owner: the destructor must not wait for that call.
static void inside_a_callback() {
    Counts counts;
    auto owner = std::make_shared<std::optional<cp::Pipeline>>();
    std::atomic<bool> ready{false};
    owner->emplace(patient(), cp::Storage([owner, &ready, counting = Counting(&counts)](const cp::Batch &batch) mutable {
        while (!ready) pause_a_little();
        counting(batch);
        owner->reset();
    }));
    capture(**owner, 10);
    owner.reset();
    ready = true;
    WAIT_FOR(counts.destroyed == 1);
    CHECK(counts.stored >= 1);
}

// In a forked child the destructor frees the parent's pipeline without calling the storage, even if the fork fell into a call.
static void in_a_forked_child() {
    Counts *counts = shared_counts();
    std::atomic<bool> hold{true};
    std::optional<cp::Pipeline> pipeline;
    pipeline.emplace(patient(), cp::Storage([&hold, counting = Counting(counts)](const cp::Batch &batch) mutable {
        while (hold) pause_a_little();
        counting(batch);
    }));
    capture(*pipeline, 100);
    const pid_t child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0) {
        const cp::Status refused = pipeline->capture(1, 1u);
        cp::Pipeline moved = std::move(*pipeline);
        pipeline.reset();
        bool good = refused == PIPELINE_ERR_FORKED;
#if !CAPTURE_PIPELINE_TSAN // which does not support threads in the child of a process with threads
        cp::Pipeline own(patient(), cp::Storage([](const cp::Batch &) {}));
        moved = std::move(own); // ends the parent's
        good = good && moved.capture(1, 1u) && moved.close(patience);
#endif
        moved.detach(); // nothing of the parent's runs here either
        _exit(good ? 0 : 1);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_U64(counts->called_in_child, 0);
    CHECK_U64(counts->destroyed, 0);
    hold = false;
    pipeline.reset();
    CHECK_U64(counts->stored, 100);
    CHECK_U64(counts->destroyed, 1);
}

// Objects that live until the process ends: one made after the first start, and one whose destructor runs after the library's exit
// handler, because it was registered before.
static std::optional<cp::Pipeline> registered_early;

static void at_the_end_of_the_process() {
    Counts *counts = shared_counts();
    const pid_t child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0) {
        static cp::Pipeline late(patient(), Counting(counts));
        registered_early.emplace(patient(), Counting(counts));
        capture(late, 1000);
        capture(*registered_early, 1000);
        exit(checks_failed ? 1 : 0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_U64(counts->stored, 2000);
    CHECK_U64(counts->destroyed, 2);
}

int main() {
    at_the_end_of_the_process(); // first: its child is to be the process of the first start
    by_leaving_a_scope();
    by_leaving_a_scope_into_sqlite();
    by_an_exception();
    by_a_move_assignment();
    while_paused();
    after_close();
    after_a_close_that_ran_out_of_time();
    while_the_storage_hangs();
    by_detach();
    without_time();
    inside_a_callback();
    in_a_forked_child();
    return SUMMARY();
}
