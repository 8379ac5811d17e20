//! The list of the configuration's fields: the one place where a field is declared.
//!
//! Each entry is `name: type = default, limits, fixed or changes;` below its documentation. From the list follow [`Config`](super::Config),
//! its defaults and checks, `pipeline_config_t` with the conversions between the two (`ffi::config`), the struct in
//! `include/capture_pipeline.h`, and the names and types in the Erlang application (both written by `make header`).
//!
//! - The type is the one in Rust. `ffi::config` says how C has it.
//! - The limits are a range, `..` for any value of the type, or a function of [`checks`](super::checks).
//! - A `fixed` field cannot change while the pipeline runs; one that `changes` can.
//!
//! The order is that of the C struct: a new field goes to the end. Two fields of 32 bits fill one of 64, so that the struct has no gap.

/// Gives the list to the macro `$then`.
macro_rules! config_fields {
    ($then:ident) => {
        $then! {
            /// Must be 0.
            flags: Reserved = Reserved, .., changes;
            /// The pipeline's name in thread names and messages, at most 255 bytes. The text is copied. NULL means "pipeline". Fixed.
            name: String = "pipeline".to_owned(), .., fixed;
            /// The number of writers at the start, 0 to `PIPELINE_MAX_WRITERS`. Default 1. With 0, events are only buffered.
            /// `pipeline_scale` changes the number later. If `max_writers` is not 0, the number is first brought into the range from
            /// `min_writers` to `max_writers`.
            writers: u32 = 1, 0..=PIPELINE_MAX_WRITERS, changes;
            /// The lowest number of writers under autoscaling, 0 to `max_writers`. Default 0. With 0, an idle pipeline has no writer,
            /// and the first event may wait for `poll_interval_ms` (at most 100 ms) until one is started.
            min_writers: u32 = 0, up_to_max_writers, changes;
            /// The highest number of writers under autoscaling, 0 to `PIPELINE_MAX_WRITERS`. Default 0. If it is higher than
            /// `min_writers`, the pipeline chooses the number between the two, until `pipeline_scale` sets both to 0. If the two are
            /// equal, the number is constant. If both are 0, there is no autoscaling.
            ///
            /// The number grows, at most doubling at each step, while events wait and the writers spend their time in calls of the
            /// storage. It does not grow while the pipeline is paused or while every attempt of the storage fails. It does not grow beyond
            /// the calls that can run at once: one if the storage is not `PIPELINE_STORAGE_CONCURRENT`, at most `max_in_flight`, and
            /// with `PIPELINE_ORDERING_PER_PRODUCER` at most one for each ring buffer that holds events. The number shrinks by one at a
            /// time, after a second in which one writer less would have been enough. `pipeline_metrics_t` shows the last decision.
            max_writers: u32 = 0, 0..=PIPELINE_MAX_WRITERS, changes;
            /// A batch is closed when it has this number of events, 1 to 65536. Default 512. It does not apply to storages of this library
            /// that take the records as they lie in the ring buffers; the storage's own description says so.
            batch_size: u32 = 512, 1..=65_536, changes;
            /// A batch is closed when its payloads have this number of bytes, 1 to 2^32. Default 262144. An event that is larger gets a
            /// batch of its own. A storage that takes the records as they lie counts the bytes of whole records, and may ask for
            /// smaller batches.
            batch_bytes: u64 = 262_144, 1..=1 << 32, changes;
            /// Microseconds that a writer waits for a batch to fill, 0 to 60000000. Default 0: the writer takes the events that are
            /// there. It takes events with `PIPELINE_EVENT_PRIORITY` at once, whatever the value.
            linger_us: u64 = 0, 0..=60_000_000, changes;
            /// Milliseconds after which an idle writer looks for events by itself, 1 to 60000. Default 1000. This is only an upper
            /// bound, because captures wake the writers.
            poll_interval_ms: u64 = 1000, 1..=60_000, changes;
            /// The number of batches that may be claimed and not yet settled, 1 to 4096. Default 64. At most two of them are of recovered
            /// events, and one place is never theirs; where that leaves them none, one batch of recovered events comes in addition.
            max_in_flight: u32 = 64, 1..=4096, changes;
            /// The number of batches that may be in doubt (see `storage_deadline_ms`) in addition to those in flight, 0 to 4096.
            /// Default 16. It also limits how many writers are replaced that are stuck in a call without a batch.
            max_in_doubt: u32 = 16, 0..=4096, changes;
            /// The size of each ring buffer in bytes, a power of two from 4096 to 2^32. Default 1048576. Fixed.
            ring_bytes: u64 = 1 << 20, power_of_two, fixed;
            /// The number of ring buffers for capturing threads and producers, 1 to 65536. Default 64. Threads beyond this number
            /// share one more ring buffer. Fixed.
            max_rings: u32 = 64, 1..=65_536, fixed;
            /// The number of additional ring buffers, 0 to 4096. Default 8. Such a ring buffer replaces one that a batch has pinned for
            /// longer than `storage_deadline_ms`. Fixed.
            max_retired_rings: u32 = 8, 0..=4096, fixed;
            /// The largest payload in bytes, 1 to `ring_bytes`/4 - 64. 0 stands for the default: 65536, or that limit if it is smaller.
            /// Fixed.
            max_event_bytes: Option<u64> = None, event_bytes, fixed;
            /// What a capture does when its ring buffer is full, `PIPELINE_OVERFLOW_...`. Default `PIPELINE_OVERFLOW_DROP_NEWEST`.
            overflow: Overflow = Overflow::DropNewest, .., changes;
            /// The order in which events reach the storage, `PIPELINE_ORDERING_...`. Default `PIPELINE_ORDERING_NONE`. Fixed.
            ordering: Ordering = Ordering::None, .., fixed;
            /// With `PIPELINE_OVERFLOW_BLOCK`: the longest time in microseconds that a capture waits for space, 0 to a day
            /// (86400000000). Default 100000.
            block_timeout_us: u64 = 100_000, 0..=DAY_US, changes;
            /// The number of attempts that a batch gets in all, at least 1. Default 100. With the other defaults, `retry_max_age_ms` is
            /// reached first.
            retry_limit: u32 = 100, 1..=u32::MAX, changes;
            /// Must be 0.
            reserved: Reserved = Reserved, .., changes;
            /// Microseconds between the first attempt and the second, 0 to a day (86400000000). Default 1000. The time is doubled from
            /// one attempt to the next. Each wait is shortened at random, by up to half.
            retry_initial_us: u64 = 1_000, 0..=DAY_US, changes;
            /// The longest time in microseconds between two attempts, 0 to a day (86400000000). Default 1000000.
            retry_max_us: u64 = 1_000_000, 0..=DAY_US, changes;
            /// The time in milliseconds after its first attempt from which a failed attempt of a batch is its last one, 0 to 18446744073709. Default 60000.
            retry_max_age_ms: u64 = 60_000, 0..=u64::MAX / 1_000_000, changes;
            /// Milliseconds after which a call of the storage, or the answer to a pending batch, is late, 1 to a day (86400000). Default
            /// 30000. It applies to every function of the storage that a writer calls. From then on `pipeline_health` reports
            /// `PIPELINE_HEALTH_STUCK` and names the function and the writer. If the writer has a batch, the batch is in doubt. If the
            /// storage is `PIPELINE_STORAGE_CONCURRENT`, another writer is started in its place, within the limit `max_in_doubt`. The
            /// call is not interrupted, and its result counts when it returns.
            storage_deadline_ms: u64 = 30_000, 1..=DAY_US / 1000, changes;
            /// Milliseconds that the exit of the process, and the destructor of the C++ wrapper, wait for a pipeline that was not
            /// closed, 0 to a day (86400000). Default 1000. The exit waits for at most 200 milliseconds if there is nothing to store. It
            /// gives up when every attempt of the storage has failed for 200 milliseconds and none is under way. It does not wait if
            /// nothing was ever captured and the writers are idle.
            exit_timeout_ms: u64 = 1_000, 0..=DAY_US / 1000, changes;
            /// The directory for the file that the ring buffers lie in, so that captured events outlive the process. The text is copied. NULL means
            /// that they lie in memory. Fixed.
            ///
            /// `pipeline_start` makes the directory, with the permissions 0700, if it is not there; its parent must be. It must belong to the
            /// process's user, and others may not write to it. It must be on tmpfs (such as /dev/shm) or, with `ring_disk`,
            /// on ext4 or XFS. The whole file is allocated at the start: (`max_rings` + `max_retired_rings` + 1) * (`ring_bytes` + `priority_ring_bytes`) bytes,
            /// and some 1.2 MB. If the file system has less space, `pipeline_start` returns `PIPELINE_ERR_STORAGE`, and `pipeline_last_error` tells which `max_rings`
            /// would fit.
            ///
            /// A pipeline that was closed with all its events stored deletes the file. Otherwise the file stays, with every event that the storage has not
            /// acknowledged, and the next pipeline that starts on the directory stores them (`recovered` of `pipeline_metrics_t`), in the background and under the old
            /// identities. No other process may truncate the file while the pipeline runs. A storage with a `release` must set
            /// `PIPELINE_STORAGE_RELEASE_MARKED`: events that are handles do not outlive the process.
            ring_dir: Option<String> = None, .., fixed;
            /// The number of failed attempts in a row that open the circuit, counted over all batches, with no event stored or rejected
            /// in between. Default 16. 0 means never. While the circuit is open, batches wait. Waiting does not use up their
            /// `retry_limit`, but `retry_max_age_ms` goes on. The storage gets one batch at a time, after a pause that doubles up to
            /// `retry_max_us`. The first batch that is stored or rejected closes the circuit, and all batches go on.
            breaker_failures: u32 = 16, .., changes;
            /// 1: `ring_dir` may be on a disk, with ext4 or XFS. The kernel writes the ring buffers to it from time to time, and a capture may then have to
            /// wait for some milliseconds. Default 0. Fixed.
            ring_disk: u32 = 0, 0..=1, fixed;
            /// The clock that stamps events without a time of their own, `PIPELINE_CLOCK_...`. Default `PIPELINE_CLOCK_AUTO`. Fixed. With
            /// `PIPELINE_CLOCK_TICKS`, `pipeline_start` returns `PIPELINE_ERR_UNSUPPORTED` if the processor's counter is not invariant or
            /// cannot be read. `pipeline_metrics_t` shows the clock in use.
            clock: Clock = Clock::Auto, .., fixed;
            /// The scheduling class of the writers' threads, `PIPELINE_SCHED_...`. Default `PIPELINE_SCHED_INHERIT`. Fixed.
            ///
            /// `pipeline_start` tries this field and the next three on a thread of its own. If the system refuses one of them,
            /// `pipeline_start` returns `PIPELINE_ERR_SYSTEM`, and `pipeline_last_error` names the field. If the system refuses one to a
            /// writer later, the writer works without it, and `pipeline_health` reports `PIPELINE_HEALTH_PLACEMENT`.
            ///
            /// Only the writers' threads are changed. Each writer changes its own thread before it calls the start hook (see
            /// `pipeline_thread_hooks`). That may be after `pipeline_start` has returned. So a program that is about to give up privileges
            /// waits until `pipeline_writer_metrics` shows no writer in the state `PIPELINE_WRITER_OPENING`.
            writer_class: Class = Class::Inherit, .., fixed;
            /// The priority of the writers' threads: 1 to 99 with `PIPELINE_SCHED_FIFO` and `PIPELINE_SCHED_RR`, else 0. Default 0. Fixed.
            writer_priority: u32 = 0, priority, fixed;
            /// The nice value of the writers' threads, -20 to 19. Default 0: that of the thread that starts the writer. It must be 0 with
            /// `PIPELINE_SCHED_IDLE`, `PIPELINE_SCHED_FIFO` and `PIPELINE_SCHED_RR`. Fixed.
            writer_nice: i32 = 0, nice, fixed;
            /// The processors that the writers may use: a list of numbers and ranges as `taskset` takes it, such as "0-3,6". The text is
            /// copied. Default NULL: those of the thread that starts the writer. Fixed.
            writer_cpus: Option<String> = None, processors, fixed;
            /// The time slice in microseconds that the writers' threads ask of the scheduler, 100 to 100000. Default 0: the slice of the
            /// thread that starts the writer. Fixed.
            ///
            /// A thread with a short slice gets the processor sooner, and for a shorter time; its share of the processor is the same. This
            /// matters when no other processor is free: a woken writer then preempts the capturing thread at once, usually for some
            /// microseconds. With the default, the writer may have to wait until the slice of the capturing thread is over, which takes
            /// milliseconds.
            ///
            /// The slice is a request. Linux 6.12 and later follow it, for writers under `SCHED_OTHER`; earlier versions ignore it
            /// without an error. Threads that the storage's functions start inherit the slice. The writers set it by `sched_setattr(2)`. Some
            /// sandboxes kill a process for this call; with 0 it is not made.
            writer_slice_us: u32 = 0, slice, fixed;
            /// The percentage of a ring buffer's size, 1 to 100, from which on a fuller ring buffer raises the pressure at once
            /// (`pipeline_pressure`). Default 75. Below it, writers and the supervisor measure the pressure.
            watermark_percent: u32 = 75, 1..=100, changes;
            /// The age of the oldest event that is not settled, in milliseconds, at which the pressure is 100, 1 to a day (86400000).
            /// Default 5000.
            pressure_age_ms: u64 = 5_000, 1..=DAY_US / 1000, changes;
            /// Adaptive sampling: the number of events that a kept one may stand for at most, a power of two up to 1048576. 0 and 1 mean that
            /// nothing is sampled out. Default 0.
            ///
            /// Sampling begins when a capture would fill its ring buffer beyond `watermark_percent`. From then on the events of a trace
            /// (`correlation_id`) are kept or dropped as a whole, and kept ones have a `weight`. Events without a trace are kept or dropped one by one.
            /// A capture that drops its event for this returns `PIPELINE_SAMPLED`. Events with `PIPELINE_EVENT_PRIORITY` are always kept. With
            /// `PIPELINE_OVERFLOW_DROP_OLDEST`, a full ring buffer is no reason to sample.
            sampling_max_weight: u32 = 0, weight, changes;
            /// The number of traces whose weight is remembered while events are sampled, 64 to 1048576. Default 8192. Each takes 9 bytes, from
            /// the moment at which sampling is first allowed. Fixed.
            sampling_traces: u32 = 8192, 64..=1 << 20, fixed;
            /// The time in milliseconds without an event after which a sampled trace is forgotten, 1 to a day (86400000). Sampling ends when
            /// it has dropped no event for this time. Default 10000.
            sampling_hold_ms: u64 = 10_000, 1..=DAY_US / 1000, changes;
            /// Which traces sampling keeps depends on this number and on their id alone. Pipelines with the same number keep the same traces. Default 0.
            /// Fixed.
            sampling_seed: u64 = 0, .., fixed;
            /// The pipeline's share of the storage calls that `pipeline_limit_calls` permits, 1 to 1000. Default 1. It has no effect without such a
            /// limit.
            share: u32 = 1, 1..=1000, changes;
            /// Must be 0.
            reserved3: Reserved = Reserved, .., changes;
            /// The size in bytes of the second ring buffer that each thread and producer has, for events with `PIPELINE_EVENT_PRIORITY`:
            /// 0, or a power of two from 4096 to 2^32. Default 65536. It is never larger than `ring_bytes`; a higher value counts as
            /// `ring_bytes`. It is mapped together with the first one, at the first capture. Writers store its events before those of the
            /// others. An event whose payload is larger than a quarter of it - 64 goes to the first ring buffer all the same. With 0 there
            /// is no second ring buffer, and events with the flag are events like all others. Fixed.
            priority_ring_bytes: u64 = 1 << 16, power_of_two_or_none, fixed;
        }
    };
}

pub(crate) use config_fields;
