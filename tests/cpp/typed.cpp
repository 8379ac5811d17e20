// Typed payloads, captured in every way and read back; heads with all their fields; reservations as owning objects.
#include "../c/check.h"

#include <capture_pipeline.hpp>

#include <array>
#include <map>
#include <vector>

namespace cp = capture_pipeline;
const auto patience = std::chrono::milliseconds(PATIENCE_MS);

struct Point {
    double x, y;
    std::int32_t id, zero;
};
struct NoDefault {
    explicit NoDefault(int v) : value(v) {}
    int value;
};
struct alignas(64) Wide {
    std::array<unsigned char, 64> bytes;
};

struct Seen {
    std::vector<Point> points;
    std::vector<std::string> texts;
    std::map<std::uint32_t, std::vector<std::size_t>> sizes;
    int wrong_size = 0, aligned = 0, no_default = 0, wide = 0, heads = 0, own_time = 0, priority = 0;
    std::uint64_t generation = 0;
};

static cp::Storage looking(Seen &seen) {
    return cp::Storage([&seen](const cp::Batch &batch) {
        std::size_t count = 0;
        for (auto it = batch.begin(); it != batch.end(); it++) count += 1;
        CHECK_U64(count, batch.size());
        CHECK(!batch.empty() && batch.attempt() == 1 && batch.id() != 0 && batch.raw()->token != 0);
        CHECK(seen.generation == 0 || seen.generation == batch.generation());
        seen.generation = batch.generation();
        for (cp::EventView e : batch) {
            seen.sizes[e.kind()].push_back(e.payload().size());
            seen.aligned += reinterpret_cast<std::uintptr_t>(e.payload().data()) % 8 == 0;
            CHECK(e.weight() == 1.0);
            switch (e.kind()) {
            case 1:
                if (auto p = e.as<Point>()) seen.points.push_back(*p);
                CHECK(!e.as<char>());
                break;
            case 2:
                seen.texts.emplace_back(e.payload().text());
                break;
            case 3:
                if (auto v = e.as<NoDefault>()) seen.no_default += v->value;
                break;
            case 4:
                if (auto v = e.as<Wide>()) seen.wide += v->bytes[63];
                break;
            case 5:
                seen.heads += e.correlation_id() == 11 && e.node_id() == 12;
                seen.own_time += e.timestamp() == std::chrono::nanoseconds(13) && (e.flags() & PIPELINE_EVENT_OWN_TIME);
                seen.priority += (e.flags() & PIPELINE_EVENT_PRIORITY) != 0;
                if (!(e.flags() & PIPELINE_EVENT_OWN_TIME)) {
                    const auto off = batch.wall_time(e) - std::chrono::system_clock::now();
                    CHECK(off < std::chrono::hours(1) && off > -std::chrono::hours(1));
                }
                break;
            default:
                break;
            }
        }
    });
}

template <class Capturer> static void captures(Capturer &c) {
    for (int i = 0; i < 10; ++i) CHECK_STATUS(c.capture(1, Point{i + 0.5, i * 2.0, i, 0}).code(), PIPELINE_OK);
    const std::string text = "a string";
    CHECK_STATUS(c.capture(2, text).code(), PIPELINE_OK);
    CHECK_STATUS(c.capture(2, "a literal").code(), PIPELINE_OK);
    CHECK_STATUS(c.capture(2, std::string_view("a view")).code(), PIPELINE_OK);
    CHECK_STATUS(c.capture(2, cp::Bytes(text.data(), 3)).code(), PIPELINE_OK);
    CHECK_STATUS(c.capture(2, cp::Bytes()).code(), PIPELINE_OK);
    CHECK_STATUS(c.capture(3, NoDefault(7)).code(), PIPELINE_OK);
    Wide wide{};
    wide.bytes[63] = 5;
    CHECK_STATUS(c.capture(4, wide).code(), PIPELINE_OK);
    cp::Head head;
    head.kind = 5;
    head.correlation_id = 11;
    head.node_id = 12;
    CHECK_STATUS(c.capture(head, cp::Bytes()).code(), PIPELINE_OK);
    head.timestamp = std::chrono::nanoseconds(13);
    CHECK_STATUS(c.capture(head, 1.5).code(), PIPELINE_OK);
    head.priority = true;
    CHECK_STATUS(c.capture(head, cp::Bytes("x", 1)).code(), PIPELINE_OK);
    // Refused, counted, no exception.
    std::vector<unsigned char> large(100000);
    CHECK_STATUS(c.capture(6, cp::Bytes(large.data(), large.size())).code(), PIPELINE_ERR_TOO_LARGE);
    CHECK(!c.capture(PIPELINE_KIND_RESERVED, 1));
    CHECK_STATUS(c.capture(PIPELINE_KIND_RESERVED, 1).code(), PIPELINE_ERR_INVALID);
}

static void round_trip() {
    Seen seen;
    cp::Pipeline pipeline(looking(seen));
    captures(pipeline);
    {
        cp::Producer producer = pipeline.producer();
        captures(producer);
    }
    CHECK_STATUS(pipeline.flush(patience).code(), PIPELINE_OK);
    CHECK_U64(pipeline.metrics().refused_too_large, 2);
    CHECK_U64(pipeline.metrics().refused_invalid, 4);
    CHECK_STATUS(pipeline.close(cp::forever).code(), PIPELINE_OK);
    CHECK_LEDGER(pipeline.raw());
    CHECK_U64(pipeline.metrics().stored, 40);
    CHECK_U64(seen.aligned, 40);
    CHECK_U64(seen.points.size(), 20);
    for (std::size_t i = 0; i < seen.points.size(); ++i) {
        const int k = static_cast<int>(i % 10);
        CHECK(seen.points[i].x == k + 0.5 && seen.points[i].y == k * 2.0 && seen.points[i].id == k);
    }
    const std::vector<std::string> texts{"a string", "a literal", "a view", "a s", ""};
    CHECK_U64(seen.texts.size(), 10);
    for (std::size_t i = 0; i < seen.texts.size(); ++i) CHECK(seen.texts[i] == texts[i % 5]);
    CHECK_U64(seen.no_default, 14);
    CHECK_U64(seen.wide, 10);
    CHECK_U64(seen.heads, 6);
    CHECK_U64(seen.own_time, 4);
    CHECK_U64(seen.priority, 2);
}

static void reservations() {
    Seen seen;
    cp::Pipeline pipeline(looking(seen));
    cp::Producer producer = pipeline.producer();
    {
        cp::Reservation never = producer.reserve(7, 100); // out of scope: aborted
        CHECK(never && never.size() == 100);
        CHECK_STATUS(producer.capture(7, 1).code(), PIPELINE_ERR_BUSY);
        cp::Reservation second = producer.reserve(7, 100);
        CHECK(!second);
        CHECK_STATUS(second.status().code(), PIPELINE_ERR_BUSY);
        CHECK_STATUS(second.commit().code(), PIPELINE_ERR_STATE);
    }
    CHECK_U64(pipeline.metrics().captured, 0);
    {
        cp::Reservation room = producer.reserve(8, 100);
        std::memcpy(room.data(), "in place", 8);
        cp::Reservation moved = std::move(room);
        CHECK(!room && moved);
        CHECK_STATUS(moved.commit(101).code(), PIPELINE_ERR_INVALID);
        CHECK(moved); // open still
        CHECK_STATUS(moved.commit(8).code(), PIPELINE_OK);
        CHECK(!moved);
        CHECK_STATUS(moved.commit(8).code(), PIPELINE_ERR_STATE);
    }
    {
        cp::Reservation room = producer.reserve(9, 16);
        std::memset(room.data(), 0, 16);
        CHECK_STATUS(room.commit().code(), PIPELINE_OK);
        room = producer.reserve(9, 24); // assigned over an answered one
        CHECK(room);
        room.abort();
        room.abort();
        CHECK(!room);
    }
    {
        cp::Reservation too_large = producer.reserve(9, 1u << 30);
        CHECK(!too_large);
        CHECK_STATUS(too_large.status().code(), PIPELINE_ERR_TOO_LARGE);
    }
    try { // an exception between reserve and commit: aborted
        cp::Reservation room = producer.reserve(10, 8);
        throw 1;
    } catch (int) {
    }
    CHECK_STATUS(producer.capture(11, 1).code(), PIPELINE_OK);
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
    CHECK_LEDGER(pipeline.raw());
    CHECK_U64(seen.sizes.size(), 3);
    CHECK(seen.sizes[8] == std::vector<std::size_t>{8});
    CHECK(seen.sizes[9] == std::vector<std::size_t>{16});
    CHECK(seen.sizes[11] == std::vector<std::size_t>{4});
}

int main() {
    round_trip();
    reservations();
    return SUMMARY();
}
