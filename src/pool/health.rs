//! The health of a pool: a status, and the reasons for it as bits and in words.

mod words;

use super::Pool;
use super::state::State;
use super::state::faults::{
    PIPELINE_FAULT_ANSWER, PIPELINE_FAULT_ENDED, PIPELINE_FAULT_NONE, PIPELINE_FAULT_PANIC, What,
};
use super::state::flushes::Finish;
use super::state::life_cycle::Stage;
use super::state::writer::Writer;
use crate::batch::Place;
use crate::metrics::{Condition, Health};
use crate::platform::time;
use words::{Late, Longest, counted};

/// `pipeline_health_t.status`: everything works.
pub const PIPELINE_HEALTHY: u32 = 0;
/// `pipeline_health_t.status`: something needs attention, but events get stored, or would if the pipeline's owner let them.
pub const PIPELINE_DEGRADED: u32 = 1;
/// `pipeline_health_t.status`: nothing gets stored at present: the circuit is open, every call that may run is
/// stuck, or no writer can open.
pub const PIPELINE_FAILING: u32 = 2;
/// `pipeline_health_t.reasons`: `membarrier(2)` is refused here, so each capture pays for a fence.
pub const PIPELINE_HEALTH_NO_MEMBARRIER: u32 = 1;
/// `pipeline_health_t.reasons`: batches wait for their next attempt.
pub const PIPELINE_HEALTH_RETRYING: u32 = 2;
/// `pipeline_health_t.reasons`: a storage call or a pending answer has outlived `storage_deadline_ms`.
pub const PIPELINE_HEALTH_STUCK: u32 = 4;
/// `pipeline_health_t.reasons`: there are no writers; events are only buffered.
pub const PIPELINE_HEALTH_NO_WRITERS: u32 = 8;
/// `pipeline_health_t.reasons`: the pipeline is paused.
pub const PIPELINE_HEALTH_PAUSED: u32 = 16;
/// `pipeline_health_t.reasons`: a writer cannot start (`open_writer` fails).
pub const PIPELINE_HEALTH_WRITER_OPEN: u32 = 32;
/// `pipeline_health_t.reasons`: the pipeline is closed.
pub const PIPELINE_HEALTH_CLOSED: u32 = 64;
/// `pipeline_health_t.reasons`: ring buffers are retired behind a batch that does not settle.
pub const PIPELINE_HEALTH_RETIRED: u32 = 128;
/// `pipeline_health_t.reasons`: the storage has failed `breaker_failures` times in a row; it is given one batch now and then,
/// until it keeps one.
pub const PIPELINE_HEALTH_CIRCUIT_OPEN: u32 = 256;
/// `pipeline_health_t.reasons`: a call of the storage ended its writer's thread, panicked or returned a number that is no answer, and
/// the storage has given no proper answer since.
pub const PIPELINE_HEALTH_FAULT: u32 = 512;

/// `pipeline_health_t.reasons`: a writer was refused what `writer_class`, `writer_priority`, `writer_nice` or `writer_cpus` ask for, and
/// works without.
pub const PIPELINE_HEALTH_PLACEMENT: u32 = 1024;

/// `pipeline_health_t.reasons`: `pipeline_close` has found everything settled, and the storage's `finish` runs.
pub const PIPELINE_HEALTH_FINISHING: u32 = 2048;
/// `pipeline_health_t.reasons`: the storage's `finish` has failed. Everything is stored, but the storage's final work (indexes, a seal)
/// is missing.
pub const PIPELINE_HEALTH_FINISH_FAILED: u32 = 4096;
/// `pipeline_health_t.reasons`: the pressure is at `watermark_percent` or above it: a ring buffer is that full, or the oldest event that old
/// against `pressure_age_ms`.
pub const PIPELINE_HEALTH_PRESSURE: u32 = 8192;

/// `pipeline_health_t.reasons`: a transform (`pipeline_transform`) returned a value that is not allowed, set what no event may have, or ended
/// its thread. The reason stays until it has answered for all events of a batch as it should, or is replaced.
pub const PIPELINE_HEALTH_TRANSFORM: u32 = 16384;
/// `pipeline_health_t.reasons`: a ring file of a run that has ended was refused, or cannot be read or released. What is in it stays there.
pub const PIPELINE_HEALTH_RECOVERY: u32 = 32768;

/// `pipeline_health_t.reasons`: the last snapshot that a rule has asked for (`pipeline_snapshot_on_trigger`) has failed.
pub const PIPELINE_HEALTH_SNAPSHOT_FAILED: u32 = 65536;

/// Reasons as bits and in words.
#[derive(Default)]
struct Reasons {
    bits: u32,
    words: Vec<String>,
    /// The bits are enough.
    only_bits: bool,
}

impl Reasons {
    fn add(&mut self, on: bool, bit: u32, words: impl FnOnce() -> String) {
        if on {
            self.bits |= bit;
            if !self.only_bits {
                self.words.push(words());
            }
        }
    }
}

impl State {
    /// How many writers cannot store: they are stuck in a call, or cannot open.
    fn useless(&self, now: u64) -> u32 {
        let deadline = self.storage_deadline_ns();
        let late = |w: &Writer| w.in_call_since().is_some_and(|since| now.saturating_sub(since) >= deadline);
        let not_opening = self.not_opening().filter(|w| !late(w)).count();
        (self.writers.list.iter().filter(|w| !w.leaving && late(w)).count() + not_opening) as u32
    }

    /// Whether no batch can be claimed, because `max_in_flight` is reached and every batch in flight is past the deadline.
    fn is_choked(&self, now: u64) -> bool {
        let deadline = self.storage_deadline_ns();
        self.batches.in_flight >= self.config.max_in_flight
            && self.batches.iter().all(|b| match &b.place {
                Place::Idle => true,
                Place::Ready | Place::BackOff { .. } => false,
                Place::InCall(attempt) | Place::Pending(attempt) => {
                    attempt.in_doubt || now.saturating_sub(attempt.since_ns) >= deadline
                }
            })
    }

    /// Whether no call may begin before a stuck one returns, if calls may not overlap. (A stuck `open_writer` or `close_writer` blocks no
    /// other call.)
    fn is_blocked(&self, now: u64) -> bool {
        !self.life.has_stopped() && self.late_calls(now).any(|(w, _)| w.is_calling())
    }
}

impl Pool {
    /// The pool's health.
    pub fn health(&self) -> Health {
        let st = self.lock();
        let now = time::now_ns();
        let late = st.late(now);
        let writers_stuck = st.late_calls(now).count() as u32;
        let (status, reasons) = self.judge(&st, &late, now, false);
        let last = st.faults.last;
        let (fault, fault_answer) = match last.map(|f| f.what) {
            // (Those of transforms have a reason of their own.)
            None | Some(What::Transform(_)) => (PIPELINE_FAULT_NONE, 0),
            Some(What::Ended) => (PIPELINE_FAULT_ENDED, 0),
            Some(What::Panicked) => (PIPELINE_FAULT_PANIC, 0),
            Some(What::Answered(answer)) => (PIPELINE_FAULT_ANSWER, answer),
        };
        let (stuck_ns, stuck_writer, stuck_batch) = match late.first[0] {
            None => (0, 0, 0),
            Some((ns, Late::Call(w))) => (ns, w.id, st.batch_of(w).map_or(0, |b| b.id)),
            Some((ns, Late::Answer(b))) => (ns, b.writer(), b.id),
        };
        Health {
            status,
            reasons: reasons.bits,
            writers_live: st.writers.live(),
            writers_stuck,
            batches_retrying: st.batches.back_off.len() as u32,
            message: if reasons.words.is_empty() { "healthy".to_owned() } else { reasons.words.join("; ") },
            circuit: st.retries.breaker.number(),
            fault,
            fault_writer: last.map_or(0, |f| f.writer),
            fault_answer,
            fault_batch: last.map_or(0, |f| f.batch),
            fault_age_ns: last.map_or(0, |f| now.saturating_sub(f.at_ns)),
            faults: st.faults.all(),
            stuck_ns,
            stuck_batch,
            stuck_writer,
        }
    }

    /// The same without words, and so without memory.
    pub(super) fn condition(&self, st: &State, now: u64) -> Condition {
        let late = st.late(now);
        let (status, reasons) = self.judge(st, &late, now, true);
        Condition {
            status,
            reasons: reasons.bits,
            batches_retrying: st.batches.back_off.len() as u32,
            stuck_ns: late.first[0].as_ref().map_or(0, |(ns, _)| *ns),
        }
    }

    /// The status, and the reasons.
    fn judge(&self, st: &State, late: &Longest<Late<'_>>, now: u64, only_bits: bool) -> (u32, Reasons) {
        let blocked = !self.can.concurrent && st.is_blocked(now);
        let reasons = self.reasons(st, late, blocked, now, only_bits);
        let dark = !st.retries.breaker.is_closed();
        let live = st.writers.live();
        let idle = live > 0 && st.useless(now) >= live;
        let status = if !st.life.has_stopped() && (dark || blocked || idle || st.is_choked(now)) {
            PIPELINE_FAILING
        } else if reasons.bits & !PIPELINE_HEALTH_NO_MEMBARRIER != 0 {
            PIPELINE_DEGRADED
        } else {
            PIPELINE_HEALTHY
        };
        (status, reasons)
    }

    /// The reasons, the most serious first.
    fn reasons(
        &self,
        st: &State,
        late: &Longest<Late<'_>>,
        blocked: bool,
        now: u64,
        only_bits: bool,
    ) -> Reasons {
        let mut all = Reasons { only_bits, ..Reasons::default() };
        let closed = !st.life.is_running();
        let paused = st.life.stage() == Stage::Paused;
        let no_writers = st.writers.target == 0 && !st.config.autoscales();
        all.add(closed, PIPELINE_HEALTH_CLOSED, || "closed".to_owned());
        all.add(paused, PIPELINE_HEALTH_PAUSED, || "paused".to_owned());
        all.add(!closed && no_writers, PIPELINE_HEALTH_NO_WRITERS, || "no writers".to_owned());
        let dark = !st.retries.breaker.is_closed();
        all.add(dark, PIPELINE_HEALTH_CIRCUIT_OPEN, || st.circuit_words(now));
        let doubtful = st.batches.in_doubt as usize;
        all.add(late.count > 0 || doubtful > 0, PIPELINE_HEALTH_STUCK, || {
            let mut each = Vec::new();
            if late.count > 0 {
                each.push(late.words("stuck", |ns, one| st.late_words(one, ns)));
            }
            if doubtful > 0 {
                each.push(format!("{} in doubt", counted(doubtful, "batch", "batches")));
            }
            let most = st.config.max_in_doubt;
            if blocked {
                each.push("no other call is made until it returns".to_owned());
            } else if self.can.concurrent
                && st.late_calls(now).next().is_some()
                && st.writers.stuck_without_batch() >= most
            {
                each.push(format!(
                    "no further writer takes the place of a stuck one, as max_in_doubt is {most}"
                ));
            }
            each.join(", ")
        });
        let not_opening = Longest::first(st.not_opening());
        all.add(not_opening.count > 0, PIPELINE_HEALTH_WRITER_OPEN, || {
            not_opening.words("that cannot", |_, w| match w.open_failures {
                0 => format!("writer {} cannot open", w.id),
                times => format!("writer {} cannot open (answered {}, {times} times)", w.id, w.open_status),
            })
        });
        all.add(st.faults.in_a_row > 0, PIPELINE_HEALTH_FAULT, || st.fault_words(now));
        let transforms = st.faults.transform.in_a_row > 0;
        all.add(transforms, PIPELINE_HEALTH_TRANSFORM, || st.transform_fault_words(now));
        all.add(matches!(st.finish, Finish::Running(_)), PIPELINE_HEALTH_FINISHING, || {
            "everything is stored, and the storage's finish runs".to_owned() + &st.words_of_calls(now)
        });
        let unfinished = st.finish.failure();
        all.add(unfinished.is_some(), PIPELINE_HEALTH_FINISH_FAILED, || {
            format!("everything is stored, but {}", unfinished.unwrap_or_default())
        });
        let unwritten = self.triggered.lock().failure.clone();
        all.add(unwritten.is_some(), PIPELINE_HEALTH_SNAPSHOT_FAILED, || {
            format!("a snapshot has failed: {}", unwritten.as_deref().unwrap_or_default())
        });
        let retrying = !st.batches.back_off.is_empty();
        all.add(retrying, PIPELINE_HEALTH_RETRYING, || st.retrying_words());
        let retired = self.rings.in_use().1;
        all.add(retired > 0, PIPELINE_HEALTH_RETIRED, || {
            let are = if retired == 1 { "is" } else { "are" };
            format!(
                "{} {are} retired behind unsettled batches",
                counted(retired, "ring buffer", "ring buffers")
            )
        });
        let problem = st.recovery.problem();
        all.add(problem.is_some(), PIPELINE_HEALTH_RECOVERY, || {
            format!("recovery: {}", problem.unwrap_or_default())
        });
        let pressure = self.intake().pressure.percent();
        all.add(pressure >= st.config.watermark_percent, PIPELINE_HEALTH_PRESSURE, || {
            format!("the pressure is {pressure}, watermark_percent is {}", st.config.watermark_percent)
        });
        let misplaced = Longest::first(st.writers.list.iter().filter(|w| w.misplaced.is_some()));
        all.add(misplaced.count > 0, PIPELINE_HEALTH_PLACEMENT, || {
            misplaced.words("so refused", |_, w| {
                format!("writer {} was refused its {}", w.id, w.misplaced.unwrap_or_default())
            })
        });
        all.add(!self.intake().asymmetric, PIPELINE_HEALTH_NO_MEMBARRIER, || {
            "membarrier is refused: each capture pays for a fence".to_owned()
        });
        all
    }
}

#[cfg(test)]
mod tests;
