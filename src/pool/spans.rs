//! Batches for storages that take the records as they lie in the ring buffers. A claim reads the tags of all records, but only the first
//! and the last header, unless callers have set times or the clock has changed in between. Views of single events are made only if no
//! clock pieces can tell the batch's times, or if an answer concerns single events.

use super::Pool;
use super::clock::Clock;
use crate::batch::spans::KeptSpan;
use crate::batch::stamps::{Extent, Stamps};
use crate::batch::{Batch, Form};
use crate::clock::piece::{Piece, convert};
use crate::config::Config;
use crate::event::{EventView, PIPELINE_EVENT_OWN_TIME};
use crate::latency::Latency;
use crate::platform::memory;
use crate::ring::record::{HEADER, Head, Tag};
use crate::ring::ring_buffer::{Layout, Limits, MARK_EVERY, RingBuffer, Span};
use crate::ring::slot::Slot;
use crate::status::Result;

/// The most marks for which a claim asks for memory. The records behind the last mark are looked at one by one when they are stored.
const MOST_MARKS: u64 = 4096;

/// Whether the first and the last record of a span have its earliest and its latest stamp. `flags` is the union of the records' flags.
/// Stamps of one clock never go back in a ring. They do not tell it if callers have set times, or if the pipeline has gone from the
/// counter to the monotonic clock between the two, which it does at most once.
fn ends_tell(flags: u32, first: Tag, last: Tag) -> bool {
    flags & PIPELINE_EVENT_OWN_TIME == 0 && first.in_ticks() == last.in_ticks()
}

/// The stamps of a claimed span.
fn stamps_of(
    log: &RingBuffer,
    span: &Span,
    layout: &Layout,
    first: &(Tag, Head),
    last: &(Tag, Head),
) -> Stamps {
    let mut stamps = Stamps::default();
    if ends_tell(layout.flags, first.0, last.0) {
        stamps.add(first.0, first.1.timestamp);
        stamps.add(last.0, last.1.timestamp);
    } else {
        log.read(span, |tag, head, _| stamps.add(tag, head.timestamp));
    }
    stamps
}

/// The most events and bytes of a batch. For a storage that takes spans, these are bytes of records.
pub(super) fn most_of_a_batch(config: &Config, span_bytes: Option<u64>) -> (u32, u64) {
    match span_bytes {
        Some(most) => (u32::MAX, config.batch_bytes.min(most)),
        None => (config.batch_size, config.batch_bytes),
    }
}

impl Pool {
    /// Whether the records of a ring are claimed as they lie. (The library's own events are few, and come as views. A transform is shown views.)
    #[inline]
    pub(super) fn takes_spans(&self, batch: &Batch, meta: bool) -> bool {
        self.can.span_bytes.is_some() && !meta && !batch.viewed
    }

    /// The size of a claimed span, as the limit of a batch's bytes counts it.
    #[inline]
    pub(super) fn size(&self, batch: &Batch, span: &Span, meta: bool) -> u64 {
        if self.takes_spans(batch, meta) { span.end - span.start } else { span.bytes }
    }

    /// Claims a span of a ring for a batch, and notes how it lies. `None`: there is no memory for that; `Some(None)`: there is nothing to be
    /// claimed.
    pub(super) fn claim_span(
        &self,
        batch: &mut Batch,
        ring: &Slot,
        log: &RingBuffer,
        limits: &Limits,
    ) -> Option<Option<Span>> {
        batch.spans.try_reserve(1).ok()?;
        let kept = batch.span_batch_mut();
        kept.spans.try_reserve(1).ok()?;
        let there = log.head().saturating_sub(log.claimed()).min(limits.bytes);
        let marks = (there / HEADER / u64::from(MARK_EVERY) + 1).min(MOST_MARKS);
        // (Without memory for marks, more records are looked at when they are stored.)
        let _ = kept.marks.try_reserve(marks as usize);
        let before = kept.marks.len();
        let Some((span, layout)) = log.claim_whole(limits, &mut kept.marks) else { return Some(None) };
        let marks = before..kept.marks.len();
        let (first, last) = (log.header(log.first(&span, &layout)), log.header(layout.last));
        let stamps = stamps_of(log, &span, &layout, &first, &last);
        let pieces = kept.pieces.len();
        let known = pieces_of(&self.clock, stamps.readings, &mut kept.pieces);
        let pieces = pieces..kept.pieces.len();
        let (times, newest_ns) = stamps.convert(&kept.pieces[pieces.clone()]);
        kept.spans.push(KeptSpan {
            ring_id: ring.id(),
            parts: log.parts(&span, &layout),
            count: span.events,
            flags: layout.flags,
            sequences: (first.1.sequence, last.1.sequence),
            times,
            pieces,
            marks,
        });
        batch.own_times |= layout.flags & PIPELINE_EVENT_OWN_TIME != 0;
        batch.newest_ns = batch.newest_ns.max(newest_ns);
        batch.form = match batch.form {
            _ if !known => Form::Bare,
            Form::Bare => Form::Bare,
            Form::Views | Form::Spans => Form::Spans,
        };
        Some(Some(span))
    }

    /// Makes views of a batch's events, if it has none. Fails if there is no memory, and then nothing has changed.
    pub(super) fn make_views(&self, batch: &mut Batch) -> Result<()> {
        let count = batch.count();
        let refused = || memory::refused(count * size_of::<EventView>());
        if batch.form != Form::Bare {
            return batch.make_views().then_some(()).ok_or_else(refused);
        }
        batch.events.try_reserve(count).map_err(|_| refused())?;
        batch.newest_ns = 0;
        let mut times = self.clock.times();
        let spans = std::mem::take(&mut batch.spans);
        for (index, span) in &spans {
            if let Some(ring) = self.rings.slot(*index)
                && let Some(log) = ring.buffer()
            {
                self.take(batch, log, span, ring.id(), &mut times);
            }
        }
        batch.spans = spans;
        batch.form = Form::Views;
        Ok(())
    }

    /// Every event of a batch that was shown as spans is stored. Returns how many, and their payload bytes.
    pub(super) fn note_spans_stored(&self, latency: &mut Latency, batch: &Batch, now: u64) -> (u64, u64) {
        let Some(kept) = batch.span_batch() else { return (0, 0) };
        for ((index, span), how) in batch.spans.iter().zip(&kept.spans) {
            let Some(log) = self.rings.slot(*index).and_then(Slot::buffer) else { continue };
            let pieces = &kept.pieces[how.pieces.clone()];
            note_span(latency, log, span, how, &kept.marks[how.marks.clone()], pieces, now);
        }
        (batch.count() as u64, batch.spans.iter().map(|(_, span)| span.bytes).sum())
    }
}

/// Appends the clock pieces of the readings in a span. `false`: they do not tell the times.
fn pieces_of(clock: &Clock, readings: Extent, into: &mut Vec<Piece>) -> bool {
    match (readings.0, clock.timeline()) {
        (None, _) => true,
        (Some((first, last)), Some(timeline)) => timeline.pieces(first, last, into),
        (Some(_), None) => false,
    }
}

/// Notes the latencies of a span's events in the histogram. Within a span no event is older than the one before. So if two marked records
/// fall into the same bucket of the histogram, all records between them do, and need not be read.
fn note_span(
    latency: &mut Latency,
    log: &RingBuffer,
    span: &Span,
    how: &KeptSpan,
    marks: &[u64],
    pieces: &[Piece],
    now: u64,
) {
    let age = |tag: Tag, timestamp: u64| {
        now.saturating_sub(if tag.in_ticks() { convert(pieces, timestamp) } else { timestamp })
    };
    let note_each = |latency: &mut Latency, start: u64, end: u64| {
        log.read(&Span { start, end, ..*span }, |tag, head, _| {
            if tag.flags() & PIPELINE_EVENT_OWN_TIME == 0 {
                latency.note(age(tag, head.timestamp));
            }
        });
    };
    if how.flags & PIPELINE_EVENT_OWN_TIME != 0 || marks.is_empty() {
        return note_each(latency, span.start, span.end);
    }
    let age_at = |at: u64| {
        let (tag, head) = log.header(at);
        age(tag, head.timestamp)
    };
    let oldest = age_at(marks[0]);
    latency.note_longest(oldest);
    let mut alike = Latency::alike(oldest);
    for (n, &from) in marks.iter().enumerate() {
        let (until, youngest, count) = match marks.get(n + 1) {
            Some(&next) => (next, age_at(next), MARK_EVERY),
            None => (span.end, now.saturating_sub(how.times.1), how.count - n as u32 * MARK_EVERY),
        };
        if youngest >= alike.from {
            latency.note_alike(alike, count.into());
        } else {
            note_each(latency, from, until);
            alike = Latency::alike(youngest);
        }
    }
}

#[cfg(test)]
mod tests;
