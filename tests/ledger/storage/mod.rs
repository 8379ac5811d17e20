//! The storage that fails: every answer there is, at random ([`answers`]); answers that come late, early, twice, in part. It keeps a
//! [`book`] of its own on what became of each event, by what it answered, and checks every batch that it is shown against it.

mod answers;
mod book;
mod shown;
mod transform;
mod turns;

pub use book::{Book, Entry, Fate, Key, is_old};
#[cfg(simulator)]
pub use book::{OLD_GENERATION, OLD_RINGS};
pub use transform::{Made, rewritten_len, transform};
pub use turns::Turns;

use crate::producers::Dice;
use crate::world;
use answers::{Job, Plan};
use book::views;
use capture_pipeline::batch::BatchView;
use capture_pipeline::batch::spans::SpanBatch;
use capture_pipeline::event::EventView;
use capture_pipeline::platform::sync::{AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex, Ordering};
use capture_pipeline::status::PIPELINE_ERR_STORAGE;
use capture_pipeline::storage::*;
use shown::Shown;
use std::sync::Arc;
use std::time::Duration;

/// What the storage is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    pub concurrent: bool,
    pub dead_letter: bool,
    pub release: bool,
    pub ordered: bool,
    /// As configured.
    pub retry_limit: u32,
    /// Whether batches may grow too old for another attempt.
    pub ages: bool,
    /// As configured; some answers take longer.
    pub deadline: Duration,
    /// Answers OK and nothing else.
    pub calm: bool,
    /// Batches that may be out at once; 0: not looked at.
    pub most_batches: usize,
    /// One call in so many hangs, one in so many ends badly, one pending batch in so many is not answered while the faults
    /// last; 0: none.
    pub faults: u64,
    /// Batches come as spans, of at most so many bytes; only without `release`.
    pub span_bytes: Option<u64>,
    /// As configured: how many events one may stand for.
    pub most_weight: u32,
    /// Several events have one correlation id, and the number is the node id.
    pub traces: bool,
}

/// What a call answers that shall not return: it panics, or ends its thread.
pub const DIES: i32 = i32::MAX - 13;

/// How often each thing happened.
#[derive(Debug, Default)]
pub struct Tally {
    pub early: AtomicU64,
    pub pending: AtomicU64,
    pub exchanged: AtomicU64,
    pub twice: AtomicU64,
    pub late: AtomicU64,
    pub hung: AtomicU64,
    pub deaths: AtomicU64,
    pub partial: AtomicU64,
    pub rejected: AtomicU64,
    pub flushes: AtomicU64,
    pub released: AtomicU64,
    pub finishes: AtomicU64,
    pub opens: AtomicU64,
    /// Writers that are open, or have died open.
    pub writers: AtomicU64,
    /// Attempts shown as spans; of those, how many asked for views; the most spans of one.
    pub spans: AtomicU64,
    pub viewed: AtomicU64,
    pub spanned: AtomicU64,
    /// Spans at both ends of their ring's memory.
    pub wrapped: AtomicU64,
    /// Attempts of a storage that takes spans that were shown as views.
    pub unspanned: AtomicU64,
    /// Transforms that were made, those that were dropped, and calls of them that run.
    pub transforms: AtomicU64,
    pub transforms_dropped: AtomicU64,
    pub transforming: AtomicU64,
    /// Where traces were looked at: events sampled out, events kept that say that their trace lost others, traces kept with a weight.
    pub cut: AtomicU64,
    pub partial_traces: AtomicU64,
    pub weighed: AtomicU64,
}

/// What outlives the storage.
#[derive(Debug)]
pub struct Shared {
    pub settings: Settings,
    pub book: Mutex<Book>,
    pub tally: Tally,
    jobs: Mutex<Vec<Arc<Job>>>,
    more: Condvar,
    stop: AtomicBool,
    /// The faults are over: from now on all is answered, and OK.
    well: AtomicBool,
    in_call: AtomicU32,
    failures: Mutex<Vec<String>>,
    pub dropped: AtomicU32,
    /// Whose turn it is, where that is looked at: the calls do not overlap.
    pub turns: Option<Arc<Turns>>,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Shared {
    pub fn new(settings: Settings, turns: Option<Arc<Turns>>) -> Arc<Self> {
        Arc::new(Self {
            turns,
            settings,
            book: Mutex::default(),
            tally: Tally::default(),
            jobs: Mutex::default(),
            more: Condvar::default(),
            stop: AtomicBool::new(false),
            well: AtomicBool::new(false),
            in_call: AtomicU32::new(0),
            failures: Mutex::default(),
            dropped: AtomicU32::new(0),
        })
    }

    /// Notes what must not be. Not by panic: this runs on writer threads.
    pub fn fail(&self, what: String) {
        let mut failures = self.failures.lock();
        if failures.len() < 20 {
            failures.push(what);
        }
    }

    fn must(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(what());
        }
    }

    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().clone()
    }

    /// A serial storage's calls never overlap, and none comes after `finish`.
    fn enter(&self) {
        let others = self.in_call.fetch_add(1, Ordering::AcqRel);
        self.must(self.settings.concurrent || others == 0, || "calls of a serial storage overlap".to_owned());
        self.must(self.finishes() == 0, || "a call beside finish or after it".to_owned());
    }

    /// How often `finish` was called.
    pub fn finishes(&self) -> u64 {
        self.tally.finishes.load(Ordering::Acquire)
    }

    /// Whether the storage has a `finish`.
    pub fn has_finish(&self) -> bool {
        !self.settings.seed.is_multiple_of(3)
    }

    fn leave(&self) {
        if let Some(turns) = &self.turns {
            turns.ends(&self.book.lock(), self.settings.release);
        }
        self.in_call.fetch_sub(1, Ordering::AcqRel);
    }

    /// The faults are over.
    pub fn get_well(&self) {
        self.well.store(true, Ordering::Release);
        self.more.notify_all();
    }

    fn is_well(&self) -> bool {
        self.well.load(Ordering::Acquire)
    }

    /// Whether one of the rarer faults is due.
    fn fault(&self, dice: &mut Dice) -> bool {
        self.settings.faults > 0 && !self.is_well() && dice.once_in(self.settings.faults)
    }

    /// The same in `open_writer` and `close_writer`; a writer that cannot open would keep events waiting, which a calm storage does not.
    fn fault_at_ends(&self, dice: &mut Dice) -> bool {
        !self.settings.calm && self.fault(dice)
    }

    /// Does not come back for long, or until the faults are over.
    fn hang(&self, dice: &mut Dice) {
        add(&self.tally.hung);
        let until = world::now_ns() + self.settings.deadline.as_nanos() as u64 * (1 + dice.below(40));
        while !self.is_well() && world::now_ns() < until {
            world::sleep(self.settings.deadline / 4);
        }
    }

    /// No further job will come.
    pub fn no_more(&self) {
        self.stop.store(true, Ordering::Release);
        self.more.notify_all();
    }
}

/// The storage itself.
pub struct Chaos(pub Arc<Shared>);

impl Drop for Chaos {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::AcqRel);
    }
}

/// A call that answers [`DIES`] panics.
pub fn survive(answer: i32) -> i32 {
    assert!(answer != DIES, "the storage's own fault");
    answer
}

// SAFETY: a batch is used during calls only; tokens are completed as they were given.
unsafe impl Storage for Chaos {
    fn abilities(&self) -> Abilities {
        let s = &self.0.settings;
        Abilities {
            concurrent: s.concurrent,
            flush: true,
            finish: self.0.has_finish(),
            dead_letter: s.dead_letter,
            release: s.release,
            span_bytes: s.span_bytes,
            ..Abilities::default()
        }
    }

    fn open_writer(&self, writer_id: u32) -> Result<WriterData, i32> {
        match survive(self.answer_open(writer_id)) {
            0 => Ok(WriterData::NONE),
            status => Err(status),
        }
    }

    fn close_writer(&self, writer_id: u32, _: WriterData) {
        survive(self.answer_close(writer_id));
    }

    fn store(&self, batch: &BatchView) -> i32 {
        survive(self.answer_store(batch))
    }

    fn store_spans(&self, batch: &SpanBatch) -> i32 {
        survive(self.answer_store_spans(batch))
    }

    fn flush(&self, _timeout_ms: i64) -> i32 {
        survive(self.answer_flush())
    }

    fn dead_letter(&self, batch: &BatchView, reason: i32) -> i32 {
        survive(self.answer_dead_letter(batch, reason))
    }

    fn finish(&self, _timeout_ms: i64) -> i32 {
        survive(self.answer_finish())
    }

    fn release(&self, event: &EventView) {
        survive(self.see_released(event));
    }
}

/// The calls. What they answer is the storage's answer, or [`DIES`].
impl Chaos {
    pub fn answer_store(&self, batch: &BatchView) -> i32 {
        let shared = &*self.0;
        shared.enter();
        if shared.settings.span_bytes.is_some() {
            add(&shared.tally.unspanned);
        }
        self.answer_shown(Shown::views(shared, batch))
    }

    pub fn answer_store_spans(&self, batch: &SpanBatch) -> i32 {
        let shared = &*self.0;
        shared.enter();
        let asked = shared.settings.span_bytes.is_some() && !shared.settings.release;
        shared.must(asked, || "spans that nobody has asked for".to_owned());
        self.answer_shown(Shown::spans(shared, batch))
    }

    fn answer_shown(&self, mut shown: Shown) -> i32 {
        let shared = &*self.0;
        shared.receive(&mut shown);
        let batch = &shown;
        let mut dice = Dice(shared.settings.seed ^ batch.batch_id << 20 ^ u64::from(batch.attempt));
        let plan = shared.plan(&mut dice, batch);
        if !shared.settings.calm {
            shared.mark(batch.batch_id, batch.token, batch.count, &plan);
            match dice.below(64) {
                0 => {
                    add(&shared.tally.late);
                    world::sleep(shared.settings.deadline * 2);
                }
                1..16 => world::sleep(Duration::from_micros(dice.below(1000))),
                _ => {}
            }
            if shared.fault(&mut dice) {
                shared.hang(&mut dice);
            }
            if shared.fault(&mut dice) {
                // What the storage was told to note so far counts; the rest is as if it had asked for a retry.
                add(&shared.tally.deaths);
                shared.note(batch.batch_id, &Plan { prefix: 0, result: PIPELINE_STORE_RETRY, ..plan });
                shared.leave();
                return DIES;
            }
        }
        let pends = !shared.is_well() && dice.once_in(2) || matches!(batch.batch_id % 16, 3 | 5);
        let answer = if !shared.settings.calm && pends {
            let prefix = if dice.once_in(2) { dice.below(batch.count as u64 + 1) as usize } else { 0 };
            let nonsense = !shared.is_well() && dice.once_in(40);
            let result = if nonsense { PIPELINE_STORE_PENDING } else { plan.result };
            shared.pend(&mut dice, batch, Plan { prefix, result, ..plan })
        } else {
            shared.note(batch.batch_id, &plan);
            plan.result
        };
        shared.leave();
        answer
    }

    pub fn answer_flush(&self) -> i32 {
        let shared = &*self.0;
        shared.enter();
        let times = shared.tally.flushes.fetch_add(1, Ordering::Relaxed);
        let mut dice = Dice(shared.settings.seed ^ times << 30 ^ 0xF1);
        if shared.fault(&mut dice) {
            shared.hang(&mut dice);
        }
        let dies = shared.fault(&mut dice);
        shared.leave();
        if dies {
            add(&shared.tally.deaths);
            return DIES;
        }
        let fails = !shared.settings.calm && !shared.is_well() && times % 5 == 4;
        if fails { PIPELINE_ERR_STORAGE } else { 0 }
    }

    pub fn answer_open(&self, writer_id: u32) -> i32 {
        let shared = &*self.0;
        let times = shared.tally.opens.fetch_add(1, Ordering::AcqRel);
        let mut dice = Dice(shared.settings.seed ^ times << 30 ^ u64::from(writer_id) << 8 ^ 0x09E4);
        if shared.fault_at_ends(&mut dice) {
            shared.hang(&mut dice);
        }
        if shared.fault_at_ends(&mut dice) {
            return PIPELINE_ERR_STORAGE;
        }
        if shared.fault_at_ends(&mut dice) {
            add(&shared.tally.deaths);
            return DIES;
        }
        shared.tally.writers.fetch_add(1, Ordering::AcqRel);
        0
    }

    pub fn answer_close(&self, writer_id: u32) -> i32 {
        let shared = &*self.0;
        let writers = shared.tally.writers.fetch_sub(1, Ordering::AcqRel);
        shared.must(writers > 0, || format!("close_writer of {writer_id}, which is not open"));
        let mut dice = Dice(shared.settings.seed ^ writers << 30 ^ u64::from(writer_id) << 8 ^ 0xC105E);
        if shared.fault_at_ends(&mut dice) {
            shared.hang(&mut dice);
        }
        if shared.fault_at_ends(&mut dice) {
            add(&shared.tally.deaths);
            return DIES;
        }
        0
    }

    pub fn answer_finish(&self) -> i32 {
        let shared = &*self.0;
        let others = shared.in_call.fetch_add(1, Ordering::AcqRel);
        shared.must(others == 0, || "finish beside another call".to_owned());
        shared.must(!shared.book.lock().any_open(), || "finish before everything is settled".to_owned());
        let before = shared.tally.finishes.fetch_add(1, Ordering::AcqRel);
        shared.must(before == 0, || "finish was called twice".to_owned());
        let mut dice = Dice(shared.settings.seed ^ 0xF1_2154);
        match dice.below(4) {
            _ if shared.settings.calm || shared.is_well() => {}
            0 => shared.hang(&mut dice),
            1 => world::sleep(Duration::from_micros(dice.below(20_000))),
            _ => {}
        }
        let answer = match dice.below(6) {
            _ if shared.settings.calm || shared.is_well() => 0,
            0 => PIPELINE_ERR_STORAGE,
            1 => 1 + dice.below(1000) as i32,
            2 if shared.settings.faults > 0 => DIES,
            _ => 0,
        };
        if answer == DIES {
            add(&shared.tally.deaths);
        }
        shared.leave();
        answer
    }

    pub fn answer_dead_letter(&self, batch: &BatchView, reason: i32) -> i32 {
        let shared = &*self.0;
        shared.enter();
        let keys: Vec<Key> = views(batch)
            .map(|e| {
                shared.inspect(e);
                (e.ring_id, e.sequence)
            })
            .collect();
        let mut dice =
            Dice(shared.settings.seed ^ batch.batch_id << 20 ^ 0xDEAD_0000 ^ u64::from(batch.attempt));
        let answer = match dice.below(8) {
            _ if shared.is_well() => 0,
            _ if shared.fault(&mut dice) => DIES,
            0..4 => 0,
            4 => PIPELINE_STORE_REJECT,
            5 | 6 => PIPELINE_STORE_RETRY,
            _ => 77,
        };
        if !shared.note_dead(&mut shared.book.lock(), batch, &keys, reason, answer) {
            return 0;
        }
        shared.leave();
        answer
    }

    pub fn see_released(&self, event: &EventView) -> i32 {
        let shared = &*self.0;
        add(&shared.tally.released);
        shared.must(shared.finishes() == 0, || "a release beside finish or after it".to_owned());
        let entry = shared.inspect(event);
        let key = (event.ring_id, event.sequence);
        let book = &mut *shared.book.lock();
        shared.note_released(book, key, &entry);
        let mut dice = Dice(shared.settings.seed ^ entry.number << 8 ^ 0x5E);
        if shared.settings.faults > 0 && !shared.is_well() && dice.once_in(shared.settings.faults * 16) {
            add(&shared.tally.deaths);
            return DIES;
        }
        0
    }
}
