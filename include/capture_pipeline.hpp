// capture_pipeline for C++17: move-only owners over the C functions of <capture_pipeline.h>. Header only; link with the C library.
//
//     #include <capture_pipeline.hpp>
//     #include <cstdio>
//     namespace cp = capture_pipeline;
//
//     int main() {
//         cp::Storage storage([](const cp::Batch &batch) { std::printf("%zu events\n", batch.size()); });
//         cp::Pipeline pipeline(std::move(storage));
//         pipeline.capture(1, "hello").ignore(); // kind 1, a text as payload
//         return pipeline.close(std::chrono::seconds(10)).ok() ? 0 : 1;
//     }
//
// Contents, in the order in which a program needs them:
//   status, errors, version    Status, Error
//   configuration              Config
//   captures                   Kind, Bytes, Head; Reservation, Producer
//   kinds                      Definition, CAPTURE_PIPELINE_FIELD, Rest: the fields of a payload
//   storage                    Answer, EventView, Batch, Completion; StorageBase (a class of your own), Storage (lambdas, SQLite, journal)
//   rules                      Rule: what becomes of an event before it is captured
//   pipeline                   Pipeline: start, capture, watch, end; PressureWatch
//
// Errors. Set-up calls throw Error. capture, flush and close return a Status and never throw. The compiler warns if a Status is
// not used; Status::ignore() is for that case. An exception that leaves a function of the storage does not cross the C frames:
// the batch is retried, and the exception is counted (Pipeline::storage_exceptions) and can be handled (Storage::on_exception).
// If compiled with -fno-exceptions, a set-up call that fails prints its error and aborts.
//
// End. Pipeline::close drains for as long as you allow and returns whether everything was stored. The destructor drains for at
// most Config::exit_timeout_ms (1 second by default) and abandons the rest. Pipeline::detach abandons at once. Objects that the
// storage uses must live as long as the storage: a function of the storage may still run after a destructor that timed out.
//
// ThreadSanitizer. The library is not instrumented, so the header reports to ThreadSanitizer the order that the library
// guarantees. Captures are then not inlined.
//
// Licence: MIT OR Apache-2.0.
#ifndef CAPTURE_PIPELINE_HPP
#define CAPTURE_PIPELINE_HPP

#include <capture_pipeline_fast.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <ratio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__cpp_exceptions)
#define CAPTURE_PIPELINE_EXCEPTIONS 1
#else
#define CAPTURE_PIPELINE_EXCEPTIONS 0
#endif

#if CAPTURE_PIPELINE_EXCEPTIONS && defined(__GLIBCXX__)
#include <cxxabi.h> // abi::__forced_unwind: glibc ends a thread with it; it must not be swallowed
#endif

// Whether ThreadSanitizer instruments this program.
#if defined(__SANITIZE_THREAD__)
#define CAPTURE_PIPELINE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CAPTURE_PIPELINE_TSAN 1
#endif
#endif
#ifndef CAPTURE_PIPELINE_TSAN
#define CAPTURE_PIPELINE_TSAN 0
#endif

#if CAPTURE_PIPELINE_TSAN
extern "C" {
// Functions of the ThreadSanitizer runtime.
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#if !defined(CAPTURE_PIPELINE_NO_TSAN_SUPPRESSIONS)
// ThreadSanitizer calls this function for its suppressions. It suppresses reports about libc functions (memcpy, free) that the
// library calls, because ThreadSanitizer does not see how the library orders them. A program that defines the function itself
// defines CAPTURE_PIPELINE_NO_TSAN_SUPPRESSIONS before it includes this header, and returns this line among its own.
__attribute__((weak)) const char *__tsan_default_suppressions() { return "called_from_lib:libcapture_pipeline.so\n"; }
#endif
}
#endif

namespace capture_pipeline {

// --- Status, errors, version -----------------------------------------------------------------------------------------

/// The result of a call: PIPELINE_OK, PIPELINE_SAMPLED or a PIPELINE_ERR_...
class [[nodiscard]] Status {
  public:
    constexpr Status(std::int32_t code) noexcept : code_(code) {}
    /// Not from a bool, because `true` would be status 1.
    template <class B, class = std::enable_if_t<std::is_same_v<B, bool>>> Status(B) = delete;
    /// Whether the call succeeded. PIPELINE_SAMPLED is a success.
    constexpr bool ok() const noexcept { return code_ >= 0; }
    constexpr explicit operator bool() const noexcept { return ok(); }
    constexpr std::int32_t code() const noexcept { return code_; }
    /// Does nothing; for a status that does not matter. A dropped or refused event is counted in metrics() in any case.
    constexpr void ignore() const noexcept {}
    /// A sentence that describes the status.
    const char *message() const noexcept { return pipeline_status_message(code_); }
    friend constexpr bool operator==(Status a, Status b) noexcept { return a.code_ == b.code_; }
    friend constexpr bool operator!=(Status a, Status b) noexcept { return a.code_ != b.code_; }

  private:
    std::int32_t code_;
};

/// Thrown by a set-up call: its status, and a text that names the field, the limit and the value.
class Error : public std::runtime_error {
  public:
    Error(Status status, const std::string &detail)
        : std::runtime_error(detail.empty() ? std::string(status.message()) : detail), status_(status) {}
    Status status() const noexcept { return status_; }
    const char *detail() const noexcept { return what(); }

  private:
    Status status_;
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
    // First in seconds, because hours::max() does not fit into milliseconds.
    constexpr long double most = static_cast<long double>(std::numeric_limits<std::int64_t>::max()) / 2000;
    if (Seconds(d).count() > most) return -1;
    auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(d);
    if (ms < d) ms += std::chrono::milliseconds(1); // rounds up
    return static_cast<std::int64_t>(ms.count());
}

} // namespace detail

/// A timeout without a limit.
inline constexpr std::chrono::milliseconds forever{-1};

/// Whether the library at run time fits this header: it has the same major version and is not older.
inline bool library_is_compatible() noexcept {
    const std::uint32_t library = pipeline_version();
    return library / 1000000 == PIPELINE_VERSION / 1000000 && library / 1000 >= PIPELINE_VERSION / 1000;
}

/// Throws Error unless library_is_compatible(). The constructor of Pipeline calls it.
inline void require_compatible_library() {
    if (library_is_compatible()) return;
    const std::string what = "the header has version " + std::to_string(PIPELINE_VERSION / 1000000) + "." +
                             std::to_string(PIPELINE_VERSION / 1000 % 1000) + "." +
                             std::to_string(PIPELINE_VERSION % 1000) + ", the library has version " +
                             pipeline_version_string();
    detail::raise(PIPELINE_ERR_VERSION, what.c_str());
}

// --- Configuration ---------------------------------------------------------------------------------------------------

/// The configuration: the members of pipeline_config_t, initialised with the defaults.
struct Config : pipeline_config_t {
    Config() : pipeline_config_t() {
        detail::check(pipeline_config_init(this, sizeof(pipeline_config_t)));
    }
};

/// The members of pipeline_recover_options_t, initialised with the defaults.
struct RecoverOptions : pipeline_recover_options_t {
    RecoverOptions() : pipeline_recover_options_t() {
        detail::check(pipeline_recover_options_init(this, sizeof(pipeline_recover_options_t)));
    }
};

// --- Captures: what an event consists of -----------------------------------------------------------------------------

/// The kind of an event: a number below PIPELINE_KIND_RESERVED, or a value of an enum of yours (scoped or unscoped).
class Kind {
  public:
    constexpr Kind(std::uint32_t value) noexcept : value_(value) {}
    template <class E, class = std::enable_if_t<std::is_enum_v<E>>>
    constexpr Kind(E value) noexcept : value_(static_cast<std::uint32_t>(value)) {
        static_assert(sizeof(E) <= sizeof(std::uint32_t), "the enum of a kind has 32 bits at most");
    }
    /// Not from a bool, which is more likely the payload.
    template <class B, class = std::enable_if_t<std::is_same_v<B, bool>>, class = void> Kind(B) = delete;
    constexpr operator std::uint32_t() const noexcept { return value_; }

  private:
    std::uint32_t value_;
};

/// The kind of a payload type: its `static constexpr` member `pipeline_kind`, if it has one. For a type that you cannot change,
/// specialise it: `template <> struct capture_pipeline::KindOf<T> { static constexpr Kind value = 7; };`.
template <class T, class = void> struct KindOf {};
template <class T> struct KindOf<T, std::void_t<std::integral_constant<std::uint32_t, Kind(T::pipeline_kind)>>> {
    static constexpr Kind value = T::pipeline_kind;
};

/// A view of bytes, which it does not own: a payload.
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

/// The fields of an event other than its payload.
struct Head {
    Kind kind = 0u;                   ///< a number, or a value of an enum of yours
    std::uint64_t correlation_id = 0; ///< the trace that the event belongs to; 0: none
    std::uint64_t node_id = 0;        ///< the place in the program where the event was captured; 0: none
    bool priority = false;            ///< sets PIPELINE_EVENT_PRIORITY: has room of its own, and is stored before others
    std::optional<std::chrono::nanoseconds> timestamp{}; ///< a time of your own; by default the time of the capture

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

// --- Kinds: the fields of a payload ----------------------------------------------------------------------------------

namespace detail {

/// A letter, then letters, digits and underscores, at most 63.
constexpr bool is_field_name(const char *name) noexcept {
    std::size_t length = 0;
    for (; name[length] != '\0'; ++length) {
        const char c = name[length];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (length == 0 || !((c >= '0' && c <= '9') || c == '_'))) return false;
    }
    return length >= 1 && length <= 63;
}

template <class I> constexpr std::uint32_t integer_type() noexcept {
    return (std::is_signed_v<I> ? PIPELINE_TYPE_I8 : PIPELINE_TYPE_U8) +
           (sizeof(I) == 1 ? 0u : sizeof(I) == 2 ? 1u : sizeof(I) == 4 ? 2u : 3u);
}

template <class C> inline constexpr bool is_raw_byte =
    std::is_same_v<C, unsigned char> || std::is_same_v<C, signed char> || std::is_same_v<C, std::byte>;
template <class C> constexpr std::uint32_t array_type() noexcept {
    return std::is_same_v<C, char> ? PIPELINE_TYPE_STRING : is_raw_byte<C> ? PIPELINE_TYPE_BYTES : 0u;
}

/// The type of a field by the type of its member; 0: there is none. An enum is its integer until it gets names.
template <class M, class = void> struct TypeOf {
    static constexpr std::uint32_t value = 0;
};
template <class M> struct TypeOf<M, std::enable_if_t<std::is_integral_v<M> && sizeof(M) <= 8>> {
    static constexpr std::uint32_t value = std::is_same_v<M, bool> ? PIPELINE_TYPE_BOOL : integer_type<M>();
};
template <class M> struct TypeOf<M, std::enable_if_t<std::is_enum_v<M>>> {
    static constexpr std::uint32_t value = integer_type<std::underlying_type_t<M>>();
};
template <> struct TypeOf<float> {
    static constexpr std::uint32_t value = PIPELINE_TYPE_F32;
};
template <> struct TypeOf<double> {
    static constexpr std::uint32_t value = PIPELINE_TYPE_F64;
};
template <class M> struct TypeOf<M *> {
    static constexpr std::uint32_t value = sizeof(M *) == 8 ? PIPELINE_TYPE_ADDRESS : 0u;
};
template <class C, std::size_t N> struct TypeOf<C[N]> {
    static constexpr std::uint32_t value = array_type<C>();
};
template <class C, std::size_t N> struct TypeOf<std::array<C, N>> {
    static constexpr std::uint32_t value = N == 0 ? 0u : array_type<C>();
};
template <class Rep, class Period> struct TypeOf<std::chrono::duration<Rep, Period>> : TypeOf<Rep> {};

/// How a member of that type is shown unless the program says otherwise.
template <class M> struct ShownAs {
    static constexpr std::uint32_t hint = PIPELINE_HINT_NONE;
    static constexpr const char *unit = nullptr;
};
template <class Rep, class Period> struct ShownAs<std::chrono::duration<Rep, Period>> {
    static constexpr std::uint32_t hint = std::is_same_v<Period, std::nano> ? PIPELINE_HINT_NANOSECONDS : PIPELINE_HINT_NONE;
    static constexpr const char *unit = std::is_same_v<Period, std::micro>   ? "us"
                                        : std::is_same_v<Period, std::milli> ? "ms"
                                        : std::is_same_v<Period, std::ratio<1>> ? "s"
                                                                               : nullptr;
};

/// The field of a definition, with its enum values.
struct DefinedField {
    std::string name, unit;
    std::uint32_t type = 0, integer = 0, offset = 0, length = 0, hint = PIPELINE_HINT_NONE;
    std::vector<std::pair<std::int64_t, std::string>> values;
};
} // namespace detail

/// A field of the struct T: a member of type M at an offset. Made by CAPTURE_PIPELINE_FIELD. M is a bool, an integer, an enum, a float or
/// double, a pointer (an address), an array or std::array of char (a string) or of bytes, or a std::chrono::duration.
template <class T, class M, std::size_t Offset, bool NameIsRight = true> class Field {
    static_assert(NameIsRight, "the name of a field is a letter, then letters, digits and underscores, at most 63 in all");
    static_assert(detail::TypeOf<std::remove_cv_t<M>>::value != 0,
                  "a field is a bool, an integer, an enum, a float or double, a pointer, a std::chrono::duration, or an array of char or bytes");
    static_assert(Offset + sizeof(M) <= sizeof(T), "the field is outside of the struct");
    using Member = std::remove_cv_t<M>;
    static constexpr std::uint32_t type = detail::TypeOf<Member>::value;

  public:
    explicit Field(std::string name) {
        field_.name = std::move(name);
        field_.type = type;
        field_.offset = static_cast<std::uint32_t>(Offset);
        field_.length = static_cast<std::uint32_t>(sizeof(M));
        field_.hint = detail::ShownAs<Member>::hint;
        if (detail::ShownAs<Member>::unit != nullptr) field_.unit = detail::ShownAs<Member>::unit;
    }
    /// The unit of the value, for people.
    Field unit(std::string text) && { return field_.unit = std::move(text), std::move(*this); }
    /// Shown in hexadecimal.
    Field hexadecimal() && {
        static_assert(type <= PIPELINE_TYPE_I64 || type == PIPELINE_TYPE_ADDRESS || type == PIPELINE_TYPE_BYTES,
                      "an integer, an address or bytes can be shown in hexadecimal");
        return field_.hint = PIPELINE_HINT_HEXADECIMAL, std::move(*this);
    }
    /// A number of bytes, shown in KiB, MiB and so on.
    Field bytes() && { return number(PIPELINE_HINT_BYTES); }
    /// A number of nanoseconds, shown in us, ms or s.
    Field nanoseconds() && { return number(PIPELINE_HINT_NANOSECONDS); }
    /// The names of the values of an enum or an integer.
    Field names(std::initializer_list<std::pair<Member, const char *>> names) && {
        static_assert(type <= PIPELINE_TYPE_I64, "an enum or an integer has values with names");
        field_.integer = type;
        field_.type = PIPELINE_TYPE_ENUM;
        for (const auto &[value, name] : names)
            field_.values.emplace_back(static_cast<std::int64_t>(value), name == nullptr ? "" : name);
        return std::move(*this);
    }

  private:
    friend class Definition;
    using Of = T;
    Field number(std::uint32_t hint) {
        static_assert(type <= PIPELINE_TYPE_F64, "an integer or a float can be a number of bytes or nanoseconds");
        return field_.hint = hint, std::move(*this);
    }
    static constexpr std::size_t begin = Offset, end = Offset + sizeof(M);
    detail::DefinedField field_;
};

/// What follows the struct T in a payload that is longer than it: a text or bytes. The last field of a kind.
template <class T> class Rest {
  public:
    static Rest text(std::string name) { return Rest(std::move(name), PIPELINE_TYPE_STRING); }
    static Rest bytes(std::string name) { return Rest(std::move(name), PIPELINE_TYPE_BYTES); }

  private:
    friend class Definition;
    using Of = T;
    Rest(std::string name, std::uint32_t type) {
        field_.name = std::move(name);
        field_.type = type;
        field_.offset = static_cast<std::uint32_t>(sizeof(T));
        field_.length = PIPELINE_LENGTH_REST;
    }
    static constexpr std::size_t begin = sizeof(T), end = std::numeric_limits<std::size_t>::max();
    detail::DefinedField field_;
};

/// The field of a member of a struct: CAPTURE_PIPELINE_FIELD(Allocation, size).bytes().
#define CAPTURE_PIPELINE_FIELD(struct_type, member) CAPTURE_PIPELINE_FIELD_AS(struct_type, member, #member)
/// The same under another name, which a member of a member needs: CAPTURE_PIPELINE_FIELD_AS(Allocation, caller.line, "line").
#define CAPTURE_PIPELINE_FIELD_AS(struct_type, member, name) \
    ::capture_pipeline::Field<struct_type, decltype(::std::declval<struct_type>().member), offsetof(struct_type, member), \
                              ::capture_pipeline::detail::is_field_name(name)>(name)

/// The definition of a kind, for Pipeline::define: its name, and the fields of its payload. It owns its texts.
///
///     struct Allocation {
///         static constexpr std::uint32_t pipeline_kind = 7;
///         std::uint64_t size;
///         const void *site;
///     };
///     pipeline.define(cp::Definition::of<Allocation>("allocation",
///                                                    CAPTURE_PIPELINE_FIELD(Allocation, size).bytes(),
///                                                    CAPTURE_PIPELINE_FIELD(Allocation, site)));
///
/// What the compiler can check, it checks: the types of the fields, that they do not overlap and belong to the struct, their names, and
/// that the struct can be a payload. The rest is checked by Pipeline::define.
class Definition {
  public:
    /// A kind without fields.
    Definition(Kind kind, std::string name) : kind_(kind), name_(std::move(name)) {}
    /// A kind whose payload is a T with these fields; after them, Rest<T> may follow.
    template <class T, class... Fields> static Definition of(Kind kind, std::string name, Fields... fields) {
        static_assert(std::is_trivially_copyable_v<T>, "a typed payload must be trivially copyable (without std::string or std::vector)");
        static_assert(std::is_standard_layout_v<T>, "the struct of a kind has all its members in one class, with one access (standard layout)");
        static_assert(sizeof...(Fields) <= 64, "a kind has at most 64 fields");
        static_assert((std::is_same_v<typename Fields::Of, T> && ...), "a field belongs to another struct than the kind");
        static_assert(disjoint<Fields...>(), "two fields overlap");
        Definition made(kind, std::move(name));
        made.size_ = static_cast<std::uint32_t>(sizeof(T));
        made.fields_.reserve(sizeof...(Fields));
        (made.fields_.push_back(std::move(fields.field_)), ...);
        return made;
    }
    /// The same for a T that has a kind (KindOf).
    template <class T, class... Fields> static Definition of(std::string name, Fields... fields) {
        return of<T>(KindOf<T>::value, std::move(name), std::move(fields)...);
    }

    Definition &category(std::string text) { return category_ = std::move(text), *this; }
    /// The field that tells one series, flow or pair from another.
    Definition &key(std::string field) { return key_ = std::move(field), *this; }
    /// An event begins a span, which ends with an event of the kind `end` of the same thread.
    Definition &begins(Kind end) { return role(PIPELINE_ROLE_BEGIN, end); }
    /// An event ends the span that an event of the kind `begin` has begun.
    Definition &ends(Kind begin) { return role(PIPELINE_ROLE_END, begin); }
    /// An event is a whole span, which ends at its time. `duration` is the field with its nanoseconds.
    Definition &completes(std::string duration) { return duration_ = std::move(duration), role(PIPELINE_ROLE_COMPLETE); }
    /// The numbers in an event are measured values.
    Definition &counts() { return role(PIPELINE_ROLE_COUNTER); }
    /// An event is a step of something that moves from thread to thread.
    Definition &flows() { return role(PIPELINE_ROLE_FLOW); }
    /// An event is a message.
    Definition &logs() { return role(PIPELINE_ROLE_LOG); }

  private:
    friend class Pipeline;
    template <class... Fields> static constexpr bool disjoint() noexcept {
        constexpr std::size_t count = sizeof...(Fields);
        constexpr std::size_t begins[count + 1] = {Fields::begin..., 0}, ends[count + 1] = {Fields::end..., 0};
        for (std::size_t a = 0; a < count; ++a)
            for (std::size_t b = 0; b < a; ++b)
                if (begins[a] < ends[b] && begins[b] < ends[a]) return false;
        return true;
    }
    Definition &role(std::uint32_t role, std::uint32_t pairs_with = PIPELINE_KIND_NONE) {
        return role_ = role, pairs_with_ = pairs_with, *this;
    }
    std::int32_t define(pipeline_t *pipeline) const {
        std::vector<std::vector<pipeline_enum_value_t>> values(fields_.size());
        std::vector<pipeline_field_t> fields;
        fields.reserve(fields_.size());
        for (const detail::DefinedField &from : fields_) {
            std::vector<pipeline_enum_value_t> &named = values[fields.size()];
            for (const auto &[value, name] : from.values) named.push_back({value, name.c_str()});
            fields.push_back({from.name.c_str(), from.type, from.integer, from.offset, from.length, from.unit.c_str(), from.hint,
                              static_cast<std::uint32_t>(named.size()), named.data()});
        }
        pipeline_kind_definition_t d{};
        const std::int32_t status = pipeline_kind_definition_init(&d, sizeof d);
        if (status < 0) return status;
        d.kind = kind_;
        d.name = name_.c_str();
        d.category = category_.c_str();
        d.role = role_;
        d.pairs_with = pairs_with_;
        d.key_field = key_.empty() ? nullptr : key_.c_str();
        d.duration_field = duration_.empty() ? nullptr : duration_.c_str();
        d.payload_size = size_;
        d.fields = fields.data();
        d.field_count = static_cast<std::uint32_t>(fields.size());
        d.field_size = static_cast<std::uint32_t>(sizeof(pipeline_field_t));
        return pipeline_kind_define(pipeline, &d);
    }

    std::uint32_t kind_, size_ = 0, role_ = PIPELINE_ROLE_INSTANT, pairs_with_ = PIPELINE_KIND_NONE;
    std::string name_, category_, key_, duration_;
    std::vector<detail::DefinedField> fields_;
};

// --- Captures: the calls ---------------------------------------------------------------------------------------------

namespace detail {

template <class T, class = void> inline constexpr bool has_kind = false;
template <class T> inline constexpr bool has_kind<T, std::void_t<decltype(KindOf<T>::value)>> = true;

// Tells ThreadSanitizer the order that the library guarantees: a capture happens before the call of the storage with its event;
// calls of the storage happen before the end of the flush or close that waits for them; and calls that may not overlap happen
// one after the other. Without ThreadSanitizer these functions are empty.
#if CAPTURE_PIPELINE_TSAN
inline char captured_order, called_order; // the addresses stand for "captured" and "the storage was called"
inline void capturing() noexcept { __tsan_release(&captured_order); }
inline void answering() noexcept { __tsan_release(&called_order); }
inline void begin_call(bool concurrent) noexcept {
    __tsan_acquire(&captured_order);
    if (!concurrent) __tsan_acquire(&called_order);
}
inline void end_wait() noexcept { __tsan_acquire(&called_order); }
#else
inline void capturing() noexcept {}
inline void answering() noexcept {}
inline void begin_call(bool) noexcept {}
inline void end_wait() noexcept {}
#endif

/// Lives during a call of the storage.
struct Called {
    explicit Called(bool concurrent) noexcept { begin_call(concurrent); }
    ~Called() { answering(); }
    Called(const Called &) = delete;
    Called &operator=(const Called &) = delete;
};

/// Text: a type that converts to std::string_view. A NULL `const char *` becomes an invalid payload of one byte, which the capture
/// refuses and counts. An array of char ends at its first NUL, or is captured whole if it has none.
template <class T> inline constexpr bool is_text = std::is_convertible_v<const T &, std::string_view>;
template <class T> Bytes text_of(const T &text) noexcept {
    if constexpr (std::is_array_v<T>) {
        const void *end = std::memchr(text, 0, sizeof(T));
        return {text, end == nullptr ? sizeof(T) : static_cast<std::size_t>(static_cast<const char *>(end) - text)};
    } else if constexpr (std::is_pointer_v<T>) {
        return text == nullptr ? Bytes(nullptr, 1) : Bytes(text, std::strlen(text));
    } else {
        const std::string_view view = text;
        return {view.data(), view.size()};
    }
}

template <class T> constexpr void require_flat() {
    static_assert(std::is_trivially_copyable_v<T>,
                  "a typed payload must be trivially copyable (without std::string or std::vector); use Bytes or text");
    static_assert(!std::is_pointer_v<T>, "a pointer would be captured instead of the object; use Bytes");
    static_assert(!std::is_null_pointer_v<T>, "nullptr is not a payload; use Bytes() for an empty payload");
}

/// The captures of Pipeline and Producer. They never throw. The first argument is the kind (a number or a value of an enum of
/// yours) or a Head. The second is the payload, which is copied:
/// - a value of a trivially copyable type, to be read by EventView::as;
/// - a text (std::string, std::string_view, a literal), without its terminating NUL;
/// - Bytes.
/// Returns PIPELINE_OK; PIPELINE_ERR_FULL (dropped); PIPELINE_ERR_TOO_LARGE, _CLOSED, _INVALID, _BUSY, _NO_RING (refused). Each is
/// counted in metrics(). PIPELINE_ERR_FORKED, and PIPELINE_ERR_NULL after a move, are not counted.
template <class Self> class Captures {
  public:
    Status capture(Kind kind, Bytes payload) noexcept { return self().offer(kind, payload); }
    Status capture(const Head &head, Bytes payload) noexcept { return self().offer(head, payload); }
    template <class T> Status capture(Kind kind, const T &value) noexcept { return any(kind, value); }
    template <class T> Status capture(const Head &head, const T &value) noexcept { return any(head, value); }
    /// For a type that has a kind (KindOf).
    template <class T, class = std::enable_if_t<has_kind<T>>> Status capture(const T &value) noexcept {
        return any(KindOf<T>::value, value);
    }

  private:
    friend Self;
    Captures() noexcept = default;
    Self &self() noexcept { return static_cast<Self &>(*this); }
    template <class K, class T> Status any(const K &kind, const T &value) noexcept {
        if constexpr (is_text<T>) {
            return self().offer(kind, text_of(value));
        } else {
            require_flat<T>();
            return self().offer_value(kind, value);
        }
    }
};
} // namespace detail

/// Reserved space in a ring buffer, to write a payload in place. The destructor aborts it unless it was committed.
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

    /// Whether space was reserved.
    explicit operator bool() const noexcept { return producer_ != nullptr; }
    /// The status of the reservation.
    Status status() const noexcept { return status_; }
    std::byte *data() const noexcept { return static_cast<std::byte *>(data_); }
    std::size_t size() const noexcept { return size_; }

    Status commit() noexcept { return commit(size_); }
    /// Captures the event with the first `used` bytes. If `used` exceeds size(), returns PIPELINE_ERR_INVALID and stays reserved.
    Status commit(std::size_t used) noexcept {
        if (producer_ == nullptr) return PIPELINE_ERR_STATE;
        detail::capturing();
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
        : size_(len), status_(PIPELINE_OK) {
        status_ = pipeline_producer_reserve(producer, &head, len, &data_);
        detail::end_wait(); // the storage may have read this memory before
        if (status_.code() == PIPELINE_OK) producer_ = producer;
    }
    pipeline_producer_t *producer_ = nullptr;
    void *data_ = nullptr;
    std::size_t size_;
    Status status_;
};

/// A producer with a ring buffer of its own, for one thread at a time. It may outlive its Pipeline; captures then return
/// PIPELINE_ERR_CLOSED. Captures of typed payloads are inlined if library and compiler support it. The captures are those of
/// detail::Captures above.
class Producer : public detail::Captures<Producer> {
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

    /// Captures several events in one call. `*captured`, if given, is set to the number of captured events, whatever the status.
    Status capture_many(const pipeline_event_t *events, std::size_t count, std::size_t *captured = nullptr) noexcept {
        detail::capturing();
        return pipeline_producer_capture_many(handle_, events, count, captured);
    }
    /// Reserves `len` bytes. Until the reservation is committed or aborted, other captures of this producer return
    /// PIPELINE_ERR_BUSY. It must not outlive the Producer, so a temporary Producer cannot reserve.
    Reservation reserve(const Head &head, std::size_t len) & noexcept {
        return Reservation(handle_, head.event(nullptr, 0), len);
    }
    Reservation reserve(Kind kind, std::size_t len) & noexcept {
        Head head;
        head.kind = kind;
        return reserve(head, len);
    }
    Reservation reserve(const Head &head, std::size_t len) && = delete;
    Reservation reserve(Kind kind, std::size_t len) && = delete;
    /// Releases the ring buffer. Captured events are still stored.
    void close() noexcept {
        fast_ = nullptr;
        if (handle_ != nullptr) pipeline_producer_close(std::exchange(handle_, nullptr));
    }
    pipeline_producer_t *raw() const noexcept { return handle_; }

  private:
    friend class Pipeline;
    friend class detail::Captures<Producer>;
    explicit Producer(pipeline_producer_t *handle) noexcept : handle_(handle), fast_(pipeline_fast_of(handle)) {}
    Status offer(Kind kind, Bytes payload) noexcept {
        detail::capturing();
        return pipeline_producer_capture(handle_, kind, payload.data(), payload.size());
    }
    Status offer(const Head &head, Bytes payload) noexcept {
        const pipeline_event_t e = head.event(payload.data(), payload.size());
        detail::capturing();
        return pipeline_producer_capture_event(handle_, &e);
    }
    template <class T> Status offer_value(Kind kind, const T &value) noexcept {
        detail::capturing();
        return pipeline_fast_capture(handle_, fast_, kind, std::addressof(value), sizeof(T));
    }
    template <class T> Status offer_value(const Head &head, const T &value) noexcept {
        const pipeline_event_t e = head.event(std::addressof(value), sizeof(T));
        detail::capturing();
        return pipeline_fast_capture_event(handle_, fast_, &e);
    }
    pipeline_producer_t *handle_;
    pipeline_fast_t *fast_;
};

// --- Storage: batches and answers ------------------------------------------------------------------------------------

/// The answer of a storage to a batch. ok: stored. retry: try again later. reject: can never be stored. pending: the answer comes
/// later, by a Completion.
enum class Answer : std::int32_t {
    ok = PIPELINE_STORE_OK,
    retry = PIPELINE_STORE_RETRY,
    reject = PIPELINE_STORE_REJECT,
    pending = PIPELINE_STORE_PENDING,
};

/// The result of StorageBase::store: an Answer, or a PIPELINE_STORE_... (std::int32_t). A bool does not compile, because `true`
/// would be 1, which means "retry".
class StoreResult {
  public:
    template <class T, class = std::enable_if_t<std::is_same_v<T, Answer> || std::is_same_v<T, std::int32_t>>>
    constexpr StoreResult(T answer) noexcept : code_(static_cast<std::int32_t>(answer)) {}
    constexpr std::int32_t code() const noexcept { return code_; }

  private:
    std::int32_t code_;
};

/// The result of StorageBase::dead_letter: an Answer (ok: kept; reject: discarded; other: called again), a PIPELINE_STORE_...
/// (std::int32_t), or a Status (success: kept; error: called again).
class DeadLetterResult {
  public:
    template <class T, class = std::enable_if_t<std::is_same_v<T, Answer> || std::is_same_v<T, std::int32_t>>>
    constexpr DeadLetterResult(T answer) noexcept : code_(static_cast<std::int32_t>(answer)) {}
    constexpr DeadLetterResult(const Status &status) noexcept
        : code_(status.ok() ? PIPELINE_STORE_OK : PIPELINE_STORE_RETRY) {}
    constexpr std::int32_t code() const noexcept { return code_; }

  private:
    std::int32_t code_;
};

/// The result of StorageBase::flush and finish: a Status (an error becomes the result of Pipeline::flush), an Answer (other than ok:
/// PIPELINE_ERR_STORAGE), or 0 or a negative status (std::int32_t).
class FlushResult {
  public:
    constexpr FlushResult(Answer answer) noexcept : code_(answer == Answer::ok ? PIPELINE_OK : PIPELINE_ERR_STORAGE) {}
    constexpr FlushResult(const Status &status) noexcept : code_(status.ok() ? PIPELINE_OK : status.code()) {}
    template <class T, class = std::enable_if_t<std::is_same_v<T, std::int32_t>>>
    constexpr FlushResult(T status) noexcept : code_(status) {}
    constexpr std::int32_t code() const noexcept { return code_; }

  private:
    std::int32_t code_;
};

/// An event, as the storage sees it. Valid as long as its batch.
class EventView {
  public:
    explicit EventView(const pipeline_event_view_t *view) noexcept : view_(view) {}
    /// ring_id(), sequence() and Batch::generation() are the identity of the event.
    std::uint64_t ring_id() const noexcept { return view_->ring_id; }
    std::uint64_t sequence() const noexcept { return view_->sequence; }
    /// On the monotonic clock. For the wall time see Batch::wall_time.
    std::chrono::nanoseconds timestamp() const noexcept {
        return std::chrono::nanoseconds(static_cast<std::int64_t>(view_->timestamp_ns));
    }
    std::uint64_t correlation_id() const noexcept { return view_->correlation_id; }
    std::uint64_t node_id() const noexcept { return view_->node_id; }
    std::uint32_t kind() const noexcept { return view_->kind; }
    /// Whether the event has this kind, which may be a value of an enum of yours.
    bool is(Kind kind) const noexcept { return view_->kind == kind; }
    /// The kind as a value of the enum E, for a `switch`. It may be a value without a name.
    template <class E> E kind_as() const noexcept {
        static_assert(std::is_enum_v<E>, "kind_as is for enums; kind() is the number");
        return static_cast<E>(view_->kind);
    }
    std::uint32_t flags() const noexcept { return view_->flags; }
    /// The number of offered events that this event represents: 1 unless it was sampled.
    double weight() const noexcept { return view_->weight; }
    Bytes payload() const noexcept { return {view_->data, view_->len}; }
    const pipeline_event_view_t *raw() const noexcept { return view_; }

    /// The payload as a T, or nothing if its size differs or, for a T that has a kind (KindOf), if the event has another kind. For
    /// a T without a kind only the size is checked: check kind() first, or use the next function.
    template <class T> std::optional<T> as() const noexcept {
        if constexpr (detail::has_kind<T>)
            return as<T>(KindOf<T>::value);
        else
            return bytes_as<T>();
    }
    /// The payload as a T, or nothing if the event has another kind or the size differs.
    template <class T> std::optional<T> as(Kind kind) const noexcept {
        if (!is(kind)) return std::nullopt;
        return bytes_as<T>();
    }

  private:
    template <class T> std::optional<T> bytes_as() const noexcept {
        static_assert(std::is_trivially_copyable_v<T>, "a typed payload must be trivially copyable");
        if (view_->len != sizeof(T)) return std::nullopt;
        alignas(T) unsigned char copy[sizeof(T)];
        std::memcpy(copy, view_->data, sizeof(T));
        return *std::launder(reinterpret_cast<T *>(copy));
    }

    const pipeline_event_view_t *view_;
};

class Completion;

/// A batch, as the storage sees it: a range of EventView. Valid until store returns or, if deferred, until it is completed.
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
    /// The wall time of an event. Not for an event with a time of its own (Head::timestamp).
    std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds>
    wall_time(const EventView &event) const noexcept {
        return std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds>(
            event.timestamp() + std::chrono::nanoseconds(batch_->realtime_offset_ns));
    }

    /// Records that the first `prefix` events are stored: a retry starts after them.
    Status set_stored(std::size_t prefix) const noexcept { return pipeline_batch_set_stored(batch_, prefix); }
    /// Records that the event at `index` can never be stored: it goes to dead_letter.
    Status set_rejected(std::size_t index) const noexcept { return pipeline_batch_set_rejected(batch_, index); }
    /// Defers the answer to the returned Completion. The result of store is then ignored (return Answer::pending).
    Completion defer() const noexcept;

    bool deferred() const noexcept { return deferred_; }

  private:
    const pipeline_batch_t *batch_;
    mutable bool deferred_ = false;
};

/// The deferred answer to a batch. Any thread may give it. The destructor answers "retry" if no answer was given, so that a
/// forgotten batch is retried instead of staying in flight for ever.
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

    /// Whether the batch is still unanswered.
    explicit operator bool() const noexcept { return batch_ != nullptr; }
    /// The batch. Valid until it is answered.
    Batch batch() const noexcept { return Batch(batch_); }
    /// Answers the batch. PIPELINE_ERR_UNKNOWN_TOKEN: already answered. PIPELINE_ERR_INVALID: Answer::pending is not allowed here.
    Status complete(Answer answer) noexcept { return complete_at(0, answer); }
    /// Answers the batch. The first `prefix` events are stored, whatever the answer.
    Status complete_at(std::size_t prefix, Answer answer) noexcept {
        if (batch_ == nullptr) return PIPELINE_ERR_UNKNOWN_TOKEN;
        if (answer == Answer::pending) return PIPELINE_ERR_INVALID;
        detail::answering();
        const Status status = pipeline_batch_complete_at(batch_->token, prefix, static_cast<std::int32_t>(answer));
        if (status || status == PIPELINE_ERR_UNKNOWN_TOKEN) batch_ = nullptr;
        return status;
    }
    Status ok() noexcept { return complete(Answer::ok); }
    Status retry() noexcept { return complete(Answer::retry); }
    Status reject() noexcept { return complete(Answer::reject); }

  private:
    void drop() noexcept {
        if (batch_ != nullptr) retry().ignore();
    }
    const pipeline_batch_t *batch_ = nullptr;
};

inline Completion Batch::defer() const noexcept {
    deferred_ = true;
    return Completion(batch_);
}

// --- Storage: a class of your own, or lambdas ------------------------------------------------------------------------

/// A storage as a class: override the functions that you need. They run on writer threads. Calls of store, flush and dead_letter
/// overlap only if concurrent(). They may throw; Storage describes the effect.
class StorageBase {
  public:
    virtual ~StorageBase() = default;
    /// Stores the batch.
    virtual StoreResult store(const Batch &batch) = 0;
    /// Makes stored events durable.
    virtual FlushResult flush(std::chrono::milliseconds /*timeout*/) { return PIPELINE_OK; }
    /// Keeps events that cannot be stored. `reason` is a PIPELINE_REASON_...
    virtual DeadLetterResult dead_letter(const Batch & /*batch*/, std::int32_t /*reason*/) { return Answer::reject; }
    /// Final work after everything is settled, for work that takes long or may fail. Pipeline::close waits for it within its
    /// timeout.
    virtual FlushResult finish(std::chrono::milliseconds /*timeout*/) { return PIPELINE_OK; }
    /// Releases an event: called exactly once for each captured event, when it leaves the pipeline.
    virtual void release(const EventView & /*event*/) noexcept {}
    /// Called when a writer starts. The result is Batch::writer_data of its batches. If it throws, it is called again later.
    virtual void *open_writer(std::uint32_t /*writer_id*/) { return nullptr; }
    /// Called when a writer ends.
    virtual void close_writer(std::uint32_t /*writer_id*/, void * /*writer_data*/) noexcept {}
    /// Called inside the handler of an exception that left one of the functions above.
    virtual void caught(std::exception_ptr /*exception*/) noexcept {}

    /// Whether calls may overlap. This function and those below are called once, at the start.
    virtual bool concurrent() const noexcept { return false; }
    /// Whether the storage also gets the library's own events (names of kinds, threads of ring buffers).
    virtual bool wants_meta() const noexcept { return false; }
    /// Whether dead_letter is called.
    virtual bool has_dead_letter() const noexcept { return false; }
    /// Whether finish is called.
    virtual bool has_finish() const noexcept { return false; }
    /// Whether release is called.
    virtual bool has_release() const noexcept { return false; }
    /// Whether a capture that overwrites an event may call release (PIPELINE_STORAGE_RELEASE_ANYWHERE).
    virtual bool releases_anywhere() const noexcept { return false; }
    /// Whether release is called only for events with PIPELINE_EVENT_RELEASE (PIPELINE_STORAGE_RELEASE_MARKED).
    virtual bool releases_marked() const noexcept { return false; }
    /// Whether the storage releases by itself the batches that it has stored as a whole (PIPELINE_STORAGE_RELEASE_UNSTORED).
    virtual bool releases_unstored() const noexcept { return false; }
};

/// The exceptions that left functions of a storage.
struct StorageExceptions {
    std::uint64_t count = 0;
    std::string last; ///< what() of the last exception; empty if it was not a std::exception
};

namespace detail {

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

// --- Transforms ------------------------------------------------------------------------------------------------------

/// What a transform makes of an event.
enum class Verdict : std::int32_t {
    keep = PIPELINE_TRANSFORM_KEEP,
    filter = PIPELINE_TRANSFORM_FILTER,
    rewrite = PIPELINE_TRANSFORM_REWRITE
};

/// The event that a transform is shown, to be changed if it returns Verdict::rewrite.
class Rewrite {
  public:
    explicit Rewrite(pipeline_rewrite_t *raw) noexcept : raw_(raw) {}
    void kind(Kind kind) noexcept { raw_->kind = kind; }
    void correlation_id(std::uint64_t id) noexcept { raw_->correlation_id = id; }
    void node_id(std::uint64_t id) noexcept { raw_->node_id = id; }
    /// Gives the event the tag `number`, 1 to 8, or takes it away. After another number the event stays as it was, and `transform_faults` counts it.
    void tag(unsigned number, bool on = true) noexcept {
        const std::uint32_t bits = number - 1 < 8 ? static_cast<std::uint32_t>(PIPELINE_EVENT_TAG_1) << (number - 1) : UINT32_MAX;
        raw_->flags = on ? raw_->flags | bits : raw_->flags & ~bits;
    }
    /// Says whether the payload has a form that only the program and its storage understand.
    void opaque(bool is) noexcept {
        const auto bit = static_cast<std::uint32_t>(PIPELINE_EVENT_OPAQUE);
        raw_->flags = is ? raw_->flags | bit : raw_->flags & ~bit;
    }
    /// The largest payload that an event of the pipeline may have.
    std::size_t max_size() const noexcept { return raw_->scratch_len; }
    /// Sets the payload: a value of a trivially copyable type, text or Bytes. It is copied. If it is larger than max_size(), the event stays
    /// as it was, and `transform_faults` counts it.
    template <class T> void payload(const T &value) noexcept {
        if constexpr (detail::is_text<T>) {
            payload(detail::text_of(value));
        } else {
            detail::require_flat<T>();
            payload(Bytes(std::addressof(value), sizeof(T)));
        }
    }
    void payload(Bytes bytes) noexcept {
        const bool copied = bytes.data() != nullptr && bytes.size() <= raw_->scratch_len;
        if (copied) std::memmove(raw_->scratch, bytes.data(), bytes.size());
        raw_->data = copied ? raw_->scratch : nullptr;
        raw_->len = bytes.size();
    }
    /// Memory of max_size() bytes to write a new payload into, 8-byte aligned; then call size.
    void *buffer() noexcept { return raw_->scratch; }
    /// The payload is the first `len` bytes of buffer().
    void size(std::size_t len) noexcept {
        raw_->data = raw_->scratch;
        raw_->len = len;
    }
    pipeline_rewrite_t *raw() noexcept { return raw_; }

  private:
    pipeline_rewrite_t *raw_;
};

namespace detail {

/// Shared by a pipeline and its storage, so that either may be destroyed first.
struct StorageState {
    std::mutex mutex;
    StorageExceptions seen;
    std::atomic<bool> destroyed{false};
    bool concurrent = false; ///< set before the pipeline starts
};

/// The user_data of a transform.
template <class F> struct HeldTransform {
    F f;
    bool concurrent;
    template <class G> HeldTransform(G &&from, bool is_concurrent) : f(std::forward<G>(from)), concurrent(is_concurrent) {}

    static std::int32_t call(void *user_data, const pipeline_event_view_t *event, pipeline_rewrite_t *raw) {
        HeldTransform &held = *static_cast<HeldTransform *>(user_data);
        const Called call(held.concurrent);
        Rewrite rewrite(raw);
#if CAPTURE_PIPELINE_EXCEPTIONS
        try {
            return static_cast<std::int32_t>(held.f(EventView(event), rewrite));
        }
#if defined(__GLIBCXX__)
        catch (abi::__forced_unwind &) {
            throw;
        }
#endif
        catch (...) {
            return -1; // no answer
        }
#else
        return static_cast<std::int32_t>(held.f(EventView(event), rewrite));
#endif
    }
    static void destroy(void *user_data) {
        const Called call(false); // happens after all calls
        delete static_cast<HeldTransform *>(user_data);
    }
};

/// The user_data of the C storage.
struct Holder {
    std::unique_ptr<StorageBase> storage;
    std::shared_ptr<StorageState> state;
    bool concurrent = false;

    template <class F> std::int32_t guarded(std::int32_t thrown, F f) {
        return guarded(thrown, [](void *call) -> std::int32_t { return (*static_cast<F *>(call))(); }, &f);
    }
#if CAPTURE_PIPELINE_EXCEPTIONS && defined(__GLIBCXX__)
    // A forced unwind is caught by a null reference, which UndefinedBehaviorSanitizer would report, also in a function into which
    // this one is inlined.
    __attribute__((no_sanitize("null"), noinline))
#endif
    std::int32_t guarded([[maybe_unused]] std::int32_t thrown, std::int32_t (*f)(void *), void *call) {
#if CAPTURE_PIPELINE_EXCEPTIONS
        try {
            return f(call);
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
        return f(call);
#endif
    }

    static Holder &of(void *user_data) noexcept { return *static_cast<Holder *>(user_data); }

    static std::int32_t store(void *u, const pipeline_batch_t *b) {
        const Called call(of(u).concurrent);
        const Batch batch(b);
        const std::int32_t answer =
            of(u).guarded(PIPELINE_STORE_RETRY, [&] { return of(u).storage->store(batch).code(); });
        // If deferred, the Completion answers, even if store has thrown afterwards.
        return batch.deferred() ? PIPELINE_STORE_PENDING : answer;
    }
    static std::int32_t open_writer(void *u, std::uint32_t id, void **data) {
        const Called call(of(u).concurrent);
        return of(u).guarded(PIPELINE_ERR_STORAGE, [&]() -> std::int32_t {
            *data = of(u).storage->open_writer(id);
            return PIPELINE_OK;
        });
    }
    static void close_writer(void *u, std::uint32_t id, void *data) {
        const Called call(of(u).concurrent);
        of(u).storage->close_writer(id, data);
    }
    static std::int32_t flush(void *u, std::int64_t timeout_ms) {
        const Called call(of(u).concurrent);
        return of(u).guarded(PIPELINE_ERR_STORAGE,
                             [&] { return of(u).storage->flush(std::chrono::milliseconds(timeout_ms)).code(); });
    }
    static std::int32_t dead_letter(void *u, const pipeline_batch_t *b, std::int32_t reason) {
        const Called call(of(u).concurrent);
        const Batch batch(b);
        return of(u).guarded(PIPELINE_STORE_RETRY, [&] { return of(u).storage->dead_letter(batch, reason).code(); });
    }
    static void release(void *u, const pipeline_event_view_t *e) {
        const Called call(of(u).concurrent);
        of(u).storage->release(EventView(e));
    }
    static std::int32_t finish(void *u, std::int64_t timeout_ms) {
        const Called call(false); // happens after all calls of store
        return of(u).guarded(PIPELINE_ERR_STORAGE,
                             [&] { return of(u).storage->finish(std::chrono::milliseconds(timeout_ms)).code(); });
    }
    static void destroy(void *u) {
        const Called call(false); // happens after all other calls
        std::unique_ptr<Holder> holder(static_cast<Holder *>(u));
        holder->state->destroyed.store(true, std::memory_order_release);
    }

  private:
    void remember(const char *what) noexcept {
#if CAPTURE_PIPELINE_EXCEPTIONS
        try {
            const std::lock_guard<std::mutex> lock(state->mutex);
            state->seen.count += 1;
            state->seen.last = what;
        } catch (...) { // no memory for the text: only the count is kept
        }
        storage->caught(std::current_exception());
#else
        (void)what;
#endif
    }
};

/// Calls a function of the program that implements a function of the storage. A void result is Answer::ok.
template <class Result, class F, class... A> Result answer_of(F &f, A &&...a) {
    using R = std::invoke_result_t<F &, A...>;
    if constexpr (std::is_void_v<R>) {
        f(std::forward<A>(a)...);
        return Answer::ok;
    } else {
        static_assert(std::is_convertible_v<R, Result>,
                      "a storage's function returns a capture_pipeline::Answer, a std::int32_t or nothing; on_flush and "
                      "on_dead_letter may also return a Status. A bool does not compile: true would mean 'retry'");
        if constexpr (std::is_convertible_v<R, Result>)
            return f(std::forward<A>(a)...);
        else
            return Answer::retry; // never reached: avoids a second compiler error
    }
}

/// A storage made of lambdas.
struct LambdaStorage final : StorageBase {
    Function<StoreResult(const Batch &)> on_store;
    Function<FlushResult(std::chrono::milliseconds)> on_flush;
    Function<DeadLetterResult(const Batch &, std::int32_t)> on_dead_letter;
    Function<FlushResult(std::chrono::milliseconds)> on_finish;
    Function<void(const EventView &)> on_release;
    Function<void *(std::uint32_t)> on_open_writer;
    Function<void(std::uint32_t, void *)> on_close_writer;
    Function<void(std::exception_ptr)> on_exception;
    bool is_concurrent = false, meta = false;

    StoreResult store(const Batch &b) override { return on_store(b); }
    FlushResult flush(std::chrono::milliseconds t) override { return on_flush ? on_flush(t) : FlushResult(PIPELINE_OK); }
    DeadLetterResult dead_letter(const Batch &b, std::int32_t r) override { return on_dead_letter(b, r); }
    FlushResult finish(std::chrono::milliseconds t) override {
        return on_finish ? on_finish(t) : FlushResult(PIPELINE_OK);
    }
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
    bool has_finish() const noexcept override { return static_cast<bool>(on_finish); }
    bool has_release() const noexcept override { return static_cast<bool>(on_release); }
};

} // namespace detail

/// The storage, to which the pipeline hands its events. Move-only; the constructor of Pipeline consumes it.
///
/// It can be made from a lambda that takes `const Batch &` and returns an Answer, a PIPELINE_STORE_... or nothing (stored). A lambda
/// that returns a bool does not compile. The lambda runs on threads of the library, and may still run after the destructor of a
/// Pipeline has timed out. Therefore it should own the objects that it uses (captured by value or by std::shared_ptr), or they must
/// live as long as the storage.
///
/// The functions below set further hooks, before the start. If store or dead_letter throws, the batch is retried. If flush throws,
/// Pipeline::flush returns PIPELINE_ERR_STORAGE. If release or close_writer throws, std::terminate is called.
class Storage {
  public:
    template <class F, class = std::enable_if_t<std::is_invocable_v<std::decay_t<F> &, const Batch &>>>
    Storage(F &&store) : state_(std::make_shared<detail::StorageState>()) {
        auto made = std::make_unique<detail::LambdaStorage>();
        made->on_store = [f = std::decay_t<F>(std::forward<F>(store))](const Batch &b) mutable {
            return detail::answer_of<StoreResult>(f, b);
        };
        lambdas_ = made.get();
        own_ = std::move(made);
    }
    /// From a class of yours.
    explicit Storage(std::unique_ptr<StorageBase> storage)
        : own_(std::move(storage)), state_(std::make_shared<detail::StorageState>()) {
        if (!own_) detail::raise(PIPELINE_ERR_NULL, "the std::unique_ptr<StorageBase> is NULL");
    }
    /// Takes over a storage made by a C function.
    static Storage adopt(const pipeline_storage_t &raw) { return Storage(raw); }
    /// A SQLite database at `path`. Throws Error if it cannot be opened. Without options, all are defaults.
    static Storage sqlite(const std::string &path, const pipeline_sqlite_options_t *options = nullptr) {
        pipeline_storage_t raw{};
        detail::check(pipeline_storage_sqlite(path.c_str(), options, sizeof raw, &raw));
        return Storage(raw);
    }
    /// A journal in the directory `dir`, which is made if it is missing. Throws Error if that cannot be written to. Without options, all are
    /// defaults.
    static Storage journal(const std::string &dir, const pipeline_journal_options_t *options = nullptr) {
        pipeline_storage_t raw{};
        detail::check(pipeline_storage_journal(dir.c_str(), options, sizeof raw, &raw));
        return Storage(raw);
    }
    /// Traces for Perfetto in the directory `dir`, which is made if it is missing. Throws Error if that cannot be written to. Without options, all are
    /// defaults.
    static Storage perfetto(const std::string &dir, const pipeline_perfetto_options_t *options = nullptr) {
        pipeline_storage_t raw{};
        detail::check(pipeline_storage_perfetto(dir.c_str(), options, sizeof raw, &raw));
        return Storage(raw);
    }

    Storage(Storage &&from) noexcept
        : own_(std::move(from.own_)), lambdas_(std::exchange(from.lambdas_, nullptr)), raw_(from.raw_),
          state_(std::move(from.state_)) {
        from.raw_.reset();
    }
    Storage &operator=(Storage &&from) noexcept {
        if (this != &from) {
            drop();
            own_ = std::move(from.own_);
            lambdas_ = std::exchange(from.lambdas_, nullptr);
            raw_ = from.raw_;
            from.raw_.reset();
            state_ = std::move(from.state_);
        }
        return *this;
    }
    ~Storage() { drop(); }

    /// Allows calls to overlap, on different threads.
    Storage &concurrent() { return lambdas().is_concurrent = true, *this; }
    /// The storage also gets the library's own events.
    Storage &with_meta() { return lambdas().meta = true, *this; }
    /// (std::chrono::milliseconds timeout) -> Status, Answer (other than ok: PIPELINE_ERR_STORAGE), std::int32_t (0 or a
    /// negative status) or nothing (success). A negative timeout means no limit.
    template <class F> Storage &on_flush(F &&f) {
        lambdas().on_flush = [g = std::decay_t<F>(std::forward<F>(f))](std::chrono::milliseconds t) mutable {
            return detail::answer_of<FlushResult>(g, t);
        };
        return *this;
    }
    /// (std::chrono::milliseconds timeout) -> as on_flush. Called at the end, after everything is settled. Pipeline::close waits for
    /// it within its timeout, and returns PIPELINE_ERR_STORAGE if it fails or throws.
    template <class F> Storage &on_finish(F &&f) {
        lambdas().on_finish = [g = std::decay_t<F>(std::forward<F>(f))](std::chrono::milliseconds t) mutable {
            return detail::answer_of<FlushResult>(g, t);
        };
        return *this;
    }
    /// (const Batch &, std::int32_t reason) -> Answer, Status, std::int32_t or nothing; reason is a PIPELINE_REASON_...
    /// Answer::ok, a Status without error, 0 or nothing: the events are kept (`dead_lettered`). Answer::reject: they are discarded
    /// (`discarded`). Anything else: called again.
    template <class F> Storage &on_dead_letter(F &&f) {
        lambdas().on_dead_letter = [g = std::decay_t<F>(std::forward<F>(f))](const Batch &b, std::int32_t r) mutable {
            return detail::answer_of<DeadLetterResult>(g, b, r);
        };
        return *this;
    }
    /// (const EventView &). Called exactly once for each captured event, when it leaves the pipeline.
    template <class F> Storage &on_release(F &&f) { return lambdas().on_release = std::forward<F>(f), *this; }
    /// (std::uint32_t writer_id) -> void *.
    template <class F> Storage &on_open_writer(F &&f) { return lambdas().on_open_writer = std::forward<F>(f), *this; }
    /// (std::uint32_t writer_id, void *writer_data).
    template <class F> Storage &on_close_writer(F &&f) { return lambdas().on_close_writer = std::forward<F>(f), *this; }
    /// (std::exception_ptr). Runs on the thread of the writer; must not throw.
    template <class F> Storage &on_exception(F &&f) { return lambdas().on_exception = std::forward<F>(f), *this; }

  private:
    friend class Pipeline;
    explicit Storage(const pipeline_storage_t &raw) : raw_(raw), state_(std::make_shared<detail::StorageState>()) {}
    detail::LambdaStorage &lambdas() {
        if (lambdas_ == nullptr) detail::raise(PIPELINE_ERR_STATE, "hooks can only be set on a storage made of lambdas");
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
    std::shared_ptr<detail::StorageState> state_;
};

// --- rules ----------------------------------------------------------------------------------------------------------

/// A rule, for Pipeline::set_rules: what becomes of the events that all of its conditions choose. It owns its texts and sets.
///
///     pipeline.set_rules({cp::Rule("noise").kinds({1, 2}).drop(),
///                         cp::Rule("errors").when("status = \"error\"").keep_trace(),
///                         cp::Rule("rest").sample_one_in(10)});
class Rule {
  public:
    explicit Rule(std::string name = std::string()) : name_(std::move(name)) {
        detail::check(pipeline_rule_init(&rule_, sizeof rule_));
    }

    /// Only counts.
    Rule &dry() { return rule_.flags |= PIPELINE_RULE_DRY, *this; }

    /// An expression, as behind `if` in the text of a rule.
    Rule &when(std::string expression) { return when_ = std::move(expression), *this; }
    Rule &kinds(std::vector<std::uint32_t> set) { return kinds_ = std::move(set), *this; }
    Rule &kinds_between(std::uint32_t min, std::uint32_t max) {
        return rule_.kind_min = min, rule_.kind_max = max, *this;
    }
    Rule &correlation_ids(std::vector<std::uint64_t> set) { return traces_ = std::move(set), *this; }
    Rule &node_ids(std::vector<std::uint64_t> set) { return nodes_ = std::move(set), *this; }
    Rule &has_correlation_id() { return rule_.flags |= PIPELINE_RULE_HAS_CORRELATION_ID, *this; }
    Rule &has_node_id() { return rule_.flags |= PIPELINE_RULE_HAS_NODE_ID, *this; }
    /// The payload has so many bytes.
    Rule &payload_between(std::uint64_t min, std::uint64_t max) {
        return rule_.payload_min = min, rule_.payload_max = max, *this;
    }
    /// The payload begins with these bytes.
    Rule &payload_begins(std::string bytes) { return prefix_ = std::move(bytes), *this; }

    Rule &drop() { return rule_.actions |= PIPELINE_RULE_DROP, *this; }
    Rule &keep() { return rule_.actions |= PIPELINE_RULE_KEEP, *this; }
    Rule &keep_trace() { return rule_.actions |= PIPELINE_RULE_KEEP_TRACE, *this; }
    Rule &priority() { return rule_.actions |= PIPELINE_RULE_PRIORITY, *this; }
    /// Asks for a snapshot, see Pipeline::snapshot_on_trigger.
    Rule &snapshot() { return rule_.actions |= PIPELINE_RULE_SNAPSHOT, *this; }
    /// A tag from 1 to 8.
    Rule &tag(unsigned number) { return rule_.tags |= number - 1 < 32 ? std::uint32_t{1} << (number - 1) : UINT32_MAX, *this; }
    Rule &sample_one_in(std::uint32_t events) { return rule_.sample_one_in = events, *this; }
    /// `burst` 0 stands for `per_second`.
    Rule &limit(std::uint64_t per_second, std::uint64_t burst = 0) {
        return rule_.limit_per_second = per_second, rule_.limit_burst = burst, *this;
    }
    /// A field, or a part of the payload: "token", "request.token", "payload[0..8]".
    Rule &redact(std::string field) { return redact_.push_back(std::move(field)), *this; }

  private:
    friend class Pipeline;
    /// The rule in C. It points into this one, and to `texts`, where the pointers to what it redacts are put.
    pipeline_rule_t in_c(std::vector<const char *> &texts) const {
        pipeline_rule_t c = rule_;
        if (!name_.empty()) c.name = name_.c_str();
        if (when_) c.when = when_->c_str();
        if (kinds_) c.kinds = some(*kinds_), c.kind_count = kinds_->size();
        if (traces_) c.correlation_ids = some(*traces_), c.correlation_id_count = traces_->size();
        if (nodes_) c.node_ids = some(*nodes_), c.node_id_count = nodes_->size();
        if (prefix_) c.payload_prefix = prefix_->data(), c.payload_prefix_len = prefix_->size();
        for (const std::string &field : redact_) texts.push_back(field.c_str());
        if (!texts.empty()) c.redact = texts.data(), c.redact_count = texts.size();
        return c;
    }
    /// Not NULL, so that an empty set is refused and does not choose all.
    template <class T> static const T *some(const std::vector<T> &set) {
        static const T none{};
        return set.empty() ? &none : set.data();
    }

    pipeline_rule_t rule_{};
    std::string name_;
    std::optional<std::string> when_, prefix_;
    std::optional<std::vector<std::uint32_t>> kinds_;
    std::optional<std::vector<std::uint64_t>> traces_, nodes_;
    std::vector<std::string> redact_;
};

// --- Pipeline: start, capture, watch, end ----------------------------------------------------------------------------

/// A running pipeline. The captures are those of detail::Captures above.
///
/// The destructor, and a move assignment for the old pipeline, refuses new events and drains for at most Config::exit_timeout_ms
/// (1 second by default). The rest is abandoned; a call of the storage that still runs ends on its own. On a thread of the pipeline
/// (inside a function of the storage) and in a forked child the destructor does not wait, and in a forked child it calls no function
/// of the storage. Call close() first to know whether everything was stored, or detach() to wait for nothing.
class Pipeline : public detail::Captures<Pipeline> {
  public:
    /// Starts the pipeline. Throws Error; the storage is destroyed in that case too.
    Pipeline(const Config &config, Storage storage) {
        require_compatible_library();
        pipeline_storage_t raw{};
        state_ = storage.state_;
        detail::Holder *const holder = give(storage, raw);
        refuse(pipeline_start(&config, &raw, &handle_), holder, *state_);
    }
    explicit Pipeline(Storage storage) : Pipeline(Config(), std::move(storage)) {}

    /// Delivers to the storage what pipelines with this `ring_dir` have left whose processes have ended, and deletes their ring files: see pipeline_recover. Throws
    /// Error; the storage is destroyed in every case, and what was not stored stays in the files.
    static pipeline_recovery_t recover(const std::string &ring_dir, Storage storage, const RecoverOptions &options = RecoverOptions()) {
        require_compatible_library();
        pipeline_storage_t raw{};
        pipeline_recovery_t recovery{};
        recovery.struct_size = sizeof recovery;
        const std::shared_ptr<detail::StorageState> state = storage.state_;
        detail::Holder *const holder = give(storage, raw);
        refuse(pipeline_recover(ring_dir.c_str(), &raw, &options, &recovery), holder, *state);
        return recovery;
    }
    /// The same, and calls `report` with a `const pipeline_recovered_file_t &` for each file, on a thread of the library. What it throws is dropped.
    template <class F, class = std::enable_if_t<std::is_invocable_v<F &, const pipeline_recovered_file_t &>>>
    static pipeline_recovery_t recover(const std::string &ring_dir, Storage storage, RecoverOptions options, F report) {
        options.report = &tell_file<F>;
        options.report_data = &report;
        return recover(ring_dir, std::move(storage), options);
    }

    /// After a move the source is empty: captures, flush and close return PIPELINE_ERR_NULL, and set-up calls throw it.
    Pipeline(Pipeline &&from) noexcept
        : handle_(std::exchange(from.handle_, nullptr)), state_(std::move(from.state_)) {}
    Pipeline &operator=(Pipeline &&from) noexcept {
        if (this != &from) {
            end();
            handle_ = std::exchange(from.handle_, nullptr);
            state_ = std::move(from.state_);
        }
        return *this;
    }
    Pipeline(const Pipeline &) = delete;
    Pipeline &operator=(const Pipeline &) = delete;
    ~Pipeline() { end(); }

    /// Captures several events in one call. `*captured`, if given, is set to the number of captured events, whatever the status.
    Status capture_many(const pipeline_event_t *events, std::size_t count, std::size_t *captured = nullptr) noexcept {
        detail::capturing();
        return pipeline_capture_many(handle_, events, count, captured);
    }

    /// Opens a producer with a ring buffer of its own.
    Producer producer() {
        pipeline_producer_t *handle = nullptr;
        detail::check(pipeline_producer_open(handle_, &handle));
        return Producer(handle);
    }
    /// Sets the name of a kind.
    void kind_name(Kind kind, const std::string &name) {
        detail::check(pipeline_kind_name(handle_, kind, name.c_str()));
    }
    /// Sets an attribute of the pipeline: what is the same for all of its events, such as the host, the service or the version.
    void attribute(const std::string &name, const std::string &value) {
        detail::check(pipeline_attribute(handle_, name.c_str(), value.c_str()));
    }
    /// Defines a kind: storages and tools then show the fields of its payload. Throws Error, which names the field, the limit and the value.
    void define(const Definition &definition) { detail::check(definition.define(handle_)); }
    /// Sets the transform: a function that a writer calls with each event once, before the storage gets it. It takes an EventView and a
    /// Rewrite &, and returns a Verdict. It must not be called by several threads at once unless it can be: with a concurrent storage it is.
    /// It is destroyed when it was replaced or the pipeline ends, and no call of it runs. An exception that leaves it counts in the
    /// `transform_faults` of metrics(), and the event stays as it was.
    template <class F> void transform(F &&f) {
        using Held = detail::HeldTransform<std::decay_t<F>>;
        static_assert(std::is_same_v<std::invoke_result_t<std::decay_t<F> &, EventView, Rewrite &>, Verdict>,
                      "a transform takes an EventView and a Rewrite &, and returns a Verdict");
        if (!state_) detail::raise(PIPELINE_ERR_NULL, "the pipeline was moved from");
        auto held = std::make_unique<Held>(std::forward<F>(f), state_->concurrent);
        pipeline_transform_t raw{};
        raw.struct_size = sizeof raw;
        raw.user_data = held.release(); // from here on the library's
        raw.transform = &Held::call;
        raw.destroy = &Held::destroy;
        detail::capturing();
        detail::check(pipeline_transform(handle_, &raw));
    }
    /// Events go to the storage as they were captured again.
    void no_transform() { detail::check(pipeline_transform(handle_, nullptr)); }
    /// Sets the rules, in place of those before: what becomes of an event before it is captured. Throws Error, which names the line, the column, the rule and what
    /// is expected; the rules before then stay in force. `dry`: they only count. See docs/rules.md.
    void set_rules(const std::string &text, bool dry = false) {
        detail::check(pipeline_rules_set_text(handle_, text.c_str(), dry ? PIPELINE_RULES_DRY : 0));
    }
    /// The same from rules. None end all rules.
    void set_rules(const std::vector<Rule> &rules, bool dry = false) {
        std::vector<pipeline_rule_t> in_c;
        std::vector<std::vector<const char *>> texts(rules.size());
        for (std::size_t n = 0; n < rules.size(); n++) in_c.push_back(rules[n].in_c(texts[n]));
        detail::check(pipeline_rules_set(handle_, in_c.data(), in_c.size(), dry ? PIPELINE_RULES_DRY : 0));
    }
    /// The same from a file. Call it again when the file has changed.
    void load_rules(const std::string &path, bool dry = false) {
        detail::check(pipeline_rules_load(handle_, path.c_str(), dry ? PIPELINE_RULES_DRY : 0));
    }
    /// Ends all rules.
    void clear_rules() { detail::check(pipeline_rules_clear(handle_)); }
    /// What the rules in force have counted, in their order.
    std::vector<pipeline_rule_metrics_t> rules() const {
        std::uint32_t count = 0;
        detail::check(pipeline_rule_count(handle_, &count));
        std::vector<pipeline_rule_metrics_t> all;
        for (std::uint32_t n = 0; n < count; n++) {
            pipeline_rule_metrics_t m{};
            m.struct_size = sizeof m;
            const std::int32_t status = pipeline_rule_metrics(handle_, n, &m);
            // Another thread has replaced the rules.
            if (status == PIPELINE_ERR_NOT_FOUND) break;
            detail::check(status);
            all.push_back(m);
        }
        return all;
    }
    /// Sets the number of writers.
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
        detail::end_wait(); // calls of the storage happen before their counts
        return m;
    }
    /// Metrics of one writer; nothing if there is no writer at that index.
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
    /// Writes what lies in the rings to the directory `dir`, as a journal for capture_pipeline::Reader, and changes nothing. Captures go on meanwhile.
    /// Without options, all are defaults. Throws Error if that cannot be written. See pipeline_snapshot.
    pipeline_snapshot_t snapshot(const std::string &dir, const pipeline_snapshot_options_t *options = nullptr) const {
        pipeline_snapshot_t out{};
        out.struct_size = sizeof out;
        detail::check(pipeline_snapshot(handle_, dir.c_str(), options, &out));
        return out;
    }
    /// Sets where snapshots go that rules ask for, see Rule::snapshot. Without options, all are defaults. Throws Error if the directory cannot be used.
    void snapshot_on_trigger(const std::string &dir, const pipeline_snapshot_options_t *options = nullptr) {
        detail::check(pipeline_snapshot_on_trigger(handle_, dir.c_str(), options));
    }
    /// Takes no more snapshots that rules ask for.
    void no_snapshot_on_trigger() { detail::check(pipeline_snapshot_on_trigger(handle_, nullptr, nullptr)); }
    /// How often functions of the storage have thrown, and the text of the last exception. Throws Error after a move.
    StorageExceptions storage_exceptions() const {
        if (!state_) detail::raise(PIPELINE_ERR_NULL, "the pipeline was moved from");
        const std::lock_guard<std::mutex> lock(state_->mutex);
        return state_->seen;
    }

    /// How urgently the pipeline needs relief, 0 to 100: how full its fullest ring buffer is, or how old its oldest event is against
    /// pressure_age_ms. It reads one word. PressureWatch tells when it crosses a threshold.
    std::uint32_t pressure() const noexcept { return pipeline_pressure(handle_); }

    /// Waits until everything captured before the call is settled and the flush of the storage has returned.
    template <class Rep, class Period> Status flush(std::chrono::duration<Rep, Period> timeout) noexcept {
        const Status status = pipeline_flush(handle_, detail::to_ms(timeout));
        detail::end_wait();
        return status;
    }
    /// Refuses new events, drains and ends the writers. After PIPELINE_ERR_TIMEOUT, metrics() has the number of events that are left,
    /// and close may be called again.
    template <class Rep, class Period> Status close(std::chrono::duration<Rep, Period> timeout) noexcept {
        const Status status = pipeline_close(handle_, detail::to_ms(timeout));
        detail::end_wait();
        return status;
    }
    /// Abandons the pipeline at once, without draining. Events that were not handed to the storage are lost; a call of the storage that
    /// still runs ends on its own. Afterwards the object is as after a move. May be called on any thread, also inside a function of
    /// the storage.
    void detach() noexcept {
        if (handle_ != nullptr) pipeline_abandon(std::exchange(handle_, nullptr));
    }
    /// The same as detach().
    void abandon() noexcept { detach(); }
    pipeline_t *raw() const noexcept { return handle_; }

  private:
    friend class detail::Captures<Pipeline>;
    Status offer(Kind kind, Bytes payload) noexcept {
        detail::capturing();
        return pipeline_capture(handle_, kind, payload.data(), payload.size());
    }
    Status offer(const Head &head, Bytes payload) noexcept {
        const pipeline_event_t e = head.event(payload.data(), payload.size());
        detail::capturing();
        return pipeline_capture_event(handle_, &e);
    }
    template <class K, class T> Status offer_value(const K &kind, const T &value) noexcept {
        return offer(kind, Bytes(std::addressof(value), sizeof(T)));
    }
    /// The storage as the C functions take it. What is returned, if anything, belongs to the library from its next call on.
    static detail::Holder *give(Storage &storage, pipeline_storage_t &raw) {
        detail::check(pipeline_storage_init(&raw, sizeof raw));
        if (storage.raw_) {
            raw = *storage.raw_;
            storage.raw_.reset();
            return nullptr;
        }
        if (!storage.own_) detail::raise(PIPELINE_ERR_STATE, "the Storage was moved from");
        auto *holder = new detail::Holder{std::move(storage.own_), storage.state_};
        describe(*holder, raw);
        return holder;
    }
    /// Throws what a call has answered that was given a storage.
    static void refuse(std::int32_t status, detail::Holder *holder, const detail::StorageState &state) {
        if (status >= 0) return;
        // Copied first, because the destructor of the storage may call the library.
        const std::string why = pipeline_last_error();
        // With PIPELINE_ERR_VERSION the library may not have taken over the storage. In all other cases it destroys the storage,
        // possibly later, on a writer that has already started.
        const bool refused = status == PIPELINE_ERR_VERSION && !state.destroyed.load(std::memory_order_acquire);
        if (holder != nullptr && refused) delete holder;
        detail::raise(status, why.c_str());
    }
    template <class F> static void tell_file(void *function, const pipeline_recovered_file_t *file) {
        const detail::Called call(true);
#if CAPTURE_PIPELINE_EXCEPTIONS
        try {
            (*static_cast<F *>(function))(*file);
        }
#if defined(__GLIBCXX__)
        catch (abi::__forced_unwind &) {
            throw;
        }
#endif
        catch (...) {
        }
#else
        (*static_cast<F *>(function))(*file);
#endif
    }
    static void describe(detail::Holder &holder, pipeline_storage_t &raw) noexcept {
        const StorageBase &s = *holder.storage;
        holder.concurrent = holder.state->concurrent = s.concurrent();
        raw.flags = (holder.concurrent ? PIPELINE_STORAGE_CONCURRENT : 0u) |
                    (s.wants_meta() ? PIPELINE_STORAGE_META : 0u) |
                    (s.releases_anywhere() ? PIPELINE_STORAGE_RELEASE_ANYWHERE : 0u) |
                    (s.releases_marked() ? PIPELINE_STORAGE_RELEASE_MARKED : 0u) |
                    (s.releases_unstored() ? PIPELINE_STORAGE_RELEASE_UNSTORED : 0u);
        raw.user_data = &holder;
        raw.store = &detail::Holder::store;
        raw.open_writer = &detail::Holder::open_writer;
        raw.close_writer = &detail::Holder::close_writer;
        raw.flush = &detail::Holder::flush;
        if (s.has_dead_letter()) raw.dead_letter = &detail::Holder::dead_letter;
        if (s.has_finish()) raw.finish = &detail::Holder::finish;
        if (s.has_release()) raw.release = &detail::Holder::release;
        raw.destroy = &detail::Holder::destroy;
    }
    /// Drains for at most exit_timeout_ms, then abandons.
    void end() noexcept {
        if (handle_ == nullptr) return;
        pipeline_config_t config{};
        config.struct_size = sizeof config;
        // update() may have changed the limit, so it is read; without memory for that, the default is used. close does not wait in a
        // forked child, on a thread of the pipeline, or after an earlier close.
        std::int64_t timeout_ms = 1000;
        if (pipeline_config_read(handle_, &config) == PIPELINE_OK)
            timeout_ms = static_cast<std::int64_t>(config.exit_timeout_ms);
        pipeline_close(handle_, timeout_ms);
        // In a forked child this only frees the memory of the parent's pipeline.
        if (pipeline_destroy(handle_) == PIPELINE_OK)
            handle_ = nullptr;
        else
            detach();
        detail::end_wait();
    }

    pipeline_t *handle_ = nullptr;
    std::shared_ptr<detail::StorageState> state_;
};

/// The metrics of pipelines as text for Prometheus, or as OpenMetrics. The text of all of them is made at once, because the samples of a metric must stand
/// together. No pipeline may be given twice. docs/metrics.md lists the metrics.
inline std::string metrics_text(const std::vector<const Pipeline *> &pipelines,
                                std::uint32_t format = PIPELINE_METRICS_PROMETHEUS) {
    std::vector<const pipeline_t *> raw;
    raw.reserve(pipelines.size());
    for (const Pipeline *pipeline : pipelines) raw.push_back(pipeline == nullptr ? nullptr : pipeline->raw());
    std::string text;
    std::size_t length = 0;
    detail::check(pipeline_metrics_text(raw.data(), raw.size(), format, nullptr, 0, &length));
    std::int32_t status;
    do { // more than once only if writers are added meanwhile
        text.resize(length + 1);
        status = pipeline_metrics_text(raw.data(), raw.size(), format, &text[0], text.size(), &length);
    } while (status == PIPELINE_ERR_LIMIT);
    detail::check(status);
    text.resize(length);
    return text;
}

/// Calls a function of yours when the pressure of a pipeline rises to `high`, and then when it falls to `low`, and so on by turns: with the
/// pressure, and whether it is high. The calls are made on a thread of the library, one at a time. An exception that leaves the function is
/// dropped. A pipeline has one watch: a new one takes the place of the one before.
///
/// The watch ends with this object, whose destructor waits for a call that is under way; so it must not run inside the function. The object
/// must be destroyed before its Pipeline.
class PressureWatch {
  public:
    template <class Function>
    PressureWatch(const Pipeline &pipeline, std::uint32_t low, std::uint32_t high, Function function)
        : pipeline_(pipeline.raw()), function_(std::move(function)) {
        detail::capturing();
        std::int32_t status;
        while ((status = pipeline_pressure_callback(pipeline_, low, high, &PressureWatch::tell, this)) == PIPELINE_ERR_BUSY) pause();
        detail::check(status);
    }
    PressureWatch(const PressureWatch &) = delete;
    PressureWatch &operator=(const PressureWatch &) = delete;
    ~PressureWatch() {
        while (pipeline_pressure_callback(pipeline_, 0, 0, nullptr, nullptr) == PIPELINE_ERR_BUSY) pause();
        detail::end_wait();
    }

  private:
    static void pause() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }
    static void tell(void *watch, std::uint32_t pressure, std::int32_t is_high) {
        const detail::Called call(true);
#if CAPTURE_PIPELINE_EXCEPTIONS
        try {
            static_cast<PressureWatch *>(watch)->function_(pressure, is_high != 0);
        }
#if defined(__GLIBCXX__)
        catch (abi::__forced_unwind &) {
            throw;
        }
#endif
        catch (...) {
        }
#else
        static_cast<PressureWatch *>(watch)->function_(pressure, is_high != 0);
#endif
    }
    pipeline_t *pipeline_;
    detail::Function<void(std::uint32_t, bool)> function_;
};

} // namespace capture_pipeline

#endif // CAPTURE_PIPELINE_HPP
