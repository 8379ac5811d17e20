//! What the tables show: of a pipeline, of its ring buffers and of its writers.

use super::args::Key;
use super::pipeline::{Pipeline, Ring, lost};
use super::words;
use crate::commands::table::{bytes, duration, grouped};
use crate::line::shown;
use std::cmp::{Ordering, Reverse};

/// The titles of the columns of pipelines. Those that begin with `>` are aligned to the right.
pub const PIPELINES: [&str; 13] = [
    "PIPELINE",
    ">PID",
    "PROCESS",
    ">BYTES/S",
    ">EVENTS/S",
    ">STORED/S",
    ">BACKLOG",
    ">FILL",
    ">LOST/S",
    ">LOST",
    ">P50",
    ">P99",
    "HEALTH",
];
/// Those of ring buffers.
pub const RINGS: [&str; 9] =
    [">RING", "THREAD", ">BYTES/S", ">RELEASED/S", ">BACKLOG", ">CLAIMED", ">FILL", ">SIZE", "SORT"];
/// Those of writers.
pub const WRITERS: [&str; 8] =
    [">WRITER", ">THREAD", "WAITS IN", ">FOR", "KERNEL", ">CALLS", ">EVENTS", ">RETRIES"];

/// What is not known.
fn none() -> String {
    "-".into()
}

fn rate(number: Option<f64>) -> String {
    number.map_or_else(none, |number| grouped(number.round() as u64))
}

fn bytes_rate(number: Option<f64>) -> String {
    number.map_or_else(none, |number| bytes(number.round() as u64))
}

fn percent(number: f64) -> String {
    format!("{number:.0} %")
}

/// The name of a pipeline.
pub fn name(pipeline: &Pipeline) -> String {
    shown(pipeline.look.name.as_bytes()).to_string()
}

/// The row of a pipeline.
pub fn pipeline(pipeline: &Pipeline) -> Vec<String> {
    let metrics = pipeline.metrics();
    let latency = pipeline.recent_latency().or_else(|| pipeline.latency());
    let time = |ns: Option<u64>| ns.map_or_else(none, duration);
    vec![
        name(pipeline),
        pipeline.look.owner.pid.to_string(),
        pipeline.look.state.word().into(),
        bytes_rate(pipeline.bytes_per_s()),
        rate(pipeline.captured_per_s()),
        rate(pipeline.stored_per_s()),
        pipeline.backlog_bytes().map_or_else(none, bytes),
        pipeline.fill_percent().map_or_else(none, percent),
        rate(pipeline.per_s(lost)),
        metrics.map_or_else(none, |metrics| grouped(lost(metrics))),
        time(latency.map(|latency| latency.p50)),
        time(latency.map(|latency| latency.p99)),
        health(pipeline),
    ]
}

/// The health, and that the figures are old.
fn health(pipeline: &Pipeline) -> String {
    let Some(live) = &pipeline.look.live else { return none() };
    let condition = &live.figures.condition;
    let mut parts = vec![words::status(condition).to_owned()];
    parts.extend(words::reasons(condition).iter().map(|word| word.replace('_', " ")));
    if pipeline.is_stale() {
        let age = pipeline.look.figures_age_ns().unwrap_or(0);
        parts.push(format!("figures {} old", duration(age)));
    }
    parts.join(", ")
}

/// The row of a ring buffer.
pub fn ring(ring: &Ring) -> Vec<String> {
    let words = &ring.words;
    let thread = match words.thread_id {
        0 => none(),
        id => format!("{}/{id}", shown(without_zeros(&words.name))),
    };
    vec![
        words.ring_id.to_string(),
        thread,
        bytes_rate(ring.bytes_per_s),
        bytes_rate(ring.released_per_s),
        bytes(words.backlog()),
        bytes(words.in_flight()),
        percent(ring.fill_percent()),
        bytes(words.bytes),
        if words.is_priority { "priority" } else { "" }.into(),
    ]
}

/// A name up to the zeros that it is padded with.
pub fn without_zeros(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The rows of the writers.
pub fn writers(pipeline: &Pipeline) -> Vec<Vec<String>> {
    let writers = pipeline.look.live.iter().flat_map(|live| &live.figures.writers).enumerate();
    writers
        .map(|(at, writer)| {
            vec![
                writer.writer_id.to_string(),
                writer.thread_id.to_string(),
                words::waits_in(writer.state).into(),
                if writer.in_call_ns > 0 { duration(writer.in_call_ns) } else { String::new() },
                words::kernel(pipeline.look.threads.get(at).and_then(Option::as_ref)),
                grouped(writer.attempts),
                grouped(writer.events),
                grouped(writer.retries),
            ]
        })
        .collect()
}

/// Larger ones first; what is not known comes last.
fn falling(a: Option<f64>, b: Option<f64>) -> Ordering {
    let known = |number: Option<f64>| number.unwrap_or(-1.0);
    known(b).total_cmp(&known(a))
}

/// Sorts pipelines. Equal ones are in the order of their runs.
pub fn sort(pipelines: &mut [&Pipeline], key: Key) {
    pipelines.sort_by(|a, b| {
        let order = match key {
            Key::Name => a.look.name.cmp(&b.look.name),
            Key::Pid => a.look.owner.pid.cmp(&b.look.owner.pid),
            Key::Rate => falling(a.bytes_per_s(), b.bytes_per_s()),
            Key::Events => falling(a.captured_per_s(), b.captured_per_s()),
            Key::Backlog => Reverse(a.backlog_bytes()).cmp(&Reverse(b.backlog_bytes())),
            Key::Fill => falling(a.fill_percent(), b.fill_percent()),
            Key::Lost => {
                let all = |pipeline: &Pipeline| Reverse(pipeline.metrics().map(lost));
                falling(a.per_s(lost), b.per_s(lost)).then_with(|| all(a).cmp(&all(b)))
            }
            Key::Latency => {
                let p99 = |pipeline: &Pipeline| pipeline.recent_latency().or_else(|| pipeline.latency());
                Reverse(p99(a).map(|latency| latency.p99)).cmp(&Reverse(p99(b).map(|latency| latency.p99)))
            }
        };
        order.then_with(|| a.look.generation.cmp(&b.look.generation))
    });
}

/// Sorts the ring buffers of a pipeline. Equal ones are in the order of their ids.
pub fn sort_rings(rings: &mut [Ring], key: Key) {
    rings.sort_by(|a, b| {
        let order = match key {
            Key::Name => a.words.name.cmp(&b.words.name),
            Key::Pid => a.words.thread_id.cmp(&b.words.thread_id),
            Key::Rate | Key::Events => falling(a.bytes_per_s, b.bytes_per_s),
            Key::Backlog => b.words.backlog().cmp(&a.words.backlog()),
            Key::Fill | Key::Lost | Key::Latency => b.fill_percent().total_cmp(&a.fill_percent()),
        };
        order.then_with(|| a.words.ring_id.cmp(&b.words.ring_id))
    });
}
