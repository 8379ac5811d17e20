// The record of 96 bytes that queues of values carry: a header, which contains the time, and a payload of 64 bytes.
#pragma once
#include "../harness/contender.h"
#include "../harness/store.h"

#include <atomic>
#include <cstring>
#include <iterator>
#include <memory>

struct Record {
    std::uint32_t bytes, kind;
    std::uint64_t sequence, time, thread;
    unsigned char payload[64];

    Record() = default;
    Record(const bench_burst &burst, std::uint32_t i) : bytes(burst.payload), kind(7), sequence(i), time(ticks()), thread(0) {
        std::memcpy(payload, burst.payloads + std::size_t(i & burst.mask) * burst.stride, sizeof payload);
    }
};

inline void store_records(bench_store *store, const Record *records, std::size_t count) {
    bench_batch batch = batch_begin(store);
    for (std::size_t i = 0; i < count; i++) batch_event(&batch, records[i].payload);
    batch_end(&batch);
}
