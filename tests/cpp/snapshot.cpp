// Pipeline::snapshot: what lies in the rings is written, and read back; a failure is an Error that names the directory.
#include "../c/check.h"

#include <capture_pipeline_reader.hpp>

namespace cp = capture_pipeline;

int main() {
    cp::Config config;
    config.writers = 0;
    config.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;
    cp::Pipeline pipeline(config, cp::Storage([](const cp::Batch &) {}));
    for (std::uint64_t n = 0; n < 100; n++) CHECK_STATUS(pipeline.capture(1, n).code(), PIPELINE_OK);
    pipeline_snapshot_options_t options;
    CHECK_STATUS(pipeline_snapshot_options_init(&options, sizeof options), PIPELINE_OK);
    options.encoding = PIPELINE_JOURNAL_COLUMNS_LZ4;
    const pipeline_snapshot_t first = pipeline.snapshot("snap"), second = pipeline.snapshot("snap", &options);
    CHECK_U64(first.events, 100);
    CHECK_U64(second.events, 100);
    CHECK(second.segment > first.segment && second.generation == first.generation && second.generation != 0);
    std::uint64_t next = 0;
    cp::Reader reader("snap");
    for (const cp::JournalEvent &event : reader) {
        const auto n = event.as<std::uint64_t>();
        CHECK(n && *n == next);
        next++;
    }
    CHECK_U64(next, 100);
    pipeline.set_rules({cp::Rule("asks").kinds({9}).snapshot()});
    pipeline.snapshot_on_trigger("asked");
    CHECK_STATUS(pipeline.capture(9, next).code(), PIPELINE_OK);
    CHECK_U64(pipeline.rules().at(0).snapshots_asked, 1);
    const auto written = [] {
        std::uint64_t events = 0;
        for (const cp::JournalEvent &event : cp::Reader("asked")) events += event.kind() == 9;
        return events;
    };
    WAIT_FOR(written() == 1);
    pipeline.no_snapshot_on_trigger();
#if CAPTURE_PIPELINE_EXCEPTIONS
    try {
        pipeline.snapshot("none/snap");
        CHECK(!"an error is thrown");
    } catch (const cp::Error &error) {
        CHECK_STATUS(error.status().code(), PIPELINE_ERR_STORAGE);
        CHECK_HAS(error.what(), "none/snap");
    }
#endif
    return SUMMARY();
}
