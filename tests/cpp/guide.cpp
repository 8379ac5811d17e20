// The C++ snippets of docs/guide.md, compiled and run: each stands here word for word (tests/readme.sh compares them).
#include <capture_pipeline.hpp>

#include <memory>

struct Measurement {
    static constexpr std::uint32_t pipeline_kind = 1; // the kind of its events
    std::uint32_t sensor;
    float celsius;
};

struct Totals {
    double sum = 0;
};

int main() {
    auto totals = std::make_shared<Totals>(); // shared with the storage, which may outlive this function
    capture_pipeline::Pipeline pipeline([totals](const capture_pipeline::Batch &batch) {
        for (capture_pipeline::EventView event : batch)
            if (auto m = event.as<Measurement>()) totals->sum += m->celsius;
        return capture_pipeline::Answer::ok;
    });
    capture_pipeline::Producer producer = pipeline.producer(); // for one thread; any thread may use the pipeline itself
    if (!producer.capture(Measurement{7, 21.5f})) return 1;
    if (!pipeline.close(std::chrono::seconds(5))) return 1;
    return totals->sum == 21.5 ? 0 : 1;
}
