//! The looks as JSON. `docs/cli.md` documents the members.

use super::cells::without_zeros;
use super::pipeline::{Latency, Pipeline, Ring, lost};
use super::words;
use super::{Shown, Unread};
use capture_pipeline::metrics::pipeline_metrics_t;
use capture_pipeline::wall_time;
use serde_json::{Map, Value, json};

/// The object of a look.
pub fn object(shown: &Shown<'_>) -> Value {
    json!({
        "time": text(&wall_time::write(shown.realtime_ns)),
        "interval_ns": shown.interval_ns,
        "pipelines": shown.pipelines.iter().map(|pipeline| of_pipeline(pipeline, shown)).collect::<Vec<_>>(),
        "unread": shown.unread.iter().map(of_unread).collect::<Vec<_>>(),
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn path(path: &std::path::Path) -> String {
    text(path.as_os_str().as_encoded_bytes())
}

fn of_unread(unread: &Unread) -> Value {
    json!({"file": path(&unread.path), "reason": unread.why})
}

/// With one digit behind the point: more are no information.
fn rounded(number: Option<f64>) -> Value {
    number.map_or(Value::Null, |number| json!((number * 10.0).round() / 10.0))
}

fn of_pipeline(pipeline: &Pipeline, shown: &Shown<'_>) -> Value {
    let look = &pipeline.look;
    let live = look.live.as_ref();
    let mut members = json!({
        "generation": format!("{:016x}", look.generation),
        "name": look.name,
        "storage": live.map(|live| &live.storage),
        "program": (!look.program.is_empty()).then(|| text(&look.program)),
        "pid": look.owner.pid,
        "file": path(&look.path),
        "process": look.state.word(),
        "figures_age_ns": look.figures_age_ns(),
        "stale": pipeline.is_stale(),
        "bytes_per_s": rounded(pipeline.bytes_per_s()),
        "captured_per_s": rounded(pipeline.captured_per_s()),
        "stored_per_s": rounded(pipeline.stored_per_s()),
        "lost_per_s": rounded(pipeline.per_s(lost)),
        "backlog_bytes": pipeline.backlog_bytes(),
        "in_flight_bytes": pipeline.in_flight_bytes(),
        "fill_percent": rounded(pipeline.fill_percent()),
        "lost": pipeline.metrics().map(lost),
        "latency": pipeline.latency().map(of_latency),
        "recent_latency": pipeline.recent_latency().map(of_latency),
    });
    let Value::Object(into) = &mut members else { return members };
    if let Some(live) = live {
        let (metrics, condition) = (&live.figures.metrics, &live.figures.condition);
        into.insert("events".into(), events(metrics));
        into.insert("oldest_age_ns".into(), metrics.oldest_age_ns.into());
        into.insert("uptime_ns".into(), metrics.uptime_ns.into());
        into.insert("pressure".into(), metrics.pressure.into());
        into.insert("circuit".into(), words::circuit(metrics.circuit).into());
        into.insert("health".into(), words::status(condition).into());
        into.insert("reasons".into(), words::reasons(condition).into());
        into.insert("stuck_ns".into(), condition.stuck_ns.into());
        into.insert("batches_retrying".into(), condition.batches_retrying.into());
        into.insert("writers".into(), writers(pipeline));
        into.insert("writers_left_out".into(), live.writers_left_out.into());
    }
    if look.rings.is_some() {
        let rings: Vec<Value> = shown.rings(pipeline).iter().map(of_ring).collect();
        into.insert("rings".into(), rings.into());
    }
    members
}

fn of_latency(latency: Latency) -> Value {
    json!({"p50_ns": latency.p50, "p99_ns": latency.p99})
}

/// The ledger, by the names of `pipeline_metrics_t`.
fn events(metrics: &pipeline_metrics_t) -> Value {
    let mut counts = Map::new();
    macro_rules! counts {
        ($($name:ident)*) => { $(counts.insert(stringify!($name).into(), metrics.$name.into());)* };
    }
    counts! {
        offered captured recovered dropped_full dropped_sampled dropped_rule refused_too_large refused_closed refused_invalid refused_busy
        refused_no_ring stored filtered dead_lettered discarded overwritten buffered in_flight in_doubt left torn
    }
    counts.into()
}

fn writers(pipeline: &Pipeline) -> Value {
    let writers = pipeline.look.live.iter().flat_map(|live| &live.figures.writers).enumerate();
    let all: Vec<Value> = writers
        .map(|(at, writer)| {
            let thread = pipeline.look.threads.get(at).and_then(Option::as_ref);
            json!({
                "writer_id": writer.writer_id.to_string(),
                "tid": writer.thread_id,
                "state": words::writer(writer.state),
                "in_call_ns": writer.in_call_ns,
                "kernel_state": thread.map(|thread| thread.state.to_string()),
                "kernel_wait": thread.map(|thread| &thread.waits_in).filter(|name| !name.is_empty()),
                "attempts": writer.attempts,
                "events": writer.events,
                "retries": writer.retries,
                "restarts": writer.restarts,
            })
        })
        .collect();
    all.into()
}

fn of_ring(ring: &Ring) -> Value {
    let words = &ring.words;
    let has_thread = words.thread_id != 0;
    json!({
        "ring_id": words.ring_id.to_string(),
        "priority": words.is_priority,
        "tid": has_thread.then_some(words.thread_id),
        "thread_name": has_thread.then(|| text(without_zeros(&words.name))),
        "bytes": words.bytes,
        "bytes_per_s": rounded(ring.bytes_per_s),
        "released_per_s": rounded(ring.released_per_s),
        "backlog_bytes": words.backlog(),
        "in_flight_bytes": words.in_flight(),
        "fill_percent": rounded(Some(ring.fill_percent())),
    })
}
