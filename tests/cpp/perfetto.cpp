// Storage::perfetto: kinds defined from structs are drawn, and every event is in a file of the directory.
#include "../c/check.h"

#include <capture_pipeline.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace cp = capture_pipeline;
namespace fs = std::filesystem;
const auto patience = std::chrono::milliseconds(PATIENCE_MS);

struct Job {
    static constexpr std::uint32_t pipeline_kind = 5;
    std::chrono::nanoseconds took;
    std::uint64_t number;
};

// All bytes of the traces in a directory.
static std::string traces(const fs::path &directory) {
    std::string all;
    for (const auto &entry : fs::directory_iterator(directory))
        if (entry.path().extension() == ".perfetto-trace") {
            std::ifstream file(entry.path(), std::ios::binary);
            all.append(std::istreambuf_iterator<char>(file), {});
        }
    return all;
}

static std::size_t count(const std::string &bytes, const std::string &part) {
    std::size_t found = 0;
    for (auto at = bytes.find(part); at != std::string::npos; at = bytes.find(part, at + 1)) found++;
    return found;
}

static void drawn() {
    const fs::path directory = "perfetto-cpp";
    {
        cp::Pipeline p(cp::Storage::perfetto(directory.string()));
        p.define(cp::Definition::of<Job>("job_that_took_long", CAPTURE_PIPELINE_FIELD(Job, took), CAPTURE_PIPELINE_FIELD(Job, number))
                     .completes("took"));
        for (std::uint64_t n = 0; n < 1000; n++) CHECK(p.capture(Job{std::chrono::nanoseconds(10), 0x1122334455660000 + n}).ok());
        CHECK(p.close(patience).ok());
        CHECK_U64(p.metrics().stored, 1000);
    }
    const std::string bytes = traces(directory);
    CHECK(count(bytes, "job_that_took_long") >= 1);
    CHECK(bytes.size() > 10000);
    fs::remove_all(directory);
}

static void refused() {
    pipeline_perfetto_options_t options;
    CHECK_STATUS(pipeline_perfetto_options_init(&options, sizeof options), PIPELINE_OK);
    try {
        (void)cp::Storage::perfetto("not/there", &options);
        CHECK(false);
    } catch (const cp::Error &error) {
        CHECK(error.status().code() == PIPELINE_ERR_STORAGE);
        CHECK_HAS(error.what(), "not/there");
    }
}

int main() {
    drawn();
    refused();
    return SUMMARY();
}
