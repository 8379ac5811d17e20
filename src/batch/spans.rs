//! A batch as its records lie in the ring buffers, for storages that keep the bytes as they are.

use super::{BatchView, WriterData};
use crate::clock::piece::{Piece, convert};
use crate::event::EventView;
use crate::platform::memory;
use crate::ring::record::{Record, Records};
use crate::status::Result;
use std::ops::Range;
use std::sync::OnceLock;

/// Records of one ring buffer that belong to a batch, as they lie.
#[derive(Clone, Copy, Debug)]
pub struct SpanView<'a> {
    /// The ring buffer, the first part of the records' identity after the batch's generation.
    pub ring_id: u64,
    /// The bytes of the records, in their order. The second part is empty unless they lie at both ends of the ring buffer's memory.
    /// `docs/format.md` describes a record. Nothing lies between two records. The bytes behind a payload, up to a multiple of 8, have no
    /// meaning.
    pub records: [&'a [u8]; 2],
    /// How many records.
    pub count: u32,
    /// The union of the records' flags, among them [`TICKS`](crate::ring::record::TICKS): then the timestamps of records with that flag
    /// are readings of the processor's counter.
    pub flags: u32,
    /// The sequence number of the first record. They rise, with gaps where events were dropped or overwritten.
    pub first_sequence: u64,
    /// The sequence number of the last record.
    pub last_sequence: u64,
    /// The earliest time among the records, callers' own times included, in nanoseconds.
    pub earliest_ns: u64,
    /// The latest time among the records.
    pub latest_ns: u64,
    /// The clock pieces that all readings among the records belong to. Empty without readings.
    pub pieces: &'a [Piece],
}

impl<'a> SpanView<'a> {
    /// The records, read one by one.
    pub fn read(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        let [first, second] = self.records;
        Records::new(first).chain(Records::new(second))
    }

    /// The time of a record in nanoseconds.
    pub fn time(&self, record: &Record<'_>) -> u64 {
        if record.tag.in_ticks() {
            convert(self.pieces, record.head.timestamp)
        } else {
            record.head.timestamp
        }
    }

    /// A record as an event.
    fn view(&self, record: &Record<'_>) -> EventView {
        let Record { tag, head, payload } = record;
        EventView {
            ring_id: self.ring_id,
            sequence: head.sequence,
            timestamp_ns: self.time(record),
            correlation_id: head.correlation_id,
            node_id: head.node_id,
            kind: head.kind,
            flags: tag.flags(),
            weight: f64::from(head.weight),
            data: payload.as_ptr().cast(),
            len: payload.len(),
        }
    }
}

/// The same as the pool keeps it.
#[derive(Clone, Debug)]
pub struct KeptSpan {
    /// See [`SpanView`].
    pub ring_id: u64,
    /// Addresses and lengths.
    pub parts: [(*const u8, usize); 2],
    /// See [`SpanView`].
    pub count: u32,
    /// See [`SpanView`].
    pub flags: u32,
    /// The first and the last sequence number.
    pub sequences: (u64, u64),
    /// The earliest and the latest time.
    pub times: (u64, u64),
    /// Its pieces among those of the batch.
    pub pieces: Range<usize>,
    /// Its marks among those of the batch.
    pub marks: Range<usize>,
}

/// A batch as its records lie in the ring buffers. It is valid, and its memory is, until the batch is answered.
#[derive(Debug, Default)]
pub struct SpanBatch {
    /// What the batch has in common with one of views. It has no events.
    pub(super) head: BatchView,
    /// The spans.
    pub spans: Vec<KeptSpan>,
    /// The clock pieces of all spans.
    pub pieces: Vec<Piece>,
    /// The positions of one record of [`MARK_EVERY`](crate::ring::ring_buffer::MARK_EVERY), of all spans.
    pub marks: Vec<u64>,
    /// The events, once the storage has asked for them.
    made: OnceLock<Made>,
}

#[derive(Debug)]
struct Made {
    events: Vec<EventView>,
    view: BatchView,
}

// SAFETY: the addresses are those of claimed records, which no thread writes until the batch is settled, and of `events`, which is not changed
// as long as it is shared.
unsafe impl Send for SpanBatch {}
// SAFETY: as above.
unsafe impl Sync for SpanBatch {}
// SAFETY: as above.
unsafe impl Send for Made {}
// SAFETY: as above.
unsafe impl Sync for Made {}

impl SpanBatch {
    /// Which pipeline of the process; never reused.
    pub fn pipeline_id(&self) -> u64 {
        self.head.pipeline_id
    }
    /// 64 random bits drawn when the pipeline started: the first part of every event's identity.
    pub fn generation(&self) -> u64 {
        self.head.generation
    }
    /// Unique in the generation; the same at each attempt.
    pub fn batch_id(&self) -> u64 {
        self.head.batch_id
    }
    /// Names this attempt.
    pub fn token(&self) -> u64 {
        self.head.token
    }
    /// 1 at the first attempt.
    pub fn attempt(&self) -> u32 {
        self.head.attempt
    }
    /// The writer that makes the attempt.
    pub fn writer_id(&self) -> u32 {
        self.head.writer_id
    }
    /// What `open_writer` gave for that writer.
    pub fn writer_data(&self) -> WriterData {
        WriterData(self.head.writer_data)
    }
    /// When the writer took the batch up, CLOCK_MONOTONIC in nanoseconds.
    pub fn processed_at_ns(&self) -> u64 {
        self.head.processed_at_ns
    }
    /// Add it to a time for wall time (nanoseconds since 1970), callers' own times excepted.
    pub fn realtime_offset_ns(&self) -> i64 {
        self.head.realtime_offset_ns
    }

    /// How many events.
    pub fn count(&self) -> usize {
        self.spans.iter().map(|span| span.count as usize).sum()
    }

    /// The union of the records' flags, as [`SpanView::flags`].
    pub fn flags(&self) -> u32 {
        self.spans.iter().fold(0, |union, span| union | span.flags)
    }

    /// The spans, one or more of different ring buffers, in the order in which the batch's events are counted.
    pub fn spans(&self) -> impl Iterator<Item = SpanView<'_>> {
        self.spans.iter().map(|span| SpanView {
            ring_id: span.ring_id,
            // SAFETY: these are bytes of claimed records. No thread writes or unmaps them until the batch is settled, and it is shown to a
            // storage, or looked at by the pool, only before.
            records: span.parts.map(|(at, len)| unsafe { std::slice::from_raw_parts(at, len) }),
            count: span.count,
            flags: span.flags,
            first_sequence: span.sequences.0,
            last_sequence: span.sequences.1,
            earliest_ns: span.times.0,
            latest_ns: span.times.1,
            pieces: &self.pieces[span.pieces.clone()],
        })
    }

    /// The batch with a view of each event, which the first call makes. Fails if there is no memory for them.
    pub fn view(&self) -> Result<&BatchView> {
        if let Some(made) = self.made.get() {
            return Ok(&made.view);
        }
        let mut events = Vec::new();
        self.append_views(&mut events)?;
        let view = self.view_of(&events);
        Ok(&self.made.get_or_init(|| Made { events, view }).view)
    }

    fn view_of(&self, events: &[EventView]) -> BatchView {
        BatchView { count: events.len(), events: events.as_ptr(), ..self.head }
    }

    /// Appends a view of each event. Fails if there is no memory, and then appends none.
    pub fn append_views(&self, to: &mut Vec<EventView>) -> Result<()> {
        let count = self.count();
        to.try_reserve(count).map_err(|_| memory::refused(count * size_of::<EventView>()))?;
        for span in self.spans() {
            to.extend(span.read().map(|record| span.view(&record)));
        }
        Ok(())
    }

    /// The same attempt under another token, for a storage of the simulation that hands batches on to another one and sees its answers.
    #[cfg(simulator)]
    pub fn under_token(&self, token: u64) -> Self {
        Self {
            head: BatchView { token, ..self.head },
            spans: self.spans.clone(),
            pieces: self.pieces.clone(),
            marks: self.marks.clone(),
            made: OnceLock::new(),
        }
    }

    /// An attempt begins. The one before has ended.
    pub(super) fn begin_attempt(&mut self, head: BatchView) {
        self.head = head;
        if let Some(mut made) = self.made.take() {
            made.view = self.view_of(&made.events);
            let _ = self.made.set(made);
        }
    }

    /// Empties it for its next use; the memory of its lists stays.
    pub(super) fn clear(&mut self) {
        self.spans.clear();
        self.pieces.clear();
        self.marks.clear();
        self.made = OnceLock::new();
    }
}

#[cfg(test)]
mod tests;
