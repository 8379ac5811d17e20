//! The pool's state: everything that changes under its lock.

use super::Pool;
use super::breaker::Breaker;
use super::faults::Faults;
use super::nap::Naps;
use super::scaler::Scaler;
use super::space::Owed;
use crate::batch::{Batch, Phase, Place};
use crate::config::Config;
use crate::latency::Latency;
use crate::ledger::Settled;
use crate::storage::WriterData;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::Arc;

/// What a writer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Not open yet; tries (again) at this time.
    Opening(u64),
    /// Looking for work.
    Searching,
    /// Asleep.
    Asleep,
    /// In a call of the storage, since this time.
    Calling(u64),
}

/// A writer as the pool sees it.
#[derive(Debug)]
pub struct Writer {
    /// Not reused while its thread lives.
    pub id: u32,
    /// Its thread's number in this library; 0 until it runs.
    pub token: u64,
    /// Its thread's id as the operating system has it.
    pub tid: u32,
    /// What it is doing.
    pub doing: Doing,
    /// The batch that it carries.
    pub slot: Option<usize>,
    /// It shall end.
    pub leaving: bool,
    /// Its call has outlived the deadline: another writer stands in for it.
    pub stuck: bool,
    /// `open_writer` has succeeded.
    pub opened: bool,
    /// What it gave.
    pub data: WriterData,
    /// Failures of `open_writer` in a row.
    pub open_failures: u32,
    /// What it answered last when it failed.
    pub open_status: i32,
    /// What its thread was started with.
    pub start: *mut c_void,
    /// Its last claim was small, and its call is about to begin: then it lets more gather for a while.
    pub rests: bool,
    /// Until this time.
    pub rests_until: u64,
    /// The field of the configuration that it was refused.
    pub misplaced: Option<&'static str>,
    /// Attempts made.
    pub attempts: u64,
    /// Events acknowledged at once.
    pub events: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Attempts answered with a retry.
    pub retries: u64,
    /// Time spent in calls.
    pub call_ns: u64,
}

/// Somebody waits for the storage's `flush`.
#[derive(Debug)]
pub struct FlushJob {
    /// Names it.
    pub id: u64,
    /// Until when; `u64::MAX`: for ever.
    pub deadline_ns: u64,
    /// The writer that has taken it up.
    pub runner: Option<u32>,
    /// What the storage answered.
    pub answer: Option<i32>,
}

/// How far the pool's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// It works.
    Running,
    /// It drains, pause or not.
    Draining,
    /// No further callback but `close_writer`; writers end.
    Stopped,
}

/// How far the teardown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teardown {
    /// Not begun.
    NotYet,
    /// A thread is in the storage's `release` or `destroy`.
    Running,
    /// The storage is gone.
    Done,
}

/// Everything that changes under the pool's lock.
///
/// In the order of the fields: what each batch needs comes first, in few cache lines.
#[repr(C)]
pub struct State {
    /// How far its life has come.
    pub life: Life,
    /// Nothing is claimed at present.
    pub paused: bool,
    /// A writer has looked unwoken and found nothing: until something comes that is left to the supervisor.
    pub polled: bool,
    /// Writers lingered, and enough has gathered in one ring to wake one: what there is, is ripe.
    pub gathered: bool,
    /// A capture has woken a writer that slept because all rings were empty, and nothing was claimed since.
    pub knocked: bool,
    /// Nobody holds the pipeline any more.
    pub abandoned: bool,
    /// Writers that there should be.
    pub target: u32,
    /// Writers looking for work (or on their way to it).
    pub searching: u32,
    /// Writers asleep.
    pub sleeping: u32,
    /// Calls of `store`, `flush`, `dead_letter` and `release` that run.
    pub calls: u32,
    /// Writers that are claiming.
    pub claiming: u32,
    /// Batches not settled, those in doubt excluded.
    pub open: u32,
    /// Batches in doubt.
    pub doubtful: u32,
    /// Attempts that wait for their answer.
    pub pending: u32,
    /// Threads that wait for a change.
    pub waiters: u32,
    /// Attempts after the first.
    pub retries: u64,
    /// The id of the next batch.
    pub next_batch: u64,
    /// A moving average of the length of storage calls.
    pub call_average_ns: u64,
    /// The same from the beginning of a call to the answer, which may be pending meanwhile.
    pub answer_average_ns: u64,
    /// Since when there is unclaimed work, as far as writers have seen (for linger).
    pub unclaimed_since: Option<u64>,
    /// Writers that there are, leaving ones included.
    pub writers: Vec<Writer>,
    /// The batches; `None`: being filled, or never used.
    pub batches: Vec<Option<Box<Batch>>>,
    /// Slots that are free.
    pub free: Vec<usize>,
    /// Batches to be taken up at once.
    pub ready: VecDeque<usize>,
    /// Batches that wait for their next attempt.
    pub back_off: Vec<usize>,
    /// Flushes asked for.
    pub flushes: Vec<FlushJob>,
    /// The writers' side of the ledger.
    pub settled: Settled,
    /// How long writers nap for want of a barrier.
    pub naps: Naps,
    /// The running configuration.
    pub config: Config,
    /// Whether batches may be given to `store`.
    pub breaker: Breaker,
    /// How the pipeline scales itself.
    pub scaler: Scaler,
    /// The pool itself, while attempts wait for their answer.
    pub stays: Option<Arc<Pool>>,
    /// Batches settled.
    pub settled_batches: u64,
    /// Calls that did what they must not.
    pub faults: Faults,
    /// What is to be logged once the lock is given back.
    pub news: Vec<(log::Level, String)>,
    /// Looks in a row at which the supervisor got no thread for a writer.
    pub hire_failures: u32,
    /// Writers that died since a call last came back.
    pub deaths_in_a_row: u32,
    /// From capture to acknowledgement.
    pub latency: Latency,
    /// Time that all writers together have spent in calls that came back.
    pub calls_ns: u64,
    /// The id of the next.
    pub next_flush: u64,
    /// Space that captures wait for, and are not told of yet.
    pub owed: Owed,
    /// When the heavy barrier was last used, and how often it may be at once.
    pub barrier_budget: (u64, u32),
    /// A close has drained everything and said so.
    pub closed: bool,
    /// The exit handler is at work.
    pub at_exit: bool,
    /// The process ends: no further callback at all, `close_writer` included.
    pub exiting: bool,
    /// How far the teardown has come.
    pub teardown: Teardown,
    /// Varies the jitter.
    pub jitter: u64,
    /// Two earlier readings (time, captured, stored) for the rates.
    pub rate_marks: [(u64, u64, u64); 2],
}

// SAFETY: the raw pointers in writers are only handed through.
unsafe impl Send for State {}

impl State {
    /// Nothing has happened yet.
    pub fn new(config: Config, now_ns: u64, jitter: u64) -> Self {
        Self {
            target: config.writers,
            config,
            life: Life::Running,
            paused: false,
            writers: Vec::new(),
            searching: 0,
            sleeping: 0,
            calls: 0,
            claiming: 0,
            batches: Vec::new(),
            free: Vec::new(),
            open: 0,
            doubtful: 0,
            pending: 0,
            stays: None,
            ready: VecDeque::new(),
            back_off: Vec::new(),
            next_batch: 1,
            settled: Settled::default(),
            settled_batches: 0,
            retries: 0,
            faults: Faults::default(),
            breaker: Breaker::default(),
            news: Vec::new(),
            hire_failures: 0,
            deaths_in_a_row: 0,
            latency: Latency::default(),
            call_average_ns: 0,
            answer_average_ns: 0,
            calls_ns: 0,
            scaler: Scaler::default(),
            flushes: Vec::new(),
            next_flush: 1,
            owed: Owed::default(),
            waiters: 0,
            unclaimed_since: None,
            barrier_budget: (0, 0),
            naps: Naps::default(),
            knocked: false,
            polled: false,
            closed: false,
            abandoned: false,
            gathered: false,
            at_exit: false,
            exiting: false,
            teardown: Teardown::NotYet,
            jitter,
            rate_marks: [(now_ns, 0, 0); 2],
        }
    }

    /// The writer with this id.
    pub fn writer(&mut self, id: u32) -> Option<&mut Writer> {
        self.writers.iter_mut().find(|w| w.id == id)
    }

    /// Whether a writer lets more gather before it claims again.
    pub fn rests(&self, id: u32, now: u64) -> bool {
        self.life == Life::Running && self.writers.iter().any(|w| w.id == id && w.rests_until > now)
    }

    /// Whether a writer shall end.
    pub fn is_leaving(&self, id: u32) -> bool {
        self.writers.iter().any(|w| w.id == id && w.leaving)
    }

    /// Writers that are there to work: not leaving, not stuck.
    pub fn staying(&self) -> u32 {
        self.writers.iter().filter(|w| !w.leaving && !w.stuck).count() as u32
    }

    /// Writers that there must be: as many as asked for, and one at least to drain.
    pub fn wanted(&self) -> u32 {
        match self.life {
            Life::Running => self.target,
            Life::Draining => self.target.max(1),
            Life::Stopped => 0,
        }
    }

    /// Writers that are not leaving.
    pub fn live(&self) -> u32 {
        self.writers.iter().filter(|w| !w.leaving).count() as u32
    }

    /// The batch in a slot.
    pub fn batch(&mut self, slot: usize) -> Option<&mut Batch> {
        self.batches.get_mut(slot)?.as_deref_mut()
    }

    /// A writer changes from one thing to another.
    pub fn set_doing(&mut self, id: u32, doing: Doing) {
        let Some(writer) = self.writers.iter_mut().find(|w| w.id == id) else { return };
        let before = std::mem::replace(&mut writer.doing, doing);
        match before {
            Doing::Searching => self.searching -= 1,
            Doing::Asleep => self.sleeping -= 1,
            Doing::Opening(_) | Doing::Calling(_) => {}
        }
        match doing {
            Doing::Searching => self.searching += 1,
            Doing::Asleep => self.sleeping += 1,
            Doing::Opening(_) | Doing::Calling(_) => {}
        }
    }

    /// A slot, with an empty batch that is taken out of it to be filled.
    pub fn take_slot(&mut self, pipeline_id: u64, generation: u64) -> (usize, Box<Batch>) {
        let slot = self.free.pop().unwrap_or_else(|| self.another_slot());
        let batch = self.batches[slot].take();
        (slot, batch.unwrap_or_else(|| Self::another_batch(pipeline_id, generation)))
    }

    #[cold]
    fn another_slot(&mut self) -> usize {
        self.batches.push(None);
        self.batches.len() - 1
    }

    #[cold]
    fn another_batch(pipeline_id: u64, generation: u64) -> Box<Batch> {
        Box::new(Batch::new(pipeline_id, generation))
    }

    /// An empty batch goes back.
    pub fn return_slot(&mut self, slot: usize, mut batch: Box<Batch>) {
        batch.clear();
        self.batches[slot] = Some(batch);
        self.free.push(slot);
    }

    /// Queues a batch to be taken up at once.
    pub fn make_ready(&mut self, slot: usize, phase: Phase) {
        if let Some(batch) = self.batch(slot) {
            batch.phase = phase;
            batch.place = Place::Ready;
            self.ready.push_back(slot);
        }
    }

    /// Whether batches wait for a writer, or for their time.
    pub fn has_due(&self) -> bool {
        !self.ready.is_empty() || !self.back_off.is_empty()
    }

    /// How long a batch waits at most after so many attempts: doubled each time, up to a limit.
    pub fn back_off_ns(&self, attempts: u32) -> u64 {
        let (initial, most) = (self.config.retry_initial_us * 1000, self.config.retry_max_us * 1000);
        initial.saturating_mul(1u64 << attempts.saturating_sub(1).min(40)).min(most)
    }

    /// The ids of batches that are not settled and not awaiting a pending answer, the lowest of them.
    pub fn oldest_unanswered(&self) -> Option<u64> {
        self.batches
            .iter()
            .flatten()
            .filter(|b| !matches!(b.place, Place::Idle | Place::Pending))
            .map(|b| b.id)
            .min()
    }
}
