//! One column: a list of numbers, and how it lies in the body.

use super::{NoMemory, reserve, room};
use crate::journal::format::bytes::{array, u64_at};

/// The first byte of a column.
mod mode {
    /// Each number is the base XOR its difference.
    pub const PLAIN: u8 = 0;
    /// Each number is the one before it, plus the step, plus its difference.
    pub const DELTA: u8 = 1;
    /// Each number is an entry of a list.
    pub const DICTIONARY: u8 = 2;
    /// The low and the high halves of the numbers are columns of their own.
    pub const HALVES: u8 = 3;
}

/// Which modes a column may have, because columns are in columns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// The entries of a dictionary: plain or delta.
    Entries,
    /// A half: also a dictionary.
    Half,
    /// A field: all modes.
    Field,
}

/// So many numbers of a column are looked at, to choose a mode.
const SAMPLES: usize = 64;
/// The most entries of a dictionary.
const ENTRIES: usize = 256;
/// The slots of the hash table of a dictionary.
const SLOTS: usize = 1024;

/// Memory that writing and reading columns needs.
#[derive(Default)]
pub(super) struct Work {
    differences: Vec<u64>,
    halves: [Vec<u64>; 2],
    indices: Vec<u8>,
    entries: Vec<u64>,
}

/// A small number for a small difference in either direction.
#[inline(always)]
fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ (difference >> 63).wrapping_neg()
}

#[inline(always)]
fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// How a column is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Plain,
    Delta { step: u64 },
    Dictionary { otherwise: Option<u64> },
    Halves,
}

/// What differences cost: their bits, and one more for each plane that is stored.
fn cost(differences: impl Iterator<Item = u64>) -> u32 {
    let (mut bits, mut union, mut count) = (0, 0, 0);
    for difference in differences {
        bits += u64::BITS - difference.leading_zeros();
        union |= difference;
        count += 1;
    }
    bits + count * planes(union).count_ones()
}

/// The planes that are not zero.
fn planes(union: u64) -> u8 {
    union.to_le_bytes().iter().zip(0..).fold(0, |mask, (plane, k)| mask | u8::from(*plane != 0) << k)
}

/// The difference that most of the numbers have to the one before, or 0.
fn usual_step(pairs: &[(u64, u64)]) -> u64 {
    let (mut step, mut lead) = (0, 0);
    for difference in pairs.iter().map(|(before, number)| number.wrapping_sub(*before)) {
        match (lead, difference == step) {
            (0, _) => (step, lead) = (difference, 1),
            (_, true) => lead += 1,
            (_, false) => lead -= 1,
        }
    }
    let usual = pairs.iter().filter(|(before, number)| number.wrapping_sub(*before) == step).count();
    if usual * 2 > pairs.len() { step } else { 0 }
}

/// How many of the numbers differ, at least.
fn distinct(pairs: &[(u64, u64)]) -> usize {
    let mut seen = [0_u64; SAMPLES];
    let (seen, _) = seen.split_at_mut(pairs.len());
    seen.iter_mut().zip(pairs).for_each(|(to, (_, number))| *to = *number);
    seen.sort_unstable();
    seen.chunk_by(|a, b| a == b).count()
}

/// Chooses the cheapest mode by a sample. `differ` has the bits in which any number differs from the first.
fn plan(values: &[u64], differ: u64, level: Level) -> Plan {
    let mut pairs = [(0, 0); SAMPLES];
    let count = (values.len() - 1).min(SAMPLES);
    for (n, pair) in pairs[..count].iter_mut().enumerate() {
        let at = n * (values.len() - 1) / count;
        *pair = (values[at], values[at + 1]);
    }
    let pairs = &pairs[..count];
    let first = values[0];
    let step = usual_step(pairs);
    let plain = cost(pairs.iter().map(|(_, number)| number ^ first));
    let delta =
        cost(pairs.iter().map(|(before, number)| zigzag(number.wrapping_sub(*before).wrapping_sub(step))));
    let best = plain.min(delta);
    let simple = if plain <= delta { Plan::Plain } else { Plan::Delta { step } };
    if level == Level::Entries {
        return simple;
    }
    let samples = pairs.len() as u32;
    // A dictionary costs a byte a number, whatever the numbers are.
    let pays = values.len() >= 64
        && planes(differ).count_ones() > 1
        && best > samples * 9
        && distinct(pairs) * 8 <= count * 7;
    if pays {
        return Plan::Dictionary { otherwise: (delta < plain).then_some(step) };
    }
    if level == Level::Field && differ >> 32 != 0 {
        let low = |number: u64| number & 0xFFFF_FFFF;
        let half = |of: &dyn Fn(u64) -> u64| {
            let plain = cost(pairs.iter().map(|(_, number)| of(*number) ^ of(first)));
            plain
                .min(cost(pairs.iter().map(|(before, number)| zigzag(of(*number).wrapping_sub(of(*before))))))
        };
        if (half(&low) + half(&|number| number >> 32)) * 5 < best * 4 {
            return Plan::Halves;
        }
    }
    simple
}

/// Appends a column to the body.
pub(super) fn write(
    values: &[u64],
    level: Level,
    work: &mut Work,
    out: &mut Vec<u8>,
) -> Result<(), NoMemory> {
    let first = values.first().copied().unwrap_or(0);
    let differ = values.iter().fold(0, |differ, number| differ | (number ^ first));
    if differ == 0 {
        return write_plain(&[], first, work, out);
    }
    match plan(values, differ, level) {
        Plan::Plain => write_plain(values, first, work, out),
        Plan::Delta { step } => write_delta(values, step, work, out),
        Plan::Halves => write_halves(values, work, out),
        Plan::Dictionary { otherwise } => {
            if write_dictionary(values, work, out)? {
                return Ok(());
            }
            match otherwise {
                None => write_plain(values, first, work, out),
                Some(step) => write_delta(values, step, work, out),
            }
        }
    }
}

fn write_plain(values: &[u64], base: u64, work: &mut Work, out: &mut Vec<u8>) -> Result<(), NoMemory> {
    reserve(out, 10)?;
    out.push(mode::PLAIN);
    out.extend_from_slice(&base.to_le_bytes());
    let differences = room(&mut work.differences, values.len())?;
    let mut union = 0;
    for (to, number) in differences.iter_mut().zip(values) {
        *to = number ^ base;
        union |= *to;
    }
    write_planes(differences, union, out)
}

fn write_delta(values: &[u64], step: u64, work: &mut Work, out: &mut Vec<u8>) -> Result<(), NoMemory> {
    reserve(out, 18)?;
    out.push(mode::DELTA);
    out.extend_from_slice(&values[0].wrapping_sub(step).to_le_bytes());
    out.extend_from_slice(&step.to_le_bytes());
    let differences = room(&mut work.differences, values.len())?;
    differences[0] = 0;
    let mut union = 0;
    for ((to, before), number) in differences[1..].iter_mut().zip(values).zip(&values[1..]) {
        *to = zigzag(number.wrapping_sub(*before).wrapping_sub(step));
        union |= *to;
    }
    write_planes(differences, union, out)
}

/// The mask of the planes that are not zero, and these planes.
fn write_planes(differences: &[u64], union: u64, out: &mut Vec<u8>) -> Result<(), NoMemory> {
    let mask = planes(union);
    reserve(out, 1 + mask.count_ones() as usize * differences.len())?;
    out.push(mask);
    for k in (0..8).filter(|k| mask >> k & 1 != 0) {
        let start = out.len();
        out.resize(start + differences.len(), 0);
        let shift = 8 * k;
        for (to, difference) in out[start..].iter_mut().zip(differences) {
            *to = (difference >> shift) as u8;
        }
    }
    Ok(())
}

fn write_halves(values: &[u64], work: &mut Work, out: &mut Vec<u8>) -> Result<(), NoMemory> {
    reserve(out, 1)?;
    out.push(mode::HALVES);
    let [mut low, mut high] = std::mem::take(&mut work.halves);
    let done = (|| {
        let (low, high) = (room(&mut low, values.len())?, room(&mut high, values.len())?);
        for ((low, high), number) in low.iter_mut().zip(high.iter_mut()).zip(values) {
            (*low, *high) = (number & 0xFFFF_FFFF, number >> 32);
        }
        write(low, Level::Half, work, out)?;
        write(high, Level::Half, work, out)
    })();
    work.halves = [low, high];
    done
}

/// Appends the column as a dictionary, unless there are too many different numbers: then it answers false, and nothing is appended.
fn write_dictionary(values: &[u64], work: &mut Work, out: &mut Vec<u8>) -> Result<bool, NoMemory> {
    let most = ENTRIES.min(values.len() / 4);
    let mut slots = [0_u16; SLOTS];
    let mut keys = [0_u64; ENTRIES];
    let mut count = 0;
    let indices = room(&mut work.indices, values.len())?;
    for (index, number) in indices.iter_mut().zip(values) {
        let mut at = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54) as usize;
        loop {
            let slot = usize::from(slots[at]);
            if slot == 0 {
                if count == most {
                    return Ok(false);
                }
                keys[count] = *number;
                count += 1;
                slots[at] = count as u16;
                *index = (count - 1) as u8;
                break;
            }
            if keys[slot - 1] == *number {
                *index = (slot - 1) as u8;
                break;
            }
            at = (at + 1) % SLOTS;
        }
    }
    // Sorted, so that the entries are small differences.
    let mut order = [0_u8; ENTRIES];
    (0..).zip(&mut order[..count]).for_each(|(n, to)| *to = n);
    order[..count].sort_unstable_by_key(|n| keys[usize::from(*n)]);
    let mut entries = [0; ENTRIES];
    let mut place = [0_u8; ENTRIES];
    for (n, old) in (0..).zip(&order[..count]) {
        entries[usize::from(n)] = keys[usize::from(*old)];
        place[usize::from(*old)] = n;
    }
    reserve(out, 2 + values.len())?;
    out.push(mode::DICTIONARY);
    out.push((count - 1) as u8);
    write(&entries[..count], Level::Entries, work, out)?;
    reserve(out, values.len())?;
    out.extend(work.indices[..values.len()].iter().map(|old| place[usize::from(*old)]));
    Ok(true)
}

/// The body, and how far it is read.
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

/// Why a column cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// The bytes are no column.
    Damaged(&'static str),
    NoMemory,
}

impl From<NoMemory> for Unread {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
}

impl<'a> Input<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Unread> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or(Unread::Damaged("the columns are cut"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8, Unread> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub fn word(&mut self) -> Result<u64, Unread> {
        self.take(8).map(|bytes| u64_at(bytes, 0))
    }

    pub fn number(&mut self) -> Result<u32, Unread> {
        self.take(4).map(|bytes| u32::from_le_bytes(array(bytes, 0)))
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Reads a column into all of `values`.
pub(super) fn read(
    input: &mut Input,
    level: Level,
    work: &mut Work,
    values: &mut [u64],
) -> Result<(), Unread> {
    match input.byte()? {
        mode::PLAIN => {
            let base = input.word()?;
            read_planes(input, values)?;
            values.iter_mut().for_each(|number| *number ^= base);
            Ok(())
        }
        mode::DELTA => {
            let (mut number, step) = (input.word()?, input.word()?);
            read_planes(input, values)?;
            for value in values {
                number = number.wrapping_add(step).wrapping_add(unzigzag(*value));
                *value = number;
            }
            Ok(())
        }
        mode::DICTIONARY if level >= Level::Half => {
            let count = usize::from(input.byte()?) + 1;
            let mut entries = [0; ENTRIES];
            read(input, Level::Entries, work, &mut entries[..count])?;
            let indices = input.take(values.len())?;
            if indices.iter().fold(0, |most, index| most.max(*index)) as usize >= count {
                return Err(Unread::Damaged("an index is beyond its dictionary"));
            }
            for (value, index) in values.iter_mut().zip(indices) {
                *value = entries[usize::from(*index)];
            }
            Ok(())
        }
        mode::HALVES if level == Level::Field => {
            read(input, Level::Half, work, values)?;
            let mut high = std::mem::take(&mut work.entries);
            let done = (|| {
                let high = room(&mut high, values.len())?;
                read(input, Level::Half, work, high)?;
                for (value, high) in values.iter_mut().zip(high.iter()) {
                    *value = *value & 0xFFFF_FFFF | high << 32;
                }
                Ok(())
            })();
            work.entries = high;
            done
        }
        _ => Err(Unread::Damaged("a column has an unknown mode")),
    }
}

fn read_planes(input: &mut Input, values: &mut [u64]) -> Result<(), Unread> {
    let mask = input.byte()?;
    values.fill(0);
    for k in (0..8).filter(|k| mask >> k & 1 != 0) {
        let plane = input.take(values.len())?;
        let shift = 8 * k;
        for (value, byte) in values.iter_mut().zip(plane) {
            *value |= u64::from(*byte) << shift;
        }
    }
    Ok(())
}
