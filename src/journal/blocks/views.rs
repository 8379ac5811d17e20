//! From the events of a batch, as a storage sees them, to blocks: the records are built anew.

use super::{Blocks, NoMemory};
use crate::batch::BatchView;
use crate::event::{EventView, PIPELINE_EVENT_RELEASE};
use crate::journal::format::MAX_RAW_BODY;
use crate::journal::format::block::BlockType;
use crate::journal::format::record::{PAD, Record, TICKS, stride};

/// A payload from this size on is written from where it lies.
const BORROWED: usize = 32 << 10;

/// The event at `index` of a batch.
///
/// # Safety
/// `batch` is valid and has more than `index` events.
pub unsafe fn event(batch: &BatchView, index: usize) -> &EventView {
    // SAFETY: the index is below the count, and the stride is the distance from one event to the next.
    unsafe { &*batch.events.byte_add(index * batch.event_stride as usize) }
}

/// The first event behind the `written` ones from `from` on that are in blocks.
///
/// # Safety
/// `batch` is valid.
pub unsafe fn behind(batch: &BatchView, from: usize, written: u64) -> usize {
    let (mut to, mut left) = (from, written);
    while left > 0 && to < batch.count {
        // SAFETY: the index is below the count.
        left -= u64::from(refusal(unsafe { event(batch, to) }).is_none());
        to += 1;
    }
    to
}

/// Why an event is not written. `None`: it is.
pub fn refusal(event: &EventView) -> Option<&'static str> {
    if event.flags & PIPELINE_EVENT_RELEASE != 0 {
        return Some("its payload is a handle (PIPELINE_EVENT_RELEASE)");
    }
    (event.len > u32::MAX as usize - 64).then_some("its payload is longer than a record can be")
}

/// Where blocks begin among the events of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cuts {
    ring: Option<u64>,
    sequence: u64,
    body: u64,
}

impl Cuts {
    /// Adds the next event. `true`: a block begins with it.
    pub fn begins_block(&mut self, event: &EventView) -> bool {
        let size = stride(event.len) as u64;
        let begins = self.ring != Some(event.ring_id)
            || event.sequence <= self.sequence
            || self.body + size > MAX_RAW_BODY;
        (self.ring, self.sequence) = (Some(event.ring_id), event.sequence);
        self.body = if begins { size } else { self.body + size };
        begins
    }
}

/// What [`Blocks::reserve`] is told before events are pushed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Need {
    /// Bytes that are copied.
    pub copied: usize,
    /// Payloads that are not.
    pub borrowed: usize,
}

impl Need {
    /// Adds an event.
    pub fn add(&mut self, event: &EventView) {
        let is_borrowed = event.len >= BORROWED;
        self.copied += if is_borrowed { stride(0) + 8 } else { stride(event.len) };
        self.borrowed += usize::from(is_borrowed);
    }
}

/// Adds an event to the block that was begun last. Room for it was made.
///
/// # Safety
/// The event's payload is valid until the blocks are cleared, or used no more.
pub unsafe fn push(blocks: &mut Blocks, event: &EventView) {
    let record = Record {
        flags: event.flags & !(TICKS | PAD),
        kind: event.kind,
        weight: event.weight as f32,
        sequence: event.sequence,
        timestamp: event.timestamp_ns,
        correlation_id: event.correlation_id,
        node_id: event.node_id,
        payload: &[],
    };
    if event.len < BORROWED {
        let payload = if event.len == 0 { &[] } else { event.payload() };
        blocks.record(&Record { payload, ..record });
    } else {
        // SAFETY: passed on.
        unsafe { blocks.record_borrowing(&record, event.data.cast(), event.len) };
    }
}

/// What was taken of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// The first event that was not looked at.
    pub to: usize,
    /// The first event that is in the blocks, if any is.
    pub first: usize,
    /// Why the first event that was refused is not written.
    pub refused: Option<&'static str>,
}

/// Adds blocks of the events from `from` on, up to `limit` bytes, or one event. `encode` is called for each before it ends, and `refuse` for the events that
/// cannot be written.
///
/// # Safety
/// `batch` is valid until the blocks are cleared, or used no more.
pub unsafe fn take(
    batch: &BatchView,
    from: usize,
    limit: u64,
    blocks: &mut Blocks,
    mut encode: impl FnMut(&mut Blocks) -> Result<(), NoMemory>,
    mut refuse: impl FnMut(usize) -> Result<(), NoMemory>,
) -> Result<Taken, NoMemory> {
    // SAFETY: the indices below are under the count.
    let at = |index: usize| unsafe { event(batch, index) };
    let (mut need, mut total, mut runs) = (Need::default(), 0u64, 0usize);
    let (mut to, mut cuts) = (from, Cuts::default());
    let mut taken = Taken::default();
    while to < batch.count {
        let event = at(to);
        if let Some(why) = refusal(event) {
            taken.refused.get_or_insert(why);
            refuse(to)?;
        } else {
            let size = stride(event.len);
            if total != 0 && total + size as u64 > limit {
                break;
            }
            if total == 0 {
                taken.first = to;
            }
            runs += usize::from(cuts.begins_block(event));
            total += size as u64;
            need.add(event);
        }
        to += 1;
    }
    taken.to = to;
    blocks.reserve(runs, need.copied, need.borrowed)?;
    let mut cuts = Cuts::default();
    for index in from..to {
        let event = at(index);
        if refusal(event).is_some() {
            continue;
        }
        if cuts.begins_block(event) {
            if blocks.is_open() {
                encode(blocks)?;
                blocks.end();
            }
            blocks.begin(BlockType::EVENTS, event.ring_id, batch.realtime_offset_ns);
        }
        // SAFETY: the payload is valid as long as the batch is.
        unsafe { push(blocks, event) };
    }
    if blocks.is_open() {
        encode(blocks)?;
        blocks.end();
    }
    Ok(taken)
}
