// The events that the pool captures: one for each task, and notes.
#ifndef EVENTS_HPP
#define EVENTS_HPP

#include <cstdint>

enum class Topic : std::uint32_t { task = 1, note = 2 };

// A type with a kind: captured as `capture(TaskDone{...})`, read as `event.as<TaskDone>()`.
struct TaskDone {
    static constexpr Topic pipeline_kind = Topic::task;
    std::uint32_t worker, task;
    std::uint64_t result;
};

#endif
