// The owning classes of the C++ wrapper: moves, destructors, when and how often each object is destroyed, failed starts, versions.
#include "../c/check.h"

#include <capture_pipeline.hpp>

#include <memory>
#include <vector>

namespace cp = capture_pipeline;
using namespace std::chrono_literals;

static_assert(!std::is_copy_constructible_v<cp::Pipeline> && std::is_nothrow_move_constructible_v<cp::Pipeline>);
static_assert(!std::is_copy_constructible_v<cp::Producer> && std::is_nothrow_move_constructible_v<cp::Producer>);
static_assert(!std::is_copy_constructible_v<cp::Reservation> && std::is_nothrow_move_constructible_v<cp::Reservation>);
static_assert(!std::is_copy_constructible_v<cp::Storage> && std::is_nothrow_move_constructible_v<cp::Storage>);
static_assert(!std::is_copy_constructible_v<cp::Completion> && std::is_nothrow_move_constructible_v<cp::Completion>);
static_assert(!std::is_copy_constructible_v<cp::Batch>);
static_assert(std::is_nothrow_move_assignable_v<cp::Pipeline> && std::is_nothrow_move_assignable_v<cp::Producer>);

const auto patience = std::chrono::milliseconds(PATIENCE_MS);

// A member of the storage's lambda; notes when the lambda is destroyed.
struct Witness {
    std::atomic<int> stored{0}, destroyed{0};
};
struct Held {
    Witness *witness;
    explicit Held(Witness &w) : witness(&w) {}
    Held(Held &&from) noexcept : witness(std::exchange(from.witness, nullptr)) {}
    ~Held() {
        if (witness != nullptr) witness->destroyed += 1;
    }
};

static cp::Storage counting(Witness &w) {
    return cp::Storage([held = Held(w)](const cp::Batch &batch) {
        held.witness->stored += static_cast<int>(batch.size());
    });
}

static void moves() {
    Witness a, b;
    cp::Storage storage = counting(a);
    cp::Storage moved = std::move(storage);
    cp::Pipeline first{std::move(moved)};
    CHECK_U64(a.destroyed, 0);
    CHECK_STATUS(first.capture(1, 1u).code(), PIPELINE_OK);
    cp::Pipeline second = std::move(first);
    CHECK(first.raw() == nullptr && second.raw() != nullptr);
    CHECK_STATUS(first.capture(1, 1u).code(), PIPELINE_ERR_NULL); // moved from: an error, not a crash
    CHECK_STATUS(first.flush(1ms).code(), PIPELINE_ERR_NULL);
    CHECK_STATUS(second.capture(1, 1u).code(), PIPELINE_OK);
    CHECK_STATUS(second.close(patience).code(), PIPELINE_OK);
    CHECK_LEDGER(second.raw());
    CHECK_U64(a.stored, 2);

    // A move assignment destroys the old pipeline (at once, because it was closed); the new one works.
    second = cp::Pipeline(counting(b));
    CHECK_U64(a.destroyed, 1);
    CHECK_STATUS(second.capture(1, 1u).code(), PIPELINE_OK);
    second = static_cast<cp::Pipeline &&>(second); // onto itself: nothing
    CHECK_STATUS(second.flush(patience).code(), PIPELINE_OK);
    CHECK_U64(b.stored, 1);
    std::vector<cp::Pipeline> vector;
    vector.push_back(std::move(second));
    vector.clear(); // not closed: drained
    WAIT_FOR(b.destroyed == 1);
}

static void producers() {
    Witness w;
    std::optional<cp::Producer> survivor;
    {
        cp::Pipeline pipeline(counting(w));
        cp::Producer one = pipeline.producer();
        cp::Producer two = std::move(one);
        CHECK(one.raw() == nullptr);
        CHECK_STATUS(one.capture(1, 1u).code(), PIPELINE_ERR_NULL);
        CHECK_STATUS(two.capture(1, 1u).code(), PIPELINE_OK);
        two = pipeline.producer(); // the first is closed, what it captured stays
        CHECK_STATUS(two.capture(1, 1u).code(), PIPELINE_OK);
        CHECK_STATUS(pipeline.flush(patience).code(), PIPELINE_OK);
        CHECK_U64(w.stored, 2);
        survivor = std::move(two);
        CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
        CHECK_LEDGER(pipeline.raw());
    }
    CHECK_U64(w.destroyed, 1);
    CHECK_STATUS(survivor->capture(1, 1u).code(), PIPELINE_ERR_CLOSED);
    CHECK_STATUS(survivor->reserve(1, 8).status().code(), PIPELINE_ERR_CLOSED);
}

template <class F> static void throws(int32_t status, const char *part, F &&f) {
    bool thrown = false;
    try {
        f();
    } catch (const cp::Error &e) {
        thrown = true;
        CHECK_STATUS(e.status().code(), status);
        CHECK_HAS(e.what(), part);
        CHECK_HAS(e.detail(), part);
        CHECK_HAS(e.status().message(), "");
    }
    CHECK(thrown);
}

static void errors() {
    Witness w;
    throws(PIPELINE_ERR_INVALID, "batch_size", [&] {
        cp::Config config;
        config.batch_size = 0;
        cp::Pipeline pipeline(config, counting(w));
    });
    CHECK_U64(w.destroyed, 1);
    {
        cp::Storage never_started = counting(w);
    }
    CHECK_U64(w.destroyed, 2);
    throws(PIPELINE_ERR_STATE, "moved", [&] {
        cp::Storage storage = counting(w);
        cp::Storage taken = std::move(storage);
        cp::Pipeline pipeline(std::move(storage));
    });
    CHECK_U64(w.destroyed, 3);
    throws(PIPELINE_ERR_NULL, "NULL", [] { cp::Storage storage{std::unique_ptr<cp::StorageBase>()}; });

    cp::Config config;
    config.max_rings = 1;
    cp::Pipeline pipeline(config, counting(w));
    throws(PIPELINE_ERR_LIMIT, "256", [&] { pipeline.scale(257); });
    throws(PIPELINE_ERR_INVALID, "kind", [&] { pipeline.kind_name(PIPELINE_KIND_RESERVED, "x"); });
    cp::Config running = pipeline.config();
    running.ring_bytes *= 2;
    throws(PIPELINE_ERR_FIXED, "ring_bytes", [&] { pipeline.update(running); });
    cp::Producer only = pipeline.producer();
    throws(PIPELINE_ERR_LIMIT, "max_rings", [&] { cp::Producer second = pipeline.producer(); });
    CHECK(!pipeline.writer_metrics(1000));
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
    throws(PIPELINE_ERR_CLOSED, "closed", [&] { pipeline.pause(); });
    throws(PIPELINE_ERR_CLOSED, "closed", [&] { pipeline.resume(); });
    throws(PIPELINE_ERR_CLOSED, "closed", [&] { cp::Producer late = pipeline.producer(); });
    CHECK_STATUS(pipeline.close(0ms).code(), PIPELINE_ERR_CLOSED);
    CHECK(pipeline.health().reasons & PIPELINE_HEALTH_CLOSED);
    CHECK_LEDGER(pipeline.raw());
}

// A storage that C code filled in.
static std::atomic<int> raw_destroyed{0}, raw_stored{0};
extern "C" {
static int32_t raw_store(void *, const pipeline_batch_t *batch) {
    raw_stored += static_cast<int>(batch->count);
    return PIPELINE_STORE_OK;
}
static void raw_destroy(void *) { raw_destroyed += 1; }
}

static void adopted() {
    pipeline_storage_t raw;
    CHECK_STATUS(pipeline_storage_init(&raw, sizeof raw), PIPELINE_OK);
    raw.store = raw_store;
    raw.destroy = raw_destroy;
    {
        cp::Storage unused = cp::Storage::adopt(raw);
        cp::Storage moved = std::move(unused);
    }
    CHECK_U64(raw_destroyed, 1);
    {
        cp::Pipeline pipeline(cp::Storage::adopt(raw));
        CHECK_STATUS(pipeline.capture(1, std::string_view("x")).code(), PIPELINE_OK);
        CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
    }
    CHECK_U64(raw_destroyed, 2);
    CHECK_U64(raw_stored, 1);
    throws(PIPELINE_ERR_STATE, "lambdas", [&] { cp::Storage::adopt(raw).concurrent(); });
    CHECK_U64(raw_destroyed, 3);
}

// The SQLite storage: errors at opening, and a run that stores.
static void sqlite() {
    throws(PIPELINE_ERR_STORAGE, "/nowhere", [] { cp::Storage storage = cp::Storage::sqlite("/nowhere/at/all.db"); });
    char name[] = "owners.XXXXXX";
    CHECK_OR_STOP(mkdtemp(name) != nullptr);
    const std::string database = std::string(name) + "/events.db";
    {
        cp::Storage never_started = cp::Storage::sqlite(database); // closed again
        cp::Pipeline pipeline(cp::Storage::sqlite(database));
        pipeline.kind_name(1, "one");
        for (int i = 0; i < 100; ++i) CHECK_STATUS(pipeline.capture(1, i).code(), PIPELINE_OK);
        CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
        CHECK_U64(pipeline.metrics().stored, 100);
    }
    CHECK(access(database.c_str(), R_OK) == 0);
    CHECK(system(("rm -r " + std::string(name)).c_str()) == 0);
}

// The journal storage: errors at opening, options, and a run that stores.
static void journal() {
    throws(PIPELINE_ERR_STORAGE, "/nowhere", [] { cp::Storage storage = cp::Storage::journal("/nowhere/at/all"); });
    char name[] = "owners.XXXXXX";
    CHECK_OR_STOP(mkdtemp(name) != nullptr);
    const std::string directory = std::string(name) + "/journal";
    pipeline_journal_options_t options;
    CHECK_STATUS(pipeline_journal_options_init(&options, sizeof options), PIPELINE_OK);
    options.encoding = PIPELINE_JOURNAL_COLUMNS_LZ4;
    {
        cp::Storage never_started = cp::Storage::journal(directory);
        cp::Pipeline pipeline(cp::Storage::journal(directory, &options));
        pipeline.kind_name(1, "one");
        for (int i = 0; i < 100; ++i) CHECK_STATUS(pipeline.capture(1, i).code(), PIPELINE_OK);
        CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
        CHECK_U64(pipeline.metrics().stored, 100);
    }
    options.encoding = 99;
    throws(PIPELINE_ERR_INVALID, "encoding", [&] { cp::Storage storage = cp::Storage::journal(directory, &options); });
    CHECK(system(("rm -r " + std::string(name)).c_str()) == 0);
}

// Timeouts in any unit of chrono, the extremes included.
static void timeouts() {
    using cp::detail::to_ms;
    CHECK(to_ms(0ns) == 0);
    CHECK(to_ms(1ns) == 1);
    CHECK(to_ms(999us) == 1);
    CHECK(to_ms(1500us) == 2);
    CHECK(to_ms(2s) == 2000);
    CHECK(to_ms(1h) == 3600000);
    CHECK(to_ms(-1ns) == -1);
    CHECK(to_ms(cp::forever) == -1);
    CHECK(to_ms(std::chrono::hours::max()) == -1);
    CHECK(to_ms(std::chrono::duration<double>(0.25)) == 250);
    CHECK(to_ms(std::chrono::nanoseconds::max()) > 0);
}

int main() {
    CHECK(cp::library_is_compatible());
    cp::require_compatible_library();
    moves();
    producers();
    errors();
    adopted();
    sqlite();
    journal();
    timeouts();
    return SUMMARY();
}
