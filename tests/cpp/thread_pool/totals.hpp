// The storage: sums up the events. The storage and the reader, which reads after a flush or a close, share the totals.
#ifndef TOTALS_HPP
#define TOTALS_HPP

#include <capture_pipeline.hpp>

#include <memory>
#include <string>
#include <vector>

struct Totals {
    std::uint64_t tasks = 0, sum = 0, flushes = 0, unknown = 0;
    std::vector<std::string> notes;
};

class TotalsStorage final : public capture_pipeline::StorageBase {
  public:
    explicit TotalsStorage(std::shared_ptr<Totals> totals) : totals_(std::move(totals)) {}
    capture_pipeline::StoreResult store(const capture_pipeline::Batch &batch) override;
    capture_pipeline::FlushResult flush(std::chrono::milliseconds timeout) override;

  private:
    std::shared_ptr<Totals> totals_;
};

#endif
