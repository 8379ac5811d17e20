//! Ledgers as blocks.

use super::{Blocks, NoMemory};
use crate::journal::format::block::BlockType;
use crate::ledger::Ledger;
use crate::platform::time;

/// Adds a block with the counts of a ledger. A later ledger of a run has a higher number. `now_ns`: when the counts were taken.
pub fn push(blocks: &mut Blocks, number: u64, now_ns: u64, counts: &[u64; COUNTS]) -> Result<(), NoMemory> {
    blocks.reserve(1, 8 * (3 + COUNTS), 0)?;
    blocks.begin(BlockType::LEDGER, 0, time::realtime_offset_ns());
    blocks.words(&[number, now_ns, COUNTS as u64]);
    blocks.words(counts);
    blocks.end();
    Ok(())
}

/// The counts of a ledger.
pub const COUNTS: usize = 20;

/// The counts in the order of the format.
pub fn counts(ledger: &Ledger) -> [u64; COUNTS] {
    let Ledger {
        captured,
        recovered,
        dropped_full,
        dropped_sampled,
        dropped_rule,
        refused_too_large,
        refused_closed,
        refused_invalid,
        refused_busy,
        refused_no_ring,
        stored,
        filtered,
        dead_lettered,
        discarded,
        overwritten,
        buffered,
        in_flight,
        in_doubt,
        left,
        torn,
        bytes_captured: _,
        weight_captured: _,
        priority: _,
    } = *ledger;
    [
        captured,
        recovered,
        dropped_full,
        dropped_sampled,
        dropped_rule,
        refused_too_large,
        refused_closed,
        refused_invalid,
        refused_busy,
        refused_no_ring,
        stored,
        filtered,
        dead_lettered,
        discarded,
        overwritten,
        buffered,
        in_flight,
        in_doubt,
        left,
        torn,
    ]
}
