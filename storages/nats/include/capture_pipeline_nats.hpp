/* capture_pipeline_nats.hpp: the storage in NATS JetStream for C++17. Header only, over capture_pipeline_nats.h.
 *
 *     auto options = capture_pipeline::nats_options();
 *     options.servers = "nats.example:4222";
 *     capture_pipeline::NatsStorage nats(options);
 *     capture_pipeline::Pipeline pipeline(nats.take());
 *     ...
 *     std::cout << nats.status().text;
 *
 * Licence: MIT OR Apache-2.0. */
#ifndef CAPTURE_PIPELINE_NATS_HPP
#define CAPTURE_PIPELINE_NATS_HPP

#include <capture_pipeline.hpp>
#include <capture_pipeline_nats.h>

#include <utility>

namespace capture_pipeline {

/// Options with every default. The texts that you set in them must live until NatsStorage is made.
inline pipeline_nats_options_t nats_options() {
    pipeline_nats_options_t options{};
    detail::check(pipeline_nats_options_init(&options, sizeof options));
    return options;
}

/// A storage in a stream of NATS JetStream, and its state. Owns the storage until take().
class NatsStorage {
  public:
    /// Connects, and finds or makes the stream. Throws Error, whose what() says what is wrong.
    explicit NatsStorage(const pipeline_nats_options_t &options = nats_options()) {
        detail::check(pipeline_storage_nats(&options, sizeof raw_, &raw_));
    }
    ~NatsStorage() {
        if (!taken_ && raw_.destroy != nullptr) raw_.destroy(raw_.user_data);
    }
    NatsStorage(const NatsStorage &) = delete;
    NatsStorage &operator=(const NatsStorage &) = delete;

    /// The storage, for the constructor of a Pipeline. Once: a second call throws Error.
    Storage take() {
        if (std::exchange(taken_, true)) detail::raise(PIPELINE_ERR_INVALID, "NatsStorage::take: the storage was taken already");
        return Storage::adopt(raw_);
    }

    /// The state of the storage. Until the pipeline that has taken it is destroyed; not afterwards. Any thread.
    pipeline_nats_status_t status() const {
        pipeline_nats_status_t status{};
        status.struct_size = sizeof status;
        detail::check(pipeline_nats_status(&raw_, &status));
        return status;
    }

  private:
    pipeline_storage_t raw_{};
    bool taken_ = false;
};

} // namespace capture_pipeline

#endif // CAPTURE_PIPELINE_NATS_HPP
