// Runs tasks in a thread pool, whose workers capture events, and compares the stored events with the tasks.
#include "events.hpp"
#include "pool.hpp"
#include "totals.hpp"

#include <cstdio>

namespace cp = capture_pipeline;
using namespace std::chrono_literals;

int main() try {
    constexpr std::uint32_t tasks = 1000, workers = 4;
    auto totals = std::make_shared<Totals>();
    cp::Config config;
    config.name = "pool";
    config.overflow = PIPELINE_OVERFLOW_BLOCK;
    config.block_timeout_us = 60000000; // rather late than not at all
    cp::Pipeline pipeline(config, cp::Storage(std::make_unique<TotalsStorage>(totals)));
    pipeline.kind_name(Topic::task, "task");
    pipeline.kind_name(Topic::note, "note");
    {
        Pool pool(pipeline, workers);
        for (std::uint32_t n = 0; n < tasks; ++n) pool.run(n, [n] { return std::uint64_t{n} * n; });
    }
    if (cp::Status status = pipeline.flush(30s); !status) {
        std::fprintf(stderr, "flush: %s\n", status.message());
        return 1;
    }
    const bool flushed = totals->flushes == 1 && totals->tasks == tasks;
    if (!pipeline.capture(Topic::note, "main ends")) return 1;
    if (cp::Status status = pipeline.close(30s); !status) {
        std::fprintf(stderr, "close: %s, %llu left\n", status.message(),
                     static_cast<unsigned long long>(pipeline.metrics().left));
        return 1;
    }
    std::uint64_t sum = 0;
    for (std::uint64_t n = 0; n < tasks; ++n) sum += n * n;
    std::printf("%llu tasks, %zu notes\n", static_cast<unsigned long long>(totals->tasks), totals->notes.size());
    return flushed && totals->tasks == tasks && totals->sum == sum && totals->notes.size() == workers + 1 &&
                   totals->unknown == 0
               ? 0
               : 1;
} catch (const cp::Error &error) {
    std::fprintf(stderr, "%s: %s\n", error.status().message(), error.detail());
    return 1;
}
