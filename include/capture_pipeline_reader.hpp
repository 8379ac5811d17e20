// Reading journals in C++17: an owner and a range over the functions pipeline_reader_... of <capture_pipeline.h>. Header only; link with the C library.
//
//     #include <capture_pipeline_reader.hpp>
//     #include <cstdio>
//     namespace cp = capture_pipeline;
//
//     int main() {
//         cp::ReaderOptions options;
//         options.flags = PIPELINE_READER_TIME_ORDER;
//         cp::Reader reader("journal", options);
//         for (const cp::JournalEvent &event : reader) std::printf("%u: %zu bytes\n", event.kind(), event.payload().size());
//         return reader.losses().any == 0 ? 0 : 1;
//     }
//
// The constructor and the iteration throw Error, as set-up calls do; what is damaged or missing in the journal is no error, but counted
// in Reader::losses. One thread at a time uses a reader.
//
// Licence: MIT OR Apache-2.0.
#ifndef CAPTURE_PIPELINE_READER_HPP
#define CAPTURE_PIPELINE_READER_HPP

#include <capture_pipeline.hpp>

#include <array>

namespace capture_pipeline {

/// What a reader gives: the members of pipeline_reader_options_t, initialised with the defaults.
struct ReaderOptions : pipeline_reader_options_t {
    ReaderOptions() : pipeline_reader_options_t() {
        detail::check(pipeline_reader_options_init(this, sizeof(pipeline_reader_options_t)));
    }
};

/// An event of a journal. Its payload is valid until the iterator moves on, or the next event is asked for.
class JournalEvent {
  public:
    /// generation(), ring_id() and sequence() are the identity of the event.
    std::uint64_t generation() const noexcept { return event_.generation; }
    std::uint64_t ring_id() const noexcept { return event_.ring_id; }
    std::uint64_t sequence() const noexcept { return event_.sequence; }
    /// On the monotonic clock, or a time of the program's own.
    std::chrono::nanoseconds timestamp() const noexcept { return nanoseconds(event_.timestamp_ns); }
    /// The wall time.
    std::chrono::system_clock::time_point wall_time() const noexcept {
        using Clock = std::chrono::system_clock;
        return Clock::time_point(std::chrono::duration_cast<Clock::duration>(nanoseconds(event_.realtime_ns)));
    }
    std::uint64_t correlation_id() const noexcept { return event_.correlation_id; }
    std::uint64_t node_id() const noexcept { return event_.node_id; }
    std::uint32_t kind() const noexcept { return event_.kind; }
    /// Whether the event has this kind, which may be a value of an enum of yours.
    bool is(Kind kind) const noexcept { return event_.kind == kind; }
    std::uint32_t flags() const noexcept { return event_.flags; }
    /// The number of captured events that this event represents.
    double weight() const noexcept { return event_.weight; }
    Bytes payload() const noexcept { return {event_.data, event_.len}; }
    const pipeline_reader_event_t *raw() const noexcept { return &event_; }

    /// The payload as a T, or nothing if its size differs or, for a T that has a kind (KindOf), if the event has another kind.
    template <class T> std::optional<T> as() const noexcept {
        if constexpr (detail::has_kind<T>) {
            if (!is(KindOf<T>::value)) return std::nullopt;
        }
        static_assert(std::is_trivially_copyable_v<T>, "a typed payload must be trivially copyable");
        if (event_.len != sizeof(T)) return std::nullopt;
        alignas(T) unsigned char copy[sizeof(T)];
        std::memcpy(copy, event_.data, sizeof(T));
        return *std::launder(reinterpret_cast<T *>(copy));
    }

  private:
    friend class Reader;
    friend class MessageReader;
    static std::chrono::nanoseconds nanoseconds(std::uint64_t ns) noexcept {
        return std::chrono::nanoseconds(static_cast<std::int64_t>(ns));
    }
    pipeline_reader_event_t event_{};
};
static_assert(sizeof(JournalEvent) == sizeof(pipeline_reader_event_t), "an array of these is one of those");

/// What a reader could not give: the members of pipeline_reader_losses_t, and its text as a copy.
struct ReaderLosses : pipeline_reader_losses_t {
    std::string text; ///< what is lost and why, a line for each; empty if nothing is lost
};

/// A kind of a journal that has a name or a definition. It points into the reader, see Reader::definitions.
using JournalKind = const pipeline_reader_kind_t *;

/// Reads a journal: a range of JournalEvent, which can be gone through once.
class Reader {
  public:
    /// Opens the journal in a directory, or one segment. Throws Error.
    explicit Reader(const std::string &path, const ReaderOptions &options = ReaderOptions()) {
        require_compatible_library();
        detail::check(pipeline_reader_open(path.c_str(), &options, &handle_));
    }
    Reader(Reader &&from) noexcept
        : handle_(std::exchange(from.handle_, nullptr)), events_(from.events_), next_(std::exchange(from.next_, 0)),
          count_(std::exchange(from.count_, 0)) {}
    Reader &operator=(Reader &&from) noexcept {
        if (this != &from) {
            pipeline_reader_close(handle_);
            handle_ = std::exchange(from.handle_, nullptr);
            events_ = from.events_;
            next_ = std::exchange(from.next_, 0);
            count_ = std::exchange(from.count_, 0);
        }
        return *this;
    }
    Reader(const Reader &) = delete;
    Reader &operator=(const Reader &) = delete;
    ~Reader() { pipeline_reader_close(handle_); }

    /// The next event; nullptr after the last one, and with PIPELINE_READER_FOLLOW if none comes within the timeout. Throws Error, for
    /// example without memory; then the call may be made again.
    template <class Rep, class Period> const JournalEvent *next(std::chrono::duration<Rep, Period> timeout) {
        return advance(detail::to_ms(timeout));
    }
    /// As next(timeout), without waiting.
    const JournalEvent *next() { return advance(0); }

    class iterator {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = JournalEvent;
        using difference_type = std::ptrdiff_t;
        using pointer = const JournalEvent *;
        using reference = const JournalEvent &;

        iterator() noexcept = default;
        reference operator*() const noexcept { return *event_; }
        pointer operator->() const noexcept { return event_; }
        iterator &operator++() {
            event_ = reader_->next();
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator &a, const iterator &b) noexcept { return a.event_ == b.event_; }
        friend bool operator!=(const iterator &a, const iterator &b) noexcept { return a.event_ != b.event_; }

      private:
        friend class Reader;
        explicit iterator(Reader *reader) : reader_(reader), event_(reader->next()) {}
        Reader *reader_ = nullptr;
        const JournalEvent *event_ = nullptr;
    };
    /// The events that were not given yet. With PIPELINE_READER_FOLLOW the range ends when there is nothing new, and may be begun again.
    iterator begin() { return iterator(this); }
    iterator end() noexcept { return {}; }

    /// What could not be read so far; complete after the last event.
    ReaderLosses losses() const {
        ReaderLosses found{};
        found.struct_size = sizeof(pipeline_reader_losses_t);
        detail::check(pipeline_reader_losses(handle_, &found));
        found.text = found.details;
        found.details = nullptr;
        return found;
    }
    /// Calls a function with each kind that has a name or a definition, a JournalKind. What that points to is valid until definitions is called
    /// again.
    template <class F> void definitions(F &&each) const {
        const pipeline_reader_kinds_t *kinds = nullptr;
        detail::check(pipeline_reader_definitions(handle_, &kinds));
        for (std::size_t i = 0; i < kinds->count; i++) each(PIPELINE_READER_KIND(kinds, i));
    }
    /// The id and the name of the thread that captured into a ring buffer; nothing if the journal does not say.
    std::optional<std::pair<std::uint64_t, std::string>> thread(std::uint64_t generation, std::uint64_t ring_id) const {
        pipeline_reader_thread_t found{};
        found.struct_size = sizeof found;
        const std::int32_t status = pipeline_reader_thread(handle_, generation, ring_id, &found);
        if (status == PIPELINE_ERR_NOT_FOUND) return std::nullopt;
        detail::check(status);
        return std::make_pair(found.thread_id, std::string(found.name));
    }
    /// The attributes of a run, by their names.
    std::vector<std::pair<std::string, std::string>> attributes(std::uint64_t generation) const {
        std::vector<std::pair<std::string, std::string>> all;
        pipeline_reader_attribute_t found{};
        found.struct_size = sizeof found;
        std::int32_t status;
        while ((status = pipeline_reader_attribute(handle_, generation, all.size(), &found)) == PIPELINE_OK)
            all.emplace_back(found.name, found.value);
        if (status != PIPELINE_ERR_NOT_FOUND) detail::check(status);
        return all;
    }
    pipeline_reader_t *raw() const noexcept { return handle_; }

  private:
    const JournalEvent *advance(std::int64_t timeout_ms) {
        if (next_ == count_) {
            next_ = count_ = 0;
            events_[0].event_.struct_size = sizeof(pipeline_reader_event_t);
            const std::int32_t status =
                pipeline_reader_next_many(handle_, timeout_ms, &events_[0].event_, events_.size(), &count_);
            if (status == PIPELINE_END || status == PIPELINE_ERR_TIMEOUT) return nullptr;
            detail::check(status);
        }
        return &events_[next_++];
    }

    pipeline_reader_t *handle_ = nullptr;
    std::array<JournalEvent, 64> events_{};
    std::size_t next_ = 0, count_ = 0;
};

/// What is in a message: the members of pipeline_message_t.
struct Message : pipeline_message_t {
    Message() noexcept : pipeline_message_t() { struct_size = sizeof(pipeline_message_t); }
};

/// Makes messages of batches, for a storage that sends them somewhere.
class MessageEncoder {
  public:
    /// PIPELINE_JOURNAL_RAW or PIPELINE_JOURNAL_COLUMNS...; 0 or PIPELINE_MESSAGE_THREADS. Throws Error.
    explicit MessageEncoder(std::uint32_t encoding = PIPELINE_JOURNAL_COLUMNS_LZ4, std::uint32_t flags = 0) {
        require_compatible_library();
        detail::check(pipeline_message_encoder_open(encoding, flags, &handle_));
    }
    MessageEncoder(MessageEncoder &&from) noexcept : handle_(std::exchange(from.handle_, nullptr)) {}
    MessageEncoder &operator=(MessageEncoder &&from) noexcept {
        std::swap(handle_, from.handle_);
        return *this;
    }
    MessageEncoder(const MessageEncoder &) = delete;
    MessageEncoder &operator=(const MessageEncoder &) = delete;
    ~MessageEncoder() { pipeline_message_encoder_close(handle_); }

    /// As pipeline_message_encode: PIPELINE_OK, PIPELINE_END behind the last event, or an error.
    Status encode(const Batch &batch, std::size_t first, void *buffer, std::size_t size, Message &message,
                  std::size_t most = SIZE_MAX) noexcept {
        return pipeline_message_encode(handle_, batch.raw(), first, most, buffer, size, &message);
    }
    /// As pipeline_message_encode_facts: PIPELINE_OK, PIPELINE_END behind the last fact, or an error.
    Status encode_facts(const Batch &batch, std::size_t first, void *buffer, std::size_t size, Message &message) noexcept {
        return pipeline_message_encode_facts(handle_, batch.raw(), first, buffer, size, &message);
    }
    pipeline_message_encoder_t *raw() const noexcept { return handle_; }

  private:
    pipeline_message_encoder_t *handle_ = nullptr;
};

/// Reads messages, one after another.
class MessageReader {
  public:
    /// Uses at most about so many bytes of memory for a message; 0: the default. Throws Error.
    explicit MessageReader(std::uint64_t memory_bytes = 0) {
        require_compatible_library();
        detail::check(pipeline_message_reader_open(memory_bytes, &handle_));
    }
    MessageReader(MessageReader &&from) noexcept : handle_(std::exchange(from.handle_, nullptr)), event_(from.event_) {}
    MessageReader &operator=(MessageReader &&from) noexcept {
        std::swap(handle_, from.handle_);
        std::swap(event_, from.event_);
        return *this;
    }
    MessageReader(const MessageReader &) = delete;
    MessageReader &operator=(const MessageReader &) = delete;
    ~MessageReader() { pipeline_message_reader_close(handle_); }

    /// Takes a message, which stays valid until the next one is taken. Throws Error if it is damaged, of a later version or too large.
    Message take(const void *data, std::size_t length) {
        Message message;
        detail::check(pipeline_message_reader_take(handle_, data, length, &message));
        return message;
    }
    /// The next event of the message; nullptr after the last one. Its payload is valid until another message is taken, the event until the next one is asked for.
    const JournalEvent *next() {
        event_.event_.struct_size = sizeof(pipeline_reader_event_t);
        const std::int32_t status = pipeline_message_reader_next(handle_, &event_.event_);
        if (status == PIPELINE_END) return nullptr;
        detail::check(status);
        return &event_;
    }
    /// Calls a function with each kind of the run of the message that messages have told of, a JournalKind, which is valid until definitions is called again.
    template <class F> void definitions(F &&each) const {
        const pipeline_reader_kinds_t *kinds = nullptr;
        detail::check(pipeline_message_reader_definitions(handle_, &kinds));
        for (std::size_t i = 0; i < kinds->count; i++) each(PIPELINE_READER_KIND(kinds, i));
    }
    pipeline_message_reader_t *raw() const noexcept { return handle_; }

  private:
    pipeline_message_reader_t *handle_ = nullptr;
    JournalEvent event_{};
};

} // namespace capture_pipeline

#endif // CAPTURE_PIPELINE_READER_HPP
