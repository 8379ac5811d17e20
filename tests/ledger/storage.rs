//! The storage that fails: every answer there is, at random; answers that come late, early, twice, in part. It keeps a book of
//! its own on what became of each event, by what it answered, and checks every batch that it is shown against it.

use crate::producers::{Dice, checksum, fill};
use crate::world;
use capture_pipeline::batch::{BatchView, token};
use capture_pipeline::event::EventView;
use capture_pipeline::platform::sync::{AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex, Ordering};
use capture_pipeline::status::{PIPELINE_ERR_INVALID, PIPELINE_ERR_STORAGE, PIPELINE_ERR_UNKNOWN_TOKEN};
use capture_pipeline::storage::*;
use std::collections::{HashMap, HashSet, VecDeque};
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
}

/// What a call answers that shall not return: it panics, or ends its thread.
pub const DIES: i32 = i32::MAX - 13;

/// Where an event has gone, as the storage's own answers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    Stored,
    DeadLettered,
    Discarded,
}

/// An event as it came.
#[derive(Clone, Debug)]
pub struct Entry {
    pub number: u64,
    pub len: u32,
    pub kind: u32,
    pub flags: u32,
    pub timestamp: u64,
    /// In which batch; 0: only ever released.
    pub batch: u64,
    pub fate: Option<Fate>,
    pub released: bool,
}

/// Ring id and sequence number.
pub type Key = (u64, u64);

/// A batch, as it must come next.
#[derive(Clone, Debug, Default)]
struct Expected {
    /// Still to be stored.
    rest: Vec<Key>,
    /// To the dead letter, in this order.
    dead: VecDeque<(i32, Key)>,
    /// Attempts seen in this phase.
    attempt: u32,
    /// How many of `dead` the present dead letter attempts are about; 0: none yet.
    run: usize,
    /// An answer to `store` is outstanding.
    open: bool,
}

/// What the storage has noted.
#[derive(Debug, Default)]
pub struct Book {
    pub generation: Option<u64>,
    pub events: HashMap<Key, Entry>,
    batches: HashMap<u64, Expected>,
    /// Per ring: the last batch and the last sequence number that came in it.
    last: HashMap<u64, (u64, u64)>,
    tokens: HashSet<u64>,
    pub bad_results: u64,
    pub retries: u64,
}

/// What a PENDING batch will be answered, and when.
#[derive(Debug)]
pub struct Job {
    due: u64,
    token: u64,
    batch: u64,
    plan: Plan,
    /// How many answers were accepted; must come to be one.
    accepted: AtomicU32,
    /// The book knows of it.
    noted: Mutex<bool>,
}

/// An answer to an attempt.
#[derive(Clone, Debug)]
struct Plan {
    /// By set_stored.
    marked: usize,
    /// By set_rejected.
    rejected: Vec<usize>,
    /// By complete_at.
    prefix: usize,
    result: i32,
}

/// How often each thing happened.
#[derive(Debug, Default)]
pub struct Tally {
    pub early: AtomicU64,
    pub pending: AtomicU64,
    pub twice: AtomicU64,
    pub late: AtomicU64,
    pub hung: AtomicU64,
    pub deaths: AtomicU64,
    pub partial: AtomicU64,
    pub rejected: AtomicU64,
    pub flushes: AtomicU64,
    pub released: AtomicU64,
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
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Shared {
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
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

    /// A serial storage's calls never overlap.
    fn enter(&self) {
        let others = self.in_call.fetch_add(1, Ordering::AcqRel);
        self.must(self.settings.concurrent || others == 0, || "calls of a serial storage overlap".to_owned());
    }

    fn leave(&self) {
        self.in_call.fetch_sub(1, Ordering::AcqRel);
    }

    // ---- the batches ----

    /// An event as it lies there: whole, and what it says it is.
    fn inspect(&self, event: &EventView) -> Entry {
        let mut wanted = vec![0; event.len];
        fill(event.correlation_id, &mut wanted);
        let whole = wanted == event.payload() && checksum(&wanted) == event.node_id;
        self.must(whole, || {
            format!("the event {}:{} is not whole: {event:?}", event.ring_id, event.sequence)
        });
        self.must(event.weight == 1.0, || format!("its weight is {}", event.weight));
        Entry {
            number: event.correlation_id,
            len: event.len as u32,
            kind: event.kind,
            flags: event.flags,
            timestamp: event.timestamp_ns,
            batch: 0,
            fate: None,
            released: false,
        }
    }

    /// Checks a batch that `store` is shown against what must come, and opens the attempt in the book.
    fn receive(&self, batch: &BatchView) {
        let shown: Vec<(Key, Entry)> =
            views(batch).map(|e| ((e.ring_id, e.sequence), self.inspect(e))).collect();
        let keys: Vec<Key> = shown.iter().map(|(key, _)| *key).collect();
        let book = &mut *self.book.lock();
        let id = batch.batch_id;
        if std::env::var_os("TRACE").is_some() {
            let at = world::now_ns();
            println!(
                "{at}: writer {} shows batch {id}, attempt {}: {keys:?}",
                batch.writer_id, batch.attempt
            );
        }
        self.must(*book.generation.get_or_insert(batch.generation) == batch.generation, || {
            format!("batch {id}: another generation")
        });
        self.must(book.tokens.insert(batch.token), || format!("batch {id}: its token came before"));
        self.must(!keys.is_empty(), || format!("batch {id} is empty"));
        if let Some(known) = book.batches.get_mut(&id) {
            let as_expected = known.rest == keys && known.attempt + 1 == batch.attempt && !known.open;
            self.must(as_expected, || {
                format!("batch {id}, attempt {}: {keys:?} came, {known:?} expected", batch.attempt)
            });
            known.attempt = batch.attempt;
            known.open = true;
            book.retries += 1;
            return;
        }
        self.must(batch.attempt == 1, || format!("batch {id} begins with attempt {}", batch.attempt));
        self.must(keys.iter().all(|k| k.0 == keys[0].0) || !self.settings.ordered, || {
            format!("batch {id}: several rings in one batch: {keys:?}")
        });
        for (key, mut entry) in shown {
            entry.batch = id;
            let before = book.events.insert(key, entry);
            self.must(before.is_none(), || format!("{key:?} came in batch {id} and in {before:?}"));
            let last = book.last.insert(key.0, (id, key.1));
            if let Some((last_batch, sequence)) = last {
                self.must(sequence < key.1 || (!self.settings.ordered && last_batch != id), || {
                    format!("batch {id}: {key:?} came after {sequence} of batch {last_batch}")
                });
                let unsettled =
                    book.batches.get(&last_batch).is_some_and(|b| !b.rest.is_empty() || !b.dead.is_empty());
                self.must(
                    last_batch == id || !self.settings.ordered || !unsettled || self.settings.ages,
                    || format!("batch {id} of ring {} came before batch {last_batch} was settled", key.0),
                );
            }
        }
        book.batches.insert(id, Expected { rest: keys, attempt: 1, open: true, ..Expected::default() });
        if self.settings.most_batches > 0 {
            let out = book.batches.values().filter(|b| !b.rest.is_empty() || !b.dead.is_empty()).count();
            let most = self.settings.most_batches;
            self.must(out <= most, || format!("{out} batches are out, {most} allowed"));
        }
    }

    /// Notes what an answer means, before it is given: afterwards anything may happen at once.
    fn note(&self, id: u64, plan: &Plan) {
        let book = &mut *self.book.lock();
        let Some(batch) = book.batches.get_mut(&id) else { return };
        batch.open = false;
        let retry = !matches!(plan.result, PIPELINE_STORE_OK | PIPELINE_STORE_REJECT);
        if retry && plan.result != PIPELINE_STORE_RETRY {
            book.bad_results += 1;
        }
        let rest = std::mem::take(&mut batch.rest);
        let stored_to = if plan.result == PIPELINE_STORE_OK {
            rest.len()
        } else {
            plan.marked.max(plan.prefix).min(rest.len())
        };
        for (i, key) in rest.iter().enumerate().filter(|(i, _)| *i < stored_to && !plan.rejected.contains(i))
        {
            let fate = &mut book.events.get_mut(key).expect("in the book").fate;
            let before = fate.replace(Fate::Stored);
            self.must(before.is_none(), || {
                format!("event {i} of batch {id}, {key:?}: stored, but was {before:?}")
            });
        }
        // In the batch's order, whatever the order in which they were named.
        for (_, key) in rest.iter().enumerate().filter(|(i, _)| plan.rejected.contains(i)) {
            batch.dead.push_back((PIPELINE_REASON_REJECTED, *key));
        }
        let left: Vec<Key> =
            (stored_to..rest.len()).filter(|i| !plan.rejected.contains(i)).map(|i| rest[i]).collect();
        if !retry {
            batch.dead.extend(left.iter().map(|k| (PIPELINE_REASON_REJECTED, *k)));
        } else if batch.attempt >= self.settings.retry_limit {
            batch.dead.extend(left.iter().map(|k| (PIPELINE_REASON_RETRY_LIMIT, *k)));
        } else {
            batch.rest = left;
        }
        if batch.rest.is_empty() {
            batch.attempt = 0;
            if !self.settings.dead_letter {
                let dead = std::mem::take(&mut batch.dead);
                discard(&mut book.events, dead.iter().map(|(_, k)| *k));
            }
        }
    }

    /// What was to be retried has grown too old: it goes to the dead letter instead (seen by what is shown next).
    fn grow_old(&self, batch: &mut Expected) {
        if !batch.rest.is_empty() && self.settings.ages && !batch.open {
            let rest = std::mem::take(&mut batch.rest);
            batch.dead.extend(rest.into_iter().map(|k| (PIPELINE_REASON_RETRY_AGE, k)));
            batch.attempt = 0;
        }
    }

    // ---- the answers ----

    fn plan(&self, dice: &mut Dice, batch: &BatchView) -> Plan {
        let (attempt, count) = (batch.attempt, batch.count);
        let mut plan = Plan { marked: 0, rejected: Vec::new(), prefix: 0, result: PIPELINE_STORE_OK };
        if self.settings.calm || self.is_well() {
            return plan;
        }
        // Most batches get through in the end; some never do.
        let worst = if attempt > 3 && !dice.once_in(4) { 8 } else { 16 };
        plan.result = match dice.below(worst) {
            0..8 => PIPELINE_STORE_OK,
            8..12 => PIPELINE_STORE_RETRY,
            12 => PIPELINE_STORE_REJECT,
            13 => 4 + dice.below(1000) as i32,
            14 => -(dice.below(1000) as i32) - 1,
            _ => i32::MIN,
        };
        if dice.once_in(4) {
            plan.marked = dice.below(count as u64 + 1) as usize;
        }
        if dice.once_in(6) {
            for _ in 0..=dice.below(3) {
                plan.rejected.push(dice.below(count as u64) as usize);
            }
            add(&self.tally.rejected);
        }
        if attempt == 1 {
            // However short the run: each of these comes in every sixteen batches.
            match batch.batch_id % 16 {
                7 => (plan.marked, plan.result) = (count / 2, PIPELINE_STORE_RETRY),
                9 => plan.result = PIPELINE_STORE_REJECT,
                11 => plan.result = 77,
                13 if plan.rejected.is_empty() => {
                    plan.rejected.push(count - 1);
                    add(&self.tally.rejected);
                }
                _ => {}
            }
        }
        if plan.marked > 0 && plan.marked < count && plan.result != PIPELINE_STORE_OK {
            add(&self.tally.partial);
        }
        plan
    }

    /// Tells the library the parts of the answer that go before it.
    fn mark(&self, batch: u64, token: u64, count: usize, plan: &Plan) {
        let mut wrong = Vec::new();
        if plan.marked > 0 {
            wrong.push(token::set_stored(token, plan.marked).err());
        }
        for &index in &plan.rejected {
            wrong.push(token::set_rejected(token, index).err());
        }
        let beyond = token::set_stored(token, count + 1).err().map(|e| e.status);
        self.must(beyond == Some(PIPELINE_ERR_INVALID), || format!("a prefix beyond the batch: {beyond:?}"));
        let beyond = token::set_rejected(token, count).err().map(|e| e.status);
        self.must(beyond == Some(PIPELINE_ERR_INVALID), || format!("an index beyond the batch: {beyond:?}"));
        for error in wrong.into_iter().flatten() {
            self.fail(format!("batch {batch}: {error}"));
        }
    }

    /// Answers a pending attempt. Several threads may do so with one job: one of them succeeds.
    fn answer(&self, job: &Job) {
        {
            let mut noted = job.noted.lock();
            if !*noted {
                let wrong = token::complete(job.token, usize::MAX, PIPELINE_STORE_OK).err().map(|e| e.status);
                self.must(wrong == Some(PIPELINE_ERR_INVALID), || {
                    format!("a prefix beyond the batch: {wrong:?}")
                });
                self.note(job.batch, &job.plan);
                *noted = true;
            }
        }
        match token::complete(job.token, job.plan.prefix, job.plan.result) {
            Ok(()) => {
                let before = job.accepted.fetch_add(1, Ordering::AcqRel);
                self.must(before == 0, || format!("token {} was answered twice", job.token));
            }
            Err(error) => {
                add(&self.tally.twice);
                self.must(error.status == PIPELINE_ERR_UNKNOWN_TOKEN, || {
                    format!("batch {}: {error}", job.batch)
                });
            }
        }
    }

    /// The loop of a thread that answers pending batches, in random order.
    pub fn complete_pending(&self, mut dice: Dice) {
        let mut jobs = self.jobs.lock();
        loop {
            let now = world::now_ns();
            let well = self.well.load(Ordering::Acquire);
            let due: Vec<usize> = (0..jobs.len()).filter(|&i| jobs[i].due <= now || well).collect();
            if !due.is_empty() {
                let job = jobs.swap_remove(due[dice.below(due.len() as u64) as usize]);
                drop(jobs);
                self.answer(&job);
                jobs = self.jobs.lock();
            } else if jobs.is_empty() && self.stop.load(Ordering::Acquire) {
                return;
            } else {
                let first = jobs.iter().map(|j| j.due).min();
                let wait = first.map_or(50_000_000, |d| d.saturating_sub(now)).min(50_000_000);
                jobs = self.more.wait(jobs, Some(Duration::from_nanos(wait)));
            }
        }
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

    fn promise(&self, job: Arc<Job>, times: usize) {
        let mut jobs = self.jobs.lock();
        for _ in 0..times {
            jobs.push(Arc::clone(&job));
        }
        drop(jobs);
        self.more.notify_all();
    }

    fn pend(&self, dice: &mut Dice, batch: &BatchView, plan: Plan) -> i32 {
        add(&self.tally.pending);
        let delay = match dice.below(40) {
            _ if self.fault(dice) => {
                add(&self.tally.hung);
                Duration::from_secs(100_000)
            }
            0 => {
                add(&self.tally.late);
                self.settings.deadline * (1 + dice.below(3) as u32)
            }
            1..20 => Duration::ZERO,
            _ => Duration::from_micros(dice.below(3000)),
        };
        let job = Arc::new(Job {
            due: world::now_ns().saturating_add(delay.as_nanos() as u64),
            token: batch.token,
            batch: batch.batch_id,
            plan,
            accepted: AtomicU32::new(0),
            noted: Mutex::default(),
        });
        if dice.once_in(8) || batch.batch_id % 16 == 3 {
            // Before `store` has returned; from then on what it returns has no say.
            add(&self.tally.early);
            self.answer(&job);
            self.must(job.accepted.load(Ordering::Acquire) == 1, || {
                "an early answer was not accepted".to_owned()
            });
            if dice.once_in(3) {
                self.book.lock().bad_results += 1;
                return dice.below(3) as i32;
            }
            if dice.once_in(3) {
                self.answer(&job);
            }
            return PIPELINE_STORE_PENDING;
        }
        self.promise(job, if dice.once_in(6) || batch.batch_id % 16 == 5 { 2 } else { 1 });
        PIPELINE_STORE_PENDING
    }
}

fn discard(events: &mut HashMap<Key, Entry>, keys: impl Iterator<Item = Key>) {
    for key in keys {
        events.get_mut(&key).expect("in the book").fate = Some(Fate::Discarded);
    }
}

fn views(batch: &BatchView) -> impl Iterator<Item = &EventView> {
    // SAFETY: the batch is shown to us for the length of the call.
    unsafe { std::slice::from_raw_parts(batch.events, batch.count) }.iter()
}

/// The storage itself.
pub struct Chaos(pub Arc<Shared>);

impl Drop for Chaos {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::AcqRel);
    }
}

/// A call that answers [`DIES`] panics.
fn survive(answer: i32) -> i32 {
    assert!(answer != DIES, "the storage's own fault");
    answer
}

// SAFETY: a batch is used during calls only; tokens are completed as they were given.
unsafe impl Storage for Chaos {
    fn concurrent(&self) -> bool {
        self.0.settings.concurrent
    }

    fn has_dead_letter(&self) -> bool {
        self.0.settings.dead_letter
    }

    fn has_release(&self) -> bool {
        self.0.settings.release
    }

    fn store(&self, batch: &BatchView) -> i32 {
        survive(self.answer_store(batch))
    }

    fn flush(&self, _timeout_ms: i64) -> i32 {
        survive(self.answer_flush())
    }

    fn dead_letter(&self, batch: &BatchView, reason: i32) -> i32 {
        survive(self.answer_dead_letter(batch, reason))
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
        shared.receive(batch);
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

    pub fn answer_dead_letter(&self, batch: &BatchView, reason: i32) -> i32 {
        let shared = &*self.0;
        shared.enter();
        let id = batch.batch_id;
        let keys: Vec<Key> = views(batch)
            .map(|e| {
                shared.inspect(e);
                (e.ring_id, e.sequence)
            })
            .collect();
        let mut dice = Dice(shared.settings.seed ^ id << 20 ^ 0xDEAD_0000 ^ u64::from(batch.attempt));
        let answer = match dice.below(8) {
            _ if shared.is_well() => 0,
            _ if shared.fault(&mut dice) => DIES,
            0..4 => 0,
            4 => PIPELINE_STORE_REJECT,
            5 | 6 => PIPELINE_STORE_RETRY,
            _ => 77,
        };
        let book = &mut *shared.book.lock();
        let Some(known) = book.batches.get_mut(&id) else {
            shared.fail(format!("batch {id}: first seen by the dead letter"));
            return 0;
        };
        shared.grow_old(known);
        if shared.settings.ages && known.run > 0 && batch.attempt == 1 {
            // The run before was asked again, and has grown too old since.
            discard(&mut book.events, known.dead.drain(..known.run).map(|(_, k)| k));
            (known.run, known.attempt) = (0, 0);
        }
        let expected: Vec<Key> = known
            .dead
            .iter()
            .take_while(|(r, _)| Some(*r) == known.dead.front().map(|d| d.0))
            .map(|d| d.1)
            .collect();
        let as_expected = expected == keys
            && known.rest.is_empty()
            && known.dead.front().map(|d| d.0) == Some(reason)
            && batch.attempt == known.attempt + 1;
        shared.must(as_expected, || {
            format!("batch {id} to the dead letter, attempt {}, reason {reason}: {keys:?} came, {known:?} expected", batch.attempt)
        });
        known.attempt = batch.attempt;
        known.run = keys.len();
        book.retries += u64::from(batch.attempt > 1);
        book.bad_results += u64::from(!matches!(answer, 0..=2 | DIES));
        shared.tally.deaths.fetch_add(u64::from(answer == DIES), Ordering::Relaxed);
        let fate = match answer {
            0 => Some(Fate::DeadLettered),
            PIPELINE_STORE_REJECT => Some(Fate::Discarded),
            _ if batch.attempt >= shared.settings.retry_limit => Some(Fate::Discarded),
            _ => None,
        };
        if fate.is_some() {
            for key in &keys {
                if let Some(entry) = book.events.get_mut(key) {
                    let before = std::mem::replace(&mut entry.fate, fate);
                    shared.must(before.is_none(), || format!("{key:?}: {fate:?}, but was {before:?}"));
                }
            }
            known.dead.drain(..known.run.min(known.dead.len()));
            (known.run, known.attempt) = (0, 0);
        }
        shared.leave();
        answer
    }

    pub fn see_released(&self, event: &EventView) -> i32 {
        let shared = &*self.0;
        add(&shared.tally.released);
        let entry = shared.inspect(event);
        let key = (event.ring_id, event.sequence);
        let book = &mut *shared.book.lock();
        let known = book.events.entry(key).or_insert_with(|| entry.clone());
        shared.must(known.number == entry.number, || {
            format!("{key:?} was {known:?}, and is released as {entry:?}")
        });
        shared.must(!known.released, || format!("{key:?} is released twice"));
        known.released = true;
        // What had to wait for another attempt, and leaves without one, had grown too old.
        if known.fate.is_none() && known.batch != 0 && shared.settings.ages {
            known.fate = Some(Fate::Discarded);
        }
        let mut dice = Dice(shared.settings.seed ^ entry.number << 8 ^ 0x5E);
        if shared.settings.faults > 0 && !shared.is_well() && dice.once_in(shared.settings.faults * 16) {
            add(&shared.tally.deaths);
            return DIES;
        }
        0
    }
}
