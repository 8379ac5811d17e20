// The results of a storage's functions and their meaning: an Answer, a std::int32_t or nothing; for on_flush and on_dead_letter also a
// Status. must_not_compile.sh has the results that must not compile.
#include "../c/check.h"

#include <capture_pipeline.hpp>

#include <type_traits>

namespace cp = capture_pipeline;
const auto patience = std::chrono::milliseconds(PATIENCE_MS);

static cp::Config quick() {
    cp::Config config;
    config.retry_initial_us = 10;
    config.retry_max_us = 100;
    config.retry_limit = 3;
    return config;
}

// Stores one event; returns the metrics after the close.
static pipeline_metrics_t one_event(cp::Storage storage) {
    cp::Pipeline pipeline(quick(), std::move(storage));
    CHECK_STATUS(pipeline.capture(1, 1u).code(), PIPELINE_OK);
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
    CHECK_LEDGER(pipeline.raw());
    return pipeline.metrics();
}

static void of_store() {
    CHECK_U64(one_event([](const cp::Batch &) { return cp::Answer::ok; }).stored, 1);
    CHECK_U64(one_event([](const cp::Batch &) { return PIPELINE_STORE_OK; }).stored, 1);
    CHECK_U64(one_event([](const cp::Batch &) -> cp::StoreResult { return cp::Answer::ok; }).stored, 1);
    CHECK_U64(one_event([](const cp::Batch &) {}).stored, 1);
    CHECK_U64(one_event([](const cp::Batch &) { return cp::Answer::reject; }).discarded, 1);
    CHECK_U64(one_event([](const cp::Batch &) { return std::int32_t{PIPELINE_STORE_REJECT}; }).discarded, 1);
    const pipeline_metrics_t retried = one_event([](const cp::Batch &b) {
        return b.attempt() < 3 ? cp::Answer::retry : cp::Answer::ok;
    });
    CHECK_U64(retried.stored, 1);
    CHECK_U64(retried.retries, 2);
    CHECK_U64(retried.bad_results, 0);
}

template <class Returned> static std::int32_t flushed(Returned returned) {
    cp::Storage storage([](const cp::Batch &) {});
    storage.on_flush([=](std::chrono::milliseconds) { return returned; });
    cp::Pipeline pipeline(quick(), std::move(storage));
    return pipeline.flush(patience).code();
}

static void of_flush() {
    CHECK_STATUS(flushed(cp::Answer::ok), PIPELINE_OK);
    CHECK_STATUS(flushed(cp::Answer::retry), PIPELINE_ERR_STORAGE);
    CHECK_STATUS(flushed(cp::Answer::reject), PIPELINE_ERR_STORAGE);
    CHECK_STATUS(flushed(PIPELINE_OK), PIPELINE_OK);
    CHECK_STATUS(flushed(PIPELINE_ERR_SYSTEM), PIPELINE_ERR_SYSTEM);
    CHECK_STATUS(flushed(cp::Status(PIPELINE_OK)), PIPELINE_OK);
    CHECK_STATUS(flushed(cp::Status(PIPELINE_SAMPLED)), PIPELINE_OK); // no error
    CHECK_STATUS(flushed(cp::Status(PIPELINE_ERR_TIMEOUT)), PIPELINE_ERR_TIMEOUT);
}

template <class Returned> static pipeline_metrics_t dead(Returned returned) {
    cp::Storage storage([](const cp::Batch &) { return cp::Answer::reject; });
    storage.on_dead_letter([=](const cp::Batch &, std::int32_t reason) {
        CHECK_U64(reason, PIPELINE_REASON_REJECTED);
        return returned;
    });
    return one_event(std::move(storage));
}

static void of_dead_letter() {
    CHECK_U64(dead(cp::Answer::ok).dead_lettered, 1);
    CHECK_U64(dead(cp::Answer::reject).discarded, 1);
    CHECK_U64(dead(PIPELINE_STORE_OK).dead_lettered, 1);
    CHECK_U64(dead(PIPELINE_STORE_REJECT).discarded, 1);
    CHECK_U64(dead(cp::Status(PIPELINE_OK)).dead_lettered, 1);
    const pipeline_metrics_t failed = dead(cp::Status(PIPELINE_ERR_STORAGE)); // asked again, until the budget is spent
    CHECK_U64(failed.discarded, 1);
    CHECK_U64(failed.retries, 2);
    cp::Storage storage([](const cp::Batch &) { return cp::Answer::reject; });
    storage.on_dead_letter([](const cp::Batch &, std::int32_t) {});
    CHECK_U64(one_event(std::move(storage)).dead_lettered, 1);
}

// The same results from a storage class.
struct Own final : cp::StorageBase {
    cp::StoreResult stored;
    explicit Own(cp::StoreResult s) : stored(s) {}
    cp::StoreResult store(const cp::Batch &) override { return stored; }
    cp::FlushResult flush(std::chrono::milliseconds) override { return cp::Status(PIPELINE_ERR_STORAGE); }
    cp::DeadLetterResult dead_letter(const cp::Batch &, std::int32_t) override { return cp::Status(PIPELINE_OK); }
    bool has_dead_letter() const noexcept override { return true; }
};
struct Least final : cp::StorageBase {
    cp::StoreResult store(const cp::Batch &) override { return cp::Answer::ok; }
};

static void of_a_class() {
    cp::Pipeline pipeline(quick(), cp::Storage(std::make_unique<Own>(cp::Answer::reject)));
    CHECK_STATUS(pipeline.capture(1, 1u).code(), PIPELINE_OK);
    CHECK_STATUS(pipeline.flush(patience).code(), PIPELINE_ERR_STORAGE);
    CHECK_U64(pipeline.metrics().dead_lettered, 1);
    CHECK_U64(one_event(cp::Storage(std::make_unique<Least>())).stored, 1);
    CHECK_U64(one_event(cp::Storage(std::make_unique<Least>())).discarded, 0);
}

// Conversions that must not exist.
template <class Result, class From> inline constexpr bool made_of = std::is_convertible_v<From, Result>;
static_assert(made_of<cp::StoreResult, cp::Answer> && made_of<cp::StoreResult, std::int32_t>);
static_assert(!made_of<cp::StoreResult, bool> && !made_of<cp::StoreResult, cp::Status> && !made_of<cp::StoreResult, long> &&
              !made_of<cp::StoreResult, unsigned> && !made_of<cp::StoreResult, void *> && !made_of<cp::StoreResult, double>);
static_assert(made_of<cp::FlushResult, cp::Status> && !made_of<cp::FlushResult, bool> && !made_of<cp::FlushResult, long>);
static_assert(made_of<cp::DeadLetterResult, cp::Status> && !made_of<cp::DeadLetterResult, bool> &&
              !made_of<cp::DeadLetterResult, long>);
static_assert(!std::is_constructible_v<cp::Status, bool> && !std::is_convertible_v<cp::Status, bool>);

int main() {
    of_store();
    of_flush();
    of_dead_letter();
    of_a_class();
    return SUMMARY();
}
