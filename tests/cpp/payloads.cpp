// Kinds and payloads in every form: enums, types that have a kind, text in heads, arrays without a NUL, NULL.
#include "../c/check.h"

#include <capture_pipeline.hpp>

#include <map>
#include <string>
#include <vector>

namespace cp = capture_pipeline;
const auto patience = std::chrono::milliseconds(PATIENCE_MS);

enum class Topic : std::uint8_t { request = 1, answer = 2 };
enum Plain { plain_kind = 3 };

struct Request {
    static constexpr Topic pipeline_kind = Topic::request;
    std::uint32_t id;
};
// The same size, but another kind.
struct Answered {
    static constexpr std::uint32_t pipeline_kind = 2;
    std::uint32_t status;
};
// The same size, without a kind.
struct Anything {
    std::uint32_t word;
};
struct Foreign {
    std::uint32_t word;
};
template <> struct cp::KindOf<Foreign> {
    static constexpr cp::Kind value = 9u;
};

struct Seen {
    std::map<std::uint32_t, std::vector<std::string>> payloads;
    unsigned requests = 0, answers = 0, foreign = 0, anything = 0, checked = 0, switched = 0, with_trace = 0;
};

static cp::Storage looking(Seen &seen) {
    return cp::Storage([&seen](const cp::Batch &batch) {
        for (cp::EventView e : batch) {
            seen.payloads[e.kind()].emplace_back(e.payload().text());
            if (e.as<Request>()) seen.requests += 1;
            if (e.as<Answered>()) seen.answers += 1;
            if (e.as<Foreign>()) seen.foreign += 1;
            if (e.as<Anything>()) seen.anything += 1; // the size alone
            if (e.as<Anything>(Topic::answer)) seen.checked += 1;
            if (e.correlation_id() == 77) seen.with_trace += 1;
            CHECK(e.is(e.kind()));
            switch (e.kind_as<Topic>()) {
            case Topic::request:
            case Topic::answer:
                seen.switched += 1;
                CHECK(e.is(Topic::request) != e.is(Topic::answer));
            }
        }
    });
}

// For a Pipeline and for a Producer.
template <class To> static void every_form(To &to) {
    const std::string text = "string";
    const char *null = nullptr;
    const char unterminated[3] = {'a', 'b', 'c'};
    const char terminated[8] = "xy";
    CHECK(to.capture(Request{1}).ok());
    CHECK(to.capture(Answered{200}).ok());
    CHECK(to.capture(Foreign{4}).ok());
    CHECK(to.capture(Topic::request, std::string_view("view")).ok());
    CHECK(to.capture(plain_kind, text).ok());
    CHECK(to.capture(plain_kind, "literal").ok());
    CHECK(to.capture(plain_kind, unterminated).ok());
    CHECK(to.capture(plain_kind, terminated).ok());
    CHECK(to.capture(plain_kind, cp::Bytes(unterminated, 2)).ok());
    CHECK_STATUS(to.capture(plain_kind, null).code(), PIPELINE_ERR_INVALID);

    cp::Head head;
    head.kind = Topic::answer;
    head.correlation_id = 77;
    CHECK(to.capture(head, std::string_view("view")).ok());
    CHECK(to.capture(head, text).ok());
    CHECK(to.capture(head, "literal").ok());
    CHECK(to.capture(head, unterminated).ok());
    CHECK(to.capture(head, Answered{500}).ok());
    CHECK(to.capture(head, Topic::answer).ok()); // an enum as a payload
    CHECK(to.capture(head, cp::Bytes(unterminated, 2)).ok());
    CHECK_STATUS(to.capture(head, null).code(), PIPELINE_ERR_INVALID);
}

static void captures() {
    Seen seen;
    cp::Pipeline pipeline(looking(seen));
    pipeline.kind_name(Topic::request, "request");
    every_form(pipeline);
    CHECK(pipeline.flush(patience).ok()); // between different rings there is no order
    {
        cp::Producer producer = pipeline.producer();
        every_form(producer);
        cp::Reservation room = producer.reserve(Topic::answer, 8);
        CHECK_OR_STOP(static_cast<bool>(room));
        memcpy(room.data(), "in place", 8);
        CHECK(room.commit().ok());
    }
    CHECK_STATUS(pipeline.close(patience).code(), PIPELINE_OK);
    CHECK_LEDGER(pipeline.raw());
    const pipeline_metrics_t m = pipeline.metrics();
    CHECK_U64(m.captured, 33);
    CHECK_U64(m.refused_invalid, 4); // NULL is refused and counted, and never read
    CHECK_U64(seen.payloads[1].size(), 4);
    CHECK_U64(seen.payloads[2].size(), 17);
    CHECK_U64(seen.payloads[3].size(), 10);
    const std::vector<std::string> plain{"string", "literal", "abc", "xy", "ab"};
    for (std::size_t i = 0; i < 10; ++i) CHECK(seen.payloads[3][i] == plain[i % 5]);
    CHECK(seen.payloads[2][1] == "view" && seen.payloads[2][2] == "string" && seen.payloads[2][3] == "literal" &&
          seen.payloads[2][4] == "abc" && seen.payloads[2].back() == "in place");
    CHECK_U64(seen.requests, 4); // "view" of kind 1 has 4 bytes too
    CHECK_U64(seen.answers, 6);  // and "view" of kind 2
    CHECK_U64(seen.foreign, 2);
    CHECK_U64(seen.anything, 12);
    CHECK_U64(seen.checked, 6);
    CHECK_U64(seen.switched, 21);
    CHECK_U64(seen.with_trace, 14);
}

int main() {
    captures();
    return SUMMARY();
}
