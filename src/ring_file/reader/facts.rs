//! The facts of a ring file: names and definitions of kinds, attributes, readings of the clocks. The threads of rings are in the headers of the rings.

use super::chain::{Chain, Of, Reason, Step};
use super::directory::{no_memory, zeros};
use super::file::RingFile;
use crate::event::{ClockFacts, PIPELINE_KIND_CLOCK};
use crate::files::failure::Failure;
use crate::journal::blocks::facts::FactRef;
use crate::ring_file::format::{FACTS_AT, FACTS_BYTES, FACTS_START};
use std::ops::Range;
use std::sync::atomic::{Ordering, fence};

/// The facts of a file.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    bytes: Vec<u8>,
    all: Vec<Found>,
    damage: Option<(u64, Reason)>,
}

#[derive(Clone, Debug)]
struct Found {
    kind: u32,
    correlation_id: u64,
    node_id: u64,
    payload: Range<usize>,
}

impl Facts {
    /// Reads the facts that are committed.
    pub fn read(file: &RingFile) -> Result<Self, Failure> {
        const ROOM: u64 = FACTS_BYTES - FACTS_START;
        let mut word = [0; 8];
        file.read(&mut word, FACTS_AT)?;
        // What is committed was written before.
        fence(Ordering::Acquire);
        let committed = u64::from_le_bytes(word);
        let mut this = Self::default();
        let mut chain = match Chain::new(Of::Facts, FACTS_BYTES, 0, committed) {
            Ok(chain) if committed <= ROOM => chain,
            Ok(_) => return Ok(Self { damage: Some((0, Reason::TooFull(committed))), ..this }),
            Err(reason) => return Ok(Self { damage: Some((0, reason)), ..this }),
        };
        this.bytes = zeros(committed as usize)?;
        file.read(&mut this.bytes, FACTS_AT + FACTS_START)?;
        loop {
            let at = chain.at();
            match chain.step(&this.bytes[at as usize..]) {
                Step::Record(record) => {
                    let payload = at as usize + (crate::ring::record::HEADER as usize);
                    this.all.try_reserve(1).map_err(|_| no_memory(size_of::<Found>()))?;
                    this.all.push(Found {
                        kind: record.head.kind,
                        correlation_id: record.head.correlation_id,
                        node_id: record.head.node_id,
                        payload: payload..payload + record.payload.len(),
                    });
                }
                Step::End => return Ok(this),
                Step::Damaged(reason) => return Ok(Self { damage: Some((at, reason)), ..this }),
                // (All bytes are there, and no fact is a pad.)
                Step::Pad | Step::Needs(_) => {
                    return Ok(Self { damage: Some((at, Reason::Pad(0))), ..this });
                }
            }
        }
    }

    /// The facts, in their order.
    pub fn iter(&self) -> impl Iterator<Item = FactRef<'_>> {
        self.all.iter().map(|found| FactRef {
            kind: found.kind,
            correlation_id: found.correlation_id,
            node_id: found.node_id,
            payload: self.bytes.get(found.payload.clone()).unwrap_or_default(),
        })
    }

    /// Where, counted from the first fact on, and why the facts cannot be read any further.
    pub fn damage(&self) -> Option<(u64, Reason)> {
        self.damage
    }

    /// CLOCK_REALTIME minus CLOCK_MONOTONIC, as the run has read them last. `None`: no fact tells it.
    pub(super) fn realtime_offset_ns(&self) -> Option<i64> {
        let clocks = self.iter().filter(|fact| fact.kind == PIPELINE_KIND_CLOCK);
        let last =
            clocks.filter_map(|fact| ClockFacts::from_bytes(fact.payload)).max_by_key(|c| c.monotonic_ns)?;
        i64::try_from(i128::from(last.realtime_ns) - i128::from(last.monotonic_ns)).ok()
    }
}
