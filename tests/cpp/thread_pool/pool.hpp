// A thread pool whose workers capture an event for each task, each through a ring buffer of its own.
#ifndef POOL_HPP
#define POOL_HPP

#include <capture_pipeline.hpp>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

class Pool {
  public:
    Pool(capture_pipeline::Pipeline &pipeline, unsigned workers);
    ~Pool(); // runs what is queued, then joins
    void run(std::uint32_t task, std::function<std::uint64_t()> work);

  private:
    struct Task {
        std::uint32_t number;
        std::function<std::uint64_t()> work;
    };
    void work(capture_pipeline::Producer producer, std::uint32_t worker);

    std::mutex mutex_;
    std::condition_variable more_;
    std::deque<Task> tasks_;
    bool ending_ = false;
    std::vector<std::thread> threads_;
};

#endif
