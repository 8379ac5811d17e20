// Completions: answers from other threads, in part, or dropped without an answer; destructors while a batch is pending or a call runs;
// exceptions after a batch was deferred.
#include "../c/check.h"

#include <capture_pipeline.hpp>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace cp = capture_pipeline;
const auto patience = std::chrono::milliseconds(PATIENCE_MS);

class Queue {
  public:
    void push(cp::Completion c) {
        const std::lock_guard<std::mutex> lock(mutex_);
        waiting_.push_back(std::move(c));
        more_.notify_one();
    }
    // Returns nothing once it is stopped and empty.
    std::optional<cp::Completion> pop() {
        std::unique_lock<std::mutex> lock(mutex_);
        more_.wait_for(lock, patience, [&] { return stopped_ || !waiting_.empty(); });
        if (waiting_.empty()) return std::nullopt;
        cp::Completion c = std::move(waiting_.front());
        waiting_.pop_front();
        return c;
    }
    void stop() {
        const std::lock_guard<std::mutex> lock(mutex_);
        stopped_ = true;
        more_.notify_all();
    }
    std::size_t size() {
        const std::lock_guard<std::mutex> lock(mutex_);
        return waiting_.size();
    }

  private:
    std::mutex mutex_;
    std::condition_variable more_;
    std::deque<cp::Completion> waiting_;
    bool stopped_ = false;
};

static cp::Config quick() {
    cp::Config config;
    config.batch_size = 10;
    config.retry_initial_us = 10;
    config.retry_max_us = 100;
    config.retry_limit = 1000;
    config.exit_timeout_ms = 10; // what destructors wait for at most
    return config;
}

static cp::Storage deferring(Queue &queue) {
    return cp::Storage([&queue](const cp::Batch &batch) {
        queue.push(batch.defer());
        CHECK(batch.deferred());
        return cp::Answer::pending;
    });
}

static void by_another_thread() {
    Queue queue;
    std::multiset<unsigned> kept;
    std::thread client([&] {
        unsigned turn = 0;
        while (auto completion = queue.pop()) {
            const std::size_t size = completion->batch().size();
            turn += 1;
            const std::size_t prefix = turn % 4 == 0 ? size / 2 : turn % 4 == 1 ? 0 : size;
            for (std::size_t i = 0; i < prefix; ++i) kept.insert(*completion->batch()[i].as<unsigned>());
            if (turn % 4 == 0) {
                CHECK_STATUS(completion->complete_at(prefix, cp::Answer::retry).code(), PIPELINE_OK);
            } else if (turn % 4 == 1) {
                completion.reset(); // forgotten: comes again
            } else {
                CHECK_STATUS(completion->complete(cp::Answer::pending).code(), PIPELINE_ERR_INVALID);
                CHECK_STATUS(completion->complete_at(size + 1, cp::Answer::ok).code(), PIPELINE_ERR_INVALID);
                CHECK(static_cast<bool>(*completion)); // still outstanding
                CHECK_STATUS(completion->ok().code(), PIPELINE_OK);
                CHECK(!*completion);
                CHECK_STATUS(completion->ok().code(), PIPELINE_ERR_UNKNOWN_TOKEN);
            }
        }
    });
    cp::Pipeline pipeline(quick(), deferring(queue));
    for (unsigned n = 0; n < 2000; ++n) CHECK_STATUS(pipeline.capture(1, n).code(), PIPELINE_OK);
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
    queue.stop();
    client.join();
    CHECK_LEDGER(pipeline.raw());
    CHECK_U64(pipeline.metrics().stored, 2000);
    CHECK(pipeline.metrics().retries > 0);
    unsigned expected = 0;
    for (unsigned n : kept) CHECK_U64(n, expected++);
    CHECK_U64(expected, 2000);
}

// The batch is deferred, and then store returns or throws something else: the Completion is the answer.
static void deferred_then() {
    std::atomic<int> calls{0};
    Queue queue;
    cp::Pipeline pipeline(quick(), cp::Storage([&](const cp::Batch &batch) {
                              const int call = calls++;
                              cp::Completion completion = batch.defer();
                              if (call == 0) throw std::runtime_error("dropped on the way out: a retry");
                              if (call == 1) {
                                  CHECK_STATUS(completion.ok().code(), PIPELINE_OK);
                                  throw std::runtime_error("after the answer: the answer stands");
                              }
                              queue.push(std::move(completion));
                              return cp::Answer::reject; // not what counts
                          }));
    CHECK_STATUS(pipeline.capture(1, 1u).code(), PIPELINE_OK);
    CHECK_STATUS(pipeline.flush(patience).code(), PIPELINE_OK);
    CHECK_U64(calls, 2);
    CHECK_STATUS(pipeline.capture(1, 2u).code(), PIPELINE_OK);
    auto last = queue.pop();
    CHECK_OR_STOP(last.has_value());
    CHECK_STATUS(last->ok().code(), PIPELINE_OK);
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
    CHECK_U64(pipeline.metrics().stored, 2);
    CHECK_U64(pipeline.metrics().discarded, 0);
    CHECK_U64(pipeline.metrics().bad_results, 0);
    CHECK_U64(pipeline.storage_exceptions().count, 2);
    CHECK_LEDGER(pipeline.raw());
}

struct Flag {
    std::atomic<int> *gone;
    explicit Flag(std::atomic<int> &g) : gone(&g) {}
    Flag(Flag &&from) noexcept : gone(std::exchange(from.gone, nullptr)) {}
    ~Flag() {
        if (gone != nullptr) *gone += 1;
    }
};

// The pipeline's destructor runs while an answer is outstanding: it gives up after exit_timeout_ms, and the answer destroys the storage.
static void destructor_while_pending(bool answer, bool closed_first) {
    std::atomic<int> gone{0};
    Queue queue;
    {
        cp::Pipeline pipeline(quick(), cp::Storage([&queue, flag = Flag(gone)](const cp::Batch &batch) {
                                  (void)flag;
                                  queue.push(batch.defer());
                              }));
        CHECK_STATUS(pipeline.capture(1, 1u).code(), PIPELINE_OK);
        WAIT_FOR(queue.size() == 1);
        if (closed_first) CHECK_STATUS(pipeline.close(std::chrono::milliseconds(10)).code(), PIPELINE_ERR_TIMEOUT);
    }
    CHECK_U64(gone, 0);
    auto owed = queue.pop();
    CHECK_OR_STOP(owed.has_value());
    CHECK_U64(*owed->batch()[0].as<unsigned>(), 1); // valid until it is answered, even after the pipeline has gone
    if (answer)
        CHECK_STATUS(owed->ok().code(), PIPELINE_OK);
    else
        owed.reset();
    WAIT_FOR(gone == 1);
}

// The same during a call of store.
static void destructor_during_a_call() {
    std::atomic<int> gone{0}, inside{0};
    std::atomic<bool> hold{true};
    {
        cp::Pipeline pipeline(quick(), cp::Storage([&, flag = Flag(gone)](const cp::Batch &) {
            (void)flag;
            inside += 1;
            while (hold) std::this_thread::yield();
        }));
        CHECK_STATUS(pipeline.capture(1, 1u).code(), PIPELINE_OK);
        WAIT_FOR(inside == 1);
    }
    CHECK_U64(gone, 0);
    hold = false;
    WAIT_FOR(gone == 1);
}

// A callback of the storage holds the last owner.
static void destructor_inside_a_callback() {
    std::atomic<int> gone{0};
    auto pipeline = std::make_shared<std::optional<cp::Pipeline>>();
    std::atomic<bool> ready{false};
    pipeline->emplace(cp::Storage([pipeline, &ready, flag = Flag(gone)](const cp::Batch &) {
        (void)flag;
        while (!ready) std::this_thread::yield();
        pipeline->reset();
    }));
    CHECK_STATUS((*pipeline)->capture(1, 1u).code(), PIPELINE_OK);
    pipeline.reset();
    ready = true;
    WAIT_FOR(gone == 1);
}

int main() {
    by_another_thread();
    deferred_then();
    destructor_while_pending(true, false);
    destructor_while_pending(false, false);
    destructor_while_pending(true, true);
    destructor_during_a_call();
    destructor_inside_a_callback();
    return SUMMARY();
}
