// spdlog's asynchronous logger: one thread, a queue that blocks when it is full, and a sink that stores. The message is the
// payload itself, so nothing is formatted.
#include "record.hpp"

#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>

namespace {
constexpr std::size_t slots = 8192;
bench_setup setup;
std::shared_ptr<spdlog::details::thread_pool> pool;
std::shared_ptr<spdlog::async_logger> logger;

struct Storage : spdlog::sinks::base_sink<spdlog::details::null_mutex> {
    void sink_it_(const spdlog::details::log_msg &message) override {
        bench_batch batch = batch_begin(setup.store);
        batch_event(&batch, message.payload.data());
        batch_end(&batch);
    }
    void flush_() override {}
};

const char *start(const bench_setup *given) {
    setup = *given;
    pool = std::make_shared<spdlog::details::thread_pool>(slots * setup.threads, 1);
    logger = std::make_shared<spdlog::async_logger>("bench", std::make_shared<Storage>(), pool, spdlog::async_overflow_policy::block);
    return nullptr;
}

void *open(std::uint32_t) { return logger.get(); }

void capture(void *handle, const bench_burst *burst) {
    auto &log = *static_cast<spdlog::async_logger *>(handle);
    for (std::uint32_t i = 0; i < burst->count; i++) {
        auto payload = reinterpret_cast<const char *>(burst->payloads + std::size_t(i & burst->mask) * burst->stride);
        log.log(spdlog::level::info, spdlog::string_view_t(payload, burst->payload));
    }
}

void close(void *) {}

const char *stop() {
    logger.reset();
    pool.reset();
    return nullptr;
}
} // namespace

extern "C" const contender *contenders(std::size_t *count) {
    static const contender all[] = {
        {"spdlog", "async_logger, one thread, block, 8192 messages per thread; messages are not formatted", start, open, capture, close, stop,
         nullptr, 0, 0},
    };
    *count = std::size(all);
    return all;
}
