//! The metrics and the health of a pipeline: the one place where a metric is declared.
//!
//! Each list gives a struct in Rust and the same one in C, in the order of the list. A field under `own` is in both, and the pool sets it. A
//! field under `from` is in C alone, and is computed from the Rust struct `m`, which has the parts named at the head of the list. From the
//! C structs follow those in `include/capture_pipeline.h` and the names in the Erlang application (both written by `make header`).
//!
//! A new field goes to the end of its list. Two fields of 32 bits fill one of 64, so that the struct has no gap.

mod figures;
mod words;

pub use figures::{Condition, Figures};

use crate::config::{Choice, Clock};
use crate::latency::Percentiles;
use crate::ledger::Ledger;
use std::ffi::c_char;
use words::Word;

macro_rules! list {
    (
        $(#[$meta:meta])*
        $rust:ident as $c:ident, $m:ident with { $($part:ident: $part_type:ty),* }
        $(
            from { $($(#[$from_doc:meta])* $from:ident: $from_type:ty = $value:expr;)* }
            own { $($(#[$own_doc:meta])* $own:ident: $own_type:ty;)* }
        )*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        #[allow(missing_docs)] // the parts are documented at their types
        pub struct $rust {
            $(pub $part: $part_type,)*
            $($($(#[$own_doc])* pub $own: $own_type,)*)*
        }

        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct $c {
            /// Its `sizeof` in the caller's program. The caller sets it.
            pub struct_size: u32,
            $(
                $($(#[$from_doc])* pub $from: $from_type,)*
                $($(#[$own_doc])* pub $own: $own_type,)*
            )*
        }

        impl From<&$rust> for $c {
            fn from($m: &$rust) -> Self {
                Self { struct_size: 0, $($($from: $value,)* $($own: $m.$own,)*)* }
            }
        }

        impl $c {
            /// How many members it has behind its size.
            pub const MEMBERS: usize = [$($(stringify!($from),)* $(stringify!($own),)*)*].len();

            /// The members behind its size, each as a word, in their order. A text has the word 0.
            pub fn words(&self) -> [u64; Self::MEMBERS] {
                [$($(self.$from.to_word(),)* $(self.$own.to_word(),)*)*]
            }

            /// The struct of such words. Members without a word are 0.
            pub fn from_words(words: impl IntoIterator<Item = u64>) -> Self {
                let mut words = words.into_iter();
                let mut next = || words.next().unwrap_or(0);
                Self {
                    struct_size: 0,
                    $($($from: <$from_type>::from_word(next()),)* $($own: <$own_type>::from_word(next()),)*)*
                }
            }
        }
    };
}

list! {
    /// The metrics of a pipeline. The first ones are the ledger, which accounts for every event. Whenever no event is in motion,
    /// exactly: `offered` = `captured` + all `dropped_...` + all `refused_...`, and `captured` + `recovered` = `stored` + `filtered` +
    /// `dead_lettered` + `discarded` + `overwritten` + `buffered` + `in_flight` + `in_doubt` + `left`.
    Metrics as pipeline_metrics_t, m with { ledger: Ledger, latency: Percentiles, scaling: Scaling, clock: Clock }
    from {
        /// 0.
        reserved: u32 = 0;
        /// Events that captures were asked to take.
        offered: u64 = m.ledger.offered();
        /// Events copied into a ring buffer.
        captured: u64 = m.ledger.captured;
        /// Events of runs that have ended, which writers have taken over from their ring files. What waits in those files is in no count.
        recovered: u64 = m.ledger.recovered;
        /// Events dropped because the ring buffer was full.
        dropped_full: u64 = m.ledger.dropped_full;
        /// Events dropped by sampling (`pipeline_config_t.sampling_max_weight`).
        dropped_sampled: u64 = m.ledger.dropped_sampled;
        /// Events dropped by a rule (`pipeline_rules_set`).
        dropped_rule: u64 = m.ledger.dropped_rule;
        /// Events refused because they are larger than `max_event_bytes`.
        refused_too_large: u64 = m.ledger.refused_too_large;
        /// Events refused because the pipeline was closed.
        refused_closed: u64 = m.ledger.refused_closed;
        /// Events refused because an argument was invalid.
        refused_invalid: u64 = m.ledger.refused_invalid;
        /// Events refused because the ring buffer was in use: by an interrupted capture, by a reservation, or (the shared ring buffer)
        /// by other threads.
        refused_busy: u64 = m.ledger.refused_busy;
        /// Events refused because there was no ring buffer.
        refused_no_ring: u64 = m.ledger.refused_no_ring;
        /// Events acknowledged by the storage.
        stored: u64 = m.ledger.stored;
        /// Events filtered by a transform.
        filtered: u64 = m.ledger.filtered;
        /// Events kept by the storage's `dead_letter`.
        dead_lettered: u64 = m.ledger.dead_lettered;
        /// Events given up: rejected or tried too often, and not kept by `dead_letter`.
        discarded: u64 = m.ledger.discarded;
        /// Events overwritten by newer ones (`PIPELINE_OVERFLOW_DROP_OLDEST`).
        overwritten: u64 = m.ledger.overwritten;
        /// Events in a ring buffer that no writer has claimed.
        buffered: u64 = m.ledger.buffered;
        /// Events claimed and not settled: their batch is being stored, or waits for a pending answer or for its next attempt.
        in_flight: u64 = m.ledger.in_flight;
        /// Events claimed and not settled, whose batch has been with the storage for longer than `storage_deadline_ms`.
        in_doubt: u64 = m.ledger.in_doubt;
        /// Events that were left in the ring buffers, unclaimed, when the pipeline was closed or abandoned, and those of batches that no
        /// writer tries again. Recovered ones among them are still in their ring file, and are delivered by a later recovery.
        left: u64 = m.ledger.left;
        /// Damaged records that were found in the ring files of runs that have ended. A process that is killed leaves none.
        torn: u64 = m.ledger.torn;
    }
    own {
        /// Batches settled.
        batches: u64;
        /// Attempts after the first, of batches and of dead letters.
        retries: u64;
        /// Calls of the storage that returned a value which is not allowed.
        bad_results: u64;
        /// Writers that were replaced because their thread ended.
        writer_restarts: u64;
        /// The number of writers that there should be.
        writers_target: u64;
        /// The number of writers that there are.
        writers_live: u64;
        /// Writers in a call of the storage for longer than `storage_deadline_ms`.
        writers_stuck: u64;
        /// Ring buffers of threads and producers in use. Those that are only being drained are included. A thread's or producer's priority ring buffer is
        /// not counted beside its other one.
        rings: u64;
        /// Ring buffers retired behind a batch that does not settle, priority ring buffers included.
        rings_retired: u64;
        /// Bytes in ring buffers that wait to be released, with the headers of the records.
        backlog_bytes: u64;
        /// Nanoseconds since the capture of the oldest event that waits. Events with a time of their own are not considered.
        oldest_age_ns: u64;
        /// Payload bytes captured.
        bytes_captured: u64;
        /// Payload bytes stored.
        bytes_stored: u64;
    }
    from {
        /// Nanoseconds from the capture of an event to its acknowledgement: the 50th percentile, exact to 1/16. Events with a time of
        /// their own are not considered.
        latency_p50_ns: u64 = m.latency.p50;
        /// The same: the 99th percentile.
        latency_p99_ns: u64 = m.latency.p99;
        /// The same: the 99.9th percentile.
        latency_p999_ns: u64 = m.latency.p999;
        /// The same: the longest.
        latency_max_ns: u64 = m.latency.max;
    }
    own {
        /// Nanoseconds since the start.
        uptime_ns: u64;
        /// Events captured per second, since a moment that is one to a few seconds ago (or since the start).
        capture_rate: f64;
        /// Events stored per second, since the same moment.
        store_rate: f64;
    }
    from {
        /// How often autoscaling has added writers.
        scale_ups: u64 = m.scaling.ups;
        /// How often autoscaling has taken a writer away.
        scale_downs: u64 = m.scaling.downs;
        /// 1 while the pipeline scales itself (`min_writers` below `max_writers`), else 0.
        autoscaling: u32 = m.scaling.autoscaling.into();
        /// The reason of the last change of the number of writers, `PIPELINE_SCALE_...`.
        scale_reason: u32 = m.scaling.reason;
        /// `writers_target` before that change.
        scale_from: u32 = m.scaling.from;
        /// `writers_target` after that change.
        scale_to: u32 = m.scaling.to;
        /// `uptime_ns` at that change; 0 if the number has never changed.
        scale_at_ns: u64 = m.scaling.at_ns;
    }
    own {
        /// The state of the circuit, `PIPELINE_CIRCUIT_...`; see `breaker_failures`.
        circuit: u64;
        /// How often the circuit has opened.
        circuit_openings: u64;
        /// Attempts made as probes while the circuit was not closed.
        circuit_probes: u64;
        /// Calls in which a storage that is written in Rust panicked. Each counts as `PIPELINE_STORE_RETRY`.
        panics: u64;
    }
    from {
        /// The clock that stamps events at present, `PIPELINE_CLOCK_MONOTONIC` or `PIPELINE_CLOCK_TICKS`. If the processor's counter goes
        /// back, it is not used any more, and CLOCK_MONOTONIC takes over.
        clock: u32 = m.clock.constant().0;
    }
    own {
        /// The pressure, 0 to 100, as `pipeline_pressure` returns it.
        pressure: u32;
        /// The weight that a new trace gets at present (`pipeline_config_t.sampling_max_weight`). 1 while nothing is sampled out.
        sampling_weight: u32;
        /// 1 while sampling is in effect: new traces may all be kept by then, but those that were sampled out still are. 0 otherwise.
        sampling: u32;
        /// The weights of the captured events, added up. The sum estimates `captured` + `dropped_sampled`.
        weight_captured: u64;
        /// Sampled events for whose trace there was no place in the table (`pipeline_config_t.sampling_traces`). Each was decided by the weight of
        /// its moment.
        traces_untracked: u64;
        /// Events rewritten by a transform.
        transformed: u64;
        /// Events that a transform left as they were because it returned a value that is not allowed, set what no event may have, or ended
        /// its thread.
        transform_faults: u64;
        /// How often the pipeline had work for another call of its storage and began to wait for a permit (`pipeline_limit_calls`).
        permit_waits: u64;
    }
    from {
        /// Events that captures were asked to put into a priority ring buffer: those with `PIPELINE_EVENT_PRIORITY` that are not too large for it. Each
        /// of the counts `..._priority` is a part of the one without that ending. They are a ledger of their own: `offered_priority` =
        /// `captured_priority` + all `dropped_..._priority` + `refused_priority`, and `captured_priority` is the sum of the other nine.
        offered_priority: u64 = m.ledger.priority.offered();
        /// Events copied into a priority ring buffer.
        captured_priority: u64 = m.ledger.priority.captured;
        /// Events dropped because the priority ring buffer was full.
        dropped_full_priority: u64 = m.ledger.priority.dropped_full;
        /// Events with priority dropped by sampling: by the rate of a rule.
        dropped_sampled_priority: u64 = m.ledger.priority.dropped_sampled;
        /// Events with priority dropped by a rule.
        dropped_rule_priority: u64 = m.ledger.priority.dropped_rule;
        /// Events that were to go to a priority ring buffer and were refused, for any reason.
        refused_priority: u64 = m.ledger.priority.refused;
        /// Events of priority ring buffers acknowledged by the storage.
        stored_priority: u64 = m.ledger.priority.stored;
        /// Events of priority ring buffers filtered by a transform.
        filtered_priority: u64 = m.ledger.priority.filtered;
        /// Events of priority ring buffers kept by the storage's `dead_letter`.
        dead_lettered_priority: u64 = m.ledger.priority.dead_lettered;
        /// Events of priority ring buffers given up.
        discarded_priority: u64 = m.ledger.priority.discarded;
        /// Events of priority ring buffers overwritten by newer ones with priority.
        overwritten_priority: u64 = m.ledger.priority.overwritten;
        /// Events in a priority ring buffer that no writer has claimed.
        buffered_priority: u64 = m.ledger.priority.buffered;
        /// Events of priority ring buffers claimed and not settled.
        in_flight_priority: u64 = m.ledger.priority.in_flight;
        /// Events of priority ring buffers claimed and not settled, whose batch has been with the storage for longer than
        /// `storage_deadline_ms`.
        in_doubt_priority: u64 = m.ledger.priority.in_doubt;
        /// Events that were left in the priority ring buffers, unclaimed, when the pipeline was closed or abandoned.
        left_priority: u64 = m.ledger.priority.left;
    }
    own {}
}

list! {
    /// The metrics of one writer.
    WriterMetrics as pipeline_writer_metrics_t, m with {}
    from {}
    own {
        /// The writer's id. It is not used again while its thread lives.
        writer_id: u32;
        /// What the writer does, `PIPELINE_WRITER_...`.
        state: u32;
        /// The id of the thread in the operating system.
        thread_id: u32;
        /// The writer's attempts, of batches and of dead letters.
        attempts: u64;
        /// Events that the writer gave to the storage and that were acknowledged at once.
        events: u64;
        /// Payload bytes of those events.
        bytes: u64;
        /// Attempts after which the batch is tried again.
        retries: u64;
        /// Nanoseconds in calls of the storage.
        call_ns: u64;
        /// Nanoseconds that the present call of the storage has taken; 0 if there is none.
        in_call_ns: u64;
        /// How often a writer with this id was replaced. The metrics above began again at 0 each time. This one and the next two did not.
        restarts: u64;
        /// Calls of the storage by writers with this id that returned a value which is not allowed.
        bad_results: u64;
        /// Calls of the storage by writers with this id in which the storage panicked.
        panics: u64;
    }
}

list! {
    /// The health of a pipeline.
    Health as pipeline_health_t, m with { message: String }
    from {}
    own {
        /// `PIPELINE_HEALTHY`, `PIPELINE_DEGRADED` or `PIPELINE_FAILING`.
        status: u32;
        /// The reasons for it, bits `PIPELINE_HEALTH_...`.
        reasons: u32;
        /// The number of writers that there are.
        writers_live: u32;
        /// Writers stuck in a call of the storage.
        writers_stuck: u32;
        /// Batches that wait for their next attempt.
        batches_retrying: u32;
    }
    from {
        /// The reasons in words, the gravest first: the writers, the batches and the times. It is NUL-terminated. A text that is too long
        /// is cut and ends in "...". It is for people; the wording may change.
        message: [c_char; 256] = in_buffer(&m.message);
    }
    own {
        /// The state of the circuit, `PIPELINE_CIRCUIT_...`.
        circuit: u32;
        /// The last fault of the storage, `PIPELINE_FAULT_...`.
        fault: u32;
        /// The writer that made the call with that fault.
        fault_writer: u32;
        /// With `PIPELINE_FAULT_ANSWER`: the value that the storage returned.
        fault_answer: i32;
        /// The batch of that call; 0 if it had none.
        fault_batch: u64;
        /// Nanoseconds since that call.
        fault_age_ns: u64;
        /// The number of faults: `writer_restarts`, `panics` and `bad_results` together.
        faults: u64;
        /// The time in nanoseconds of the longest call or pending answer past `storage_deadline_ms`; 0 if there is none.
        stuck_ns: u64;
        /// The batch of that call or answer; 0 if it has none.
        stuck_batch: u64;
        /// The writer of that call, or the one that gave the batch to the storage.
        stuck_writer: u32;
    }
    from {
        /// 0.
        reserved: u32 = 0;
    }
    own {}
}

/// What autoscaling has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scaling {
    /// Whether the pipeline scales itself.
    pub autoscaling: bool,
    /// How often it has added writers.
    pub ups: u64,
    /// How often it has taken a writer away.
    pub downs: u64,
    /// The target before the last change.
    pub from: u32,
    /// The target after it.
    pub to: u32,
    /// Its reason, `PIPELINE_SCALE_...`.
    pub reason: u32,
    /// The time since the start at which it was made; 0 if there was none.
    pub at_ns: u64,
}

/// `pipeline_writer_metrics_t.state`: the writer looks for events.
pub const PIPELINE_WRITER_SEARCHING: u32 = 0;
/// `pipeline_writer_metrics_t.state`: the writer sleeps until there are events.
pub const PIPELINE_WRITER_ASLEEP: u32 = 1;
/// `pipeline_writer_metrics_t.state`: the writer is in a call of the storage.
pub const PIPELINE_WRITER_IN_CALL: u32 = 2;
/// `pipeline_writer_metrics_t.state`: the writer starts, or waits to try that again.
pub const PIPELINE_WRITER_OPENING: u32 = 3;

/// As much of a text as fits, NUL-terminated; one that is cut ends in "...".
fn in_buffer<const N: usize>(text: &str) -> [c_char; N] {
    let mut buffer = [0 as c_char; N];
    let (most, end) = if text.len() < N { (text.len(), "") } else { (N - 4, "...") };
    for (to, from) in buffer.iter_mut().zip(text.bytes().take(most).chain(end.bytes())) {
        *to = from as c_char;
    }
    buffer
}
