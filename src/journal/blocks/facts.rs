//! Facts as records of blocks.

use super::{Blocks, NoMemory};
use crate::facts::Fact;
use crate::journal::format::MAX_RAW_BODY;
use crate::journal::format::block::BlockType;
use crate::journal::format::record::{Record, stride};
use crate::platform::time;

/// A fact, with its payload where it lies.
#[derive(Clone, Copy, Debug)]
pub struct FactRef<'a> {
    /// What it is about.
    pub kind: u32,
    /// As in the record.
    pub correlation_id: u64,
    /// As in the record.
    pub node_id: u64,
    /// As in the record.
    pub payload: &'a [u8],
}

impl<'a> From<&'a Fact> for FactRef<'a> {
    fn from(fact: &'a Fact) -> Self {
        let Fact { kind, correlation_id, node_id, payload } = fact;
        Self { kind: *kind, correlation_id: *correlation_id, node_id: *node_id, payload }
    }
}

/// Adds a fact, to the open block of facts if there is one and it has room. In a block, `sequence` rises.
pub fn push(blocks: &mut Blocks, fact: FactRef<'_>, sequence: u64) -> Result<(), NoMemory> {
    let size = stride(fact.payload.len());
    if blocks.is_open() && blocks.body_len() + size as u64 > MAX_RAW_BODY {
        blocks.end();
    }
    let begins = !blocks.is_open();
    blocks.reserve(usize::from(begins), size, 0)?;
    if begins {
        blocks.begin(BlockType::FACTS, 0, time::realtime_offset_ns());
    }
    blocks.record(&Record {
        kind: fact.kind,
        weight: 1.0,
        sequence,
        correlation_id: fact.correlation_id,
        node_id: fact.node_id,
        payload: fact.payload,
        ..Record::default()
    });
    Ok(())
}
