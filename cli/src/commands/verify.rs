//! `verify`

use super::table::bytes;
use crate::args::{Order, Selection, Verify};
use crate::damage::{counted, grouped, some};
use crate::failure::{Failure, Outcome};
use crate::journal::{Journal, Reading};
use crate::line::shown;
use crate::progress::Progress;
use crate::source::Source;
use capture_pipeline::journal::reader::State;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

/// Reads journals to their ends and reports all damage.
pub fn run(args: &Verify) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::Well;
    for path in &args.paths {
        let mut journal = Journal::open(path, &Selection::default(), Order::Stored, Reading::Once)?;
        let mut events = 0_u64;
        journal.each(&mut Progress::new("verifying", false), |_| {
            events += 1;
            Ok(ControlFlow::Continue(()))
        })?;
        let reader = journal.reader();
        let problems = problems(reader);
        let mut text = Vec::new();
        if !problems.is_empty() {
            outcome = Outcome::Damaged;
            text.extend_from_slice(format!("{}: damaged\n", name(path)).as_bytes());
            for problem in &problems {
                text.extend_from_slice(format!("  {problem}\n").as_bytes());
            }
        }
        if !args.quiet || !problems.is_empty() {
            report(path, reader, events, problems.is_empty(), &mut text);
            std::io::stdout().write_all(&text).map_err(|error| Failure::output(&error))?;
        }
    }
    Ok(outcome)
}

fn report(path: &Path, reader: &Source, events: u64, well: bool, text: &mut Vec<u8>) {
    let (what, size) = match reader {
        Source::Journal(reader) => (
            counted(reader.segments().len() as u64, "segment", "segments"),
            reader.segments().map(|segment| segment.size).sum(),
        ),
        Source::Database(_) => (
            format!("a database of {}", counted(reader.segments().len() as u64, "run", "runs")),
            reader.progress().total_bytes,
        ),
    };
    let start = if well { format!("{}: ok: ", name(path)) } else { "  read: ".into() };
    text.extend_from_slice(
        format!("{start}{} in {what}, {}\n", counted(events, "event", "events"), bytes(size)).as_bytes(),
    );
    for note in notes(reader) {
        text.extend_from_slice(format!("  {note}\n").as_bytes());
    }
}

/// The name of a file, as a terminal may show it.
fn name(path: &Path) -> String {
    shown(path.as_os_str().as_encoded_bytes()).to_string()
}

/// All damage, each on a line with its place and what it means.
pub fn problems(reader: &Source) -> Vec<String> {
    let losses = reader.losses();
    let mut lines = Vec::new();
    for refused in &losses.refused {
        let place = name(&refused.path);
        lines.push(match refused.offset {
            0 => format!("{place}: not read: {}", refused.reason),
            offset => format!("{place}: not read from byte {offset} on: {}", refused.reason),
        });
    }
    if let Some(blocks) = some(losses.damaged_blocks, "block is", "blocks are") {
        lines.push(format!("{blocks} damaged: {} events are lost", grouped(losses.damaged_events)));
    }
    if let Some(places) = some(losses.damages, "place", "places") {
        lines.push(format!("at {places} there is no block: {} skipped", bytes(losses.damaged_bytes)));
    }
    if let Some(tails) = some(losses.torn_tails, "segment ends", "segments end") {
        lines.push(format!(
            "{tails} in the middle of a block ({}): the writer was killed, or the disk was full; what it had acknowledged is there",
            bytes(losses.torn_bytes)
        ));
    }
    for (reason, entry) in &losses.unreadable {
        let blocks = some(entry.blocks, "block", "blocks").unwrap_or_default();
        lines.push(format!("{blocks} with {} events cannot be read: {reason}", grouped(entry.events)));
    }
    if let Some(count) = some(losses.contradictions, "event has", "events have") {
        let examples: Vec<String> = (losses.contradicting.iter().take(5))
            .map(|id| format!("{:016x}:{}:{}", id.generation, id.ring_id, id.sequence))
            .collect();
        lines.push(format!("{count} two contents (the first one is given): {}", examples.join(", ")));
    }
    if let Some(count) = some(losses.contradicting_facts, "definition contradicts", "definitions contradict")
    {
        let examples: Vec<String> = (losses.contradicting_kinds.iter().take(5))
            .map(|(generation, kind)| format!("kind {kind} of {generation:016x}"))
            .collect();
        lines.push(format!("{count} an earlier one: {}", examples.join(", ")));
    }
    if let Some(count) = some(losses.unreadable_facts, "fact", "facts") {
        lines.push(format!("{count} about kinds or clocks cannot be read: names or definitions are missing"));
    }
    lines
}

/// What is worth to know, and is no damage.
fn notes(reader: &Source) -> Vec<String> {
    let losses = reader.losses();
    let mut lines = Vec::new();
    if let Some(count) = some(losses.duplicates, "event was", "events were") {
        lines.push(format!("{count} stored more than once, after retries; each is given once"));
    }
    let growing = reader.segments().filter(|segment| segment.state == State::Growing).count() as u64;
    if let Some(count) = some(growing, "segment is", "segments are") {
        lines.push(format!("{count} still being written"));
    }
    let left = reader.segments().filter(|segment| segment.state == State::Left).count() as u64;
    if let Some(count) = some(left, "segment has", "segments have") {
        lines.push(format!("{count} no seal: the writer ended without a close"));
    }
    if let Some(count) = some(losses.facts_left_out, "fact is", "facts are") {
        lines.push(format!(
            "{count} left out, because there are too many: the names of some kinds or threads are missing"
        ));
    }
    for gone in &losses.gone {
        lines.push(format!("{} was deleted meanwhile", name(&gone.path)));
    }
    lines.extend(absent(reader));
    lines
}

/// The segments that are not there: those that the journal's bounds deleted, and others.
pub fn absent(reader: &Source) -> Vec<String> {
    let mut lines = Vec::new();
    for (generation, deleted) in &reader.facts().deleted {
        let (events, size) = (grouped(deleted.events), bytes(deleted.bytes));
        // A database has no segments.
        let Some(segments) = some(deleted.segments, "segment", "segments") else {
            lines.push(format!(
                "of run {generation:016x} {events} events were deleted, to make room or for their age"
            ));
            continue;
        };
        lines.push(format!(
            "run {generation:016x} deleted {segments} with {events} events ({size}), to make room or for their age"
        ));
    }
    let deleted: u64 = reader.facts().deleted.values().map(|deleted| deleted.segments).sum();
    let missing = missing_segments(reader);
    // A run may delete the segments of others.
    if missing.values().sum::<u64>() > deleted {
        lines.extend(missing.into_iter().map(|(generation, missing)| {
            format!("run {generation:016x}: {missing} earlier segments are not there: they were deleted, or lie elsewhere")
        }));
    }
    lines
}

/// How many segments of each run lie before or between those that are there.
fn missing_segments(reader: &Source) -> BTreeMap<u64, u64> {
    let mut runs: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for segment in reader.segments() {
        let (count, last) = runs.entry(segment.header.generation).or_default();
        *count += 1;
        *last = segment.header.number.max(*last);
    }
    let missing =
        runs.into_iter().map(|(generation, (count, last))| (generation, last.saturating_sub(count)));
    missing.filter(|(_, missing)| *missing > 0).collect()
}
