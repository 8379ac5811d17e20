// The storage's finish: from a lambda and from a class, also where it fails or throws.
#include "../c/check.h"

#include <capture_pipeline.hpp>

#include <stdexcept>

namespace cp = capture_pipeline;
const auto patience = std::chrono::milliseconds(PATIENCE_MS);

static void from_a_lambda() {
    std::atomic<unsigned> stored{0}, finished{0}, before{0};
    cp::Storage storage([&](const cp::Batch &batch) { stored += static_cast<unsigned>(batch.size()); });
    storage.on_finish([&](std::chrono::milliseconds timeout) {
        CHECK(timeout.count() >= 0);
        before = stored.load();
        finished += 1;
    });
    cp::Pipeline pipeline(std::move(storage));
    for (unsigned n = 0; n < 100; ++n) CHECK_STATUS(pipeline.capture(1, n).code(), PIPELINE_OK);
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
    CHECK_U64(finished, 1);
    CHECK_U64(before, 100);
}

static void one_that_throws() {
    cp::Storage storage([](const cp::Batch &) {});
    storage.on_finish([](std::chrono::milliseconds) { throw std::runtime_error("no room for the index"); });
    cp::Pipeline pipeline(std::move(storage));
    CHECK_STATUS(pipeline.capture(1, 7u).code(), PIPELINE_OK);
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_ERR_STORAGE);
    CHECK(pipeline.storage_exceptions().last == "no room for the index");
    CHECK(pipeline.health().reasons & PIPELINE_HEALTH_FINISH_FAILED);
    CHECK_U64(pipeline.metrics().stored, 1);
}

struct Sealed final : cp::StorageBase {
    std::int32_t answer;
    std::atomic<int> &finished;
    Sealed(std::int32_t a, std::atomic<int> &f) : answer(a), finished(f) {}
    cp::StoreResult store(const cp::Batch &) override { return PIPELINE_STORE_OK; }
    bool has_finish() const noexcept override { return true; }
    cp::FlushResult finish(std::chrono::milliseconds timeout) override {
        CHECK(timeout == cp::forever);
        finished += 1;
        return answer;
    }
};

static void from_a_class(std::int32_t answer, std::int32_t status) {
    std::atomic<int> finished{0};
    {
        cp::Pipeline pipeline(cp::Storage(std::make_unique<Sealed>(answer, finished)));
        CHECK_STATUS(pipeline.close(cp::forever).code(), status);
    }
    CHECK_U64(finished, 1);
}

int main() {
    from_a_lambda();
    one_that_throws();
    from_a_class(PIPELINE_OK, PIPELINE_OK);
    from_a_class(-9, PIPELINE_ERR_STORAGE);
    return SUMMARY();
}
