//! The segment of a snapshot: facts, the blocks of each ring, a ledger, the seal.

use super::runs::{Run, Runs, set_times};
use super::{Options, Ring, Snapshot, Subject};
use crate::batch::spans::SpanView;
use crate::batch::stamps::Stamps;
use crate::clock::piece::Piece;
use crate::event::PIPELINE_KIND_THREAD;
use crate::files::failure::Failure;
use crate::files::folder::Folder;
use crate::journal::blocks::facts::{self, FactRef};
use crate::journal::blocks::{Blocks, ledger};
use crate::journal::format::block::MAX_PIECES;
use crate::journal::format::columns::Encoder;
use crate::journal::owner::Author;
use crate::journal::segment::Segment;
use crate::platform::kill_point::{Point, pass};
use crate::platform::sync::AtomicU64;
use crate::platform::time;
use crate::ring::copies::Copies;
use crate::ring::record::TICKS;
use std::sync::Arc;

/// Blocks are written when they have so many bytes.
const WRITE_BYTES: u64 = 1 << 20;

/// A segment that is being written.
pub(super) struct Output<'a> {
    subject: &'a Subject<'a>,
    segment: Segment,
    /// The number of the snapshot.
    number: u64,
    codec: Option<u8>,
    blocks: Blocks,
    /// Facts, the ledger, the seal.
    extra: Blocks,
    encoder: Encoder,
    pieces: Vec<Piece>,
    /// The facts of the pipeline's list that the segment has.
    facts: usize,
    /// The ring whose thread was written last, and the one that was counted last.
    told: Option<u64>,
    counted: Option<u64>,
    out: Snapshot,
}

impl<'a> Output<'a> {
    /// Makes the segment.
    pub fn begin(
        folder: &Arc<Folder>,
        subject: &'a Subject<'a>,
        number: u64,
        options: &Options,
    ) -> Result<Self, Failure> {
        let generation = subject.source.generation();
        let next = AtomicU64::new(number);
        let segment = Segment::make(folder, &Author::own(), generation, &next, 0, options.file_mode)?;
        let out = Snapshot { generation, segment: segment.id().1, ..Snapshot::default() };
        Ok(Self {
            subject,
            segment,
            number,
            codec: options.encoding.codec(),
            blocks: Blocks::default(),
            extra: Blocks::default(),
            encoder: Encoder::default(),
            pieces: Vec::new(),
            facts: 0,
            told: None,
            counted: None,
            out,
        })
    }

    /// Writes the copies of these rings, and forgets them. Returns how many bytes of the last one were whole records and pads.
    pub fn write(&mut self, rings: &mut Vec<Ring>, copies: &mut Copies) -> Result<u64, Failure> {
        let mut used = 0;
        self.write_facts(rings)?;
        for ring in rings.iter() {
            self.out.passed_bytes += ring.copied.passed;
            let result = self.write_ring(ring, copies.bytes(&ring.copied));
            // The blocks have the addresses of the copy's records.
            self.blocks.clear();
            used = result? as u64;
        }
        rings.clear();
        copies.back_to(0);
        Ok(used)
    }

    /// Writes what the segment lacks of the pipeline's facts, and the threads of these rings. It comes before their events, and the list is read
    /// after they were copied: a kind is defined before it is captured.
    fn write_facts(&mut self, rings: &[Ring]) -> Result<(), Failure> {
        self.extra.clear();
        let list = self.subject.source.facts();
        let count = list.count();
        let known = list.since(self.facts).take(count - self.facts).map(FactRef::from);
        let told = self.told;
        let threads = rings.iter().filter(|ring| !ring.copied.is_empty() && Some(ring.id) != told);
        let threads = threads.filter_map(|ring| Some((ring.id, ring.thread.as_ref()?)));
        let threads = threads.map(|(ring_id, thread)| FactRef {
            kind: PIPELINE_KIND_THREAD,
            correlation_id: thread.tid.into(),
            node_id: ring_id,
            payload: thread.name(),
        });
        for fact in known.chain(threads) {
            let sequence = if self.extra.is_open() { self.extra.records().into() } else { 0 };
            facts::push(&mut self.extra, fact, sequence)?;
        }
        if self.extra.is_open() {
            self.extra.end();
        }
        if !self.extra.is_empty() {
            self.segment.append(&mut self.segment.lock(), &mut self.extra)?;
        }
        self.facts = count;
        self.told = rings.last().map(|ring| ring.id).or(told);
        Ok(())
    }

    /// Writes the blocks of one ring, or of a part of it. Returns how many bytes were whole records and pads.
    fn write_ring(&mut self, ring: &Ring, bytes: &mut [u8]) -> Result<usize, Failure> {
        let ring_id = ring.id;
        let realtime_offset_ns = time::realtime_offset_ns();
        let before = self.out.events;
        let mut at = 0;
        loop {
            // (The runs are found one by one, because the times of one may have to be written to the bytes.)
            let mut runs = Runs::from(bytes, at);
            let Some(run) = runs.next() else {
                self.out.left_out += runs.left_out;
                at = runs.at();
                if ring.copied.last {
                    self.out.damaged_bytes += runs.damaged() as u64;
                }
                break;
            };
            self.out.left_out += runs.left_out;
            at = runs.at();
            let (flags, stamps) = self.tell_times(bytes, &run);
            let (times, _) = stamps.convert(&self.pieces);
            self.blocks.reserve(1, 0, 2)?;
            self.blocks.reserve_pieces(self.pieces.len())?;
            let view = SpanView {
                ring_id,
                records: run.parts.clone().map(|part| bytes.get(part).unwrap_or_default()),
                count: run.count,
                flags,
                first_sequence: run.first_sequence,
                last_sequence: run.last_sequence,
                earliest_ns: times.0,
                latest_ns: times.1,
                pieces: &self.pieces,
            };
            // SAFETY: the blocks are cleared before the bytes are given up: below, or by the caller.
            unsafe { self.blocks.span(&view, realtime_offset_ns) };
            if let Some(codec) = self.codec {
                self.blocks.encode(&mut self.encoder, codec)?;
            }
            self.blocks.end();
            self.out.events += u64::from(run.count);
            let all = self.out.times.get_or_insert(times);
            *all = (all.0.min(times.0), all.1.max(times.1));
            if self.blocks.len() >= WRITE_BYTES {
                self.append()?;
            }
        }
        if self.out.events != before && self.counted.replace(ring_id) != Some(ring_id) {
            self.out.rings += 1;
        }
        self.append()?;
        Ok(at)
    }

    fn append(&mut self) -> Result<(), Failure> {
        if !self.blocks.is_empty() {
            self.segment.append(&mut self.segment.lock(), &mut self.blocks)?;
            self.blocks.clear();
        }
        Ok(())
    }

    /// Finds the clock pieces of a run's readings. If they do not tell the times, the times are written to the records. Returns the union of the
    /// flags, and the stamps, as they are then.
    fn tell_times(&mut self, bytes: &mut [u8], run: &Run) -> (u32, Stamps) {
        self.pieces.clear();
        let (Some((first, last)), Some(timeline)) = (run.stamps.readings.0, self.subject.timeline) else {
            return (run.flags, run.stamps);
        };
        if timeline.pieces(first, last, &mut self.pieces) && self.pieces.len() <= MAX_PIECES as usize {
            return (run.flags, run.stamps);
        }
        self.pieces.clear();
        let mut stamps = run.stamps;
        stamps.readings = Default::default();
        set_times(bytes, run, |ticks| {
            let ns = timeline.know(ticks).ns(ticks).unwrap_or(ticks);
            stamps.times.add(ns);
            ns
        });
        (run.flags & !TICKS, stamps)
    }

    /// Ends the segment.
    pub fn end(&mut self, options: &Options) -> Result<Snapshot, Failure> {
        self.extra.clear();
        let counts = ledger::counts(&self.subject.source.ledger());
        ledger::push(&mut self.extra, self.number, time::now_ns(), &counts)?;
        pass(Point::SnapshotWritten);
        let bytes = {
            let mut state = self.segment.lock();
            self.segment.seal(&mut state, &mut self.extra)?;
            state.end
        };
        if options.sync {
            self.segment.sync()?;
        }
        Ok(Snapshot { bytes, ..self.out })
    }

    /// Deletes the segment.
    pub fn give_up(&self) {
        self.segment.delete();
    }
}
