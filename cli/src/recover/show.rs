//! What a recovery has found and done, as text and as JSON.

use crate::commands::table::{Table, bytes, grouped, time};
use crate::line::shown;
use crate::rings::{Found, Run};
use capture_pipeline::recovery::{FileReport, Outcome};
use capture_pipeline::ring_file::reader::Damage;
use serde_json::{Value, json};
use std::path::Path;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The word for what became of a file, and the reason.
fn outcome(outcome: &Outcome) -> (&'static str, Option<&str>) {
    match outcome {
        Outcome::Recovered => ("recovered", None),
        Outcome::Left(why) => ("left", Some(why)),
        Outcome::Living(_) => ("living", None),
        Outcome::Busy => ("busy", None),
        Outcome::Unfinished => ("unfinished", None),
        Outcome::Gone => ("gone", None),
        Outcome::Refused(why) => ("refused", Some(why)),
        Outcome::Failed(why) => ("failed", Some(why)),
    }
}

fn damage(damage: &Damage) -> Value {
    json!({
        "ring_id": damage.ring_id.to_string(),
        "position": damage.position.to_string(),
        "bytes": damage.bytes,
        "reason": damage.reason.to_string(),
    })
}

fn name_of(path: &Path) -> String {
    text(path.as_os_str().as_encoded_bytes())
}

/// A file that was to be recovered, as JSON.
pub fn report(report: &FileReport) -> Value {
    let (word, reason) = outcome(&report.outcome);
    let losses = &report.losses;
    json!({
        "file": name_of(&report.path),
        "generation": format!("{:016x}", report.generation),
        "outcome": word,
        "reason": reason,
        "events": report.events,
        "facts": report.facts,
        "facts_refused": report.facts_refused,
        "dead_lettered": report.dead_lettered,
        "discarded": report.discarded,
        "handles": losses.handles,
        "torn": losses.torn,
        "torn_bytes": losses.torn_bytes,
        "damages": losses.damages.iter().map(damage).collect::<Vec<_>>(),
        "facts_damage": losses.facts.map(|(position, reason)| format!("at position {position}: {reason}")),
        "clock_damage": losses.clock,
    })
}

/// The word for whether a run goes on.
fn owner(run: &Run) -> &'static str {
    if run.lives { "living" } else { "dead" }
}

/// A run that was looked at, as JSON.
pub fn found(run: &Run, found: &Found) -> Value {
    let header = run.file.header();
    json!({
        "file": name_of(&run.path),
        "generation": format!("{:016x}", header.generation),
        "name": text(&header.name),
        "program": text(&header.program),
        "pid": header.owner.pid,
        "started": text(&capture_pipeline::wall_time::write(header.realtime_ns)),
        "owner": owner(run),
        "events": found.events,
        "bytes": found.bytes,
        "rings": found.rings,
        "handles": found.handles,
        "torn": found.torn,
        "torn_bytes": found.torn_bytes,
        "damages": found.damages.iter().map(damage).collect::<Vec<_>>(),
        "facts_damage": run.facts_damage(),
    })
}

/// Runs that were looked at, as a table and a line for each damage.
pub fn table(all: &[(Run, Found)]) -> Vec<u8> {
    let mut table =
        Table::new(&["RUN", "PIPELINE", "PROGRAM", ">PID", "STARTED", "OWNER", ">EVENTS", ">BYTES", ">TORN"]);
    for (run, found) in all {
        let header = run.file.header();
        table.add(vec![
            format!("{:016x}", header.generation),
            shown(&header.name).to_string(),
            shown(&header.program).to_string(),
            header.owner.pid.to_string(),
            time(header.realtime_ns),
            owner(run).into(),
            grouped(found.events),
            bytes(found.bytes),
            grouped(found.torn),
        ]);
    }
    let mut into = Vec::new();
    if !table.is_empty() {
        table.write("", &mut into);
    }
    for (run, found) in all {
        let damages = found.damages.iter().map(ToString::to_string);
        for line in damages.chain(run.facts_damage()) {
            into.extend(format!("run {:016x}: {line}\n", run.generation()).into_bytes());
        }
    }
    into
}
