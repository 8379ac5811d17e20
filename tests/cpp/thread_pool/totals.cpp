#include "totals.hpp"

#include "events.hpp"

using namespace capture_pipeline;

StoreResult TotalsStorage::store(const Batch &batch) {
    for (EventView event : batch) {
        if (auto done = event.as<TaskDone>()) {
            totals_->tasks += 1;
            totals_->sum += done->result;
        } else if (event.is(Topic::note)) {
            totals_->notes.emplace_back(event.payload().text());
        } else {
            totals_->unknown += 1;
        }
    }
    return Answer::ok;
}

FlushResult TotalsStorage::flush(std::chrono::milliseconds) {
    totals_->flushes += 1;
    return Answer::ok;
}
