// The pressure, and a watch that tells of crossings: it goes on after an exception, and ends with its object.
#include "../c/check.h"

#include <capture_pipeline.hpp>

#include <array>
#include <stdexcept>

namespace cp = capture_pipeline;
const auto patience = std::chrono::milliseconds(PATIENCE_MS);

int main() {
    cp::Config config;
    config.ring_bytes = 1 << 16;
    config.writers = 0;
    cp::Pipeline pipeline(config, cp::Storage([](const cp::Batch &) {}));
    CHECK_U64(pipeline.pressure(), 0);
    std::atomic<unsigned> highs{0}, lows{0};
    const auto fill = [&] {
        const std::array<char, 1000> payload{};
        for (int n = 0; n < 58; ++n) CHECK_STATUS(pipeline.capture(1, payload).code(), PIPELINE_OK);
    };
    {
        const cp::PressureWatch watch(pipeline, 20, 75, [&, owned = std::make_unique<int>(7)](std::uint32_t pressure, bool is_high) {
            CHECK(*owned == 7 && (is_high ? pressure >= 75 : pressure <= 20));
            ++(is_high ? highs : lows);
            throw std::runtime_error("dropped");
        });
        for (unsigned round = 1; round <= 3; ++round) {
            fill();
            CHECK(pipeline.pressure() >= 75);
            WAIT_FOR(highs == round);
            pipeline.scale(1);
            WAIT_FOR(lows == round && pipeline.pressure() == 0);
            CHECK_STATUS(pipeline.flush(patience).code(), PIPELINE_OK);
            pipeline.scale(0);
        }
    }
    fill();
    CHECK_U64(highs, 3);
#if CAPTURE_PIPELINE_EXCEPTIONS
    try {
        const cp::PressureWatch upside_down(pipeline, 75, 20, [](std::uint32_t, bool) {});
        CHECK(false);
    } catch (const cp::Error &error) {
        CHECK_STATUS(error.status().code(), PIPELINE_ERR_INVALID);
        CHECK_HAS(error.what(), "low 75 and high 20 given");
    }
#endif
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
    CHECK_U64(pipeline.metrics().stored, 4 * 58);
    return SUMMARY();
}
