// Pipeline::recover: what a killed process has left comes to a storage in C++, and a storage that is refused is destroyed.
#include "../c/check.h"

#include <capture_pipeline.hpp>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace cp = capture_pipeline;

namespace {

void killed_process(const std::string &directory) {
    const pid_t child = fork();
    if (child == 0) {
        begin_child();
        cp::Config config;
        config.ring_dir = directory.c_str();
        config.ring_bytes = 1 << 16;
        config.priority_ring_bytes = 0;
        config.max_rings = 4;
        config.writers = 0;
        cp::Pipeline pipeline(config, cp::Storage([](const cp::Batch &) { return cp::Answer::ok; }));
        for (std::uint64_t n = 0; n < 100; n++) pipeline.capture(cp::Kind(7), n).ignore();
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    CHECK_OR_STOP(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}

/// The ring files in a directory.
int files_in(const std::string &directory) {
    int count = 0;
    for (const auto &entry : std::filesystem::directory_iterator(directory)) count += entry.path().extension() == ".rings";
    return count;
}

/// Notes when it is destroyed.
struct Watched {
    std::shared_ptr<int> destroyed;
    explicit Watched(std::shared_ptr<int> d) : destroyed(std::move(d)) {}
    Watched(Watched &&) = default;
    Watched(const Watched &) = delete;
    ~Watched() {
        if (destroyed) ++*destroyed;
    }
};

} // namespace

int main() {
    const std::string directory = "/dev/shm/capture-pipeline-cpp-" + std::to_string(getpid());
    killed_process(directory);
    auto destroyed = std::make_shared<int>(0);
    std::uint64_t sum = 0, files = 0;
    std::string text;
    cp::RecoverOptions options;
    options.retry_ms = 20;
    // A storage that throws takes nothing, and nothing is lost.
    try {
        cp::Pipeline::recover(
            directory, cp::Storage([w = Watched(destroyed)](const cp::Batch &) -> cp::Answer { throw std::string("no"); }), options,
            [&](const pipeline_recovered_file_t &file) {
                CHECK_U64(file.outcome, PIPELINE_RECOVERY_LEFT);
                throw 1; // it is dropped
            });
        CHECK(false);
    } catch (const cp::Error &e) {
        CHECK_STATUS(e.status().code(), PIPELINE_ERR_STORAGE);
        CHECK_HAS(e.what(), "not taken");
    }
    CHECK_U64(*destroyed, 1);
    const pipeline_recovery_t done = cp::Pipeline::recover(
        directory,
        cp::Storage([&sum, w = Watched(destroyed)](const cp::Batch &batch) {
            for (const cp::EventView &e : batch) sum += e.as<std::uint64_t>().value_or(1000);
            return cp::Answer::ok;
        }),
        options, [&](const pipeline_recovered_file_t &file) {
            files++;
            text = file.text;
        });
    CHECK_U64(*destroyed, 2);
    CHECK(done.runs == 1 && done.events == 100 && done.torn == 0 && files == 1);
    CHECK_U64(sum, 99 * 100 / 2);
    CHECK_HAS(text.c_str(), "100 events recovered");
    CHECK(files_in(directory) == 0);
    CHECK_U64(cp::Pipeline::recover(directory, cp::Storage([](const cp::Batch &) { return cp::Answer::ok; })).runs, 0);
    std::filesystem::remove_all(directory);
    try {
        cp::Pipeline::recover(directory, cp::Storage([w = Watched(destroyed)](const cp::Batch &) { return cp::Answer::ok; }));
        CHECK(false);
    } catch (const cp::Error &e) {
        CHECK_STATUS(e.status().code(), PIPELINE_ERR_NOT_FOUND);
    }
    CHECK_U64(*destroyed, 3);
    return SUMMARY();
}
