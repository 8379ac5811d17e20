// A journal in C++: a range of events with their fields, typed payloads, kinds, threads and losses; errors; following.
#include "../c/check.h"

#include <capture_pipeline_reader.hpp>

#include <filesystem>
#include <vector>

namespace cp = capture_pipeline;
const auto patience = std::chrono::milliseconds(PATIENCE_MS);

enum class Kinds : std::uint32_t { point = 3, text = 4 };
struct Point {
    static constexpr Kinds pipeline_kind = Kinds::point;
    double x, y;
};

static pipeline_t *start() {
    pipeline_storage_t storage;
    pipeline_t *p = nullptr;
    CHECK_OR_STOP(pipeline_storage_journal("journal", nullptr, sizeof storage, &storage) == PIPELINE_OK);
    CHECK_OR_STOP(pipeline_start(nullptr, &storage, &p) == PIPELINE_OK);
    return p;
}

static void write(int points) {
    pipeline_t *p = start();
    CHECK_STATUS(pipeline_kind_name(p, 4, "text"), PIPELINE_OK);
    for (int i = 0; i < points; i++) {
        const Point point{i + 0.5, -1};
        pipeline_event_t e = event_of(3, &point, sizeof point);
        e.correlation_id = 7;
        CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK);
    }
    CHECK_STATUS(pipeline_capture(p, 4, "a text", 6), PIPELINE_OK);
    END(p);
}

static void ranges() {
    cp::ReaderOptions options;
    options.flags = PIPELINE_READER_TIME_ORDER;
    cp::Reader first("journal", options);
    cp::Reader reader(std::move(first));
    CHECK(first.raw() == nullptr && reader.raw() != nullptr);
    std::vector<double> xs;
    std::string text;
    std::uint64_t generation = 0, ring = 0;
    const auto start = std::chrono::system_clock::now() - std::chrono::hours(1);
    for (const cp::JournalEvent &event : reader) {
        generation = event.generation();
        ring = event.ring_id();
        CHECK(event.weight() == 1 && event.flags() == 0 && event.node_id() == 0);
        CHECK(event.timestamp().count() > 0 && event.wall_time() > start);
        if (const auto point = event.as<Point>()) {
            xs.push_back(point->x);
            CHECK(event.is(Kinds::point) && event.kind() == 3 && event.correlation_id() == 7);
            CHECK(!event.as<char>());
        } else {
            text += event.payload().text();
        }
    }
    CHECK_U64(xs.size(), 200);
    for (std::size_t i = 0; i < xs.size(); i++) CHECK(xs[i] == static_cast<double>(i) + 0.5);
    CHECK(text == "a text");
    CHECK(reader.begin() == reader.end() && reader.next() == nullptr);
    const cp::ReaderLosses losses = reader.losses();
    CHECK(losses.any == 0 && losses.text.empty());
    const auto thread = reader.thread(generation, ring);
    CHECK(thread && thread->first == static_cast<std::uint64_t>(getpid()) && !thread->second.empty());
    CHECK(!reader.thread(generation, 12345));
    int kinds = 0;
    reader.definitions([&](cp::JournalKind kind) {
        CHECK(kind->kind == 4 && std::string(kind->name) == "text" && kind->generation == generation);
        kinds++;
    });
    CHECK_U64(kinds, 1);
    // Partly read, then given away.
    cp::Reader partly("journal");
    CHECK(partly.next() != nullptr);
    reader = std::move(partly);
    std::size_t rest = 0;
    for (const cp::JournalEvent &event : reader) rest += event.payload().size() > 0;
    CHECK_U64(rest, 200);
}

static void errors() {
    try {
        cp::Reader reader("nothing");
        CHECK(false);
    } catch (const cp::Error &error) {
        CHECK_STATUS(error.status().code(), PIPELINE_ERR_NOT_FOUND);
        CHECK_HAS(error.what(), "nothing");
    }
    for (const auto &entry : std::filesystem::directory_iterator("journal"))
        if (entry.path().extension() == ".journal")
            std::filesystem::resize_file(entry.path(), std::filesystem::file_size(entry) + 7);
    cp::Reader reader("journal");
    for (const cp::JournalEvent &event : reader) CHECK(event.kind() != 0);
    const cp::ReaderLosses losses = reader.losses();
    CHECK(losses.any == 1 && losses.damaged_bytes == 7);
    CHECK_HAS(losses.text.c_str(), "damaged bytes: 7");
}

static void following() {
    std::filesystem::remove_all("journal");
    std::filesystem::create_directory("journal");
    cp::ReaderOptions options;
    options.flags = PIPELINE_READER_FOLLOW;
    cp::Reader reader("journal", options);
    CHECK(reader.next(std::chrono::milliseconds(1)) == nullptr);
    pipeline_t *p = start();
    for (int i = 0; i < 300; i++) CHECK_STATUS(pipeline_capture(p, 1, &i, sizeof i), PIPELINE_OK);
    for (int i = 0; i < 300; i++) {
        const cp::JournalEvent *event = reader.next(patience);
        CHECK_OR_STOP(event != nullptr);
        CHECK(event->as<int>() == i);
    }
    CHECK(reader.begin() == reader.end());
    END(p);
}

int main() {
    write(200);
    ranges();
    errors();
    following();
    return SUMMARY();
}
