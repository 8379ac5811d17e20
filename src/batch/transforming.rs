//! A batch under a transform: the events as they were claimed, how far the transform has come, and what it has made of them.
//!
//! The results are kept event by event. If the transform ends its thread, the event stays as it was, and another writer goes on with the next
//! one. New payloads lie in a piece of memory of the batch's own. Where that is full, the batch is cut: the storage gets the part before
//! the cut, and when that has left, the transform goes on with the rest.

use crate::event::EventView;
use crate::platform::memory;
use crate::status::Result;
use crate::transform::{PIPELINE_TRANSFORM_FILTER, PIPELINE_TRANSFORM_KEEP, PIPELINE_TRANSFORM_REWRITE};
use crate::transform::{Rewrite, Transform, Wrong};
use std::ffi::c_void;
use std::ops::Range;
use std::sync::Arc;

/// The storage has it as it was captured.
const UNCHANGED: u8 = 0;
/// The storage has not seen it, or not as it was captured.
const CHANGED: u8 = 1;
/// The storage had it as it was captured, and has stored it.
const KEPT: u8 = 2;

/// Whether the storage releases the event by itself that was claimed at this place.
pub fn is_kept(fates: &[u8], index: u64) -> bool {
    fates.get(index as usize) == Some(&KEPT)
}

/// Memory for new payloads. It does not move while there are payloads in it.
#[derive(Debug, Default)]
struct Scratch {
    /// Nothing but its capacity is used.
    memory: Vec<u64>,
    used: usize,
}

impl Scratch {
    /// Gets `wanted` bytes, or at least `least`.
    fn prepare(&mut self, wanted: usize, least: usize) -> Result<()> {
        if self.used > 0 || self.size() >= wanted {
            return Ok(());
        }
        self.memory = Vec::new();
        let words = |bytes: usize| bytes.div_ceil(size_of::<u64>());
        if self.memory.try_reserve_exact(words(wanted)).is_err() {
            self.memory.try_reserve_exact(words(least)).map_err(|_| memory::refused(least))?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.memory.capacity() * size_of::<u64>()
    }

    fn has_room(&self, len: usize) -> bool {
        self.size() - self.used >= len
    }

    /// Where the next payload begins.
    fn next(&mut self) -> *mut u8 {
        // SAFETY: `used` is at most the size.
        unsafe { self.memory.as_mut_ptr().cast::<u8>().add(self.used) }
    }

    /// Keeps a payload. Returns where it lies.
    ///
    /// # Safety
    /// `data` points to `len` readable bytes, and there is room for them.
    unsafe fn keep(&mut self, data: *const c_void, len: usize) -> *const c_void {
        let at = self.next();
        if len > 0 {
            // SAFETY: by contract. (The payload may lie there already, or overlap with that place.)
            unsafe { std::ptr::copy(data.cast::<u8>(), at, len) };
        }
        self.used = (self.used + len.next_multiple_of(size_of::<u64>())).min(self.size());
        at.cast_const().cast()
    }
}

/// What the transform has made of a part of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    /// Events that it was shown.
    pub seen: u32,
    /// Events that it has filtered.
    pub filtered: u32,
    /// Events that it has rewritten.
    pub rewritten: u32,
    /// How often it did what it must not, without the times when it has ended its thread; and what that was the last time.
    pub wrong: (u64, Option<Wrong>),
}

/// See the head of the file.
#[derive(Debug, Default)]
pub struct Transforming {
    transform: Option<Arc<Transform>>,
    /// The events as they were claimed.
    source: Vec<EventView>,
    /// How many of them the transform was shown.
    next: usize,
    /// The part of them that the storage is shown, or will be.
    shown: Range<usize>,
    /// What the transform has made of the part. There is room for all events.
    results: Vec<EventView>,
    part: Part,
    scratch: Scratch,
    /// The largest payload.
    most: usize,
    /// For a storage that releases by itself what it has stored: what has become of each event of the source.
    fates: Vec<u8>,
}

impl Transforming {
    /// A batch begins.
    pub fn begin(&mut self, transform: Arc<Transform>) {
        self.clear();
        self.transform = Some(transform);
    }

    /// Gets the memory for a part of the batch. With the first part it takes over the batch's events. `scratch`: how many bytes of new
    /// payloads there may be; `most`: how many in an event; `fates`: whether the storage releases what it has stored.
    pub fn prepare(
        &mut self,
        events: &mut Vec<EventView>,
        scratch: usize,
        most: usize,
        fates: bool,
    ) -> Result<()> {
        let all = if self.source.is_empty() { events.len() } else { self.source.len() };
        let refused = || memory::refused(all * size_of::<EventView>());
        self.results.try_reserve(all - self.next).map_err(|_| refused())?;
        if fates {
            self.fates.try_reserve(all.saturating_sub(self.fates.len())).map_err(|_| refused())?;
            self.fates.resize(all, UNCHANGED);
        }
        self.scratch.prepare(scratch.max(most), most)?;
        self.most = most;
        if self.source.is_empty() {
            std::mem::swap(&mut self.source, events);
            events.clear();
        }
        Ok(())
    }

    /// Shows the transform the events of a part, from where another writer has come to, if one has ended in it. `gone`: whether this is
    /// a process that the transform has forked.
    ///
    /// While the transform runs, no frame holds anything to unwind.
    pub fn run(&mut self, gone: impl Fn() -> bool) {
        let Self { transform, source, next, results, part, scratch, most, fates, .. } = self;
        let Some(transform) = transform else { return };
        while *next < source.len() && scratch.has_room(*most) {
            let index = *next;
            let event = &source[index];
            // Before the call, in case it ends its thread. There is room for it: see `prepare`.
            results.push(*event);
            *next += 1;
            part.seen += 1;
            let mut rewrite = Rewrite::new(event, scratch.next(), *most);
            let answer = transform.call(event, &mut rewrite);
            if gone() {
                return;
            }
            let wrong = match answer {
                Some(PIPELINE_TRANSFORM_KEEP) => continue,
                Some(PIPELINE_TRANSFORM_FILTER) => {
                    results.pop();
                    part.filtered += 1;
                    None
                }
                Some(PIPELINE_TRANSFORM_REWRITE) => {
                    let wrong = rewrite.wrong(event, *most);
                    if wrong.is_none() {
                        let data = match rewrite.changes_payload(event) {
                            // SAFETY: the transform has promised that so many bytes are there, and the room was looked at above.
                            true => unsafe { scratch.keep(rewrite.data, rewrite.len) },
                            false => event.data,
                        };
                        results.pop();
                        results.push(rewrite.applied(event, data));
                        part.rewritten += 1;
                    }
                    wrong
                }
                Some(other) => Some(Wrong::Answered(other)),
                None => Some(Wrong::Panicked),
            };
            if wrong.is_some() {
                part.wrong = (part.wrong.0 + 1, wrong);
            } else if let Some(fate) = fates.get_mut(index) {
                *fate = CHANGED;
            }
        }
    }

    /// The transform has ended its thread, which is counted already.
    pub fn ended(&mut self) {
        self.part.wrong.1.get_or_insert(Wrong::Ended);
    }

    /// The transform has seen a part of the batch: moves the results to `events`.
    pub fn take_part(&mut self, events: &mut Vec<EventView>) -> Part {
        std::mem::swap(&mut self.results, events);
        self.results.clear();
        self.shown = self.shown.end..self.next;
        if self.next == self.source.len() {
            // (The pool has it as well, so this does not end it.)
            self.transform = None;
        }
        std::mem::take(&mut self.part)
    }

    /// No event of the part is to be stored any more. Returns whether there is another part.
    pub fn next_part(&mut self) -> bool {
        self.scratch.used = 0;
        self.next < self.source.len()
    }

    /// The storage has stored the part as a whole, and releases the events that it has seen as they were captured.
    pub fn part_kept(&mut self) {
        if let Some(fates) = self.fates.get_mut(self.shown.clone()) {
            fates.iter_mut().filter(|fate| **fate == UNCHANGED).for_each(|fate| *fate = KEPT);
        }
    }

    /// What has become of each event, for [`is_kept`].
    pub fn fates(&self) -> &[u8] {
        &self.fates
    }

    /// Empties it for its next use. The memory stays.
    pub fn clear(&mut self) {
        self.transform = None;
        self.source.clear();
        self.results.clear();
        self.fates.clear();
        (self.next, self.shown, self.part) = (0, 0..0, Part::default());
        self.scratch.used = 0;
    }
}
