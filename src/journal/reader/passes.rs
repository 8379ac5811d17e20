//! Merging in bounded memory where more stretches overlap in time than can be loaded at once.
//!
//! A pass reads all of these stretches one after the other, and keeps a copy of the earliest events that fit. They are given, and the next pass goes on behind them. The more
//! overlaps, the more passes there are: time is paid instead of memory.

use super::core::{Core, Part, no_memory};
use super::place::{Entry, Key};
use super::stretch::{Block, Stretch};
use crate::status::Result;

/// What passes have to go through.
#[derive(Debug)]
pub(super) struct Pass {
    /// The stretches that have events left, as positions in the index.
    pub positions: Vec<usize>,
    /// The first event that was not given.
    pub from: Key,
}

/// Events that take more are read again when they are given, and are not copied.
const LARGE: u64 = 64 << 10;

/// What the memory is for.
pub(super) const MERGING: &str = "merging the events of many rings";

/// Collects the first events of a pass in `into`, about `most` bytes of them, in the order of time. Returns what is left for the next pass. An error changes nothing but
/// `into`.
pub(super) fn collect(pass: &Pass, most: usize, core: &mut Core, into: &mut Stretch) -> Result<Option<Pass>> {
    into.clear_all();
    let mut scratch = Stretch::default();
    let mut cut: Option<Key> = None;
    let mut positions: Vec<usize> = Vec::new();
    let mut next = core.index.next;
    let mut known = pass.positions.iter();
    loop {
        let position = match known.next() {
            Some(&position) => position,
            None => {
                let waiting = core.index.places.get(next);
                if waiting.is_none_or(|place| cut.is_some_and(|cut| place.first > cut.time)) {
                    break;
                }
                next += 1;
                next - 1
            }
        };
        positions.try_reserve(1).map_err(|_| no_memory(MERGING))?;
        positions.push(position);
        let range = Part { from: Some(pass.from), before: cut, sorted: false };
        if !take_large(position, range, core, into)? {
            core.load(position, &mut scratch, range)?;
            take_all(&scratch, cut, most, into).map(|new| cut = new)?;
        }
        scratch.shrink(most / 4);
    }
    into.sort();
    core.index.next = next;
    let Some(from) = cut else { return Ok(None) };
    positions
        .retain(|&position| core.index.places.get(position).is_some_and(|place| place.last >= from.time));
    Ok(Some(Pass { positions, from }))
}

/// Copies all events before `cut`. Returns where it is afterwards.
fn take_all(from: &Stretch, mut cut: Option<Key>, most: usize, into: &mut Stretch) -> Result<Option<Key>> {
    for entry in &from.table {
        if cut.is_some_and(|cut| from.key(entry) >= cut) {
            continue;
        }
        into.copy(from, entry).ok_or_else(|| no_memory(MERGING))?;
        if into.collected() > most {
            cut = into.keep_half().or(cut);
        }
    }
    into.end_copies();
    Ok(cut)
}

/// Takes a block of one large event by its header alone. `false`: it is no such block.
fn take_large(position: usize, range: Part, core: &mut Core, into: &mut Stretch) -> Result<bool> {
    let Some(place) = core.index.places.get(position).copied() else { return Ok(true) };
    if place.events != 1 || place.memory < LARGE {
        return Ok(false);
    }
    let Some((header, shift)) = core.header(&place) else { return Ok(false) };
    let block = Block {
        generation: header.generation,
        ring_id: header.ring_id,
        first: place.first,
        last: place.last,
        shift,
        elsewhere: Some(position),
        sequence: header.first_sequence,
        ..Block::default()
    };
    let key = block.key(header.first_ns, header.first_sequence);
    if range.from.is_some_and(|from| key < from) || range.before.is_some_and(|before| key >= before) {
        return Ok(true);
    }
    into.blocks.try_reserve(1).map_err(|_| no_memory(MERGING))?;
    into.table.try_reserve(1).map_err(|_| no_memory(MERGING))?;
    into.table.push(Entry { time: header.first_ns, at: 0, block: into.blocks.len() as u32 });
    into.blocks.push(block);
    Ok(true)
}
