// The C++ header: typed payloads, a kind from a struct, a lambda as storage, exceptions that become retries, objects that clean up.
//
//     c++ -std=c++17 typed.cpp $(pkg-config --cflags --libs capture_pipeline) -o typed && ./typed
#include <capture_pipeline.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace cp = capture_pipeline;
using namespace std::chrono_literals;

constexpr std::uint32_t measurement = 1, note = 2;
// Any trivially copyable type can be a payload.
enum class State : std::uint8_t { fine, worn };
struct Measurement {
    static constexpr std::uint32_t pipeline_kind = measurement;
    std::uint32_t sensor;
    float celsius;
    State state = State::fine;
};

// What its bytes mean, for storages and tools. The compiler checks that the fields fit the struct.
static cp::Definition measurements() {
    auto kind = cp::Definition::of<Measurement>(
        "measurement", CAPTURE_PIPELINE_FIELD(Measurement, sensor),
        CAPTURE_PIPELINE_FIELD(Measurement, celsius).unit("\u00b0C"),
        CAPTURE_PIPELINE_FIELD(Measurement, state).names({{State::fine, "fine"}, {State::worn, "worn"}}));
    return kind.counts().key("sensor").category("climate");
}

// With SQLite as the storage, the fields are columns. Returns what the sqlite3 shell says; "" if it is not installed.
static std::string asked_with_sql() {
    char folder[] = "typed-XXXXXX";
    if (mkdtemp(folder) == nullptr) return "no folder";
    const std::string file = std::string(folder) + "/events.db";
    {
        cp::Pipeline pipeline(cp::Storage::sqlite(file));
        pipeline.define(measurements());
        for (std::uint32_t i = 0; i < 100; ++i)
            if (!pipeline.capture(Measurement{i % 2, 20.5f + static_cast<float>(i % 2), i < 10 ? State::worn : State::fine}))
                return "not captured";
        if (!pipeline.close(10s)) return "not closed";
    }
    const std::string sql = "SELECT sensor, state, count(*), avg(celsius) FROM kind_measurement GROUP BY 1, 2";
    std::string answer;
    if (FILE *shell = popen(("sqlite3 -readonly " + file + " '" + sql + "' 2>/dev/null").c_str(), "r")) {
        char line[128];
        while (std::fgets(line, sizeof line, shell) != nullptr) answer += line;
        pclose(shell);
    }
    unlink(file.c_str());
    rmdir(folder);
    return answer;
}

int main() try {
    struct Totals {
        std::map<std::uint32_t, unsigned long> per_sensor;
        std::string notes;
        unsigned long unknown = 0;
    };
    auto totals = std::make_shared<Totals>();
    unsigned failures = 2;

    // The lambda runs on a thread of the pipeline. If it throws, the batch is retried.
    cp::Storage storage([totals, failures](const cp::Batch &batch) mutable {
        if (failures > 0) {
            failures -= 1;
            throw std::runtime_error("the disk is not ready");
        }
        for (cp::EventView event : batch) {
            if (event.kind() == note)
                totals->notes += event.payload().text();
            else if (auto m = event.as<Measurement>())
                totals->per_sensor[m->sensor] += 1;
            else
                totals->unknown += 1;
        }
        return cp::Answer::ok;
    });

    cp::Config config;
    config.retry_initial_us = 100;
    cp::Pipeline pipeline(config, std::move(storage)); // throws cp::Error, which names the field, the limit and the value
    pipeline.define(measurements());

    std::vector<std::thread> threads;
    std::atomic<unsigned> dropped{0};
    for (std::uint32_t sensor = 0; sensor < 4; ++sensor)
        threads.emplace_back([&, sensor] {
            cp::Producer producer = pipeline.producer();
            for (int i = 0; i < 1000; ++i)
                if (!producer.capture(Measurement{sensor, 20.0f + static_cast<float>(i % 10)}))
                    dropped += 1;
        });
    for (auto &thread : threads) thread.join();

    // A Head has the other fields of an event.
    cp::Head head;
    head.kind = measurement;
    head.correlation_id = 77;
    head.priority = true;
    if (!pipeline.capture(head, Measurement{9, 36.6f})) dropped += 1;
    if (!pipeline.capture(note, std::string_view("calibrated"))) dropped += 1;

    // A payload written in place, without a copy.
    {
        cp::Producer producer = pipeline.producer();
        if (cp::Reservation reserved = producer.reserve(note, 32)) {
            std::memcpy(reserved.data(), ", twice", 7);
            if (!reserved.commit(7)) dropped += 1;
        }
        cp::Reservation unused = producer.reserve(note, 32); // aborted at the end of the scope: not captured
    }

    const cp::Status closed = pipeline.close(10s);
    const pipeline_metrics_t m = pipeline.metrics();
    const cp::StorageExceptions thrown = pipeline.storage_exceptions();
    std::printf("captured %llu, stored %llu; the storage threw %llu times, last: %s\n",
                static_cast<unsigned long long>(m.captured), static_cast<unsigned long long>(m.stored),
                static_cast<unsigned long long>(thrown.count), thrown.last.c_str());
    for (auto [sensor, count] : totals->per_sensor) std::printf("sensor %u: %lu\n", sensor, count);
    std::printf("notes: %s\n", totals->notes.c_str());

    const std::string answer = asked_with_sql();
    std::printf("sensor, state, count, average:\n%s", answer.c_str());
    const bool asked = answer.empty() || answer == "0|fine|45|20.5\n0|worn|5|20.5\n1|fine|45|21.5\n1|worn|5|21.5\n";

    const bool good = asked && closed && dropped == 0 && m.stored == 4003 && thrown.count == 2 && totals->unknown == 0 &&
                      totals->per_sensor.size() == 5 && totals->per_sensor[3] == 1000 &&
                      totals->notes.find("calibrated") != std::string::npos &&
                      totals->notes.find(", twice") != std::string::npos;
    return good ? 0 : 1;
} catch (const cp::Error &error) {
    std::fprintf(stderr, "%s: %s\n", error.status().message(), error.detail());
    return 1;
}
