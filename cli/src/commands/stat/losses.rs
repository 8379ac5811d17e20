//! What was lost, and where; and what was left out because the program wanted it so.

use crate::commands::table::{Table, grouped};
use crate::commands::verify::absent;
use crate::line::shown;
use crate::source::Source;
use capture_pipeline::journal::reader::RingEvents;
use std::io::Write;

/// So many rings are listed.
pub const LISTED: usize = 20;
/// The counts of a ledger that are losses, with what they mean.
pub const LOSSES: [(&str, &str); 9] = [
    ("dropped_full", "the ring buffer was full"),
    ("refused_too_large", "larger than max_event_bytes"),
    ("refused_closed", "offered after the close"),
    ("refused_invalid", "invalid"),
    ("refused_busy", "the ring buffer was in use"),
    ("refused_no_ring", "there was no ring buffer"),
    ("overwritten", "overwritten by newer ones"),
    ("discarded", "the storage and the dead letter refused them"),
    ("left", "left behind at the end"),
];

/// The counts that are no losses: the program has asked for it.
pub const CHOSEN: [(&str, &str); 3] = [
    ("dropped_sampled", "sampled out; the weights of the others stand for them"),
    ("dropped_rule", "dropped by a rule"),
    ("filtered", "filtered by a transform"),
];

/// A line for each of these counts of each run that is not 0.
fn lines_of(reader: &Source, counts: &[(&str, &str)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (generation, ledger) in &reader.facts().ledgers {
        for (name, meaning) in counts {
            if let Some(count @ 1..) = ledger.count(name) {
                lines.push(format!("run {generation:016x}: {} events {name}: {meaning}", grouped(count)));
            }
        }
    }
    lines
}

/// What was left out by choice, a line for each.
pub fn chosen(reader: &Source) -> Vec<String> {
    lines_of(reader, &CHOSEN)
}

/// What was lost, a line for each.
pub fn lost(reader: &Source) -> Vec<String> {
    let mut lines = lines_of(reader, &LOSSES);
    lines.extend(absent(reader));
    lines
}

/// The rings of which events are missing, those with the most first.
pub fn rings_with_gaps(reader: &Source) -> Vec<&RingEvents> {
    let mut rings: Vec<_> = reader.rings().filter(|ring| ring.missing() > 0).collect();
    rings.sort_by_key(|ring| (std::cmp::Reverse(ring.missing()), ring.generation, ring.ring_id));
    rings
}

/// Appends what was left out, and what was lost.
pub fn show(text: &mut Vec<u8>, reader: &Source) -> std::io::Result<()> {
    let chosen = chosen(reader);
    if !chosen.is_empty() {
        writeln!(text, "Left out by choice")?;
        chosen.iter().try_for_each(|line| writeln!(text, "  {line}"))?;
    }
    let (lines, rings) = (lost(reader), rings_with_gaps(reader));
    if lines.is_empty() && rings.is_empty() {
        return writeln!(text, "Losses: none");
    }
    writeln!(text, "Losses")?;
    for line in lines {
        writeln!(text, "  {line}")?;
    }
    if rings.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["RUN", ">RING", "THREAD", ">STORED", ">MISSING", ">FROM", ">TO"]);
    for ring in rings.iter().take(LISTED) {
        let thread = reader.facts().threads.get(&(ring.generation, ring.ring_id));
        table.add(vec![
            format!("{:016x}", ring.generation),
            ring.ring_id.to_string(),
            thread
                .map_or_else(|| "-".into(), |thread| format!("{}/{}", shown(&thread.name), thread.thread_id)),
            grouped(ring.events),
            grouped(ring.missing()),
            grouped(ring.first_sequence),
            grouped(ring.last_sequence),
        ]);
    }
    let also = if chosen.is_empty() { "" } else { ", also by what was left out by choice" };
    writeln!(text, "  Rings with gaps in their sequences{also}:")?;
    table.write("    ", text);
    if rings.len() > LISTED {
        writeln!(text, "    and {} more rings", rings.len() - LISTED)?;
    }
    Ok(())
}
