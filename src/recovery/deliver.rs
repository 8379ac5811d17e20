//! Gives a storage what one dead run has left.

use super::{FileReport, Options};
use crate::event::PIPELINE_KIND_THREAD;
use crate::facts::{Fact, Facts};
use crate::files::failure::Failure;
use crate::platform::kill_point::{Point, pass};
use crate::platform::{memory, time};
use crate::ring_file::reader::{DeadRun, Piece};
use crate::status::{Error, PIPELINE_ERR_INTERNAL, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_STORAGE, Result};
use crate::storage::feed::{About, Answer, Feed, Part};
use crate::storage::{PIPELINE_REASON_REJECTED, PIPELINE_STORE_OK, PIPELINE_STORE_REJECT};

/// So many facts come in one batch.
const FACTS: usize = 1024;
/// The first pause after an attempt that the storage has not taken; each next one is twice as long.
const FIRST_PAUSE_US: u32 = 1_000;
/// The longest pause.
const LONGEST_PAUSE_US: u32 = 1_000_000;

/// Why a delivery ends before its end.
pub(super) enum Stop {
    /// The file cannot be read or changed.
    File(Failure),
    /// The storage, or this process, cannot go on.
    Storage(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        if failure.errno == libc::ENOMEM {
            return Self::Storage(Error::new(PIPELINE_ERR_NO_MEMORY, failure.text));
        }
        Self::File(failure)
    }
}

/// The delivery of one run.
pub(super) struct Delivery<'a> {
    feed: &'a mut Feed,
    retry_for_ns: u64,
    report: &'a mut FileReport,
    /// The number of the present batch, from 1 on.
    batches: u64,
}

impl<'a> Delivery<'a> {
    pub fn new(feed: &'a mut Feed, options: &Options, report: &'a mut FileReport) -> Self {
        let retry_for_ns = u64::try_from(options.retry_for.as_nanos()).unwrap_or(u64::MAX);
        Self { feed, retry_for_ns, report, batches: 0 }
    }

    /// Delivers everything, and deletes the file.
    pub fn run(mut self, mut run: Box<DeadRun>) -> Result<(), Stop> {
        let done = self.deliver(&mut run);
        self.report.losses = run.losses().clone();
        done?;
        pass(Point::FileEmptied);
        match run.finish()? {
            true => Ok(()),
            // (All was acknowledged: another has written to the file.)
            false => Err(Failure::transient("it has changed while it was recovered").into()),
        }
    }

    fn deliver(&mut self, run: &mut DeadRun) -> Result<(), Stop> {
        let mut pause = Pause::new(self.retry_for_ns);
        while let Err(status) = self.feed.open_writer() {
            pause.next(|| format!("open_writer of the storage returned {status}"))?;
        }
        self.feed.set_about(about(run)?);
        if self.feed.takes_facts() {
            self.facts(run)?;
        }
        let mut piece = Piece::default();
        while run.next(&mut piece)? {
            pass(Point::EventsRead);
            self.piece(run, &piece)?;
        }
        match self.feed.flush() {
            PIPELINE_STORE_OK => Ok(()),
            status => {
                let text = format!("the storage's flush returned {status}; all events were stored before it");
                Err(Error::new(PIPELINE_ERR_STORAGE, text).into())
            }
        }
    }

    fn facts(&mut self, run: &DeadRun) -> Result<(), Stop> {
        let mut facts = run.facts().peekable();
        while facts.peek().is_some() {
            self.batches += 1;
            let mut part = self.part(run);
            for fact in facts.by_ref().take(FACTS) {
                part.push_fact(fact)?;
            }
            let mut pause = Pause::new(self.retry_for_ns);
            loop {
                let answer = self.attempt(&mut part, pause.attempt)?;
                match answer.result {
                    PIPELINE_STORE_OK => {
                        let refused = answer.rejected.len().min(part.len());
                        self.report.facts += (part.len() - refused) as u64;
                        self.report.facts_refused += refused as u64;
                    }
                    PIPELINE_STORE_REJECT => self.report.facts_refused += part.len() as u64,
                    result => {
                        pause.next(|| not_taken(result, part.len(), "facts"))?;
                        continue;
                    }
                }
                break;
            }
        }
        Ok(())
    }

    /// Delivers a piece, and acknowledges it.
    fn piece(&mut self, run: &DeadRun, piece: &Piece) -> Result<(), Stop> {
        self.batches += 1;
        let mut first = 0; // the events before are settled
        let mut pause = Pause::new(self.retry_for_ns);
        while first < piece.len() {
            let mut part = self.part(run);
            for event in run.events(piece, first) {
                part.push(&event)?;
            }
            let Answer { result, prefix, mut rejected } = self.attempt(&mut part, pause.attempt)?;
            rejected.sort_unstable();
            rejected.dedup();
            let stored = match result {
                PIPELINE_STORE_OK => part.len(),
                _ => prefix,
            };
            rejected.retain(|&index| index < stored);
            let kept = stored - rejected.len();
            let settled = if result == PIPELINE_STORE_REJECT {
                rejected.try_reserve(part.len() - stored).map_err(|_| memory::refused(part.len()))?;
                rejected.extend(stored..part.len());
                part.len()
            } else {
                stored
            };
            if !rejected.is_empty() {
                self.dead_letter(run, piece, first, &rejected)?;
            }
            if settled != 0 {
                self.report.events += kept as u64;
                first += settled;
                pass(Point::EventsRecovered);
                run.acknowledge(piece.ring(), piece.position(first))?;
                pass(Point::RecoveryAcknowledged);
            }
            if first < piece.len() {
                pause.next(|| not_taken(result, piece.len() - first, "events"))?;
            }
        }
        if piece.is_empty() {
            run.acknowledge(piece.ring(), piece.upto())?;
        }
        Ok(())
    }

    /// Passes the events with these numbers, counted from the number `first` on, to the dead letter.
    fn dead_letter(
        &mut self,
        run: &DeadRun,
        piece: &Piece,
        first: usize,
        rejected: &[usize],
    ) -> Result<(), Stop> {
        let mut part = self.part(run);
        let mut left = rejected.iter().copied().peekable();
        for (index, event) in run.events(piece, first).enumerate() {
            if left.next_if_eq(&index).is_some() {
                part.push(&event)?;
            }
        }
        part.set_attempt(self.batches, 1);
        let mut pause = Pause::new(self.retry_for_ns);
        loop {
            match self.feed.dead_letter(&part, PIPELINE_REASON_REJECTED) {
                0 => self.report.dead_lettered += part.len() as u64,
                PIPELINE_STORE_REJECT => self.report.discarded += part.len() as u64,
                status => {
                    pause.next(|| format!("the storage's dead_letter returned {status}"))?;
                    continue;
                }
            }
            return Ok(());
        }
    }

    fn part<'p>(&self, run: &DeadRun) -> Part<'p> {
        Part::new(run.header().generation, run.realtime_offset_ns())
    }

    fn attempt(&mut self, part: &mut Part<'_>, attempt: u32) -> Result<Answer, Stop> {
        part.set_attempt(self.batches, attempt);
        let answer = self.feed.answers(std::slice::from_ref(part))?.pop();
        answer.ok_or_else(|| Error::new(PIPELINE_ERR_INTERNAL, "a part was not answered").into())
    }
}

fn not_taken(result: i32, count: usize, what: &str) -> String {
    format!("the storage has not taken {count} {what} (it answered {result})")
}

/// The pauses between the attempts at one thing.
struct Pause {
    /// The number of the next attempt, from 1 on.
    attempt: u32,
    us: u32,
    began_ns: u64,
    most_ns: u64,
}

impl Pause {
    fn new(most_ns: u64) -> Self {
        Self { attempt: 1, us: FIRST_PAUSE_US, began_ns: time::now_ns(), most_ns }
    }

    /// An attempt has failed, as `what` says: waits for the next one. An error: the time is up.
    fn next(&mut self, what: impl FnOnce() -> String) -> Result<(), Stop> {
        let passed = time::now_ns().saturating_sub(self.began_ns);
        if passed >= self.most_ns {
            let text = format!(
                "{}, in {} attempts during {} ms; what is not stored stays in the ring files",
                what(),
                self.attempt,
                passed / 1_000_000
            );
            return Err(Error::new(PIPELINE_ERR_STORAGE, text).into());
        }
        let left_us = u32::try_from((self.most_ns - passed) / 1_000).unwrap_or(u32::MAX);
        time::sleep_us(self.us.min(left_us.max(1)));
        self.us = (self.us * 2).min(LONGEST_PAUSE_US);
        self.attempt = self.attempt.saturating_add(1);
        Ok(())
    }
}

/// What is known about the events, for storages that ask by the token of a batch.
fn about(run: &DeadRun) -> Result<About> {
    let facts = Facts::default();
    for fact in run.facts() {
        if fact.kind != PIPELINE_KIND_THREAD {
            // One that is too many is missing there. (The list has the limits that the run's own had.)
            let fact = Fact::new(fact.kind, fact.correlation_id, fact.node_id, fact.payload)?;
            match facts.add(fact, |_| Ok(())) {
                Err(error) if error.status == PIPELINE_ERR_NO_MEMORY => return Err(error),
                _ => {}
            }
        }
    }
    let mut threads = Vec::new();
    for words in run.threads() {
        threads.try_reserve(1).map_err(|_| memory::refused(size_of::<(u64, u32, [u8; 16])>()))?;
        threads.push((words.ring_id, u32::try_from(words.tid).unwrap_or(u32::MAX), words.name));
    }
    threads.sort_unstable();
    Ok(About { facts: facts.into(), threads })
}
