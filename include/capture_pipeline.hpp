// capture_pipeline for C++17: move-only owners over the C functions of <capture_pipeline.h> and the inlined captures of
// <capture_pipeline_fast.h>, nothing to link beside them.
//
// What lives here: Config, Storage (a lambda, a class of your own, or a storage made in C), Batch and EventView (what a
// storage sees), Completion (a later answer), Producer and Reservation, Pipeline. Set-up calls throw Error; captures,
// flush and close return a Status and never throw. An exception that leaves a storage's function never crosses the C
// frames: the batch is tried again, and the exception is counted and can be heard of (Storage::on_exception).
//
// Compiled with -fno-exceptions, set-up calls that fail print their error and abort.
//
// Licence: MIT OR Apache-2.0.
#ifndef CAPTURE_PIPELINE_HPP
#define CAPTURE_PIPELINE_HPP

#include <capture_pipeline_fast.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iterator>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#if defined(__cpp_exceptions)
#define CAPTURE_PIPELINE_EXCEPTIONS 1
#else
#define CAPTURE_PIPELINE_EXCEPTIONS 0
#endif

#if CAPTURE_PIPELINE_EXCEPTIONS && defined(__GLIBCXX__)
#include <cxxabi.h> // abi::__forced_unwind: how glibc ends a thread; swallowing it would end the process
#endif

namespace capture_pipeline {

/// Waits for ever, where a timeout is asked for.
inline constexpr std::chrono::milliseconds forever{-1};

/// What a call answered: one of PIPELINE_OK, PIPELINE_SAMPLED, PIPELINE_ERR_...
class Status {
  public:
    constexpr Status(std::int32_t code) noexcept : code_(code) {}
    /// Whether it is no error (a sampled-out event is none).
    constexpr bool ok() const noexcept { return code_ >= 0; }
    constexpr explicit operator bool() const noexcept { return ok(); }
    constexpr std::int32_t code() const noexcept { return code_; }
    /// The sentence that goes with it.
    const char *message() const noexcept { return pipeline_status_message(code_); }
    friend constexpr bool operator==(Status a, Status b) noexcept { return a.code_ == b.code_; }
    friend constexpr bool operator!=(Status a, Status b) noexcept { return a.code_ != b.code_; }

  private:
    std::int32_t code_;
};

/// A set-up call failed: its status, and the detail that names the field, the limit and the value.
class Error : public std::runtime_error {
  public:
    Error(Status status, const std::string &detail)
        : std::runtime_error(detail.empty() ? std::string(status.message()) : detail), status_(status) {}
    Status status() const noexcept { return status_; }
    const char *detail() const noexcept { return what(); }

  private:
    Status status_;
};

/// What a storage answers for a batch.
enum class Answer : std::int32_t {
    ok = PIPELINE_STORE_OK,
    retry = PIPELINE_STORE_RETRY,
    reject = PIPELINE_STORE_REJECT,
    pending = PIPELINE_STORE_PENDING,
};

namespace detail {

[[noreturn]] inline void raise(std::int32_t status, const char *what) {
#if CAPTURE_PIPELINE_EXCEPTIONS
    throw Error(status, what);
#else
    std::fprintf(stderr, "capture_pipeline: %s: %s\n", pipeline_status_message(status), what);
    std::abort();
#endif
}

inline void check(std::int32_t status) {
    if (status < 0) raise(status, pipeline_last_error());
}

template <class Rep, class Period> std::int64_t to_ms(std::chrono::duration<Rep, Period> d) noexcept {
    using Seconds = std::chrono::duration<long double>;
    if (d < d.zero()) return -1;
    // Compared in seconds first: hours::max() does not fit into milliseconds.
    constexpr long double most = static_cast<long double>(std::numeric_limits<std::int64_t>::max()) / 2000;
    if (Seconds(d).count() > most) return -1;
    auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(d);
    if (ms < d) ms += std::chrono::milliseconds(1); // never shorter than asked
    return static_cast<std::int64_t>(ms.count());
}

/// std::function for callables that can only be moved.
template <class Signature> class Function;
template <class R, class... A> class Function<R(A...)> {
    struct Base {
        virtual ~Base() = default;
        virtual R call(A... a) = 0;
    };
    template <class F> struct Holder final : Base {
        F f;
        explicit Holder(F &&from) : f(std::move(from)) {}
        explicit Holder(const F &from) : f(from) {}
        R call(A... a) override { return f(std::forward<A>(a)...); }
    };
    std::unique_ptr<Base> held_;

  public:
    Function() = default;
    template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, Function>>>
    Function(F &&f) : held_(std::make_unique<Holder<std::decay_t<F>>>(std::forward<F>(f))) {}
    explicit operator bool() const noexcept { return held_ != nullptr; }
    R operator()(A... a) { return held_->call(std::forward<A>(a)...); }
};

} // namespace detail

/// Whether the library at run time can serve a program built with this header: the same major version, and not older.
inline bool library_is_compatible() noexcept {
    const std::uint32_t library = pipeline_version();
    return library / 1000000 == PIPELINE_VERSION / 1000000 && library / 1000 >= PIPELINE_VERSION / 1000;
}

/// Throws unless library_is_compatible(). Pipeline's constructor does it for you.
inline void require_compatible_library() {
    if (library_is_compatible()) return;
    const std::string what = "the header is of version " + std::to_string(PIPELINE_VERSION / 1000000) + "." +
                             std::to_string(PIPELINE_VERSION / 1000 % 1000) + "." +
                             std::to_string(PIPELINE_VERSION % 1000) + ", the library of version " +
                             pipeline_version_string();
    detail::raise(PIPELINE_ERR_VERSION, what.c_str());
}

/// A payload: bytes that belong to somebody else.
class Bytes {
  public:
    constexpr Bytes() noexcept = default;
    Bytes(const void *data, std::size_t size) noexcept : data_(static_cast<const std::byte *>(data)), size_(size) {}
    const std::byte *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    const std::byte *begin() const noexcept { return data_; }
    const std::byte *end() const noexcept { return data_ + size_; }
    std::byte operator[](std::size_t i) const noexcept { return data_[i]; }
    std::string_view text() const noexcept { return {reinterpret_cast<const char *>(data_), size_}; }

  private:
    const std::byte *data_ = nullptr;
    std::size_t size_ = 0;
};

/// An event as a storage sees it; valid as long as its batch.
class EventView {
  public:
    explicit EventView(const pipeline_event_view_t *view) noexcept : view_(view) {}
    /// With the batch's generation and sequence(): the event's identity.
    std::uint64_t ring_id() const noexcept { return view_->ring_id; }
    std::uint64_t sequence() const noexcept { return view_->sequence; }
    /// On the monotonic clock; see Batch::wall_time.
    std::chrono::nanoseconds timestamp() const noexcept {
        return std::chrono::nanoseconds(static_cast<std::int64_t>(view_->timestamp_ns));
    }
    std::uint64_t correlation_id() const noexcept { return view_->correlation_id; }
    std::uint64_t node_id() const noexcept { return view_->node_id; }
    std::uint32_t kind() const noexcept { return view_->kind; }
    std::uint32_t flags() const noexcept { return view_->flags; }
    /// How many offered events this one stands for.
    double weight() const noexcept { return view_->weight; }
    Bytes payload() const noexcept { return {view_->data, view_->len}; }
    const pipeline_event_view_t *raw() const noexcept { return view_; }

    /// The payload as the T that was captured; nothing if its size is another.
    template <class T> std::optional<T> as() const noexcept {
        static_assert(std::is_trivially_copyable_v<T>, "a typed payload must be trivially copyable");
        if (view_->len != sizeof(T)) return std::nullopt;
        alignas(T) unsigned char copy[sizeof(T)];
        std::memcpy(copy, view_->data, sizeof(T));
        return *std::launder(reinterpret_cast<T *>(copy));
    }

  private:
    const pipeline_event_view_t *view_;
};

class Completion;

/// A batch as a storage sees it: a range of EventView. Valid until store returns, or until its Completion answers.
class Batch {
  public:
    class iterator {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = EventView;
        using difference_type = std::ptrdiff_t;
        using pointer = void;
        using reference = EventView;
        iterator(const pipeline_batch_t *batch, std::size_t at) noexcept : batch_(batch), at_(at) {}
        EventView operator*() const noexcept { return EventView(PIPELINE_BATCH_EVENT(batch_, at_)); }
        iterator &operator++() noexcept { return ++at_, *this; }
        iterator operator++(int) noexcept { return iterator(batch_, at_++); }
        friend bool operator==(const iterator &a, const iterator &b) noexcept { return a.at_ == b.at_; }
        friend bool operator!=(const iterator &a, const iterator &b) noexcept { return a.at_ != b.at_; }

      private:
        const pipeline_batch_t *batch_;
        std::size_t at_;
    };

    explicit Batch(const pipeline_batch_t *batch) noexcept : batch_(batch) {}
    Batch(const Batch &) = delete;
    Batch &operator=(const Batch &) = delete;

    iterator begin() const noexcept { return {batch_, 0}; }
    iterator end() const noexcept { return {batch_, batch_->count}; }
    std::size_t size() const noexcept { return batch_->count; }
    bool empty() const noexcept { return batch_->count == 0; }
    EventView operator[](std::size_t i) const noexcept { return EventView(PIPELINE_BATCH_EVENT(batch_, i)); }

    std::uint64_t id() const noexcept { return batch_->batch_id; }
    std::uint64_t generation() const noexcept { return batch_->generation; }
    std::uint64_t pipeline_id() const noexcept { return batch_->pipeline_id; }
    std::uint32_t attempt() const noexcept { return batch_->attempt; }
    std::uint32_t writer_id() const noexcept { return batch_->writer_id; }
    void *writer_data() const noexcept { return batch_->writer_data; }
    const pipeline_batch_t *raw() const noexcept { return batch_; }
    /// The wall time of an event (not for one that carries a time of its own).
    std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds>
    wall_time(const EventView &event) const noexcept {
        return std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds>(
            event.timestamp() + std::chrono::nanoseconds(batch_->realtime_offset_ns));
    }

    /// The first `prefix` events are stored: a retry starts behind them.
    Status set_stored(std::size_t prefix) const noexcept { return pipeline_batch_set_stored(batch_, prefix); }
    /// The event at `index` can never be stored: it goes to the dead letter.
    Status set_rejected(std::size_t index) const noexcept { return pipeline_batch_set_rejected(batch_, index); }
    /// The answer will come through what this returns, whatever store answers now (answer Answer::pending).
    Completion defer() const noexcept;

    bool deferred() const noexcept { return deferred_; }

  private:
    const pipeline_batch_t *batch_;
    mutable bool deferred_ = false;
};

/// The answer to a batch that comes later, from any thread. Dropped without an answer, it answers "retry", so that a
/// forgotten batch comes again instead of staying open for ever.
class Completion {
  public:
    Completion() noexcept = default;
    explicit Completion(const pipeline_batch_t *batch) noexcept : batch_(batch) {}
    Completion(Completion &&from) noexcept : batch_(std::exchange(from.batch_, nullptr)) {}
    Completion &operator=(Completion &&from) noexcept {
        if (this != &from) {
            drop();
            batch_ = std::exchange(from.batch_, nullptr);
        }
        return *this;
    }
    Completion(const Completion &) = delete;
    Completion &operator=(const Completion &) = delete;
    ~Completion() { drop(); }

    /// Whether the answer is still owed.
    explicit operator bool() const noexcept { return batch_ != nullptr; }
    /// The batch, until it is answered.
    Batch batch() const noexcept { return Batch(batch_); }
    /// Answers. PIPELINE_ERR_UNKNOWN_TOKEN if that has been done, PIPELINE_ERR_INVALID for Answer::pending.
    Status complete(Answer answer) noexcept { return complete_at(0, answer); }
    /// Answers; the first `prefix` events are stored in any case.
    Status complete_at(std::size_t prefix, Answer answer) noexcept {
        if (batch_ == nullptr) return PIPELINE_ERR_UNKNOWN_TOKEN;
        if (answer == Answer::pending) return PIPELINE_ERR_INVALID;
        const Status status = pipeline_batch_complete_at(batch_->token, prefix, static_cast<std::int32_t>(answer));
        if (status || status == PIPELINE_ERR_UNKNOWN_TOKEN) batch_ = nullptr;
        return status;
    }
    Status ok() noexcept { return complete(Answer::ok); }
    Status retry() noexcept { return complete(Answer::retry); }
    Status reject() noexcept { return complete(Answer::reject); }

  private:
    void drop() noexcept {
        if (batch_ != nullptr) retry();
    }
    const pipeline_batch_t *batch_ = nullptr;
};

inline Completion Batch::defer() const noexcept {
    deferred_ = true;
    return Completion(batch_);
}

/// A storage as a class: override what you need. Functions may throw; see Storage for what that means. Called on
/// writer threads only, overlapping only if concurrent().
class StorageBase {
  public:
    virtual ~StorageBase() = default;
    virtual std::int32_t store(const Batch &batch) = 0;
    virtual std::int32_t flush(std::chrono::milliseconds /*timeout*/) { return PIPELINE_OK; }
    virtual std::int32_t dead_letter(const Batch & /*batch*/, std::int32_t /*reason*/) { return PIPELINE_STORE_REJECT; }
    virtual void release(const EventView & /*event*/) noexcept {}
    /// What it returns comes with each batch of that writer. Throw, and it is tried again later.
    virtual void *open_writer(std::uint32_t /*writer_id*/) { return nullptr; }
    virtual void close_writer(std::uint32_t /*writer_id*/, void * /*writer_data*/) noexcept {}
    /// An exception left one of the functions above; called inside its handler.
    virtual void caught(std::exception_ptr /*exception*/) noexcept {}

    /// Whether calls may overlap. Asked once, at the start; so are the four below.
    virtual bool concurrent() const noexcept { return false; }
    /// Whether the library's own events (names of kinds, threads behind rings) are wanted.
    virtual bool wants_meta() const noexcept { return false; }
    /// Whether dead_letter is to be called.
    virtual bool has_dead_letter() const noexcept { return false; }
    /// Whether release is to be called.
    virtual bool has_release() const noexcept { return false; }
    /// Whether release may be called by the capture that overwrites an event (PIPELINE_STORAGE_RELEASE_ANYWHERE).
    virtual bool releases_anywhere() const noexcept { return false; }
    /// Whether release is for events with PIPELINE_EVENT_RELEASE alone (PIPELINE_STORAGE_RELEASE_MARKED).
    virtual bool releases_marked() const noexcept { return false; }
};

/// Exceptions that left a storage's functions.
struct StorageExceptions {
    std::uint64_t count = 0;
    std::string last; ///< what() of the last one; empty if it was no std::exception
};

namespace detail {

/// What a pipeline and its storage both hold, so that either may go first.
struct Trouble {
    std::mutex mutex;
    StorageExceptions seen;
    std::atomic<bool> destroyed{false};
};

/// What the C side holds as user_data.
struct Holder {
    std::unique_ptr<StorageBase> storage;
    std::shared_ptr<Trouble> trouble;

    template <class F> std::int32_t guarded(std::int32_t thrown, F &&f) {
#if CAPTURE_PIPELINE_EXCEPTIONS
        try {
            return f();
        }
#if defined(__GLIBCXX__)
        catch (abi::__forced_unwind &) {
            throw;
        }
#endif
        catch (const std::exception &e) {
            remember(e.what());
        } catch (...) {
            remember("");
        }
        return thrown;
#else
        (void)thrown;
        return f();
#endif
    }

    static Holder &of(void *user_data) noexcept { return *static_cast<Holder *>(user_data); }

    static std::int32_t store(void *u, const pipeline_batch_t *b) {
        const Batch batch(b);
        const std::int32_t answer = of(u).guarded(PIPELINE_STORE_RETRY, [&] { return of(u).storage->store(batch); });
        // Once deferred, the Completion is the answer, also when store threw afterwards.
        return batch.deferred() ? PIPELINE_STORE_PENDING : answer;
    }
    static std::int32_t open_writer(void *u, std::uint32_t id, void **data) {
        return of(u).guarded(PIPELINE_ERR_STORAGE, [&]() -> std::int32_t {
            *data = of(u).storage->open_writer(id);
            return PIPELINE_OK;
        });
    }
    static void close_writer(void *u, std::uint32_t id, void *data) { of(u).storage->close_writer(id, data); }
    static std::int32_t flush(void *u, std::int64_t timeout_ms) {
        return of(u).guarded(PIPELINE_ERR_STORAGE,
                             [&] { return of(u).storage->flush(std::chrono::milliseconds(timeout_ms)); });
    }
    static std::int32_t dead_letter(void *u, const pipeline_batch_t *b, std::int32_t reason) {
        const Batch batch(b);
        return of(u).guarded(PIPELINE_STORE_RETRY, [&] { return of(u).storage->dead_letter(batch, reason); });
    }
    static void release(void *u, const pipeline_event_view_t *e) { of(u).storage->release(EventView(e)); }
    static void destroy(void *u) {
        std::unique_ptr<Holder> holder(static_cast<Holder *>(u));
        holder->trouble->destroyed.store(true, std::memory_order_release);
    }

  private:
    void remember(const char *what) noexcept {
#if CAPTURE_PIPELINE_EXCEPTIONS
        try {
            const std::lock_guard<std::mutex> lock(trouble->mutex);
            trouble->seen.count += 1;
            trouble->seen.last = what;
        } catch (...) { // no memory for the text: the count is there
        }
        storage->caught(std::current_exception());
#else
        (void)what;
#endif
    }
};

/// What a lambda may return, as a status.
template <class F, class... A> std::int32_t answer_of(F &f, A &&...a) {
    using R = std::invoke_result_t<F &, A...>;
    if constexpr (std::is_void_v<R>) {
        f(std::forward<A>(a)...);
        return PIPELINE_STORE_OK;
    } else {
        return static_cast<std::int32_t>(f(std::forward<A>(a)...));
    }
}

/// The storage that is made of lambdas.
struct LambdaStorage final : StorageBase {
    Function<std::int32_t(const Batch &)> on_store;
    Function<std::int32_t(std::chrono::milliseconds)> on_flush;
    Function<std::int32_t(const Batch &, std::int32_t)> on_dead_letter;
    Function<void(const EventView &)> on_release;
    Function<void *(std::uint32_t)> on_open_writer;
    Function<void(std::uint32_t, void *)> on_close_writer;
    Function<void(std::exception_ptr)> on_exception;
    bool is_concurrent = false, meta = false;

    std::int32_t store(const Batch &b) override { return on_store(b); }
    std::int32_t flush(std::chrono::milliseconds t) override { return on_flush ? on_flush(t) : PIPELINE_OK; }
    std::int32_t dead_letter(const Batch &b, std::int32_t r) override { return on_dead_letter(b, r); }
    void release(const EventView &e) noexcept override { on_release(e); }
    void *open_writer(std::uint32_t id) override { return on_open_writer ? on_open_writer(id) : nullptr; }
    void close_writer(std::uint32_t id, void *d) noexcept override {
        if (on_close_writer) on_close_writer(id, d);
    }
    void caught(std::exception_ptr e) noexcept override {
        if (on_exception) on_exception(e);
    }
    bool concurrent() const noexcept override { return is_concurrent; }
    bool wants_meta() const noexcept override { return meta; }
    bool has_dead_letter() const noexcept override { return static_cast<bool>(on_dead_letter); }
    bool has_release() const noexcept override { return static_cast<bool>(on_release); }
};

} // namespace detail

/// Where the events go; move-only, consumed by Pipeline's constructor.
///
/// From a lambda that takes `const Batch &` and returns an Answer, a PIPELINE_STORE_... or nothing (stored). The hooks
/// below may be set before the start. If store or dead_letter throws, that counts as "retry"; if flush throws,
/// Pipeline::flush answers PIPELINE_ERR_STORAGE; release and close hooks must not throw (std::terminate).
class Storage {
  public:
    template <class F, class = std::enable_if_t<std::is_invocable_v<std::decay_t<F> &, const Batch &>>>
    Storage(F &&store) : trouble_(std::make_shared<detail::Trouble>()) {
        auto made = std::make_unique<detail::LambdaStorage>();
        made->on_store = [f = std::decay_t<F>(std::forward<F>(store))](const Batch &b) mutable {
            return detail::answer_of(f, b);
        };
        lambdas_ = made.get();
        own_ = std::move(made);
    }
    /// From a class of your own.
    explicit Storage(std::unique_ptr<StorageBase> storage)
        : own_(std::move(storage)), trouble_(std::make_shared<detail::Trouble>()) {
        if (!own_) detail::raise(PIPELINE_ERR_NULL, "the storage is NULL");
    }
    /// Takes over a storage made by a constructor in C.
    static Storage adopt(const pipeline_storage_t &raw) { return Storage(raw); }
    /// A SQLite database at `path`; throws Error if it cannot be opened. Without options: all defaults.
    static Storage sqlite(const std::string &path, const pipeline_sqlite_options_t *options = nullptr) {
        pipeline_storage_t raw{};
        detail::check(pipeline_storage_sqlite(path.c_str(), options, sizeof raw, &raw));
        return Storage(raw);
    }

    Storage(Storage &&from) noexcept
        : own_(std::move(from.own_)), lambdas_(std::exchange(from.lambdas_, nullptr)), raw_(from.raw_),
          trouble_(std::move(from.trouble_)) {
        from.raw_.reset();
    }
    Storage &operator=(Storage &&from) noexcept {
        if (this != &from) {
            drop();
            own_ = std::move(from.own_);
            lambdas_ = std::exchange(from.lambdas_, nullptr);
            raw_ = from.raw_;
            from.raw_.reset();
            trouble_ = std::move(from.trouble_);
        }
        return *this;
    }
    ~Storage() { drop(); }

    /// Calls may overlap, on different threads.
    Storage &concurrent() { return lambdas().is_concurrent = true, *this; }
    /// The library's own events are wanted as well.
    Storage &with_meta() { return lambdas().meta = true, *this; }
    /// (std::chrono::milliseconds timeout) -> status or nothing.
    template <class F> Storage &on_flush(F &&f) {
        lambdas().on_flush = [g = std::decay_t<F>(std::forward<F>(f))](std::chrono::milliseconds t) mutable {
            return detail::answer_of(g, t);
        };
        return *this;
    }
    /// (const Batch &, std::int32_t reason) -> Answer, status or nothing (kept).
    template <class F> Storage &on_dead_letter(F &&f) {
        lambdas().on_dead_letter = [g = std::decay_t<F>(std::forward<F>(f))](const Batch &b, std::int32_t r) mutable {
            return detail::answer_of(g, b, r);
        };
        return *this;
    }
    /// (const EventView &): every captured event, exactly once, when it leaves.
    template <class F> Storage &on_release(F &&f) { return lambdas().on_release = std::forward<F>(f), *this; }
    /// (std::uint32_t writer_id) -> void *.
    template <class F> Storage &on_open_writer(F &&f) { return lambdas().on_open_writer = std::forward<F>(f), *this; }
    /// (std::uint32_t writer_id, void *writer_data).
    template <class F> Storage &on_close_writer(F &&f) { return lambdas().on_close_writer = std::forward<F>(f), *this; }
    /// (std::exception_ptr), on the writer's thread; must not throw.
    template <class F> Storage &on_exception(F &&f) { return lambdas().on_exception = std::forward<F>(f), *this; }

  private:
    friend class Pipeline;
    explicit Storage(const pipeline_storage_t &raw) : raw_(raw), trouble_(std::make_shared<detail::Trouble>()) {}
    detail::LambdaStorage &lambdas() {
        if (lambdas_ == nullptr) detail::raise(PIPELINE_ERR_STATE, "hooks can be set on a storage made of lambdas only");
        return *lambdas_;
    }
    void drop() noexcept {
        if (raw_ && raw_->destroy != nullptr) raw_->destroy(raw_->user_data);
        raw_.reset();
        own_.reset();
    }

    std::unique_ptr<StorageBase> own_;
    detail::LambdaStorage *lambdas_ = nullptr;
    std::optional<pipeline_storage_t> raw_;
    std::shared_ptr<detail::Trouble> trouble_;
};

/// The configuration: the members of pipeline_config_t, with every default in place.
struct Config : pipeline_config_t {
    Config() : pipeline_config_t() {
        detail::check(pipeline_config_init(this, sizeof(pipeline_config_t)));
    }
};

/// What an event carries beside its payload.
struct Head {
    std::uint32_t kind = 0;
    std::uint64_t correlation_id = 0;
    std::uint64_t node_id = 0;
    bool priority = false;
    std::optional<std::chrono::nanoseconds> timestamp{}; ///< of your own; otherwise stamped at capture

    pipeline_event_t event(const void *data, std::size_t len) const noexcept {
        pipeline_event_t e{};
        e.struct_size = sizeof e;
        e.kind = kind;
        e.correlation_id = correlation_id;
        e.node_id = node_id;
        e.flags = (priority ? PIPELINE_EVENT_PRIORITY : 0u) | (timestamp ? PIPELINE_EVENT_OWN_TIME : 0u);
        if (timestamp) e.timestamp_ns = static_cast<std::uint64_t>(timestamp->count());
        e.data = data;
        e.len = len;
        return e;
    }
};

namespace detail {
template <class T>
inline constexpr bool is_payload = !std::is_convertible_v<const T &, std::string_view> && !std::is_same_v<T, Bytes>;

template <class T> constexpr void require_flat() {
    static_assert(std::is_trivially_copyable_v<T>, "a typed payload must be trivially copyable");
    static_assert(!std::is_pointer_v<T>, "a pointer would be captured, not what it points to; use Bytes");
}
} // namespace detail

/// Room in a ring buffer for a payload that is written in place. Aborts unless committed.
class Reservation {
  public:
    Reservation(Reservation &&from) noexcept
        : producer_(std::exchange(from.producer_, nullptr)), data_(from.data_), size_(from.size_), status_(from.status_) {}
    Reservation &operator=(Reservation &&from) noexcept {
        if (this != &from) {
            abort();
            producer_ = std::exchange(from.producer_, nullptr);
            data_ = from.data_;
            size_ = from.size_;
            status_ = from.status_;
        }
        return *this;
    }
    Reservation(const Reservation &) = delete;
    Reservation &operator=(const Reservation &) = delete;
    ~Reservation() { abort(); }

    /// Whether there is room to write to.
    explicit operator bool() const noexcept { return producer_ != nullptr; }
    /// Why there is none.
    Status status() const noexcept { return status_; }
    std::byte *data() const noexcept { return static_cast<std::byte *>(data_); }
    std::size_t size() const noexcept { return size_; }

    Status commit() noexcept { return commit(size_); }
    /// Captures the event with the first `used` bytes; a `used` that is too large leaves the reservation open.
    Status commit(std::size_t used) noexcept {
        if (producer_ == nullptr) return PIPELINE_ERR_STATE;
        const Status status = pipeline_producer_commit(producer_, used);
        if (status != PIPELINE_ERR_INVALID) producer_ = nullptr;
        return status;
    }
    void abort() noexcept {
        if (producer_ != nullptr) pipeline_producer_abort(std::exchange(producer_, nullptr));
    }

  private:
    friend class Producer;
    Reservation(pipeline_producer_t *producer, const pipeline_event_t &head, std::size_t len) noexcept
        : size_(len), status_(pipeline_producer_reserve(producer, &head, len, &data_)) {
        if (status_.code() == PIPELINE_OK) producer_ = producer;
    }
    pipeline_producer_t *producer_ = nullptr;
    void *data_ = nullptr;
    std::size_t size_;
    Status status_;
};

/// A ring buffer of its own, for one thread at a time. May outlive its Pipeline; then captures answer PIPELINE_ERR_CLOSED.
/// A typed payload, whose size is known, is captured inlined where the library and the compiler can.
class Producer {
  public:
    Producer(Producer &&from) noexcept
        : handle_(std::exchange(from.handle_, nullptr)), fast_(std::exchange(from.fast_, nullptr)) {}
    Producer &operator=(Producer &&from) noexcept {
        if (this != &from) {
            close();
            handle_ = std::exchange(from.handle_, nullptr);
            fast_ = std::exchange(from.fast_, nullptr);
        }
        return *this;
    }
    Producer(const Producer &) = delete;
    Producer &operator=(const Producer &) = delete;
    ~Producer() { close(); }

    Status capture(std::uint32_t kind, Bytes payload) noexcept {
        return pipeline_producer_capture(handle_, kind, payload.data(), payload.size());
    }
    Status capture(std::uint32_t kind, std::string_view text) noexcept {
        return pipeline_producer_capture(handle_, kind, text.data(), text.size());
    }
    template <class T, class = std::enable_if_t<detail::is_payload<T>>>
    Status capture(std::uint32_t kind, const T &value) noexcept {
        detail::require_flat<T>();
        return pipeline_fast_capture(handle_, fast_, kind, std::addressof(value), sizeof(T));
    }
    Status capture(const Head &head, Bytes payload) noexcept {
        const pipeline_event_t e = head.event(payload.data(), payload.size());
        return pipeline_producer_capture_event(handle_, &e);
    }
    /// Several in one call; `captured`, if given, says how many were, whatever the answer.
    Status capture_many(const pipeline_event_t *events, std::size_t count, std::size_t *captured = nullptr) noexcept {
        return pipeline_producer_capture_many(handle_, events, count, captured);
    }
    template <class T, class = std::enable_if_t<detail::is_payload<T>>>
    Status capture(const Head &head, const T &value) noexcept {
        detail::require_flat<T>();
        const pipeline_event_t e = head.event(std::addressof(value), sizeof(T));
        return pipeline_fast_capture_event(handle_, fast_, &e);
    }
    /// Room for `len` bytes. Until it is committed or aborted, other captures here answer PIPELINE_ERR_BUSY. It must not
    /// outlive the Producer.
    Reservation reserve(const Head &head, std::size_t len) noexcept {
        return Reservation(handle_, head.event(nullptr, 0), len);
    }
    Reservation reserve(std::uint32_t kind, std::size_t len) noexcept {
        Head head;
        head.kind = kind;
        return reserve(head, len);
    }
    /// Gives the ring back; what was captured gets stored.
    void close() noexcept {
        fast_ = nullptr;
        if (handle_ != nullptr) pipeline_producer_close(std::exchange(handle_, nullptr));
    }
    pipeline_producer_t *raw() const noexcept { return handle_; }

  private:
    friend class Pipeline;
    explicit Producer(pipeline_producer_t *handle) noexcept : handle_(handle), fast_(pipeline_fast_of(handle)) {}
    pipeline_producer_t *handle_;
    pipeline_fast_t *fast_;
};

/// A running pipeline. Its destructor never waits: a pipeline that was not closed is abandoned.
class Pipeline {
  public:
    /// Starts. Throws Error; the storage is destroyed then as well.
    Pipeline(const Config &config, Storage storage) {
        require_compatible_library();
        pipeline_storage_t raw{};
        detail::check(pipeline_storage_init(&raw, sizeof raw));
        trouble_ = storage.trouble_;
        detail::Holder *holder = nullptr;
        if (storage.raw_) {
            raw = *storage.raw_;
            storage.raw_.reset();
        } else {
            if (!storage.own_) detail::raise(PIPELINE_ERR_STATE, "the storage was moved from");
            holder = new detail::Holder{std::move(storage.own_), trouble_};
            describe(*holder, raw);
        }
        const std::int32_t status = pipeline_start(&config, &raw, &handle_);
        if (status < 0) {
            // Kept before anything else runs: the storage's destructor may call the library.
            const std::string why = pipeline_last_error();
            // A library that did not know this struct's size has not taken the storage over.
            if (holder != nullptr && !trouble_->destroyed.load(std::memory_order_acquire)) delete holder;
            detail::raise(status, why.c_str());
        }
    }
    explicit Pipeline(Storage storage) : Pipeline(Config(), std::move(storage)) {}

    Pipeline(Pipeline &&from) noexcept
        : handle_(std::exchange(from.handle_, nullptr)), closed_(from.closed_), trouble_(std::move(from.trouble_)) {}
    Pipeline &operator=(Pipeline &&from) noexcept {
        if (this != &from) {
            end();
            handle_ = std::exchange(from.handle_, nullptr);
            closed_ = from.closed_;
            trouble_ = std::move(from.trouble_);
        }
        return *this;
    }
    Pipeline(const Pipeline &) = delete;
    Pipeline &operator=(const Pipeline &) = delete;
    ~Pipeline() { end(); }

    Status capture(std::uint32_t kind, Bytes payload) noexcept {
        return pipeline_capture(handle_, kind, payload.data(), payload.size());
    }
    Status capture(std::uint32_t kind, std::string_view text) noexcept {
        return pipeline_capture(handle_, kind, text.data(), text.size());
    }
    template <class T, class = std::enable_if_t<detail::is_payload<T>>>
    Status capture(std::uint32_t kind, const T &value) noexcept {
        detail::require_flat<T>();
        return pipeline_capture(handle_, kind, std::addressof(value), sizeof(T));
    }
    Status capture(const Head &head, Bytes payload) noexcept {
        const pipeline_event_t e = head.event(payload.data(), payload.size());
        return pipeline_capture_event(handle_, &e);
    }
    /// Several in one call; `captured`, if given, says how many were, whatever the answer.
    Status capture_many(const pipeline_event_t *events, std::size_t count, std::size_t *captured = nullptr) noexcept {
        return pipeline_capture_many(handle_, events, count, captured);
    }
    template <class T, class = std::enable_if_t<detail::is_payload<T>>>
    Status capture(const Head &head, const T &value) noexcept {
        detail::require_flat<T>();
        return capture(head, Bytes(std::addressof(value), sizeof(T)));
    }

    Producer producer() {
        pipeline_producer_t *handle = nullptr;
        detail::check(pipeline_producer_open(handle_, &handle));
        return Producer(handle);
    }
    void kind_name(std::uint32_t kind, const std::string &name) {
        detail::check(pipeline_kind_name(handle_, kind, name.c_str()));
    }
    void scale(std::uint32_t writers) { detail::check(pipeline_scale(handle_, writers)); }
    void pause() { detail::check(pipeline_pause(handle_)); }
    void resume() { detail::check(pipeline_resume(handle_)); }
    void update(const Config &config) { detail::check(pipeline_update(handle_, &config)); }
    Config config() const {
        Config c;
        detail::check(pipeline_config_read(handle_, &c));
        return c;
    }
    pipeline_metrics_t metrics() const {
        pipeline_metrics_t m{};
        m.struct_size = sizeof m;
        detail::check(pipeline_metrics(handle_, &m));
        return m;
    }
    /// Nothing if there is no writer at that index.
    std::optional<pipeline_writer_metrics_t> writer_metrics(std::uint32_t index) const {
        pipeline_writer_metrics_t m{};
        m.struct_size = sizeof m;
        const std::int32_t status = pipeline_writer_metrics(handle_, index, &m);
        if (status == PIPELINE_ERR_NOT_FOUND) return std::nullopt;
        detail::check(status);
        return m;
    }
    pipeline_health_t health() const {
        pipeline_health_t h{};
        h.struct_size = sizeof h;
        detail::check(pipeline_health(handle_, &h));
        return h;
    }
    /// How often a function of the storage has thrown, and what the last one said.
    StorageExceptions storage_exceptions() const {
        const std::lock_guard<std::mutex> lock(trouble_->mutex);
        return trouble_->seen;
    }

    /// Waits until all captured before is settled and the storage's flush has answered.
    template <class Rep, class Period> Status flush(std::chrono::duration<Rep, Period> timeout) noexcept {
        return pipeline_flush(handle_, detail::to_ms(timeout));
    }
    /// Refuses new events, drains, ends the writers. On PIPELINE_ERR_TIMEOUT metrics() says what is left; may be repeated.
    template <class Rep, class Period> Status close(std::chrono::duration<Rep, Period> timeout) noexcept {
        const Status status = pipeline_close(handle_, detail::to_ms(timeout));
        closed_ = closed_ || status.ok();
        return status;
    }
    /// Lets go at once, without draining.
    void abandon() noexcept {
        if (handle_ != nullptr) pipeline_abandon(std::exchange(handle_, nullptr));
    }
    pipeline_t *raw() const noexcept { return handle_; }

  private:
    static void describe(detail::Holder &holder, pipeline_storage_t &raw) noexcept {
        const StorageBase &s = *holder.storage;
        raw.flags = (s.concurrent() ? PIPELINE_STORAGE_CONCURRENT : 0u) | (s.wants_meta() ? PIPELINE_STORAGE_META : 0u) |
                    (s.releases_anywhere() ? PIPELINE_STORAGE_RELEASE_ANYWHERE : 0u) |
                    (s.releases_marked() ? PIPELINE_STORAGE_RELEASE_MARKED : 0u);
        raw.user_data = &holder;
        raw.store = &detail::Holder::store;
        raw.open_writer = &detail::Holder::open_writer;
        raw.close_writer = &detail::Holder::close_writer;
        raw.flush = &detail::Holder::flush;
        if (s.has_dead_letter()) raw.dead_letter = &detail::Holder::dead_letter;
        if (s.has_release()) raw.release = &detail::Holder::release;
        raw.destroy = &detail::Holder::destroy;
    }
    void end() noexcept {
        if (handle_ == nullptr) return;
        // After a close nothing is left to wait for; if something runs all the same, it ends on its own.
        if (closed_ && pipeline_destroy(handle_) == PIPELINE_OK) {
            handle_ = nullptr;
            return;
        }
        abandon();
    }

    pipeline_t *handle_ = nullptr;
    bool closed_ = false;
    std::shared_ptr<detail::Trouble> trouble_;
};

} // namespace capture_pipeline

#endif // CAPTURE_PIPELINE_HPP
