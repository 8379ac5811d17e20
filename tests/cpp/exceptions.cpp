// Exceptions thrown by a storage's functions become retries or failures. They are counted and logged, and never cross the C frames.
// A batch that an exception left half stored is retried.
#include "../c/check.h"

#include <capture_pipeline.hpp>

#include <mutex>
#include <set>
#include <stdexcept>
#include <vector>

namespace cp = capture_pipeline;
const auto patience = std::chrono::milliseconds(PATIENCE_MS);

struct Odd {}; // no std::exception

static cp::Config quick() {
    cp::Config config;
    config.retry_initial_us = 10;
    config.retry_max_us = 100;
    config.batch_size = 16;
    config.retry_limit = 1000;
    return config;
}

static void store_throws() {
    std::atomic<int> calls{0}, heard{0};
    std::multiset<unsigned> kept;
    cp::Storage storage([&](const cp::Batch &batch) {
        const int call = calls++;
        if (call % 3 == 1) throw std::runtime_error("call " + std::to_string(call));
        if (call % 3 == 2 && batch.attempt() < 3) throw Odd();
        for (cp::EventView e : batch) kept.insert(*e.as<unsigned>());
        return cp::Answer::ok;
    });
    storage.on_exception([&](std::exception_ptr e) {
        heard += 1;
        try {
            std::rethrow_exception(e);
        } catch (const std::runtime_error &error) {
            CHECK_HAS(error.what(), "call");
        } catch (const Odd &) {
        }
    });
    cp::Pipeline pipeline(quick(), std::move(storage));
    for (unsigned n = 0; n < 1000; ++n) CHECK_STATUS(pipeline.capture(1, n).code(), PIPELINE_OK);
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
    const pipeline_metrics_t m = pipeline.metrics();
    CHECK_U64(m.stored, 1000);
    CHECK(heard > 0);
    CHECK_U64(m.retries, heard);
    CHECK_U64(m.bad_results, 0);
    CHECK_U64(m.writer_restarts, 0);
    CHECK_U64(pipeline.storage_exceptions().count, heard);
    CHECK_LEDGER(pipeline.raw());
    CHECK_U64(kept.size(), 1000);
    unsigned expected = 0;
    for (unsigned n : kept) CHECK_U64(n, expected++);
}

// A prefix that was set before the exception stays set.
static void prefix_then_throw() {
    std::vector<unsigned> kept;
    cp::Pipeline pipeline(quick(), cp::Storage([&](const cp::Batch &batch) {
                              if (batch.size() == 1) {
                                  kept.push_back(*batch[0].as<unsigned>());
                                  return;
                              }
                              kept.push_back(*batch[0].as<unsigned>());
                              CHECK_STATUS(batch.set_stored(1).code(), PIPELINE_OK);
                              throw std::runtime_error("after the first");
                          }));
    pipeline.pause();
    for (unsigned n = 0; n < 10; ++n) CHECK_STATUS(pipeline.capture(1, n).code(), PIPELINE_OK);
    pipeline.resume();
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
    CHECK_U64(kept.size(), 10);
    for (unsigned n = 0; n < kept.size(); ++n) CHECK_U64(kept[n], n);
    CHECK_U64(pipeline.storage_exceptions().count, 9);
    CHECK(pipeline.storage_exceptions().last == "after the first");
    CHECK_U64(pipeline.metrics().stored, 10);
}

static void every_hook_throws() {
    std::atomic<int> opened{0}, closed{0}, dead{0}, flushes{0};
    cp::Storage storage([](const cp::Batch &) { return cp::Answer::reject; });
    storage.on_open_writer([&](std::uint32_t) -> void * {
        if (opened++ < 2) throw std::runtime_error("cannot open");
        return &opened;
    });
    storage.on_close_writer([&](std::uint32_t, void *data) {
        CHECK(data == &opened);
        closed += 1;
    });
    storage.on_dead_letter([&](const cp::Batch &batch, std::int32_t reason) {
        CHECK_U64(reason, PIPELINE_REASON_REJECTED);
        CHECK_U64(batch.size(), 1);
        if (dead++ < 2) throw std::runtime_error("no mail today");
    });
    storage.on_flush([&](std::chrono::milliseconds timeout) {
        CHECK(timeout <= patience);
        if (flushes++ == 0) throw std::runtime_error("cannot flush");
    });
    cp::Pipeline pipeline(quick(), std::move(storage));
    CHECK_STATUS(pipeline.capture(1, 1u).code(), PIPELINE_OK);
    CHECK_STATUS(pipeline.flush(patience).code(), PIPELINE_ERR_STORAGE);
    CHECK_STATUS(pipeline.flush(patience).code(), PIPELINE_OK);
    CHECK_U64(pipeline.metrics().dead_lettered, 1);
    CHECK_U64(pipeline.storage_exceptions().count, 5);
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
    CHECK_LEDGER(pipeline.raw());
    CHECK_U64(opened, 3);
    CHECK_U64(closed, 1);
}

// A storage class.
struct Own final : cp::StorageBase {
    std::atomic<int> *left, *released;
    std::atomic<int> caught_count{0};
    Own(std::atomic<int> &l, std::atomic<int> &r) : left(&l), released(&r) {}
    ~Own() override { *left += 1; }
    cp::StoreResult store(const cp::Batch &batch) override {
        if (batch.attempt() == 1) throw std::logic_error("first");
        return PIPELINE_STORE_OK;
    }
    void release(const cp::EventView &event) noexcept override {
        CHECK_U64(event.payload().size(), 4);
        *released += 1;
    }
    void caught(std::exception_ptr e) noexcept override {
        CHECK(e != nullptr);
        caught_count += 1;
    }
    bool has_release() const noexcept override { return true; }
    bool concurrent() const noexcept override { return true; }
};

static void own_class() {
    std::atomic<int> left{0}, released{0};
    {
        cp::Pipeline pipeline(quick(), cp::Storage(std::make_unique<Own>(left, released)));
        for (unsigned n = 0; n < 100; ++n) CHECK_STATUS(pipeline.capture(1, n).code(), PIPELINE_OK);
        CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
        CHECK_U64(pipeline.metrics().stored, 100);
        CHECK_U64(released, 100);
        CHECK_U64(left, 0);
    }
    CHECK_U64(left, 1);
}

// pthread_exit inside store unwinds by an exception of glibc, which must not be caught for good.
static void a_callback_that_ends_its_thread() {
#ifdef __GLIBC__
    std::atomic<int> calls{0};
    cp::Pipeline pipeline(quick(), cp::Storage([&](const cp::Batch &) {
                              if (calls++ == 0) pthread_exit(nullptr);
                          }));
    CHECK_STATUS(pipeline.capture(1, 1u).code(), PIPELINE_OK);
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
    CHECK_U64(pipeline.metrics().stored, 1);
    CHECK_U64(pipeline.metrics().writer_restarts, 1);
    CHECK_U64(calls, 2);
    CHECK_LEDGER(pipeline.raw());
#endif
}

int main() {
    store_throws();
    prefix_then_throw();
    every_hook_throws();
    own_class();
    a_callback_that_ends_its_thread();
    return SUMMARY();
}
