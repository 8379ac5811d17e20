#include "pool.hpp"

#include "events.hpp"

Pool::Pool(capture_pipeline::Pipeline &pipeline, unsigned workers) {
    for (unsigned worker = 0; worker < workers; ++worker)
        threads_.emplace_back(&Pool::work, this, pipeline.producer(), worker);
}

Pool::~Pool() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        ending_ = true;
    }
    more_.notify_all();
    for (std::thread &thread : threads_) thread.join();
}

void Pool::run(std::uint32_t task, std::function<std::uint64_t()> work) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        tasks_.push_back({task, std::move(work)});
    }
    more_.notify_one();
}

void Pool::work(capture_pipeline::Producer producer, std::uint32_t worker) {
    for (;;) {
        Task task;
        {
            std::unique_lock<std::mutex> lock(mutex_);
            more_.wait(lock, [&] { return ending_ || !tasks_.empty(); });
            if (tasks_.empty()) break;
            task = std::move(tasks_.front());
            tasks_.pop_front();
        }
        // The pipeline's metrics count dropped and refused events.
        producer.capture(TaskDone{worker, task.number, task.work()}).ignore();
    }
    producer.capture(Topic::note, "worker " + std::to_string(worker) + " ends").ignore();
}
