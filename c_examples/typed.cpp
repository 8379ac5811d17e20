// The C++ wrapper: typed payloads, a storage as a lambda, exceptions that become retries, owners that clean up.
//
//     c++ -std=c++17 typed.cpp $(pkg-config --cflags --libs capture_pipeline) -o typed && ./typed
#include <capture_pipeline.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

namespace cp = capture_pipeline;
using namespace std::chrono_literals;

// Any trivially copyable type can be a payload.
struct Measurement {
    std::uint32_t sensor;
    float celsius;
};
constexpr std::uint32_t measurement = 1, note = 2;

int main() try {
    struct Totals {
        std::map<std::uint32_t, unsigned long> per_sensor;
        std::string notes;
        unsigned long unknown = 0;
    };
    auto totals = std::make_shared<Totals>();
    unsigned failures = 2;

    // The lambda runs on the pipeline's own thread. What it throws counts as "try that batch again".
    cp::Storage storage([totals, failures](const cp::Batch &batch) mutable {
        if (failures > 0) {
            failures -= 1;
            throw std::runtime_error("the disk is asleep");
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
    cp::Pipeline pipeline(config, std::move(storage)); // throws cp::Error, which names field, limit and value

    std::vector<std::thread> threads;
    std::atomic<unsigned> dropped{0};
    for (std::uint32_t sensor = 0; sensor < 4; ++sensor)
        threads.emplace_back([&, sensor] {
            cp::Producer producer = pipeline.producer();
            for (int i = 0; i < 1000; ++i)
                if (!producer.capture(measurement, Measurement{sensor, 20.0f + static_cast<float>(i % 10)}))
                    dropped += 1;
        });
    for (auto &thread : threads) thread.join();

    // With everything that an event can carry.
    cp::Head head;
    head.kind = measurement;
    head.correlation_id = 77;
    head.priority = true;
    if (!pipeline.capture(head, Measurement{9, 36.6f})) dropped += 1;
    if (!pipeline.capture(note, std::string_view("calibrated"))) dropped += 1;

    // Written in place: no copy at all.
    {
        cp::Producer producer = pipeline.producer();
        if (cp::Reservation room = producer.reserve(note, 32)) {
            std::memcpy(room.data(), ", twice", 7);
            room.commit(7);
        }
        cp::Reservation never = producer.reserve(note, 32); // goes out of scope: never offered
    }

    const cp::Status closed = pipeline.close(10s);
    const pipeline_metrics_t m = pipeline.metrics();
    const cp::StorageExceptions thrown = pipeline.storage_exceptions();
    std::printf("captured %llu, stored %llu; the storage threw %llu times, last: %s\n",
                static_cast<unsigned long long>(m.captured), static_cast<unsigned long long>(m.stored),
                static_cast<unsigned long long>(thrown.count), thrown.last.c_str());
    for (auto [sensor, count] : totals->per_sensor) std::printf("sensor %u: %lu\n", sensor, count);
    std::printf("notes: %s\n", totals->notes.c_str());

    const bool good = closed && dropped == 0 && m.stored == 4003 && thrown.count == 2 && totals->unknown == 0 &&
                      totals->per_sensor.size() == 5 && totals->per_sensor[3] == 1000 &&
                      totals->notes.find("calibrated") != std::string::npos &&
                      totals->notes.find(", twice") != std::string::npos;
    return good ? 0 : 1;
} catch (const cp::Error &error) {
    std::fprintf(stderr, "%s: %s\n", error.status().message(), error.detail());
    return 1;
}
