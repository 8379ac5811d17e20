//! The list of the metrics: their names, kinds and descriptions, and where their values come from.
//!
//! Names follow Prometheus' conventions: base units (seconds, bytes, ratios), which end the name, and `_total` behind the name of a counter, which `Kind`
//! adds. A description has no quote, no backslash and no line end, because the two formats escape them differently.

use super::{Condition, Process, pipeline_metrics_t, pipeline_writer_metrics_t};
use crate::pool::health::*;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, as long as the pipeline lives.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts of events, each in the buckets of all bounds that it does not exceed.
    Histogram,
}

impl Kind {
    /// Its name in both formats.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The value of a sample.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// A number.
    Count(u64),
    /// Nanoseconds, written as seconds.
    Ns(u64),
    /// Hundredths, written as a ratio.
    Percent(u32),
}

/// A metric, with a sample for each `T`.
pub struct Family<T> {
    /// Its name; the samples of a counter have `_total` behind it.
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    /// The member of the C struct that it shows.
    pub field: &'static str,
    pub value: fn(&T) -> Value,
}

impl<T> Family<T> {
    /// The unit that the name ends in.
    pub fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes", "ratio"].into_iter().find(|unit| self.name.ends_with(unit))
    }
}

macro_rules! families {
    ($(#[$meta:meta])* $list:ident: $m:ident of $type:ty; $($kind:ident $name:literal $field:ident = $value:expr, $help:literal;)*) => {
        $(#[$meta])*
        pub const $list: &[Family<$type>] = &[$(Family {
            name: concat!("capture_pipeline_", $name),
            kind: Kind::$kind,
            help: $help,
            field: stringify!($field),
            value: |$m| $value,
        }),*];
    };
}

families! {
    /// Those of a pipeline.
    PIPELINE: m of pipeline_metrics_t;
    Counter "events_offered" offered = Value::Count(m.offered), "Events that captures were asked to take.";
    Counter "events_captured" captured = Value::Count(m.captured), "Events copied into a ring buffer.";
    Counter "events_recovered" recovered = Value::Count(m.recovered), "Events found in the ring files of a process that died.";
    Counter "events_dropped_full" dropped_full = Value::Count(m.dropped_full), "Events dropped because the ring buffer was full.";
    Counter "events_dropped_sampled" dropped_sampled = Value::Count(m.dropped_sampled), "Events dropped by sampling.";
    Counter "events_dropped_rule" dropped_rule = Value::Count(m.dropped_rule), "Events dropped by a rule.";
    Counter "events_refused_too_large" refused_too_large = Value::Count(m.refused_too_large), "Events refused because they are larger than max_event_bytes.";
    Counter "events_refused_closed" refused_closed = Value::Count(m.refused_closed), "Events refused because the pipeline was closed.";
    Counter "events_refused_invalid" refused_invalid = Value::Count(m.refused_invalid), "Events refused because an argument was invalid.";
    Counter "events_refused_busy" refused_busy = Value::Count(m.refused_busy), "Events refused because the ring buffer was in use.";
    Counter "events_refused_no_ring" refused_no_ring = Value::Count(m.refused_no_ring), "Events refused because there was no ring buffer.";
    Counter "events_stored" stored = Value::Count(m.stored), "Events acknowledged by the storage.";
    Counter "events_filtered" filtered = Value::Count(m.filtered), "Events filtered by a transform.";
    Counter "events_dead_lettered" dead_lettered = Value::Count(m.dead_lettered), "Events that the storage kept as dead letters.";
    Counter "events_discarded" discarded = Value::Count(m.discarded), "Events given up, and not kept as dead letters.";
    Counter "events_overwritten" overwritten = Value::Count(m.overwritten), "Events overwritten by newer ones.";
    Gauge "events_buffered" buffered = Value::Count(m.buffered), "Events in a ring buffer that no writer has claimed.";
    Gauge "events_in_flight" in_flight = Value::Count(m.in_flight), "Events claimed and not settled.";
    Gauge "events_in_doubt" in_doubt = Value::Count(m.in_doubt), "Events claimed and not settled, whose batch is past storage_deadline_ms.";
    Gauge "events_left" left = Value::Count(m.left), "Events left in the ring buffers when the pipeline ended.";
    Counter "records_torn" torn = Value::Count(m.torn), "Torn records found by a recovery.";
    Counter "batches" batches = Value::Count(m.batches), "Batches settled.";
    Counter "retries" retries = Value::Count(m.retries), "Attempts after the first, of batches and of dead letters.";
    Counter "bad_results" bad_results = Value::Count(m.bad_results), "Calls of the storage that returned a value which is not allowed.";
    Counter "writer_restarts" writer_restarts = Value::Count(m.writer_restarts), "Writers replaced because their thread ended.";
    Gauge "writers_target" writers_target = Value::Count(m.writers_target), "Writers that there should be.";
    Gauge "writers_live" writers_live = Value::Count(m.writers_live), "Writers that there are.";
    Gauge "writers_stuck" writers_stuck = Value::Count(m.writers_stuck), "Writers in a call of the storage for longer than storage_deadline_ms.";
    Gauge "rings" rings = Value::Count(m.rings), "Ring buffers of threads and producers in use.";
    Gauge "rings_retired" rings_retired = Value::Count(m.rings_retired), "Ring buffers retired behind a batch that does not settle.";
    Gauge "backlog_bytes" backlog_bytes = Value::Count(m.backlog_bytes), "Bytes in ring buffers that wait to be released.";
    Gauge "oldest_event_age_seconds" oldest_age_ns = Value::Ns(m.oldest_age_ns), "Time since the capture of the oldest event that waits.";
    Counter "captured_bytes" bytes_captured = Value::Count(m.bytes_captured), "Payload bytes captured.";
    Counter "stored_bytes" bytes_stored = Value::Count(m.bytes_stored), "Payload bytes stored.";
    Gauge "latency_max_seconds" latency_max_ns = Value::Ns(m.latency_max_ns), "The longest time from the capture of an event to its acknowledgement.";
    Gauge "uptime_seconds" uptime_ns = Value::Ns(m.uptime_ns), "Time since the start.";
    Counter "scale_ups" scale_ups = Value::Count(m.scale_ups), "How often autoscaling has added writers.";
    Counter "scale_downs" scale_downs = Value::Count(m.scale_downs), "How often autoscaling has taken a writer away.";
    Gauge "autoscaling" autoscaling = Value::Count(m.autoscaling.into()), "1 while the pipeline scales itself.";
    Gauge "circuit_state" circuit = Value::Count(m.circuit), "The circuit: 0 closed, 1 open, 2 half open.";
    Counter "circuit_openings" circuit_openings = Value::Count(m.circuit_openings), "How often the circuit has opened.";
    Counter "circuit_probes" circuit_probes = Value::Count(m.circuit_probes), "Attempts made as probes while the circuit was not closed.";
    Counter "panics" panics = Value::Count(m.panics), "Calls in which a storage written in Rust panicked.";
    Gauge "pressure_ratio" pressure = Value::Percent(m.pressure), "How urgently the pipeline needs relief, 0 to 1.";
    Gauge "sampling_weight" sampling_weight = Value::Count(m.sampling_weight.into()), "The weight that a new trace gets, 1 while nothing is sampled out.";
    Gauge "sampling" sampling = Value::Count(m.sampling.into()), "1 while sampling is in effect.";
    Counter "events_captured_weight" weight_captured = Value::Count(m.weight_captured), "The weights of the captured events, which estimate those captured and sampled out.";
    Counter "traces_untracked" traces_untracked = Value::Count(m.traces_untracked), "Sampled events for whose trace there was no place in the table.";
    Counter "events_transformed" transformed = Value::Count(m.transformed), "Events rewritten by a transform.";
    Counter "transform_faults" transform_faults = Value::Count(m.transform_faults), "Events that a transform left as they were because it failed.";
    Counter "permit_waits" permit_waits = Value::Count(m.permit_waits), "How often the pipeline began to wait for a permit.";
    Counter "priority_events_offered" offered_priority = Value::Count(m.offered_priority), "Events that captures were asked to put into a priority ring buffer.";
    Counter "priority_events_captured" captured_priority = Value::Count(m.captured_priority), "Events copied into a priority ring buffer.";
    Counter "priority_events_dropped_full" dropped_full_priority = Value::Count(m.dropped_full_priority), "Events dropped because the priority ring buffer was full.";
    Counter "priority_events_dropped_sampled" dropped_sampled_priority = Value::Count(m.dropped_sampled_priority), "Events with priority dropped by sampling.";
    Counter "priority_events_dropped_rule" dropped_rule_priority = Value::Count(m.dropped_rule_priority), "Events with priority dropped by a rule.";
    Counter "priority_events_refused" refused_priority = Value::Count(m.refused_priority), "Events for a priority ring buffer that were refused.";
    Counter "priority_events_stored" stored_priority = Value::Count(m.stored_priority), "Events of priority ring buffers acknowledged by the storage.";
    Counter "priority_events_filtered" filtered_priority = Value::Count(m.filtered_priority), "Events of priority ring buffers filtered by a transform.";
    Counter "priority_events_dead_lettered" dead_lettered_priority = Value::Count(m.dead_lettered_priority), "Events of priority ring buffers that the storage kept as dead letters.";
    Counter "priority_events_discarded" discarded_priority = Value::Count(m.discarded_priority), "Events of priority ring buffers given up.";
    Counter "priority_events_overwritten" overwritten_priority = Value::Count(m.overwritten_priority), "Events of priority ring buffers overwritten by newer ones.";
    Gauge "priority_events_buffered" buffered_priority = Value::Count(m.buffered_priority), "Events in a priority ring buffer that no writer has claimed.";
    Gauge "priority_events_in_flight" in_flight_priority = Value::Count(m.in_flight_priority), "Events of priority ring buffers claimed and not settled.";
    Gauge "priority_events_in_doubt" in_doubt_priority = Value::Count(m.in_doubt_priority), "Events of priority ring buffers whose batch is past storage_deadline_ms.";
    Gauge "priority_events_left" left_priority = Value::Count(m.left_priority), "Events left in the priority ring buffers when the pipeline ended.";
}

families! {
    /// Its health.
    CONDITION: m of Condition;
    Gauge "health_status" status = Value::Count(m.status.into()), "0 healthy, 1 degraded, 2 failing.";
    Gauge "batches_retrying" batches_retrying = Value::Count(m.batches_retrying.into()), "Batches that wait for their next attempt.";
    Gauge "stuck_seconds" stuck_ns = Value::Ns(m.stuck_ns), "The time of the longest call or pending answer past storage_deadline_ms, 0 without one.";
    Gauge "health_no_membarrier" reasons = bit(m, PIPELINE_HEALTH_NO_MEMBARRIER), "1 while membarrier(2) is refused, so each capture pays for a fence.";
    Gauge "health_retrying" reasons = bit(m, PIPELINE_HEALTH_RETRYING), "1 while batches wait for their next attempt.";
    Gauge "health_stuck" reasons = bit(m, PIPELINE_HEALTH_STUCK), "1 while a call of the storage or a pending answer is past storage_deadline_ms.";
    Gauge "health_no_writers" reasons = bit(m, PIPELINE_HEALTH_NO_WRITERS), "1 while there are no writers.";
    Gauge "health_paused" reasons = bit(m, PIPELINE_HEALTH_PAUSED), "1 while the pipeline is paused.";
    Gauge "health_writer_open" reasons = bit(m, PIPELINE_HEALTH_WRITER_OPEN), "1 while a writer cannot start.";
    Gauge "health_closed" reasons = bit(m, PIPELINE_HEALTH_CLOSED), "1 while the pipeline is closed.";
    Gauge "health_retired" reasons = bit(m, PIPELINE_HEALTH_RETIRED), "1 while ring buffers are retired behind a batch that does not settle.";
    Gauge "health_circuit_open" reasons = bit(m, PIPELINE_HEALTH_CIRCUIT_OPEN), "1 while the circuit is open.";
    Gauge "health_fault" reasons = bit(m, PIPELINE_HEALTH_FAULT), "1 while a call of the storage has failed in a way that is not allowed.";
    Gauge "health_placement" reasons = bit(m, PIPELINE_HEALTH_PLACEMENT), "1 while a writer was refused its scheduling or its processors.";
    Gauge "health_finishing" reasons = bit(m, PIPELINE_HEALTH_FINISHING), "1 while everything is stored, and the storage finishes its work.";
    Gauge "health_snapshot_failed" reasons = bit(m, PIPELINE_HEALTH_SNAPSHOT_FAILED), "1 while the last snapshot that a rule has asked for has failed.";
    Gauge "health_finish_failed" reasons = bit(m, PIPELINE_HEALTH_FINISH_FAILED), "1 while the final work of the storage has failed.";
    Gauge "health_pressure" reasons = bit(m, PIPELINE_HEALTH_PRESSURE), "1 while the pressure is at watermark_percent or above it.";
    Gauge "health_transform" reasons = bit(m, PIPELINE_HEALTH_TRANSFORM), "1 while a transform has failed.";
    Gauge "health_recovery" reasons = bit(m, PIPELINE_HEALTH_RECOVERY), "1 while a ring file of a run that has ended is refused, or cannot be read or released.";
}

families! {
    /// Where it runs, in texts that are not of the process that writes them.
    PROCESS: m of Process;
    Gauge "process_alive" alive = Value::Count(m.alive.into()), "1 while the process runs. If it is 0, its other metrics are the last ones.";
    Gauge "process_id" id = Value::Count(m.id.into()), "The process.";
    Gauge "start_time_seconds" started_ns = Value::Ns(m.started_ns), "When the pipeline was started, since 1970.";
}

families! {
    /// Those of a writer.
    WRITER: m of pipeline_writer_metrics_t;
    Gauge "writer_state" state = Value::Count(m.state.into()), "0 searching, 1 asleep, 2 in a call of the storage, 3 opening.";
    Counter "writer_attempts" attempts = Value::Count(m.attempts), "Attempts of the writer, of batches and of dead letters.";
    Counter "writer_events" events = Value::Count(m.events), "Events that the writer gave to the storage and that were acknowledged at once.";
    Counter "writer_bytes" bytes = Value::Count(m.bytes), "Payload bytes of those events.";
    Counter "writer_retries" retries = Value::Count(m.retries), "Attempts of the writer after which the batch is tried again.";
    Counter "writer_call_seconds" call_ns = Value::Ns(m.call_ns), "Time in calls of the storage.";
    Gauge "writer_present_call_seconds" in_call_ns = Value::Ns(m.in_call_ns), "Time of the present call of the storage, 0 without one.";
    Counter "writer_replacements" restarts = Value::Count(m.restarts), "How often a writer with this number was replaced.";
    Counter "writer_bad_results" bad_results = Value::Count(m.bad_results), "Calls of the storage by this writer that returned a value which is not allowed.";
    Counter "writer_panics" panics = Value::Count(m.panics), "Calls of the storage by this writer in which the storage panicked.";
}

/// The histogram, whose value is written apart.
pub const LATENCY: Family<()> = Family {
    name: "capture_pipeline_latency_seconds",
    kind: Kind::Histogram,
    help: "Time from the capture of an event to its acknowledgement. Events with a time of their own are not considered.",
    field: "latency",
    value: |()| Value::Count(0),
};

fn bit(condition: &Condition, bit: u32) -> Value {
    Value::Count((condition.reasons & bit != 0).into())
}

/// Members of the C structs that are no metrics, each with the reason.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("struct_size", "not a figure"),
    ("reserved", "not a figure"),
    ("latency_p50_ns", "the histogram has it"),
    ("latency_p99_ns", "the histogram has it"),
    ("latency_p999_ns", "the histogram has it"),
    ("capture_rate", "the reader's rate of capture_pipeline_events_captured_total"),
    ("store_rate", "the reader's rate of capture_pipeline_events_stored_total"),
    ("scale_reason", "of one moment; the reader sees capture_pipeline_writers_target change"),
    ("scale_from", "as scale_reason"),
    ("scale_to", "as scale_reason"),
    ("scale_at_ns", "as scale_reason"),
    ("clock", "a choice, not a figure"),
    ("writer_id", "the label writer"),
    ("thread_id", "an id, not a figure"),
];

/// What the documentation has on a metric.
#[derive(Clone, Debug)]
pub struct Metric {
    /// The name of its samples.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Which table has it: that of pipelines, of writers, or of processes.
    pub table: &'static str,
    /// The member of a struct that it shows.
    pub field: &'static str,
    /// Its description.
    pub help: &'static str,
}

/// All metrics, in their order.
pub fn documented() -> Vec<Metric> {
    const LATENCIES: &[Family<()>] = &[LATENCY];
    fn each<T>(families: &'static [Family<T>], table: &'static str) -> impl Iterator<Item = Metric> {
        families.iter().map(move |f| {
            let total = if f.kind == Kind::Counter { "_total" } else { "" };
            Metric { name: format!("{}{total}", f.name), kind: f.kind, table, field: f.field, help: f.help }
        })
    }
    each(PIPELINE, "pipeline")
        .chain(each(CONDITION, "pipeline"))
        .chain(each(LATENCIES, "pipeline"))
        .chain(each(WRITER, "writer"))
        .chain(each(PROCESS, "process"))
        .collect()
}
