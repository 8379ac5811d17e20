//! What an attempt shows: a batch of views, or of spans, whose records are read here as `docs/format.md` describes them.

use super::book::{Entry, Key, views};
use super::{Shared, add};
use crate::producers::Dice;
use capture_pipeline::batch::BatchView;
use capture_pipeline::batch::spans::{SpanBatch, SpanView};
use capture_pipeline::event::EventView;

/// The flag of a record whose timestamp is a reading of the processor's counter.
const READING: u32 = 1 << 30;
/// No record has it.
const NEVER: u32 = 1 << 31;

/// An attempt, with the events that it is about.
pub struct Shown {
    pub generation: u64,
    pub batch_id: u64,
    pub token: u64,
    pub attempt: u32,
    pub writer_id: u32,
    pub count: usize,
    pub events: Vec<(Key, Entry)>,
}

impl Shown {
    /// What is shown as views.
    pub fn views(shared: &Shared, batch: &BatchView) -> Self {
        Self {
            generation: batch.generation,
            batch_id: batch.batch_id,
            token: batch.token,
            attempt: batch.attempt,
            writer_id: batch.writer_id,
            count: batch.count,
            events: views(batch).map(|e| ((e.ring_id, e.sequence), shared.inspect(e))).collect(),
        }
    }

    /// What is shown as spans.
    pub fn spans(shared: &Shared, batch: &SpanBatch) -> Self {
        let events: Vec<EventView> = batch.spans().flat_map(|span| read_span(shared, &span)).collect();
        let id = batch.batch_id();
        let records = |span: &SpanView<'_>| span.records.iter().map(|part| part.len() as u64).sum::<u64>();
        let bytes: u64 = batch.spans().map(|span| records(&span)).sum();
        let most = shared.settings.span_bytes.unwrap_or(0);
        shared.must(bytes <= most || events.len() == 1, || {
            format!("batch {id}: {bytes} bytes of {} records, {most} were asked for", events.len())
        });
        shared.must(events.len() == batch.count(), || {
            format!("batch {id}: it has not {} events", batch.count())
        });
        shared.must(batch.flags() == batch.spans().fold(0, |union, span| union | span.flags), || {
            format!("batch {id}: flags {}", batch.flags())
        });
        add(&shared.tally.spans);
        shared.tally.spanned.fetch_max(batch.spans().count() as u64, super::Ordering::AcqRel);
        let wrapped = batch.spans().filter(|span| !span.records[1].is_empty()).count();
        shared.tally.wrapped.fetch_add(wrapped as u64, super::Ordering::AcqRel);
        let mut dice = Dice(shared.settings.seed ^ id << 20 ^ 0x5BA5_0000 ^ u64::from(batch.attempt()));
        if dice.once_in(4) {
            add(&shared.tally.viewed);
            compare_views(shared, batch, &events);
        }
        Self {
            generation: batch.generation(),
            batch_id: id,
            token: batch.token(),
            attempt: batch.attempt(),
            writer_id: batch.writer_id(),
            count: batch.count(),
            events: events.iter().map(|e| ((e.ring_id, e.sequence), shared.inspect(e))).collect(),
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The time of a reading, by the formula of the format.
fn time_of(span: &SpanView<'_>, reading: u64) -> u64 {
    let Some(piece) = span.pieces.iter().rfind(|p| p.start <= reading).or(span.pieces.first()) else {
        return u64::MAX;
    };
    let scaled = |ticks: u64| (u128::from(ticks) * u128::from(piece.rate)) >> 48;
    if reading >= piece.start {
        (u128::from(piece.ns) + scaled(reading - piece.start)).try_into().unwrap_or(u64::MAX)
    } else {
        u128::from(piece.ns).saturating_sub(scaled(piece.start - reading)) as u64
    }
}

/// The events of a span, read from its bytes; whether all that is said about it is so.
fn read_span(shared: &Shared, span: &SpanView<'_>) -> Vec<EventView> {
    let ring = span.ring_id;
    let mut events = Vec::new();
    let mut union = 0;
    for part in span.records {
        let mut rest = part;
        while !rest.is_empty() {
            if rest.len() < 48 || 48 + u32_at(rest, 0) as usize > rest.len() {
                shared.fail(format!("ring {ring}: {} bytes are no record", rest.len()));
                return events;
            }
            let (len, flags) = (u32_at(rest, 0) as usize, u32_at(rest, 4));
            union |= flags;
            let stamp = u64_at(rest, 24);
            events.push(EventView {
                ring_id: ring,
                sequence: u64_at(rest, 16),
                timestamp_ns: if flags & READING != 0 { time_of(span, stamp) } else { stamp },
                correlation_id: u64_at(rest, 32),
                node_id: u64_at(rest, 40),
                kind: u32_at(rest, 8),
                flags: flags & !READING,
                weight: f64::from(f32::from_bits(u32_at(rest, 12))),
                data: rest[48..].as_ptr().cast(),
                len,
            });
            rest = rest.get(48 + len.next_multiple_of(8)..).unwrap_or_default();
        }
    }
    let times: Vec<u64> = events.iter().map(|event| event.timestamp_ns).collect();
    let (earliest, latest) = (times.iter().min().copied(), times.iter().max().copied());
    let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    let right = [
        ("count", span.count as usize == events.len() && !events.is_empty()),
        ("first part", !span.records[0].is_empty()),
        ("flags", span.flags == union && union & NEVER == 0),
        ("pieces", span.pieces.is_empty() == (union & READING == 0)),
        ("order of pieces", span.pieces.is_sorted_by(|a, b| a.end <= b.start)),
        ("earliest", Some(span.earliest_ns) == earliest),
        ("latest", Some(span.latest_ns) == latest),
        ("first", Some(&span.first_sequence) == sequences.first()),
        ("last", Some(&span.last_sequence) == sequences.last()),
        ("order", sequences.is_sorted_by(|a, b| a < b)),
    ];
    for (what, holds) in right {
        shared.must(holds, || format!("ring {ring}: {what} of the span {span:?}"));
    }
    events
}

/// The views that the library makes of spans are the events that lie there.
fn compare_views(shared: &Shared, batch: &SpanBatch, events: &[EventView]) {
    let view = match batch.view() {
        Ok(view) => view,
        Err(error) => return shared.fail(format!("no views: {error}")),
    };
    let header = (view.generation, view.batch_id, view.token, view.attempt, view.writer_id, view.count);
    let wanted = (
        batch.generation(),
        batch.batch_id(),
        batch.token(),
        batch.attempt(),
        batch.writer_id(),
        events.len(),
    );
    shared.must(header == wanted, || format!("batch {}: {header:?}, not {wanted:?}", batch.batch_id()));
    shared.must(view.processed_at_ns == batch.processed_at_ns(), || "another time of processing".to_owned());
    let all = |e: &EventView| {
        let ids = (e.ring_id, e.sequence, e.timestamp_ns, e.correlation_id, e.node_id);
        (ids, e.kind, e.flags, e.weight.to_bits(), e.data.addr(), e.len)
    };
    shared.must(views(view).map(all).eq(events.iter().map(all)), || {
        format!("batch {}: its views are {:?}, not {events:?}", batch.batch_id(), view.events())
    });
}
