// Messages in C++: a storage encodes its batches, and a reader gives each event, once; errors; moves.
#include "../c/check.h"

#include <capture_pipeline_reader.hpp>

#include <string>
#include <utility>
#include <vector>

namespace cp = capture_pipeline;

static std::vector<std::string> sent;

static cp::Storage sending(cp::MessageEncoder &encoder) {
    return cp::Storage([&encoder, facts = std::size_t{0}](const cp::Batch &batch) mutable {
        cp::Message message;
        std::vector<char> buffer(5000);
        cp::Status status(PIPELINE_OK);
        while ((status = encoder.encode_facts(batch, facts, buffer.data(), buffer.size(), message)).code() == PIPELINE_OK) {
            sent.emplace_back(buffer.data(), message.length);
            facts += message.count;
        }
        CHECK_STATUS(status.code(), PIPELINE_END);
        std::size_t first = 0;
        while ((status = encoder.encode(batch, first, buffer.data(), buffer.size(), message)).code() == PIPELINE_OK) {
            CHECK(message.count > 0 && message.generation == batch.generation());
            sent.emplace_back(buffer.data(), message.length);
            first += message.count;
        }
        CHECK_STATUS(status.code(), PIPELINE_END);
        return cp::Answer::ok;
    });
}

int main() {
    {
        cp::MessageEncoder encoder(PIPELINE_JOURNAL_COLUMNS, PIPELINE_MESSAGE_THREADS);
        cp::Pipeline pipeline(sending(encoder));
        CHECK_STATUS(pipeline_kind_name(pipeline.raw(), 5, "five"), PIPELINE_OK);
        for (std::uint32_t i = 0; i < 3000; i++) CHECK_STATUS(pipeline_capture(pipeline.raw(), 5, &i, sizeof i), PIPELINE_OK);
        CHECK_STATUS(pipeline_close(pipeline.raw(), PATIENCE_MS), PIPELINE_OK);
    }
    cp::MessageReader first(16 << 20);
    cp::MessageReader reader(std::move(first));
    CHECK(first.raw() == nullptr && reader.raw() != nullptr);
    CHECK(reader.next() == nullptr);
    std::uint32_t expected = 0;
    std::string name;
    for (const std::string &message : sent) {
        const cp::Message taken = reader.take(message.data(), message.size());
        CHECK(taken.length == message.size());
        std::size_t events = 0;
        while (const cp::JournalEvent *event = reader.next()) {
            CHECK(event->as<std::uint32_t>() == expected && event->sequence() == expected && event->generation() == taken.generation);
            expected++;
            events++;
        }
        CHECK_U64(events, taken.blocks == 0 ? 0 : taken.count);
    }
    CHECK_U64(expected, 3000);
    reader.definitions([&](cp::JournalKind kind) { name += kind->name; });
    CHECK(name == "five" && sent.size() > 2);
    try {
        reader.take("no message", 10);
        CHECK(false);
    } catch (const cp::Error &error) {
        CHECK(error.status().code() == PIPELINE_ERR_INVALID);
        CHECK_HAS(error.what(), "no message of capture_pipeline");
    }
    try {
        cp::MessageEncoder refused(9);
        CHECK(false);
    } catch (const cp::Error &error) {
        CHECK(error.status().code() == PIPELINE_ERR_INVALID);
    }
    cp::MessageEncoder a, b(PIPELINE_JOURNAL_RAW);
    auto *handle = b.raw();
    a = std::move(b);
    CHECK(a.raw() == handle);
    return SUMMARY();
}
