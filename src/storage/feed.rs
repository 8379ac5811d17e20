//! Events that come from elsewhere than a pipeline of this process, such as messages or the ring file of a dead run, on their way to a storage.
//!
//! Each [`Part`] becomes a batch of its own, with the identities that its events have. A storage that keeps identities, as SQLite and the journal's reader do, has each event
//! once, however often it is fed.

use super::panic_guard::PanicGuard;
use super::{PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, PIPELINE_STORE_REJECT, Storage, WriterData};
use crate::batch::BatchView;
use crate::batch::token::{Answered, Issuer, unknown};
use crate::event::{EventView, PIPELINE_KIND_RESERVED};
use crate::facts::Facts;
use crate::journal::blocks::facts::FactRef;
use crate::journal::reader::Event;
use crate::platform::memory;
use crate::platform::sync::{Condvar, Mutex};
use crate::platform::time;
use crate::status::{Error, PIPELINE_ERR_INVALID, Result};
use std::marker::PhantomData;
use std::sync::{Arc, Weak};

/// Events of one run, or facts about them, that a storage is to be given as one batch.
#[derive(Debug)]
pub struct Part<'a> {
    head: BatchView,
    events: Vec<EventView>,
    /// The payloads are borrowed.
    payloads: PhantomData<&'a [u8]>,
}

impl<'a> Part<'a> {
    /// Of this run. `realtime_offset_ns` is CLOCK_REALTIME minus CLOCK_MONOTONIC where the events were captured.
    pub fn new(generation: u64, realtime_offset_ns: i64) -> Self {
        let head = BatchView { generation, realtime_offset_ns, attempt: 1, ..BatchView::default() };
        Self { head, events: Vec::new(), payloads: PhantomData }
    }

    /// Adds an event. Events and facts are not mixed. An error: there is no memory, or its kind is one of the library's own (`PIPELINE_ERR_INVALID`).
    pub fn push(&mut self, event: &Event<'a>) -> Result<()> {
        if event.kind >= PIPELINE_KIND_RESERVED {
            let detail =
                format!("an event of kind {:#x}: kinds from 0xffff0000 on are the library's own", event.kind);
            return Err(Error::new(PIPELINE_ERR_INVALID, detail));
        }
        self.add(EventView {
            ring_id: event.ring_id,
            sequence: event.sequence,
            timestamp_ns: event.timestamp_ns,
            correlation_id: event.correlation_id,
            node_id: event.node_id,
            kind: event.kind,
            flags: event.flags,
            weight: event.weight,
            data: event.payload.as_ptr().cast(),
            len: event.payload.len(),
        })
    }

    /// Adds a fact. One of a kind that is none of the library's own is left out.
    pub fn push_fact(&mut self, fact: FactRef<'a>) -> Result<()> {
        if fact.kind < PIPELINE_KIND_RESERVED {
            return Ok(());
        }
        self.add(EventView {
            ring_id: 0,
            sequence: self.events.len() as u64,
            timestamp_ns: 0,
            correlation_id: fact.correlation_id,
            node_id: fact.node_id,
            kind: fact.kind,
            flags: 0,
            weight: 1.0,
            data: fact.payload.as_ptr().cast(),
            len: fact.payload.len(),
        })
    }

    fn add(&mut self, view: EventView) -> Result<()> {
        self.events.try_reserve(1).map_err(|_| memory::refused(size_of::<EventView>()))?;
        self.events.push(view);
        Ok(())
    }

    /// It is this attempt, from 1 on, of the batch with this number, from 1 on. Without, each call numbers its parts.
    pub fn set_attempt(&mut self, batch_id: u64, attempt: u32) {
        (self.head.batch_id, self.head.attempt) = (batch_id, attempt);
    }

    /// As a storage sees it, at this wall time. It has no token.
    fn view(&self, wall_ns: u64, writer: Option<WriterData>) -> BatchView {
        BatchView {
            // Together with the difference of the clocks where the events come from, it is the wall time here.
            processed_at_ns: wall_ns.saturating_add_signed(self.head.realtime_offset_ns.saturating_neg()),
            writer_data: writer.unwrap_or(WriterData::NONE).0,
            count: self.events.len(),
            events: self.events.as_ptr(),
            ..self.head
        }
    }

    /// How many events or facts.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fed {
    /// It is stored, but for the events at these indices, which can never be.
    Stored(Vec<usize>),
    /// It can never be stored.
    Rejected,
    /// Not now: it is to be fed again later.
    NotNow,
}

/// What a storage has answered to a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `PIPELINE_STORE_…`.
    pub result: i32,
    /// The first so many events are stored, whatever the result.
    pub prefix: usize,
    /// The events at these indices can never be stored.
    pub rejected: Vec<usize>,
}

#[derive(Debug, Default)]
struct Slot {
    /// The token of the attempt that is not answered yet.
    open: Option<u64>,
    result: i32,
    prefix: usize,
    rejected: Vec<usize>,
}

/// Where the answers arrive.
#[derive(Default)]
struct Answers {
    slots: Mutex<Vec<Slot>>,
    changed: Condvar,
    about: Option<About>,
}

/// What is known about the events that a storage is given, for storages that ask by the token of a batch.
#[derive(Debug, Default)]
pub struct About {
    /// The facts of the run.
    pub facts: Arc<Facts>,
    /// The rings that had a thread: ring id, thread id, its name padded with zeros. Sorted.
    pub threads: Vec<(u64, u32, [u8; 16])>,
}

impl Answers {
    fn on(&self, slot: usize, token: u64, act: impl FnOnce(&mut Slot) -> Result<()>) -> Result<()> {
        let mut slots = self.slots.lock();
        match slots.get_mut(slot).filter(|slot| slot.open == Some(token)) {
            Some(slot) => act(slot),
            None => Err(unknown(token)),
        }
    }
}

impl Answered for Answers {
    fn set_stored(&self, slot: usize, token: u64, prefix: usize) -> Result<()> {
        self.on(slot, token, |slot| {
            slot.prefix = slot.prefix.max(prefix);
            Ok(())
        })
    }

    fn set_rejected(&self, slot: usize, token: u64, index: usize) -> Result<()> {
        self.on(slot, token, |slot| {
            slot.rejected.try_reserve(1).map_err(|_| memory::refused(size_of::<usize>()))?;
            slot.rejected.push(index);
            Ok(())
        })
    }

    fn complete(self: Arc<Self>, slot: usize, token: u64, prefix: usize, result: i32) -> Result<()> {
        let done = self.on(slot, token, |slot| {
            (slot.open, slot.result, slot.prefix) = (None, result, slot.prefix.max(prefix));
            Ok(())
        });
        self.changed.notify_all();
        done
    }

    fn facts(&self) -> Option<&Arc<Facts>> {
        self.about.as_ref().map(|about| &about.facts)
    }

    fn thread_of(&self, ring_id: u64) -> Option<(u32, [u8; 16])> {
        let threads = &self.about.as_ref()?.threads;
        let at = threads.binary_search_by_key(&ring_id, |(ring, ..)| *ring).ok()?;
        threads.get(at).map(|(_, tid, name)| (*tid, *name))
    }
}

/// Gives events to a storage, and waits until it has answered.
pub struct Feed {
    storage: Box<dyn Storage>,
    answers: Arc<Answers>,
    issuers: Vec<Issuer>,
    /// What the storage has given for the only writer, if that was opened.
    writer: Option<WriterData>,
}

impl Feed {
    /// Feeds this storage, which is no pipeline's. A panic in it counts as [`Fed::NotNow`].
    pub fn new(storage: impl Storage + 'static) -> Self {
        // (A panic must not end a call while the storage has parts.)
        Self::guarded(Box::new(PanicGuard::new(storage)))
    }

    /// Feeds a storage that does not panic, or catches its panics itself.
    pub fn guarded(storage: Box<dyn Storage>) -> Self {
        Self { storage, answers: Arc::default(), issuers: Vec::new(), writer: None }
    }

    /// Whether the storage takes facts.
    pub fn takes_facts(&self) -> bool {
        self.storage.takes_facts()
    }

    /// Calls the storage's `open_writer`, unless that was done. What is stored afterwards carries what it has given, and dropping this calls its `close_writer`. An error:
    /// what `open_writer` has returned.
    pub fn open_writer(&mut self) -> Result<(), i32> {
        if self.writer.is_none() {
            self.writer = Some(self.storage.open_writer(0)?);
        }
        Ok(())
    }

    /// What is stored from now on is about this.
    pub fn set_about(&mut self, about: About) {
        // The tokens name the answers that know this.
        self.issuers = Vec::new();
        self.answers = Arc::new(Answers { about: Some(about), ..Answers::default() });
    }

    /// Gives the storage each part, and waits until all are answered. (A storage may commit them together.) Answers in the order of the parts. An error: there is no memory,
    /// and nothing was given.
    pub fn store(&mut self, parts: &[Part<'_>]) -> Result<Vec<Fed>> {
        let mut fed = Vec::new();
        fed.try_reserve_exact(parts.len()).map_err(|_| memory::refused(parts.len() * size_of::<Fed>()))?;
        // (A prefix alone is no use: the rest is fed again, and the storage has each event once.)
        fed.extend(self.answers(parts)?.into_iter().map(|answer| match answer.result {
            PIPELINE_STORE_OK => Fed::Stored(answer.rejected),
            PIPELINE_STORE_REJECT => Fed::Rejected,
            _ => Fed::NotNow,
        }));
        Ok(fed)
    }

    /// As [`store`](Self::store), and answers what the storage has.
    pub fn answers(&mut self, parts: &[Part<'_>]) -> Result<Vec<Answer>> {
        let mut views = Vec::new();
        let mut answers = Vec::new();
        views.try_reserve_exact(parts.len()).map_err(|_| memory::refused(size_of_val(parts)))?;
        let bytes = parts.len() * size_of::<Answer>();
        answers.try_reserve_exact(parts.len()).map_err(|_| memory::refused(bytes))?;
        self.make_slots(parts.len())?;
        let wall_ns = wall_ns();
        for ((number, part), issuer) in parts.iter().enumerate().zip(&mut self.issuers) {
            let Some(token) = issuer.issue() else { return Err(unknown(0)) };
            let batch_id = if part.head.batch_id == 0 { number as u64 + 1 } else { part.head.batch_id };
            views.push(BatchView { token, batch_id, ..part.view(wall_ns, self.writer) });
        }
        // All attempts are open before the first answer can come.
        {
            let mut slots = self.answers.slots.lock();
            for (slot, view) in slots.iter_mut().zip(&views) {
                *slot = Slot { open: Some(view.token), ..Slot::default() };
            }
        }
        // From here on the storage may use the views and the parts, until all are answered: nothing returns before.
        for (number, view) in views.iter().enumerate() {
            let result = if view.count == 0 { PIPELINE_STORE_OK } else { self.storage.store(view) };
            if result != PIPELINE_STORE_PENDING {
                let mut slots = self.answers.slots.lock();
                if let Some(slot) = slots.get_mut(number) {
                    (slot.open, slot.result) = (None, result);
                }
            }
        }
        let mut slots = self.answers.slots.lock();
        while slots.iter().take(views.len()).any(|slot| slot.open.is_some()) {
            slots = self.answers.changed.wait(slots, None);
        }
        answers.extend(slots.iter_mut().zip(parts).map(|(slot, part)| Answer {
            result: slot.result,
            prefix: slot.prefix.min(part.len()),
            rejected: std::mem::take(&mut slot.rejected),
        }));
        Ok(answers)
    }

    /// Passes events to the storage's `dead_letter`. 0: it keeps them; `PIPELINE_STORE_REJECT`: it does not; anything else: not now.
    pub fn dead_letter(&self, part: &Part<'_>, reason: i32) -> i32 {
        if !self.storage.abilities().dead_letter {
            return PIPELINE_STORE_REJECT;
        }
        self.storage.dead_letter(&part.view(wall_ns(), self.writer), reason)
    }

    fn make_slots(&mut self, count: usize) -> Result<()> {
        let mut slots = self.answers.slots.lock();
        while slots.len() < count {
            let answers: Weak<dyn Answered> =
                Arc::downgrade(&(Arc::clone(&self.answers) as Arc<dyn Answered>));
            let full = || memory::refused(size_of::<Slot>());
            slots.try_reserve(1).map_err(|_| full())?;
            self.issuers.try_reserve(1).map_err(|_| full())?;
            self.issuers.push(Issuer::new(answers, slots.len()).ok_or_else(full)?);
            slots.push(Slot::default());
        }
        Ok(())
    }

    /// Makes all that is stored durable. 0, or a negative status.
    pub fn flush(&self) -> i32 {
        if self.storage.abilities().flush { self.storage.flush(-1) } else { 0 }
    }

    /// Does the storage's final work: seals, indexes. 0, or a negative status.
    pub fn finish(self) -> i32 {
        if self.storage.abilities().finish { self.storage.finish(-1) } else { 0 }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(data) = self.writer.take() {
            self.storage.close_writer(0, data);
        }
    }
}

/// Nanoseconds since 1970.
fn wall_ns() -> u64 {
    time::now_ns().saturating_add_signed(time::realtime_offset_ns())
}

#[cfg(test)]
mod tests;
