// Rules from C++: built from objects, from a text and from a file; errors are thrown, and the rules before stay.
#include "../c/check.h"

#include <capture_pipeline.hpp>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace cp = capture_pipeline;

static std::vector<std::pair<std::string, std::uint32_t>> stored;

static cp::Pipeline start() {
    return cp::Pipeline(cp::Storage([](const cp::Batch &batch) {
        for (const auto &event : batch)
            stored.emplace_back(std::string(static_cast<const char *>(event.raw()->data), event.raw()->len), event.raw()->flags);
    }));
}

static std::int32_t offer(cp::Pipeline &p, std::uint32_t kind, std::uint64_t trace, std::uint64_t node, const char *text) {
    pipeline_event_t e = event_of(kind, text, std::strlen(text));
    e.correlation_id = trace;
    e.node_id = node;
    return pipeline_capture_event(p.raw(), &e);
}

template <class F> static std::string thrown(F f) {
    try {
        f();
    } catch (const cp::Error &e) {
        return e.what();
    }
    return "nothing was thrown";
}

static void each_part_of_a_rule() {
    cp::Pipeline p = start();
    std::vector<cp::Rule> rules;
    {
        // What a rule is made from may end before it is used.
        const std::string name = std::string("first rule of all, with a long name").substr(0, 5);
        rules.push_back(cp::Rule(name).kinds({1, 2}).drop());
        rules.push_back(cp::Rule().kinds_between(10, 20).payload_between(2, 3).drop());
        rules.push_back(cp::Rule().correlation_ids({5}).has_node_id().drop());
        rules.push_back(cp::Rule().node_ids({6, 7}).has_correlation_id().drop());
        rules.push_back(cp::Rule().payload_begins(std::string("a\0b", 3)).tag(2).tag(8).priority());
        rules.push_back(cp::Rule("redacts").when("payload contains 'pass'").redact("payload[1..3]").redact("payload[4..5]"));
        rules.push_back(cp::Rule().kinds({30}).limit(1, 2));
        rules.push_back(cp::Rule().kinds({40}).keep());
        rules.push_back(cp::Rule("dry").kinds({50}).dry().drop());
    }
    p.set_rules(rules);
    CHECK_U64(p.rules().size(), 9);
    CHECK_STATUS(offer(p, 2, 0, 0, "x"), PIPELINE_DROPPED_BY_RULE);
    CHECK_STATUS(offer(p, 15, 0, 0, "xx"), PIPELINE_DROPPED_BY_RULE);
    CHECK_STATUS(offer(p, 15, 0, 0, "xxxx"), PIPELINE_OK);
    CHECK_STATUS(offer(p, 3, 5, 0, "x"), PIPELINE_OK);
    CHECK_STATUS(offer(p, 3, 5, 1, "x"), PIPELINE_DROPPED_BY_RULE);
    CHECK_STATUS(offer(p, 3, 1, 7, "x"), PIPELINE_DROPPED_BY_RULE);
    CHECK_STATUS(offer(p, 3, 0, 0, "password"), PIPELINE_OK);
    CHECK_STATUS(pipeline_capture(p.raw(), 3, "a\0b", 3), PIPELINE_OK);
    for (int i = 0; i < 3; i++) CHECK_STATUS(offer(p, 30, 0, 0, "x"), i < 2 ? PIPELINE_OK : PIPELINE_DROPPED_BY_RULE);
    CHECK_STATUS(offer(p, 50, 0, 0, "x"), PIPELINE_OK);
    CHECK_U64(p.rules()[8].matched, 1);
    CHECK_U64(p.rules()[6].limited, 1);
    CHECK_HAS(p.rules()[0].name, "first");
    CHECK(p.close(std::chrono::seconds(20)).ok());
    bool redacted = false, tagged = false;
    for (const auto &[payload, flags] : stored) {
        redacted |= payload == std::string("p\0\0s\0ord", 8);
        tagged |= flags == (PIPELINE_EVENT_TAG_2 | PIPELINE_EVENT_TAG_8 | PIPELINE_EVENT_PRIORITY);
    }
    CHECK(redacted && tagged);
    CHECK_U64(p.metrics().dropped_rule, 5);
}

static void texts_files_and_errors() {
    cp::Pipeline p = start();
    p.set_rules("a: drop if kind = 1\nb: keep trace");
    CHECK_STATUS(offer(p, 1, 0, 0, "x"), PIPELINE_DROPPED_BY_RULE);
    CHECK_HAS(thrown([&] { p.set_rules("drop if"); }).c_str(), "line 1, column 8: rule 1: a name, a number or a text expected");
    CHECK_HAS(thrown([&] { p.set_rules({cp::Rule("x")}); }).c_str(), "rule 1 (x): an action is missing");
    CHECK_HAS(thrown([&] { p.set_rules({cp::Rule().node_ids({}).drop()}); }).c_str(), "node_ids: an empty set");
    CHECK_HAS(thrown([&] { p.set_rules({cp::Rule().tag(9)}); }).c_str(), "tags: bits of 0xff allowed");
    CHECK_HAS(thrown([&] { p.set_rules({cp::Rule().tag(0)}); }).c_str(), "tags: bits of 0xff allowed");
    CHECK_HAS(thrown([&] { p.load_rules("absent"); }).c_str(), "absent: ");
    CHECK_U64(p.rules().size(), 2);
    std::FILE *f = std::fopen("rules.txt", "w");
    CHECK_OR_STOP(f != nullptr);
    std::fputs("drop\n", f);
    std::fclose(f);
    p.load_rules("rules.txt", true);
    CHECK_U64(p.rules().size(), 1);
    CHECK_U64(p.rules()[0].dry, 1);
    CHECK_STATUS(offer(p, 1, 0, 0, "x"), PIPELINE_OK);
    p.clear_rules();
    CHECK_U64(p.rules().size(), 0);
    p.set_rules(std::vector<cp::Rule>{});
    CHECK(p.close(std::chrono::seconds(20)).ok());
}

int main() {
    each_part_of_a_rule();
    texts_files_and_errors();
    return SUMMARY();
}
