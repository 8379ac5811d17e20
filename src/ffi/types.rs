//! The plain structs that cross the ABI, and nothing else. `struct_size` first, fixed-width fields, append-only.

use crate::batch::BatchView;
use crate::event::EventView;
use std::ffi::{c_char, c_void};

/// `pipeline_config_t.overflow`: a full ring buffer drops the new event (counted as `dropped_full`).
pub const PIPELINE_OVERFLOW_DROP_NEWEST: u32 = 0;
/// `pipeline_config_t.overflow`: a full ring buffer overwrites its oldest event that no writer has claimed (counted
/// as `overwritten`); if its oldest events are claimed, the new one is dropped.
pub const PIPELINE_OVERFLOW_DROP_OLDEST: u32 = 1;
/// `pipeline_config_t.overflow`: a capture into a full ring buffer waits for space, for at most `block_timeout_us`; then the
/// new event is dropped. Captures on the library's own threads never wait.
pub const PIPELINE_OVERFLOW_BLOCK: u32 = 2;

/// `pipeline_config_t.ordering`: batches may be stored in parallel and may span ring buffers.
pub const PIPELINE_ORDERING_NONE: u32 = 0;
/// `pipeline_config_t.ordering`: the events of one ring buffer reach the storage in order, one batch at a time.
pub const PIPELINE_ORDERING_PER_PRODUCER: u32 = 1;

/// `pipeline_config_t.writer_class`: that of the thread that starts the writer.
pub const PIPELINE_SCHED_INHERIT: u32 = 0;
/// `pipeline_config_t.writer_class`: `SCHED_OTHER`, the usual one.
pub const PIPELINE_SCHED_OTHER: u32 = 1;
/// `pipeline_config_t.writer_class`: `SCHED_BATCH`. A writer that wakes up finds a free processor or waits; it does not interrupt the
/// thread whose capture has woken it.
pub const PIPELINE_SCHED_BATCH: u32 = 2;
/// `pipeline_config_t.writer_class`: `SCHED_IDLE`. Writers use what nobody else does.
pub const PIPELINE_SCHED_IDLE: u32 = 3;
/// `pipeline_config_t.writer_class`: `SCHED_FIFO`, with `writer_priority`; takes a privilege (`RLIMIT_RTPRIO`, `CAP_SYS_NICE`). What a
/// storage's function forks or starts as a thread does not inherit it.
pub const PIPELINE_SCHED_FIFO: u32 = 4;
/// `pipeline_config_t.writer_class`: `SCHED_RR`, likewise.
pub const PIPELINE_SCHED_RR: u32 = 5;

/// How a pipeline is to work. `pipeline_config_init` writes every default, so that zero is a value like any other.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_config_t {
    /// `sizeof(pipeline_config_t)` of the caller.
    pub struct_size: u32,
    /// Must be 0.
    pub flags: u32,
    /// Name of the pipeline in thread names and messages; copied. NULL: "pipeline". Fixed.
    pub name: *const c_char,
    /// Writers at the start, 0 to `PIPELINE_MAX_WRITERS`; 0 only buffers. Default 1. Later: `pipeline_scale`. If `max_writers`
    /// is not 0: with how many to begin; a number outside of `min_writers` and `max_writers` is brought to the nearer one.
    pub writers: u32,
    /// The fewest writers under autoscaling, 0 to `max_writers`. Default 0. With 0 an idle pipeline has no writer, and a first
    /// event may lie for `poll_interval_ms` (100 ms at most) before there is one.
    pub min_writers: u32,
    /// The most writers under autoscaling, 0 to `PIPELINE_MAX_WRITERS`. Default 0. More than `min_writers`: the pipeline scales
    /// itself between the two, until `pipeline_scale` sets both to 0. Equal to it: that many writers, always. Both 0: no
    /// autoscaling.
    ///
    /// It grows, up to doubling each time, while events wait and the writers spend their time in calls of the storage; not while
    /// the pipeline is paused, nor while the storage fails every attempt, nor beyond the calls that can run at once:
    /// one if the storage is not `PIPELINE_STORAGE_CONCURRENT`, `max_in_flight`, and with `PIPELINE_ORDERING_PER_PRODUCER` the
    /// ring buffers that hold events. It shrinks by one at a time after a second in which one less would have been enough.
    /// `pipeline_metrics_t` has the last decision.
    pub max_writers: u32,
    /// Events at which a batch closes, 1 to 65536. Default 512.
    pub batch_size: u32,
    /// Payload bytes at which a batch closes, 1 to 2^32; an event that is larger goes alone. Default 262144.
    pub batch_bytes: u64,
    /// Microseconds that a writer waits for a batch to fill, at most 60000000. Default 0: it takes what there is.
    pub linger_us: u64,
    /// Milliseconds after which a writer looks for events unwoken, 1 to 60000. Default 1000. A bound, not the mechanism:
    /// a capture wakes the writers.
    pub poll_interval_ms: u64,
    /// Batches that may be claimed and not yet settled, 1 to 4096. Default 64.
    pub max_in_flight: u32,
    /// Batches that may be in doubt (see `storage_deadline_ms`) beside those in flight, 0 to 4096. Default 16.
    pub max_in_doubt: u32,
    /// Bytes of each ring buffer, a power of two from 4096 to 2^32. Default 1048576. Fixed.
    pub ring_bytes: u64,
    /// Ring buffers for capturing threads and producer handles, 1 to 65536; beside them there is one that is
    /// shared by threads past that number. Default 64. Fixed.
    pub max_rings: u32,
    /// Ring buffers beside those, to replace ones that a batch pins for longer than `storage_deadline_ms`,
    /// 0 to 4096. Default 8. Fixed.
    pub max_retired_rings: u32,
    /// The largest payload in bytes, at most `ring_bytes`/4 - 64. Default 65536, or that limit if it is smaller. Fixed.
    pub max_event_bytes: u64,
    /// `PIPELINE_OVERFLOW_...`. Default `PIPELINE_OVERFLOW_DROP_NEWEST`.
    pub overflow: u32,
    /// `PIPELINE_ORDERING_...`. Default `PIPELINE_ORDERING_NONE`. Fixed.
    pub ordering: u32,
    /// With `PIPELINE_OVERFLOW_BLOCK`: microseconds that a capture waits at most, 0 to a
    /// day (86400000000). Default 100000.
    pub block_timeout_us: u64,
    /// Attempts that a batch gets in all, at least 1. Default 100 (with the other defaults, `retry_max_age_ms` comes first).
    pub retry_limit: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Microseconds before the second attempt; doubled from one to the next, each shortened by up to half at random.
    /// At most a day. Default 1000.
    pub retry_initial_us: u64,
    /// Microseconds that such a wait is at most; at most a day. Default 1000000.
    pub retry_max_us: u64,
    /// Milliseconds after its first attempt from which a batch is not tried again, at most 2^64 / 10^6. Default
    /// 60000.
    pub retry_max_age_ms: u64,
    /// Milliseconds after which a storage call or a pending answer puts its batch in doubt, 1 to a day
    /// (86400000). Default 30000.
    pub storage_deadline_ms: u64,
    /// Milliseconds that the exit of the process waits for a pipeline that was not closed, at most a day.
    /// Default 1000.
    pub exit_timeout_ms: u64,
    /// Reserved for ring buffers in files; must be NULL.
    pub ring_dir: *const c_char,
    /// Attempts in a row, over all batches, that open the circuit: failed ones, with nothing stored or rejected in between.
    /// From then on batches wait, without using up their `retry_limit` (`retry_max_age_ms` goes on), and the storage is given one of
    /// them at a time, after a pause that doubles up to `retry_max_us`. The first that is stored or rejected closes
    /// the circuit, and all go on. 0: never. Default 16.
    pub breaker_failures: u32,
    /// Must be 0.
    pub reserved2: u32,
    /// What stamps events that do not bring their own time, `PIPELINE_CLOCK_...`. Default `PIPELINE_CLOCK_AUTO`. Fixed.
    /// `PIPELINE_CLOCK_TICKS` is `PIPELINE_ERR_UNSUPPORTED` at the start where the processor's counter is not invariant or may not be read.
    /// `pipeline_metrics_t` has the clock in use.
    pub clock: u32,
    /// The scheduling class of the writers' threads, `PIPELINE_SCHED_...`. Default `PIPELINE_SCHED_INHERIT`. Fixed. This and the next
    /// three are tried at the start, on a thread of its own: what the system refuses is `PIPELINE_ERR_SYSTEM`, and
    /// `pipeline_last_error` names the field. A writer that is refused it later works all the same, as health then says
    /// (`PIPELINE_HEALTH_PLACEMENT`). No thread but the writers' is touched; they set it themselves, before the start hook: maybe
    /// after `pipeline_start` has returned, so who is about to give up privileges waits until `pipeline_writer_metrics` shows none in
    /// `PIPELINE_WRITER_OPENING`.
    pub writer_class: u32,
    /// With `PIPELINE_SCHED_FIFO` and `PIPELINE_SCHED_RR`: their priority, 1 to 99. Else 0. Default 0. Fixed.
    pub writer_priority: u32,
    /// The nice value of the writers' threads, -20 to 19; 0 leaves it as it is in the thread that starts them, and is all that is
    /// allowed with `PIPELINE_SCHED_IDLE`, `PIPELINE_SCHED_FIFO`, `PIPELINE_SCHED_RR`. Default 0. Fixed.
    pub writer_nice: i32,
    /// The processors that the writers may use: a list of numbers and ranges as `taskset` takes it, "0-3,6"; copied. NULL: those of
    /// the thread that starts them. Default NULL. Fixed.
    pub writer_cpus: *const c_char,
    /// Microseconds for which a writer's thread asks the scheduler at a time, 100 to 100000; 0 leaves that as it is in the
    /// thread that starts it. With shorter slices than others a thread gets the processor sooner and for less, not more of it in all. So where no other
    /// processor is free, a writer takes over from the thread whose capture has woken it at once, as a rule for some microseconds;
    /// otherwise it may wait for as long as that thread's own slice, which is milliseconds. A wish: heard by Linux 6.12 and later,
    /// for writers under `SCHED_OTHER`; nothing refuses it, and threads that a storage's function starts inherit it. It takes
    /// `sched_setattr(2)`, which some sandboxes end a process for; with 0 that is not called. Default 0. Fixed.
    pub writer_slice_us: u32,
    /// Must be 0.
    pub reserved3: u32,
}

/// Where the events go: the caller's functions. Called on writer threads only, with no lock of the library held. They
/// must not throw, longjmp or end their thread.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pipeline_storage_t {
    /// `sizeof(pipeline_storage_t)` of the caller.
    pub struct_size: u32,
    /// `PIPELINE_STORAGE_...`, or 0. Without `PIPELINE_STORAGE_CONCURRENT`, `store`, `flush` and `dead_letter` never overlap.
    pub flags: u32,
    /// Handed to every function below.
    pub user_data: *mut c_void,
    /// Keeps a batch. Required. Answers `PIPELINE_STORE_...`; any other value counts as `PIPELINE_STORE_RETRY`, and in
    /// `bad_results`. The batch is valid until the call returns, or, with `PIPELINE_STORE_PENDING`, until its token is
    /// completed.
    pub store: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void, batch: *const BatchView) -> i32>,
    /// A writer begins, on its own thread; what it puts in `writer_data` comes with each of its batches. Other than
    /// 0: the writer tries again later. May be NULL.
    pub open_writer: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            writer_id: u32,
            writer_data: *mut *mut c_void,
        ) -> i32,
    >,
    /// A writer ends, on its own thread, if `open_writer` had answered 0. May be NULL.
    pub close_writer:
        Option<unsafe extern "C-unwind" fn(user_data: *mut c_void, writer_id: u32, writer_data: *mut c_void)>,
    /// Makes durable what was stored, within `timeout_ms` (-1: no limit); 0, or a negative status for the
    /// caller of `pipeline_flush`. May be NULL.
    pub flush: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void, timeout_ms: i64) -> i32>,
    /// Takes events that cannot be stored, with a `PIPELINE_REASON_...`. 0: they are kept (`dead_lettered`);
    /// `PIPELINE_STORE_REJECT`: they are not (`discarded`); any other: it is asked again, within the retry budget. May be
    /// NULL: they are discarded.
    pub dead_letter: Option<
        unsafe extern "C-unwind" fn(user_data: *mut c_void, batch: *const BatchView, reason: i32) -> i32,
    >,
    /// Called exactly once for every captured event (with `PIPELINE_STORAGE_RELEASE_MARKED`: for every one that has
    /// `PIPELINE_EVENT_RELEASE`) when it leaves the pipeline, whichever way; for payloads that are
    /// handles. On writer threads, on those that `destroy` may come on, and with `PIPELINE_STORAGE_RELEASE_ANYWHERE` on
    /// threads that capture. May be NULL.
    pub release: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void, event: *const EventView)>,
    /// The pipeline needs the storage no longer: called exactly once after everything else, also when `pipeline_start`
    /// fails (once it has accepted the `struct_size`). On the thread of `pipeline_start`, of
    /// `pipeline_destroy`, or, after `pipeline_abandon`, on whichever was the last to hold the pipeline. May be NULL.
    pub destroy: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void)>,
}

/// The figures of a pipeline. The ledger comes first:
/// `offered` = `captured` + all `dropped_...` + all `refused_...`, and
/// `captured` + `recovered` = `stored` + `filtered` + `dead_lettered` + `discarded` + `overwritten` + `buffered` +
/// `in_flight` + `in_doubt` + `left`, exactly, whenever nothing is in motion.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_metrics_t {
    /// `sizeof(pipeline_metrics_t)` of the caller, set before the call.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Events that captures were asked to take.
    pub offered: u64,
    /// Events copied into a ring buffer.
    pub captured: u64,
    /// Events found in the ring files of a process that died. 0 so far.
    pub recovered: u64,
    /// Dropped: the ring buffer was full.
    pub dropped_full: u64,
    /// Dropped: sampled out. 0 so far.
    pub dropped_sampled: u64,
    /// Dropped by a rule. 0 so far.
    pub dropped_rule: u64,
    /// Refused: larger than `max_event_bytes`.
    pub refused_too_large: u64,
    /// Refused: the pipeline was closed.
    pub refused_closed: u64,
    /// Refused: an argument was invalid.
    pub refused_invalid: u64,
    /// Refused: the ring buffer was in use by an interrupted capture, a reservation, or (shared) other threads.
    pub refused_busy: u64,
    /// Refused: there was no ring buffer.
    pub refused_no_ring: u64,
    /// Acknowledged by the storage.
    pub stored: u64,
    /// Filtered by a transform. 0 so far.
    pub filtered: u64,
    /// Kept by the dead letter.
    pub dead_lettered: u64,
    /// Given up: rejected or tried too often, and not kept by a dead letter.
    pub discarded: u64,
    /// Overwritten by newer events (`PIPELINE_OVERFLOW_DROP_OLDEST`).
    pub overwritten: u64,
    /// In a ring buffer, not claimed by a writer.
    pub buffered: u64,
    /// Claimed, and not settled: being stored, awaiting a pending answer or the next attempt.
    pub in_flight: u64,
    /// The same, but past `storage_deadline_ms`.
    pub in_doubt: u64,
    /// Left unclaimed in the ring buffers by close or abandon.
    pub left: u64,
    /// Torn records found by a recovery. 0 so far.
    pub torn: u64,
    /// Batches settled.
    pub batches: u64,
    /// Attempts after the first, of batches and dead letters.
    pub retries: u64,
    /// Answers of the storage that are none.
    pub bad_results: u64,
    /// Writers that had to be replaced.
    pub writer_restarts: u64,
    /// Writers that there should be.
    pub writers_target: u64,
    /// Writers that there are.
    pub writers_live: u64,
    /// Writers in a call of the storage for longer than `storage_deadline_ms`.
    pub writers_stuck: u64,
    /// Ring buffers of threads and producer handles in use, those included that are only being drained.
    pub rings: u64,
    /// Ring buffers retired behind a batch that does not settle.
    pub rings_retired: u64,
    /// Bytes in ring buffers that wait to be released, record headers included.
    pub backlog_bytes: u64,
    /// Nanoseconds since the oldest event that waits was captured (own-time events not considered).
    pub oldest_age_ns: u64,
    /// Payload bytes captured.
    pub bytes_captured: u64,
    /// Payload bytes stored.
    pub bytes_stored: u64,
    /// Nanoseconds from capture to acknowledgement, 50th percentile (own-time events not considered; exact to 1/16).
    pub latency_p50_ns: u64,
    /// The 99th percentile.
    pub latency_p99_ns: u64,
    /// The 99.9th percentile.
    pub latency_p999_ns: u64,
    /// The longest.
    pub latency_max_ns: u64,
    /// Nanoseconds since the start.
    pub uptime_ns: u64,
    /// Events captured per second, over the time since a snapshot one to a few seconds ago (or the start).
    pub capture_rate: f64,
    /// Events stored per second, likewise.
    pub store_rate: f64,
    /// How often autoscaling has added writers.
    pub scale_ups: u64,
    /// How often autoscaling has taken one away.
    pub scale_downs: u64,
    /// 1 while the pipeline scales itself (`min_writers` below `max_writers`), else 0.
    pub autoscaling: u32,
    /// Why the number of writers was last changed, `PIPELINE_SCALE_...`.
    pub scale_reason: u32,
    /// What `writers_target` was before that.
    pub scale_from: u32,
    /// What it was after.
    pub scale_to: u32,
    /// What `uptime_ns` was then; 0 if it has never changed.
    pub scale_at_ns: u64,
    /// `PIPELINE_CIRCUIT_...`; see `breaker_failures`.
    pub circuit: u64,
    /// How often the circuit has opened.
    pub circuit_openings: u64,
    /// Attempts made as probes while it was not closed.
    pub circuit_probes: u64,
    /// Calls in which a storage that is written in Rust panicked; each counts as answered with `PIPELINE_STORE_RETRY`.
    pub panics: u64,
    /// What stamps events at present: `PIPELINE_CLOCK_MONOTONIC` or `PIPELINE_CLOCK_TICKS`. Should the processor's counter turn out to
    /// be no clock (it went back), the former takes over.
    pub clock: u32,
    /// 0.
    pub reserved2: u32,
}

/// The figures of one writer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_writer_metrics_t {
    /// `sizeof(pipeline_writer_metrics_t)` of the caller, set before the call.
    pub struct_size: u32,
    /// The writer's id; not reused while its thread lives.
    pub writer_id: u32,
    /// `PIPELINE_WRITER_...`.
    pub state: u32,
    /// The thread's id as the operating system has it.
    pub thread_id: u32,
    /// Attempts it made, of batches and dead letters.
    pub attempts: u64,
    /// Events that it handed to the storage and that were acknowledged at once.
    pub events: u64,
    /// Payload bytes of those.
    pub bytes: u64,
    /// Attempts answered with a retry.
    pub retries: u64,
    /// Nanoseconds spent in calls of the storage.
    pub call_ns: u64,
    /// Nanoseconds that the present call has taken; 0 outside one.
    pub in_call_ns: u64,
    /// Writers with this id that had to be replaced; the other figures began anew each time, those that follow did not.
    pub restarts: u64,
    /// Answers to writers with this id that are none.
    pub bad_results: u64,
    /// Calls by writers with this id in which the storage panicked.
    pub panics: u64,
}

/// How a pipeline fares.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_health_t {
    /// `sizeof(pipeline_health_t)` of the caller, set before the call.
    pub struct_size: u32,
    /// `PIPELINE_HEALTHY`, `PIPELINE_DEGRADED` or `PIPELINE_FAILING`.
    pub status: u32,
    /// `PIPELINE_HEALTH_...` bits.
    pub reasons: u32,
    /// Writers that there are.
    pub writers_live: u32,
    /// Writers stuck in a call of the storage.
    pub writers_stuck: u32,
    /// Batches that wait for their next attempt.
    pub batches_retrying: u32,
    /// The reasons in words, the gravest first: which writers, which batches, for how long. NUL-terminated; what does
    /// not fit ends in "...". For people: the wording may change.
    pub message: [c_char; 256],
    /// `PIPELINE_CIRCUIT_...`.
    pub circuit: u32,
    /// What the last call did that it must not, `PIPELINE_FAULT_...`.
    pub fault: u32,
    /// The writer that made it.
    pub fault_writer: u32,
    /// With `PIPELINE_FAULT_ANSWER`: the answer.
    pub fault_answer: i32,
    /// The batch that it was made with; 0: none.
    pub fault_batch: u64,
    /// Nanoseconds since.
    pub fault_age_ns: u64,
    /// How many such calls there were: `writer_restarts`, `panics` and `bad_results` together.
    pub faults: u64,
    /// Nanoseconds that the longest call or pending answer past `storage_deadline_ms` has taken; 0: there is none.
    pub stuck_ns: u64,
    /// The batch that it holds; 0: none.
    pub stuck_batch: u64,
    /// The writer that is in the call, or that has handed over the batch.
    pub stuck_writer: u32,
    /// 0.
    pub reserved: u32,
}
