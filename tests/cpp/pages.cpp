// The C++ snippet of docs/reader.md, compiled and run. It stands here word for word, but for its indentation; tests/readme.sh compares them.
#include <capture_pipeline.hpp>
#include <capture_pipeline_reader.hpp>

struct Point {
    static constexpr std::uint32_t pipeline_kind = 7;
    std::int32_t x, y;
};

static int used = 0;

static void use(const Point &point) { used += point.x + point.y; }

static void read() {
    capture_pipeline::Reader reader("journal");
    for (const capture_pipeline::JournalEvent &event : reader)
        if (const auto point = event.as<Point>()) use(*point);
}

int main() {
    {
        capture_pipeline::Pipeline pipeline(capture_pipeline::Storage::journal("journal"));
        if (!pipeline.capture(Point{3, 4})) return 1;
        if (!pipeline.close(std::chrono::seconds(20))) return 1;
    }
    read();
    return used == 7 ? 0 : 1;
}
