//! How a pool fares, as a verdict, as bits and in words: which writers, which batches, why, for how long.

use super::Pool;
use super::breaker::{
    Breaker, Circuit, PIPELINE_CIRCUIT_CLOSED, PIPELINE_CIRCUIT_HALF_OPEN, PIPELINE_CIRCUIT_OPEN,
};
use super::faults::{
    PIPELINE_FAULT_ANSWER, PIPELINE_FAULT_ENDED, PIPELINE_FAULT_NONE, PIPELINE_FAULT_PANIC, What,
};
use super::state::{Doing, Life, State, Writer};
use crate::batch::{Batch, Phase, Place};
use crate::platform::time;

/// How a pipeline fares; `pipeline_health_t` documents each.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the names are those of the C structs, and documented there
pub struct Health {
    pub status: u32,
    pub reasons: u32,
    pub writers_live: u32,
    pub writers_stuck: u32,
    pub batches_retrying: u32,
    pub message: String,
    pub circuit: u32,
    pub fault: u32,
    pub fault_writer: u32,
    pub fault_answer: i32,
    pub fault_batch: u64,
    pub fault_age_ns: u64,
    pub faults: u64,
    pub stuck_ns: u64,
    pub stuck_batch: u64,
    pub stuck_writer: u32,
}

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
/// `pipeline_health_t.reasons`: a call of the storage ended its writer's thread, panicked or answered what is no answer, and
/// no batch has been answered as it should be since.
pub const PIPELINE_HEALTH_FAULT: u32 = 512;

/// `pipeline_health_t.reasons`: a writer was refused what `writer_class`, `writer_priority`, `writer_nice` or `writer_cpus` ask for, and
/// works without.
pub const PIPELINE_HEALTH_PLACEMENT: u32 = 1024;

/// How many writers or batches are named one by one.
const NAMED: usize = 2;

/// The circuit as C sees it.
pub(super) fn circuit_number(breaker: &Breaker) -> u32 {
    match breaker.circuit() {
        Circuit::Closed => PIPELINE_CIRCUIT_CLOSED,
        Circuit::Open => PIPELINE_CIRCUIT_OPEN,
        Circuit::HalfOpen => PIPELINE_CIRCUIT_HALF_OPEN,
    }
}

/// A time for people.
fn words_of(ns: u64) -> String {
    match ns / 1_000_000 {
        ms @ 0..1_000 => format!("{ms} ms"),
        ms @ 1_000..600_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        ms => format!("{} min", ms / 60_000),
    }
}

/// The first few of a list, and how many more there are.
fn listed(mut items: Vec<String>, what: &str) -> String {
    let more = items.len().saturating_sub(NAMED);
    items.truncate(NAMED);
    if more > 0 {
        items.push(format!("{more} more {what}"));
    }
    items.join(", ")
}

/// A call or pending answer past the deadline.
struct Stuck {
    ns: u64,
    writer: u32,
    batch: u64,
    words: String,
}

impl State {
    fn deadline_ns(&self) -> u64 {
        self.config.storage_deadline_ms.saturating_mul(1_000_000)
    }

    /// The writers whose call has outlived the deadline, and for how long they are in it.
    pub(super) fn stuck(&self, now: u64) -> impl Iterator<Item = (&Writer, u64)> {
        let deadline = self.deadline_ns();
        self.writers.iter().filter_map(move |w| match w.doing {
            Doing::Calling(since) if now.saturating_sub(since) >= deadline => {
                Some((w, now.saturating_sub(since)))
            }
            _ => None,
        })
    }

    /// Writers that cannot open: the storage refuses, or ends one after the other.
    fn not_opening(&self) -> impl Iterator<Item = &Writer> {
        self.writers
            .iter()
            .filter(|w| !w.leaving && (w.open_failures > 0 || (!w.opened && self.deaths_in_a_row > 1)))
    }

    fn stuck_writer(&self, w: &Writer, ns: u64) -> Stuck {
        let batch: Option<&Batch> = w.slot.and_then(|slot| self.batches[slot].as_deref());
        let id = batch.map_or(0, |b| b.id);
        let call = match batch.map(|b| b.phase) {
            Some(Phase::Store) => format!("store with batch {id}"),
            Some(Phase::DeadLetter) => format!("dead_letter with batch {id}"),
            Some(Phase::Release) => format!("release with batch {id}"),
            None => "a call of the storage".to_owned(),
        };
        let words = format!("writer {} is stuck in {call} for {}", w.id, words_of(ns));
        Stuck { ns, writer: w.id, batch: id, words }
    }

    /// What has outlived the deadline, the longest first.
    fn all_stuck(&self, now: u64) -> Vec<Stuck> {
        let mut all: Vec<Stuck> = self.stuck(now).map(|(w, ns)| self.stuck_writer(w, ns)).collect();
        let deadline = self.deadline_ns();
        for b in self.batches.iter().flatten().filter(|b| b.place == Place::Pending) {
            let ns = now.saturating_sub(b.since_ns);
            if ns >= deadline {
                let (id, writer) = (b.id, b.writer());
                let words = format!("batch {id} of writer {writer} awaits its answer for {}", words_of(ns));
                all.push(Stuck { ns, writer, batch: id, words });
            }
        }
        all.sort_by_key(|s| std::cmp::Reverse(s.ns));
        all
    }

    /// Whether no batch can be claimed, as every one that could make room is past the deadline.
    fn is_choked(&self, now: u64) -> bool {
        let deadline = self.deadline_ns();
        self.open >= self.config.max_in_flight
            && self.batches.iter().flatten().filter(|b| b.place != Place::Idle && !b.in_doubt).all(|b| {
                matches!(b.place, Place::InCall | Place::Pending)
                    && now.saturating_sub(b.since_ns) >= deadline
            })
    }

    fn circuit_words(&self, now: u64) -> String {
        let failures = self.breaker.in_a_row();
        let probe = match (self.breaker.probe(), self.breaker.probe_due()) {
            (Some((batch, since)), _) => {
                format!("batch {batch} is the probe since {}", words_of(now.saturating_sub(since)))
            }
            (None, due) => {
                format!("the next probe in {}", words_of(due.map_or(0, |d| d.saturating_sub(now))))
            }
        };
        format!("the circuit is open after {failures} failures in a row, {probe}")
    }

    fn retrying_words(&self) -> String {
        let oldest = self.back_off.iter().filter_map(|&s| self.batches[s].as_ref()).min_by_key(|b| b.id);
        let oldest = oldest
            .map_or(String::new(), |b| format!(", the oldest is batch {}, tried {} times", b.id, b.attempt));
        format!("{} batches wait for another attempt{oldest}", self.back_off.len())
    }
}

impl Pool {
    /// How it fares.
    pub fn health(&self) -> Health {
        let st = self.lock();
        let now = time::now_ns();
        let writers_stuck = st.stuck(now).count() as u32;
        let stuck = st.all_stuck(now);
        let not_opening: Vec<String> = st
            .not_opening()
            .map(|w| match w.open_failures {
                0 => format!("writer {} cannot open", w.id),
                times => {
                    format!("writer {} cannot open (answered {}, {times} times)", w.id, w.open_status)
                }
            })
            .collect();
        let cannot_open = not_opening.len() as u32;
        let (retrying, retired) = (st.back_off.len() as u32, self.rings.in_use().1);
        let (closed, dark) = (st.life != Life::Running, !st.breaker.is_closed());
        let (faults, in_a_row) = (&st.faults, st.faults.in_a_row);
        let mut reasons = 0;
        let mut words = Vec::new();
        let mut say = |on: bool, bit: u32, text: &dyn Fn() -> String| {
            if on {
                reasons |= bit;
                words.push(text());
            }
        };
        say(closed, PIPELINE_HEALTH_CLOSED, &|| "closed".to_owned());
        say(!closed && st.paused, PIPELINE_HEALTH_PAUSED, &|| "paused".to_owned());
        let unmanned = st.target == 0 && !st.config.autoscales();
        say(!closed && unmanned, PIPELINE_HEALTH_NO_WRITERS, &|| "no writers".to_owned());
        say(dark, PIPELINE_HEALTH_CIRCUIT_OPEN, &|| st.circuit_words(now));
        say(!stuck.is_empty() || st.doubtful > 0, PIPELINE_HEALTH_STUCK, &|| {
            let mut each: Vec<String> = stuck.iter().map(|s| s.words.clone()).collect();
            if each.len() > NAMED {
                each = vec![listed(each, "stuck")];
            }
            if st.doubtful > 0 {
                each.push(format!("{} batches in doubt", st.doubtful));
            }
            each.join(", ")
        });
        say(cannot_open > 0, PIPELINE_HEALTH_WRITER_OPEN, &|| listed(not_opening.clone(), "that cannot"));
        say(in_a_row > 0, PIPELINE_HEALTH_FAULT, &|| {
            let last = faults
                .last
                .map_or(String::new(), |f| format!("{f}, {} ago", words_of(now.saturating_sub(f.at_ns))));
            let sum = faults.sum.restarts + faults.sum.panics + faults.sum.bad_results;
            format!("{last} ({in_a_row} such calls in a row, {sum} in all)")
        });
        say(retrying > 0, PIPELINE_HEALTH_RETRYING, &|| st.retrying_words());
        say(retired > 0, PIPELINE_HEALTH_RETIRED, &|| {
            format!("{retired} ring buffers are retired behind unsettled batches")
        });
        let misplaced: Vec<String> = st
            .writers
            .iter()
            .filter_map(|w| Some(format!("writer {} was refused its {}", w.id, w.misplaced?)))
            .collect();
        say(!misplaced.is_empty(), PIPELINE_HEALTH_PLACEMENT, &|| listed(misplaced.clone(), "so refused"));
        say(!self.front().asymmetric, PIPELINE_HEALTH_NO_MEMBARRIER, &|| {
            "membarrier is refused: each capture pays for a fence".to_owned()
        });
        let serial = !self.can.concurrent && writers_stuck > 0;
        let unmanned = st.live() > 0 && writers_stuck + cannot_open >= st.live();
        let status = if st.life != Life::Stopped && (dark || serial || unmanned || st.is_choked(now)) {
            PIPELINE_FAILING
        } else if reasons & !PIPELINE_HEALTH_NO_MEMBARRIER != 0 {
            PIPELINE_DEGRADED
        } else {
            PIPELINE_HEALTHY
        };
        let (fault, fault_answer) = match faults.last.map(|f| f.what) {
            None => (PIPELINE_FAULT_NONE, 0),
            Some(What::Ended) => (PIPELINE_FAULT_ENDED, 0),
            Some(What::Panicked) => (PIPELINE_FAULT_PANIC, 0),
            Some(What::Answered(answer)) => (PIPELINE_FAULT_ANSWER, answer),
        };
        let longest = stuck.first();
        Health {
            status,
            reasons,
            writers_live: st.live(),
            writers_stuck,
            batches_retrying: retrying,
            message: if words.is_empty() { "healthy".to_owned() } else { words.join("; ") },
            circuit: circuit_number(&st.breaker),
            fault,
            fault_writer: faults.last.map_or(0, |f| f.writer),
            fault_answer,
            fault_batch: faults.last.map_or(0, |f| f.batch),
            fault_age_ns: faults.last.map_or(0, |f| now.saturating_sub(f.at_ns)),
            faults: faults.sum.restarts + faults.sum.panics + faults.sum.bad_results,
            stuck_ns: longest.map_or(0, |s| s.ns),
            stuck_batch: longest.map_or(0, |s| s.batch),
            stuck_writer: longest.map_or(0, |s| s.writer),
        }
    }
}
