// oneTBB's concurrent_bounded_queue: one queue for all threads, with blocking push and pop.
#include "record.hpp"

#include <oneapi/tbb/concurrent_queue.h>

#include <optional>
#include <thread>

namespace {
constexpr std::ptrdiff_t slots = 8192;
constexpr std::size_t bulk = 256;
bench_setup setup;
std::optional<tbb::concurrent_bounded_queue<Record>> queue;
std::thread consumer;

// A record without bytes marks the end.
void consume() {
    auto records = std::make_unique<Record[]>(bulk);
    while (true) {
        std::size_t count = 1;
        queue->pop(records[0]);
        while (count < bulk && records[count - 1].bytes && queue->try_pop(records[count])) count++;
        bool last = records[count - 1].bytes == 0;
        store_records(setup.store, records.get(), count - last);
        if (last) return;
    }
}

const char *start(const bench_setup *given) {
    setup = *given;
    queue.emplace();
    queue->set_capacity(slots * setup.threads);
    consumer = std::thread(consume);
    return nullptr;
}

void *open(std::uint32_t) { return &queue; }

void capture(void *, const bench_burst *burst) {
    for (std::uint32_t i = 0; i < burst->count; i++) queue->push(Record(*burst, i));
}

void close(void *) {}

const char *stop() {
    Record last{};
    queue->push(last);
    consumer.join();
    return nullptr;
}
} // namespace

extern "C" const contender *contenders(std::size_t *count) {
    static const contender all[] = {
        {"oneTBB", "concurrent_bounded_queue, 8192 records per thread; pop, then try_pop", start, open, capture, close, stop, nullptr, 0, 0},
    };
    *count = std::size(all);
    return all;
}
