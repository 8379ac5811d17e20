// Kinds from structs: the definition that reaches the storage is the one that the C structs give.
#include "../c/check.h"

#include <capture_pipeline.hpp>

namespace cp = capture_pipeline;
const auto patience = std::chrono::milliseconds(PATIENCE_MS);

enum class State : std::uint8_t { open, shut = 200 };
enum Sign : std::int64_t { low = INT64_MIN, high = INT64_MAX };
enum class Unsigned : std::uint64_t { top = UINT64_MAX };
struct Place {
    std::uint16_t line;
    char file[6];
};
struct Everything {
    static constexpr std::uint32_t pipeline_kind = 70;
    std::uint8_t u8;
    std::int8_t i8;
    std::uint16_t u16;
    std::int16_t i16;
    const std::uint32_t u32 = 0;
    std::int32_t i32;
    unsigned long long u64;
    long i64;
    char letter;
    bool ready;
    State state, unnamed;
    float ratio;
    double load;
    const void *site;
    void (*function)(int);
    std::chrono::nanoseconds took;
    std::chrono::duration<std::int32_t, std::milli> delay;
    Place place;
    std::array<char, 3> text;
    std::array<unsigned char, 5> digest;
    std::byte raw[2];
    Sign sign;
    Unsigned top;
};

// Keeps the definitions as they come, by kind.
struct Facts : cp::StorageBase {
    std::vector<std::string> &seen;
    explicit Facts(std::vector<std::string> &keep) : seen(keep) {}
    bool wants_meta() const noexcept override { return true; }
    cp::StoreResult store(const cp::Batch &batch) override {
        for (cp::EventView event : batch)
            if (event.kind() == PIPELINE_KIND_DEFINITION) seen.emplace_back(event.payload().text());
        return cp::Answer::ok;
    }
};

static cp::Definition everything() {
    return cp::Definition::of<Everything>(
        "everything", CAPTURE_PIPELINE_FIELD(Everything, u8), CAPTURE_PIPELINE_FIELD(Everything, i8),
        CAPTURE_PIPELINE_FIELD(Everything, u16).hexadecimal(), CAPTURE_PIPELINE_FIELD(Everything, i16),
        CAPTURE_PIPELINE_FIELD(Everything, u32).unit("\xc2\xb0" "C"), CAPTURE_PIPELINE_FIELD(Everything, i32),
        CAPTURE_PIPELINE_FIELD(Everything, u64).bytes(), CAPTURE_PIPELINE_FIELD(Everything, i64).nanoseconds(),
        CAPTURE_PIPELINE_FIELD(Everything, letter), CAPTURE_PIPELINE_FIELD(Everything, ready),
        CAPTURE_PIPELINE_FIELD(Everything, state).names({{State::open, "open"}, {State::shut, "shut"}}),
        CAPTURE_PIPELINE_FIELD(Everything, unnamed), CAPTURE_PIPELINE_FIELD(Everything, ratio),
        CAPTURE_PIPELINE_FIELD(Everything, load), CAPTURE_PIPELINE_FIELD(Everything, site),
        CAPTURE_PIPELINE_FIELD(Everything, function), CAPTURE_PIPELINE_FIELD(Everything, took),
        CAPTURE_PIPELINE_FIELD(Everything, delay), CAPTURE_PIPELINE_FIELD_AS(Everything, place.line, "line"),
        CAPTURE_PIPELINE_FIELD_AS(Everything, place.file, "file"), CAPTURE_PIPELINE_FIELD(Everything, text),
        CAPTURE_PIPELINE_FIELD(Everything, digest), CAPTURE_PIPELINE_FIELD(Everything, raw),
        CAPTURE_PIPELINE_FIELD(Everything, sign).names({{low, "low"}, {high, "high"}}),
        CAPTURE_PIPELINE_FIELD(Everything, top).names({{Unsigned::top, "top"}}), cp::Rest<Everything>::text("rest"));
}

// The same by the C structs.
static std::int32_t everything_in_c(pipeline_t *p) {
    static const pipeline_enum_value_t states[] = {{0, "open"}, {200, "shut"}};
    static const pipeline_enum_value_t signs[] = {{INT64_MIN, "low"}, {INT64_MAX, "high"}};
    static const pipeline_enum_value_t tops[] = {{-1, "top"}};
    const pipeline_field_t fields[] = {
        PIPELINE_FIELD(Everything, u8, PIPELINE_TYPE_U8),
        PIPELINE_FIELD(Everything, i8, PIPELINE_TYPE_I8),
        PIPELINE_FIELD_SHOWN(Everything, u16, PIPELINE_TYPE_U16, PIPELINE_HINT_HEXADECIMAL, NULL),
        PIPELINE_FIELD(Everything, i16, PIPELINE_TYPE_I16),
        PIPELINE_FIELD_SHOWN(Everything, u32, PIPELINE_TYPE_U32, PIPELINE_HINT_NONE, "\xc2\xb0" "C"),
        PIPELINE_FIELD(Everything, i32, PIPELINE_TYPE_I32),
        PIPELINE_FIELD_SHOWN(Everything, u64, PIPELINE_TYPE_U64, PIPELINE_HINT_BYTES, NULL),
        PIPELINE_FIELD_SHOWN(Everything, i64, PIPELINE_TYPE_I64, PIPELINE_HINT_NANOSECONDS, NULL),
        PIPELINE_FIELD(Everything, letter, std::is_signed_v<char> ? PIPELINE_TYPE_I8 : PIPELINE_TYPE_U8),
        PIPELINE_FIELD(Everything, ready, PIPELINE_TYPE_BOOL),
        PIPELINE_FIELD_ENUM(Everything, state, PIPELINE_TYPE_U8, states),
        PIPELINE_FIELD(Everything, unnamed, PIPELINE_TYPE_U8),
        PIPELINE_FIELD(Everything, ratio, PIPELINE_TYPE_F32),
        PIPELINE_FIELD(Everything, load, PIPELINE_TYPE_F64),
        PIPELINE_FIELD(Everything, site, PIPELINE_TYPE_ADDRESS),
        PIPELINE_FIELD(Everything, function, PIPELINE_TYPE_ADDRESS),
        PIPELINE_FIELD_SHOWN(Everything, took, PIPELINE_TYPE_I64, PIPELINE_HINT_NANOSECONDS, NULL),
        PIPELINE_FIELD_SHOWN(Everything, delay, PIPELINE_TYPE_I32, PIPELINE_HINT_NONE, "ms"),
        {"line", PIPELINE_TYPE_U16, 0, offsetof(Everything, place) + 0, 2, NULL, 0, 0, NULL},
        {"file", PIPELINE_TYPE_STRING, 0, offsetof(Everything, place) + 2, 6, NULL, 0, 0, NULL},
        PIPELINE_FIELD(Everything, text, PIPELINE_TYPE_STRING),
        PIPELINE_FIELD(Everything, digest, PIPELINE_TYPE_BYTES),
        PIPELINE_FIELD(Everything, raw, PIPELINE_TYPE_BYTES),
        PIPELINE_FIELD_ENUM(Everything, sign, PIPELINE_TYPE_I64, signs),
        PIPELINE_FIELD_ENUM(Everything, top, PIPELINE_TYPE_U64, tops),
        {"rest", PIPELINE_TYPE_STRING, 0, sizeof(Everything), PIPELINE_LENGTH_REST, NULL, 0, 0, NULL},
    };
    pipeline_kind_definition_t d;
    pipeline_kind_definition_init(&d, sizeof d);
    d.kind = 70;
    d.name = "everything";
    d.payload_size = sizeof(Everything);
    PIPELINE_KIND_FIELDS(&d, fields);
    return pipeline_kind_define(p, &d);
}

static void a_struct_gives_the_same_definition_as_the_c_structs() {
    std::vector<std::string> seen[2];
    for (int in_c = 0; in_c < 2; ++in_c) {
        cp::Pipeline p(cp::Config(), cp::Storage(std::make_unique<Facts>(seen[in_c])));
        if (in_c)
            CHECK_STATUS(everything_in_c(p.raw()), PIPELINE_OK);
        else
            p.define(everything());
        p.define(everything()); // again: the same
        CHECK_STATUS(p.close(patience).code(), PIPELINE_OK);
    }
    CHECK_U64(seen[0].size(), 1);
    CHECK(seen[0] == seen[1]);
    CHECK(seen[0].at(0).size() > 400);
}

struct Span {
    std::uint64_t id;
    std::uint64_t ns;
};

static void roles_reach_the_library() {
    std::vector<std::string> seen;
    cp::Pipeline p(cp::Config(), cp::Storage(std::make_unique<Facts>(seen)));
    const auto span = [](cp::Kind kind, const char *name) {
        return cp::Definition::of<Span>(kind, name, CAPTURE_PIPELINE_FIELD(Span, id), CAPTURE_PIPELINE_FIELD(Span, ns));
    };
    p.define(span(1, "begins").category("spans").key("id").begins(2));
    p.define(span(2, "ends").key("id").ends(1));
    p.define(span(3, "whole").completes("ns"));
    p.define(span(4, "measured").counts().key("id"));
    p.define(span(5, "moves").flows());
    p.define(span(6, "says").logs());
    p.define(cp::Definition(7, "bare"));
    CHECK_STATUS(p.close(patience).code(), PIPELINE_OK);
    CHECK_OR_STOP(seen.size() == 7);
    // The role is at offset 8, the key field at 12, the duration field at 14, the other kind at 16: see docs/format.md.
    const int expected[7][4] = {{1, 1, 0, 2}, {2, 1, 0, 1}, {3, 0, 2, 255}, {4, 1, 0, 255}, {5, 0, 0, 255}, {6, 0, 0, 255}, {0, 0, 0, 255}};
    for (std::size_t i = 0; i < 7; ++i) {
        const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(seen[i][at]); };
        const int got[4] = {byte(8), byte(12), byte(14), byte(16)};
        CHECK(std::equal(got, got + 4, expected[i]));
    }
}

template <class Call> static void throws(Call call, std::int32_t status, const char *part) {
    try {
        call();
        CHECK(!"it throws");
    } catch (const cp::Error &error) {
        CHECK_STATUS(error.status().code(), status);
        CHECK_HAS(error.detail(), part);
    }
}

static void what_the_compiler_cannot_check_the_library_refuses() {
    cp::Pipeline p([](const cp::Batch &) {});
    const auto id = [] { return CAPTURE_PIPELINE_FIELD(Span, id); };
    throws([&] { p.define(cp::Definition(1, "not a name")); }, PIPELINE_ERR_INVALID, "name");
    throws([&] { p.define(cp::Definition::of<Span>(1, "a", id()).key("ns")); }, PIPELINE_ERR_INVALID, "key_field");
    throws([&] { p.define(cp::Definition::of<Span>(1, "a", id(), CAPTURE_PIPELINE_FIELD_AS(Span, ns, "ID"))); },
           PIPELINE_ERR_INVALID, "field ID");
    p.define(cp::Definition::of<Span>(1, "a", id()));
    throws([&] { p.define(cp::Definition::of<Span>(1, "a", CAPTURE_PIPELINE_FIELD(Span, ns))); }, PIPELINE_ERR_FIXED, "ns");
    cp::Pipeline moved = std::move(p);
    throws([&] { p.define(cp::Definition(2, "b")); }, PIPELINE_ERR_NULL, "pipeline"); // NOLINT
}

int main() {
    a_struct_gives_the_same_definition_as_the_c_structs();
    roles_reach_the_library();
    what_the_compiler_cannot_check_the_library_refuses();
    return SUMMARY();
}
