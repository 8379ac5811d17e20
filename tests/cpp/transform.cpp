// A transform in C++: a function object that keeps, filters and rewrites events, and throws. It is destroyed once, when it is replaced.
#include "../c/check.h"

#include <capture_pipeline.hpp>

#include <map>
#include <mutex>
#include <stdexcept>
#include <vector>

namespace cp = capture_pipeline;
const auto patience = std::chrono::milliseconds(PATIENCE_MS);

namespace {
struct Point {
    static constexpr std::uint32_t pipeline_kind = 9;
    int x, y;
};
} // namespace

static std::map<int, std::pair<std::uint32_t, std::string>> stored; // by number: kind and payload
static std::mutex mutex;

static void store(const cp::Batch &batch) {
    const std::lock_guard<std::mutex> lock(mutex);
    for (cp::EventView e : batch) {
        const cp::Bytes payload = e.payload();
        stored[static_cast<int>(e.sequence())] = {e.kind(), std::string(reinterpret_cast<const char *>(payload.data()), payload.size())};
        CHECK((e.flags() & PIPELINE_EVENT_TRANSFORMED) != 0 || e.sequence() % 8 == 0 || e.sequence() % 8 >= 6);
    }
}

static cp::Verdict change(cp::EventView event, cp::Rewrite &to) {
    const int number = *event.as<int>(1u);
    switch (number % 8) {
    case 0: return cp::Verdict::keep;
    case 1: return cp::Verdict::filter;
    case 2: to.payload("text"); return cp::Verdict::rewrite;
    case 3:
        to.kind(Point::pipeline_kind);
        to.payload(Point{number, 7});
        return cp::Verdict::rewrite;
    case 4:
        std::memset(to.buffer(), 'z', to.max_size());
        to.size(to.max_size());
        return cp::Verdict::rewrite;
    case 5:
        to.node_id(5);
        to.correlation_id(6);
        to.tag(1);
        to.tag(8);
        to.tag(1, false);
        to.opaque(true);
        to.payload(cp::Bytes());
        return cp::Verdict::rewrite;
    case 6: to.payload(std::string(1000, 'x')); return cp::Verdict::rewrite;
    default: throw std::runtime_error("dropped");
    }
}

static void run(bool concurrent) {
    stored.clear();
    cp::Config config;
    config.max_event_bytes = 100;
    config.writers = 2;
    cp::Storage storage(store);
    if (concurrent) storage.concurrent();
    cp::Pipeline pipeline(config, std::move(storage));
    auto held = std::make_shared<int>(1);
    const std::weak_ptr<int> alive = held;
    pipeline.transform([held](cp::EventView event, cp::Rewrite &to) { return *held == 1 ? change(event, to) : cp::Verdict::keep; });
    held.reset();
    CHECK(!alive.expired());
    for (int n = 0; n < 80; ++n) CHECK_STATUS(pipeline.capture(1, n).code(), PIPELINE_OK);
    CHECK_STATUS(pipeline.flush(patience).code(), PIPELINE_OK);
    const pipeline_metrics_t m = pipeline.metrics();
    CHECK_U64(m.filtered, 10);
    CHECK_U64(m.transformed, 40);
    CHECK_U64(m.transform_faults, 20);
    CHECK_U64(m.stored, 70);
    CHECK_U64(m.writer_restarts, 0);
    CHECK_LEDGER(pipeline.raw());
    CHECK_HAS(std::string(pipeline.health().message).c_str(), "the transform");
    for (const auto &[number, event] : stored) {
        const auto &[kind, payload] = event;
        Point point{};
        switch (number % 8) {
        case 1: CHECK(false); break;
        case 2: CHECK(kind == 1 && payload == "text"); break;
        case 3:
            CHECK_U64(payload.size(), sizeof point);
            std::memcpy(&point, payload.data(), sizeof point);
            CHECK(kind == 9 && point.x == number && point.y == 7);
            break;
        case 4: CHECK(payload == std::string(100, 'z')); break;
        case 5: CHECK(payload.empty()); break;
        default: CHECK(kind == 1 && payload.size() == sizeof(int) && std::memcmp(payload.data(), &number, sizeof number) == 0);
        }
    }
    pipeline.no_transform();
    WAIT_FOR(alive.expired());
    pipeline.transform([](cp::EventView, cp::Rewrite &) { return cp::Verdict::filter; });
    CHECK_STATUS(pipeline.capture(1, 0).code(), PIPELINE_OK);
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
    CHECK_U64(pipeline.metrics().filtered, 11);
#if CAPTURE_PIPELINE_EXCEPTIONS
    try {
        pipeline.transform([](cp::EventView, cp::Rewrite &) { return cp::Verdict::keep; });
        CHECK(false);
    } catch (const cp::Error &error) {
        CHECK_STATUS(error.status().code(), PIPELINE_ERR_CLOSED);
    }
#endif
}

int main() {
    run(false);
    run(true);
    return SUMMARY();
}
