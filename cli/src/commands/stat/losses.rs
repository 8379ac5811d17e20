//! What was lost, and where.

use crate::commands::table::{Table, grouped};
use crate::commands::verify::absent;
use crate::line::shown;
use capture_pipeline::journal::reader::Reader;
use std::io::Write;

/// So many rings are listed.
const LISTED: usize = 20;
/// The counts of a ledger that are losses, with what they mean.
const LOSSES: [(&str, &str); 11] = [
    ("dropped_full", "the ring buffer was full"),
    ("dropped_sampled", "sampled out"),
    ("dropped_rule", "dropped by a rule"),
    ("refused_too_large", "larger than max_event_bytes"),
    ("refused_closed", "offered after the close"),
    ("refused_invalid", "invalid"),
    ("refused_busy", "the ring buffer was in use"),
    ("refused_no_ring", "there was no ring buffer"),
    ("overwritten", "overwritten by newer ones"),
    ("discarded", "the storage and the dead letter refused them"),
    ("left", "left behind at the end"),
];

/// Appends what was lost.
pub fn show(text: &mut Vec<u8>, reader: &Reader) -> std::io::Result<()> {
    let mut lines = Vec::new();
    for (generation, ledger) in &reader.facts().ledgers {
        for (name, meaning) in LOSSES {
            if let Some(count @ 1..) = ledger.count(name) {
                lines.push(format!("run {generation:016x}: {} events {name}: {meaning}", grouped(count)));
            }
        }
    }
    lines.extend(absent(reader));
    let mut rings: Vec<_> = reader.rings().filter(|ring| ring.missing() > 0).collect();
    rings.sort_by_key(|ring| (std::cmp::Reverse(ring.missing()), ring.generation, ring.ring_id));
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
    writeln!(text, "  Rings with gaps in their sequences:")?;
    table.write("    ", text);
    if rings.len() > LISTED {
        writeln!(text, "    and {} more rings", rings.len() - LISTED)?;
    }
    Ok(())
}
