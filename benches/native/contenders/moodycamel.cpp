// moodycamel::ConcurrentQueue: a queue for many producers, with a token per producer, so that the events of a thread stay in order.
#include "record.hpp"

#include <blockingconcurrentqueue.h>
#include <concurrentqueue.h>

#include <optional>
#include <thread>

namespace {
using Waiting = moodycamel::BlockingConcurrentQueue<Record>;
using Polling = moodycamel::ConcurrentQueue<Record>;
constexpr std::size_t slots = 8192, bulk = 256;

template <class Queue> struct Run {
    std::optional<Queue> queue;
    std::thread consumer;
    std::atomic<bool> ending{false};
    bench_setup setup{};

    std::size_t take(moodycamel::ConsumerToken &token, Record *records) {
        if constexpr (std::is_same_v<Queue, Waiting>) return queue->wait_dequeue_bulk_timed(token, records, bulk, 50'000);
        else return queue->try_dequeue_bulk(token, records, bulk);
    }

    void consume() {
        moodycamel::ConsumerToken token(*queue);
        auto records = std::make_unique<Record[]>(bulk);
        while (true) {
            bool last = ending.load();
            std::size_t count = take(token, records.get());
            if (count == 0 && last) return;
            if (count == 0) for (int i = 0; i < 8; i++) relax();
            store_records(setup.store, records.get(), count);
        }
    }

    const char *start(const bench_setup &given) {
        setup = given;
        queue.emplace(2 * slots * given.threads, given.threads, 0);
        consumer = std::thread([this] { consume(); });
        return nullptr;
    }

    void capture(moodycamel::ProducerToken &token, const bench_burst &burst) {
        for (std::uint32_t i = 0; i < burst.count; i++) {
            // The queue grows without limit. If it is bounded, a producer keeps the blocks that it has, and other producers starve.
            if (i % 64 == 0) wait_for_space();
            queue->enqueue(token, Record(burst, i));
        }
    }

    void wait_for_space() {
        for (std::uint32_t spins = 0; queue->size_approx() > slots * setup.threads; spins++) {
            if (spins < 100) relax();
            else std::this_thread::yield();
        }
    }

    const char *stop() {
        ending = true;
        consumer.join();
        return nullptr;
    }
};

Run<Waiting> waiting;
Run<Polling> polling;

template <auto &run> constexpr contender entry(const char *name, const char *configuration) {
    return {name, configuration,
            [](const bench_setup *setup) { return run.start(*setup); },
            [](std::uint32_t) -> void * { return new moodycamel::ProducerToken(*run.queue); },
            [](void *token, const bench_burst *burst) { run.capture(*static_cast<moodycamel::ProducerToken *>(token), *burst); },
            [](void *token) { delete static_cast<moodycamel::ProducerToken *>(token); },
            [] { return run.stop(); }, nullptr, 0, 0};
}
} // namespace

extern "C" const contender *contenders(std::size_t *count) {
    static const contender all[] = {
        entry<waiting>("moodycamel, waiting", "BlockingConcurrentQueue, a token per thread, at most 8192 events per thread; 256 are taken at a time"),
        entry<polling>("moodycamel, polling", "ConcurrentQueue, a token per thread, at most 8192 events per thread; 256 are taken at a time, the consumer never sleeps"),
    };
    *count = std::size(all);
    return all;
}
