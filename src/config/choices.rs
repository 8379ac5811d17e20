//! The fields whose value is one of several: the constants in C, and the types in Rust.

use crate::event::{PIPELINE_CLOCK_AUTO, PIPELINE_CLOCK_MONOTONIC, PIPELINE_CLOCK_TICKS};
pub use crate::platform::placement::Class;
pub use crate::ring::intake::Overflow;

/// `pipeline_config_t.overflow`: the new event is dropped, and counted as `dropped_full`.
pub const PIPELINE_OVERFLOW_DROP_NEWEST: u32 = 0;
/// `pipeline_config_t.overflow`: the new event overwrites the oldest one that no writer has claimed, which is counted as
/// `overwritten`. If the oldest events in the ring buffer are claimed, the new event is dropped.
pub const PIPELINE_OVERFLOW_DROP_OLDEST: u32 = 1;
/// `pipeline_config_t.overflow`: the capture waits for space, for at most `block_timeout_us`. Then the new event is dropped. Captures
/// on the library's own threads never wait.
pub const PIPELINE_OVERFLOW_BLOCK: u32 = 2;

/// `pipeline_config_t.ordering`: batches may be stored in parallel, and a batch may have events of several ring buffers.
pub const PIPELINE_ORDERING_NONE: u32 = 0;
/// `pipeline_config_t.ordering`: the events of one ring buffer reach the storage in their order, one batch at a time.
pub const PIPELINE_ORDERING_PER_PRODUCER: u32 = 1;

/// `pipeline_config_t.writer_class`: the class of the thread that starts the writer.
pub const PIPELINE_SCHED_INHERIT: u32 = 0;
/// `pipeline_config_t.writer_class`: `SCHED_OTHER`, the usual class.
pub const PIPELINE_SCHED_OTHER: u32 = 1;
/// `pipeline_config_t.writer_class`: `SCHED_BATCH`. A woken writer takes a free processor or waits. It does not preempt the thread whose
/// capture has woken it.
pub const PIPELINE_SCHED_BATCH: u32 = 2;
/// `pipeline_config_t.writer_class`: `SCHED_IDLE`. Writers use only processor time that no other thread wants.
pub const PIPELINE_SCHED_IDLE: u32 = 3;
/// `pipeline_config_t.writer_class`: `SCHED_FIFO`, with `writer_priority`. It needs a privilege (`RLIMIT_RTPRIO` or `CAP_SYS_NICE`).
/// Processes and threads that the storage's functions start do not inherit it.
pub const PIPELINE_SCHED_FIFO: u32 = 4;
/// `pipeline_config_t.writer_class`: `SCHED_RR`, otherwise as `PIPELINE_SCHED_FIFO`.
pub const PIPELINE_SCHED_RR: u32 = 5;

/// The order in which events reach the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordering {
    /// Batches in parallel, over several rings.
    None,
    /// One ring's batches in order, one at a time.
    PerProducer,
}

/// The clock that stamps the events of a pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The processor's counter where the kernel keeps its time by it, else the monotonic clock.
    #[default]
    Auto,
    /// The monotonic clock.
    Monotonic,
    /// The processor's counter.
    Ticks,
}

/// A type whose values have constants in C.
pub trait Choice: Copy + PartialEq + 'static {
    /// Every value, its constant, and the constant's name. The constants count up from 0.
    const ALL: &'static [(Self, u32, &'static str)];

    /// The constant of this value, and its name.
    fn constant(self) -> (u32, &'static str) {
        Self::ALL.iter().find(|(value, ..)| *value == self).map_or((0, ""), |&(_, n, name)| (n, name))
    }

    /// The value of a constant.
    fn from_constant(constant: u32) -> Option<Self> {
        Self::ALL.iter().find(|(_, n, _)| *n == constant).map(|(value, ..)| *value)
    }
}

macro_rules! choice {
    ($type:ident: $($value:ident = $constant:ident),*) => {
        impl Choice for $type {
            const ALL: &'static [(Self, u32, &'static str)] =
                &[$((Self::$value, $constant, stringify!($constant))),*];
        }
    };
}

choice!(Overflow: DropNewest = PIPELINE_OVERFLOW_DROP_NEWEST, DropOldest = PIPELINE_OVERFLOW_DROP_OLDEST,
    Block = PIPELINE_OVERFLOW_BLOCK);
choice!(Ordering: None = PIPELINE_ORDERING_NONE, PerProducer = PIPELINE_ORDERING_PER_PRODUCER);
choice!(Clock: Auto = PIPELINE_CLOCK_AUTO, Monotonic = PIPELINE_CLOCK_MONOTONIC, Ticks = PIPELINE_CLOCK_TICKS);
choice!(Class: Inherit = PIPELINE_SCHED_INHERIT, Other = PIPELINE_SCHED_OTHER, Batch = PIPELINE_SCHED_BATCH,
    Idle = PIPELINE_SCHED_IDLE, Fifo = PIPELINE_SCHED_FIFO, RoundRobin = PIPELINE_SCHED_RR);
