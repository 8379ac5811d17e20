//! Events that come from elsewhere than a pipeline of this process, such as messages, on their way to a storage.
//!
//! Each [`Part`] becomes a batch of its own, with the identities that its events have. A storage that keeps identities, as SQLite and the journal's reader do, has each event
//! once, however often it is fed.

use super::panic_guard::PanicGuard;
use super::{PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, PIPELINE_STORE_REJECT, Storage};
use crate::batch::BatchView;
use crate::batch::token::{Answered, Issuer, unknown};
use crate::event::{EventView, PIPELINE_KIND_RESERVED};
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

#[derive(Debug, Default)]
struct Slot {
    /// The token of the attempt that is not answered yet.
    open: Option<u64>,
    result: i32,
    rejected: Vec<usize>,
}

/// Where the answers arrive.
#[derive(Default)]
struct Answers {
    slots: Mutex<Vec<Slot>>,
    changed: Condvar,
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
    /// A prefix alone is no use: the rest is fed again, and the storage has each event once.
    fn set_stored(&self, slot: usize, token: u64, _prefix: usize) -> Result<()> {
        self.on(slot, token, |_| Ok(()))
    }

    fn set_rejected(&self, slot: usize, token: u64, index: usize) -> Result<()> {
        self.on(slot, token, |slot| {
            slot.rejected.try_reserve(1).map_err(|_| memory::refused(size_of::<usize>()))?;
            slot.rejected.push(index);
            Ok(())
        })
    }

    fn complete(self: Arc<Self>, slot: usize, token: u64, _prefix: usize, result: i32) -> Result<()> {
        let done = self.on(slot, token, |slot| {
            (slot.open, slot.result) = (None, result);
            Ok(())
        });
        self.changed.notify_all();
        done
    }
}

/// Gives events to a storage, and waits until it has answered.
pub struct Feed {
    storage: Box<dyn Storage>,
    answers: Arc<Answers>,
    issuers: Vec<Issuer>,
}

impl Feed {
    /// Feeds this storage, which is no pipeline's. A panic in it counts as [`Fed::NotNow`].
    pub fn new(storage: impl Storage + 'static) -> Self {
        // (A panic must not end a call while the storage has parts.)
        Self { storage: Box::new(PanicGuard::new(storage)), answers: Arc::default(), issuers: Vec::new() }
    }

    /// Gives the storage each part, and waits until all are answered. (A storage may commit them together.) Answers in the order of the parts. An error: there is no memory,
    /// and nothing was given.
    pub fn store(&mut self, parts: &[Part<'_>]) -> Result<Vec<Fed>> {
        let mut views = Vec::new();
        let mut fed = Vec::new();
        views.try_reserve_exact(parts.len()).map_err(|_| memory::refused(size_of_val(parts)))?;
        fed.try_reserve_exact(parts.len()).map_err(|_| memory::refused(parts.len() * size_of::<Fed>()))?;
        self.make_slots(parts.len())?;
        let wall_ns = time::now_ns().saturating_add_signed(time::realtime_offset_ns());
        for ((number, part), issuer) in parts.iter().enumerate().zip(&mut self.issuers) {
            let Some(token) = issuer.issue() else { return Err(unknown(0)) };
            views.push(BatchView {
                token,
                batch_id: number as u64 + 1,
                // Together with the difference of the clocks where the events come from, it is the wall time here.
                processed_at_ns: wall_ns.saturating_add_signed(part.head.realtime_offset_ns.saturating_neg()),
                count: part.events.len(),
                events: part.events.as_ptr(),
                ..part.head
            });
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
        fed.extend(slots.iter_mut().take(views.len()).map(|slot| match slot.result {
            PIPELINE_STORE_OK => Fed::Stored(std::mem::take(&mut slot.rejected)),
            PIPELINE_STORE_REJECT => Fed::Rejected,
            _ => Fed::NotNow,
        }));
        Ok(fed)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::token;
    use std::sync::Mutex as StdMutex;

    /// Generation, sequences and wall time of a batch.
    type Seen = (u64, Vec<u64>, i64);

    /// Answers by the kind of the first event: 0 OK, 1 RETRY, 2 REJECT, 3 later from another thread, 4 OK but for the event at index 1.
    #[derive(Default)]
    struct Answering {
        seen: Arc<StdMutex<Vec<Seen>>>,
        threads: StdMutex<Vec<std::thread::JoinHandle<()>>>,
    }

    // SAFETY: a batch is used before its answer alone.
    unsafe impl Storage for Answering {
        fn store(&self, batch: &BatchView) -> i32 {
            let sequences = batch.events().iter().map(|event| event.sequence).collect();
            let wall = batch.processed_at_ns as i64 + batch.realtime_offset_ns;
            self.seen.lock().unwrap().push((batch.generation, sequences, wall));
            let later = batch.token;
            match batch.events()[0].kind {
                3 => {
                    let answer = move || token::complete(later, 0, PIPELINE_STORE_OK).unwrap();
                    self.threads.lock().unwrap().push(std::thread::spawn(answer));
                    PIPELINE_STORE_PENDING
                }
                4 => {
                    token::set_rejected(batch.token, 1).unwrap();
                    PIPELINE_STORE_OK
                }
                answer => answer as i32,
            }
        }
    }

    fn part(generation: u64, kind: u32, sequences: std::ops::Range<u64>) -> Part<'static> {
        let mut part = Part::new(generation, 1_000_000);
        for sequence in sequences {
            let event = Event {
                generation,
                ring_id: 1,
                sequence,
                timestamp_ns: 5,
                realtime_ns: 6,
                correlation_id: 0,
                node_id: 0,
                kind,
                flags: 0,
                weight: 1.0,
                segment: 0,
                payload: b"payload",
            };
            part.push(&event).unwrap();
        }
        part
    }

    #[test]
    fn each_part_gets_its_own_answer_whenever_that_comes() {
        let storage = Answering::default();
        let seen = Arc::clone(&storage.seen);
        let mut feed = Feed::new(storage);
        for round in 0..50 {
            let kinds = [3, 0, 1, 4, 2, 3, 0];
            let parts: Vec<Part> =
                (0..).zip(kinds).map(|(n, kind)| part(n, kind, 10 * n..10 * n + 3)).collect();
            let fed = feed.store(&parts).unwrap();
            let stored = || Fed::Stored(Vec::new());
            let wanted =
                [stored(), stored(), Fed::NotNow, Fed::Stored(vec![1]), Fed::Rejected, stored(), stored()];
            assert_eq!(fed, wanted, "round {round}");
            let seen = std::mem::take(&mut *seen.lock().unwrap());
            assert!(seen.iter().map(|(generation, ..)| *generation).eq(0..7));
            assert_eq!(seen[6].1, [60, 61, 62]);
            let now = time::now_ns() as i64 + time::realtime_offset_ns();
            assert!(seen.iter().all(|(.., wall)| (now - wall).abs() < 3_600_000_000_000));
        }
        assert_eq!(feed.store(&[]).unwrap(), []);
        assert_eq!(feed.store(&[Part::new(1, 0)]).unwrap(), [Fed::Stored(Vec::new())]);
        // What only looks like an event or a fact.
        let mut part = Part::new(1, 0);
        let named = FactRef { kind: 5, correlation_id: 0, node_id: 0, payload: b"name" };
        part.push_fact(named).unwrap();
        assert!(part.is_empty());
        part.push_fact(FactRef { kind: PIPELINE_KIND_RESERVED + 1, ..named }).unwrap();
        assert_eq!(part.len(), 1);
        // A storage that has no flush and no finish.
        assert_eq!((feed.flush(), feed.finish()), (0, 0));
    }
}
