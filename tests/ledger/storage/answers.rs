//! The answers: which one an attempt is to get, and the threads that give those that come later.

use super::shown::Shown;
use super::{Shared, add};
use crate::producers::Dice;
use crate::world;
use capture_pipeline::batch::{BatchView, token};
use capture_pipeline::platform::sync::{AtomicU32, Mutex, Ordering};
use capture_pipeline::status::{PIPELINE_ERR_BUSY, PIPELINE_ERR_INVALID, PIPELINE_ERR_UNKNOWN_TOKEN};
use capture_pipeline::storage::*;
use std::sync::Arc;
use std::time::Duration;

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
pub struct Plan {
    /// By set_stored.
    pub marked: usize,
    /// By set_rejected.
    pub rejected: Vec<usize>,
    /// By complete_at.
    pub prefix: usize,
    pub result: i32,
}

impl Shared {
    pub(super) fn plan(&self, dice: &mut Dice, batch: &Shown) -> Plan {
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
    pub(super) fn mark(&self, batch: u64, token: u64, count: usize, plan: &Plan) {
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
        // Without waiting where that says all there is to say; if the books are busy nothing has happened, and it waits.
        let now = if job.plan.prefix > 0 {
            Err(token::busy())
        } else if !job.batch.is_multiple_of(4) && self.turns.is_none() {
            // (Where a batch comes in exchange, whose turn it is cannot be told: it is claimed beside the calls.)
            token::exchange(job.token, job.plan.result).map(|next| {
                if let Some(next) = next {
                    // SAFETY: valid until its token is completed, which nobody knows yet.
                    self.take_up(unsafe { next.as_ref() });
                }
            })
        } else {
            token::try_complete(job.token, job.plan.result)
        };
        let answered = match now {
            Err(error) if error.status == PIPELINE_ERR_BUSY => {
                token::complete(job.token, job.plan.prefix, job.plan.result)
            }
            other => other,
        };
        match answered {
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

    fn promise(&self, job: Arc<Job>, times: usize) {
        let mut jobs = self.jobs.lock();
        for _ in 0..times {
            jobs.push(Arc::clone(&job));
        }
        drop(jobs);
        self.more.notify_all();
    }

    /// A batch that came in exchange for an answer: as if `store` had been called and had answered PENDING.
    fn take_up(&self, batch: &BatchView) {
        add(&self.tally.exchanged);
        let mut shown = Shown::views(self, batch);
        self.receive(&mut shown);
        let mut dice = Dice(self.settings.seed ^ batch.batch_id << 20 ^ u64::from(batch.attempt));
        let plan = self.plan(&mut dice, &shown);
        self.mark(batch.batch_id, batch.token, batch.count, &plan);
        let job = self.job(&mut dice, &shown, plan);
        self.promise(job, 1);
    }

    /// An answer that will come.
    fn job(&self, dice: &mut Dice, batch: &Shown, plan: Plan) -> Arc<Job> {
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
        Arc::new(Job {
            due: world::now_ns().saturating_add(delay.as_nanos() as u64),
            token: batch.token,
            batch: batch.batch_id,
            plan,
            accepted: AtomicU32::new(0),
            noted: Mutex::default(),
        })
    }

    pub(super) fn pend(&self, dice: &mut Dice, batch: &Shown, plan: Plan) -> i32 {
        add(&self.tally.pending);
        let job = self.job(dice, batch, plan);
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
