//! Decides which block gives an event that several blocks have, and whether they agree about it.
//!
//! The blocks of one contested range are read in the order in which they were stored, and the sequences that were seen are kept with a hash of their contents. Where
//! there are too many for the memory, the upper half is left for another pass over the same blocks.

use super::allocation::out_of_memory;
use super::body::Decoding;
use super::filter::Filter;
use super::losses::{EXAMPLES, Identity, Losses};
use super::place::Place;
use super::ranges::Range;
use super::segment::Segments;
use super::skips::{Skip, Skips};
use super::stretch::{Stretch, Wanted};
use crate::journal::format::block::BlockType;
use crate::journal::format::record::{OWN_TIME, Record, TICKS, TRANSFORMED};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::io;

/// A block that has sequences of a contested range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// The position of the range.
    pub range: u32,
    pub count: u32,
    /// It was known before: its events may have been given.
    pub old: bool,
    pub first: u64,
    pub last: u64,
    pub place: Place,
}

impl Member {
    /// The order in which blocks are stored.
    fn rank(&self) -> (u32, bool, u32, u64) {
        (self.range, !self.old, self.place.segment, self.place.offset)
    }
}

/// How often a block is read, on the average, until the rest of a range is given up. Blocks that a pipeline has written need one or two.
const MOST_READS: usize = 8;
/// Why events are given up.
const TOO_MANY: &str = "their sequences are in too many other blocks";

/// What [`resolve`] needs and changes.
pub(super) struct Overlaps<'a> {
    pub segments: &'a mut Segments,
    pub skips: &'a mut Skips,
    pub losses: &'a mut Losses,
    pub scratch: &'a mut Stretch,
    pub decoding: &'a mut Decoding,
    /// The reader's memory.
    pub memory: u64,
    /// The most sequences that are remembered at once.
    pub most: usize,
    /// Told how many events of which ring are skipped.
    pub skipped: &'a mut dyn FnMut(&Range, u64),
}

/// Goes through all members. An error: there is not enough memory.
pub(super) fn resolve(
    contested: &[Range],
    members: &mut [Member],
    with: &mut Overlaps<'_>,
) -> io::Result<()> {
    members.sort_unstable_by_key(Member::rank);
    let hasher = RandomState::new();
    for members in members.chunk_by(|a, b| a.range == b.range) {
        let Some(range) = members.first().and_then(|member| contested.get(member.range as usize)) else {
            continue;
        };
        one_range(range, members, &hasher, with)?;
    }
    Ok(())
}

fn one_range(
    range: &Range,
    members: &[Member],
    hasher: &RandomState,
    with: &mut Overlaps<'_>,
) -> io::Result<()> {
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let mut from = range.first;
    let mut reads = 0;
    loop {
        let mut upto = range.last;
        seen.clear();
        for member in members.iter().filter(|member| member.last >= from) {
            if member.first > upto {
                continue;
            }
            if reads > MOST_READS * (members.len() + MOST_READS) {
                return give_up(range, members, from, with);
            }
            reads += 1;
            upto = one_block(range, (from, upto), member, hasher, &mut seen, with)?;
        }
        if upto == range.last {
            return Ok(());
        }
        from = upto + 1;
    }
}

/// Compares the events of one block. Returns up to which sequence they were compared.
fn one_block(
    range: &Range,
    (from, mut upto): (u64, u64),
    member: &Member,
    hasher: &RandomState,
    seen: &mut HashMap<u64, u64>,
    with: &mut Overlaps<'_>,
) -> io::Result<u64> {
    let everything = (&Filter::none(), &Skips::default());
    let wanted = Wanted {
        blocks: BlockType::EVENTS,
        filter: everything.0,
        skips: everything.1,
        memory: with.memory,
        from: None,
        before: None,
        sorted: false,
    };
    let segment = member.place.segment as usize;
    match with
        .segments
        .ready(segment)
        .and_then(|open| with.scratch.load(open, &member.place, &wanted, with.decoding))
    {
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => return Err(error),
        // Whoever reads the events finds the same error, and counts it.
        Err(_) => return Ok(upto),
        Ok(()) => {}
    }
    let (segment, offset) = (member.place.segment, member.place.offset);
    let before = with.skips.of(segment, offset).cloned();
    let mut bits: Vec<u64> = Vec::new();
    let (mut new, mut all) = (0, before == Some(Skip::All));
    if all {
        return Ok(upto);
    }
    if let Some(Skip::Some(known)) = before {
        bits = known.into_vec();
    }
    bits.resize(with.scratch.table.len().div_ceil(64), 0);
    for (index, entry) in with.scratch.table.iter().enumerate() {
        let Some(record) = with.scratch.record(entry) else { continue };
        if record.sequence < from || record.sequence > upto {
            continue;
        }
        let contents = contents(&record, hasher);
        if let Some(&first) = seen.get(&record.sequence) {
            let bit = 1 << (index % 64);
            if bits[index / 64] & bit == 0 {
                bits[index / 64] |= bit;
                new += 1;
                count(range, record.sequence, are_same(first, contents), with.losses);
            }
            continue;
        }
        if seen.len() >= with.most {
            upto = halve(seen)?;
            if record.sequence > upto {
                continue;
            }
        }
        seen.try_reserve(1).map_err(out_of_memory)?;
        seen.insert(record.sequence, contents);
    }
    let set: u32 = bits.iter().map(|word| word.count_ones()).sum();
    all = set > 0 && set as usize == with.scratch.table.len();
    if new > 0 {
        let skip = if all { Skip::All } else { Skip::Some(bits.into_boxed_slice()) };
        with.skips.insert(segment, offset, skip)?;
        (with.skipped)(range, new);
    }
    Ok(upto)
}

fn count(range: &Range, sequence: u64, same: bool, losses: &mut Losses) {
    if same {
        losses.duplicates += 1;
        return;
    }
    losses.contradictions += 1;
    if losses.contradicting.len() < EXAMPLES {
        let Range { generation, ring_id, .. } = *range;
        losses.contradicting.push(Identity { generation, ring_id, sequence });
    }
}

/// Keeps the lower half. Returns the highest sequence that is kept.
fn halve(seen: &mut HashMap<u64, u64>) -> io::Result<u64> {
    let mut sequences: Vec<u64> = Vec::new();
    sequences.try_reserve_exact(seen.len()).map_err(out_of_memory)?;
    sequences.extend(seen.keys());
    let middle = sequences.len() / 2;
    let (_, &mut upto, _) = sequences.select_nth_unstable(middle);
    seen.retain(|&sequence, _| sequence <= upto);
    Ok(upto)
}

/// In place of the hash of an event that a transform has rewritten: it need not agree with another copy, which may have come to another
/// transform, or to none.
const REWRITTEN: u64 = 0;

/// Whether two copies of an event agree.
fn are_same(a: u64, b: u64) -> bool {
    a == b || a == REWRITTEN || b == REWRITTEN
}

/// A hash of what two copies of an event must agree about. It is keyed, so that nobody can make two contents with one hash.
fn contents(record: &Record<'_>, hasher: &RandomState) -> u64 {
    if record.flags & TRANSFORMED != 0 {
        return REWRITTEN;
    }
    let mut hash = hasher.build_hasher();
    let own_time = (record.flags & (OWN_TIME | TICKS) == OWN_TIME).then_some(record.timestamp);
    (record.kind, record.flags & !TICKS, record.correlation_id, record.node_id, own_time).hash(&mut hash);
    hash.write(record.payload);
    hash.finish().max(REWRITTEN + 1)
}

/// The blocks that have sequences from `from` on give none of their events, because it is not known which of them others give.
fn give_up(range: &Range, members: &[Member], from: u64, with: &mut Overlaps<'_>) -> io::Result<()> {
    for member in members.iter().filter(|member| member.last >= from && !member.old) {
        let (segment, offset) = (member.place.segment, member.place.offset);
        if with.skips.of(segment, offset) == Some(&Skip::All) {
            continue;
        }
        with.skips.insert(segment, offset, Skip::All)?;
        let entry = with.losses.unreadable.entry(TOO_MANY.into()).or_default();
        entry.blocks += 1;
        entry.events += u64::from(member.count);
        (with.skipped)(range, member.count.into());
    }
    Ok(())
}
