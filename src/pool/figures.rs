//! What can be read of a pool in numbers.

use super::Pool;
use super::health::circuit_number;
use super::scaler::Scaling;
use super::state::{Doing, Life, State};
use crate::batch::{Batch, Place};
use crate::config::Clock;
use crate::event::PIPELINE_EVENT_OWN_TIME;
use crate::latency::Percentiles;
use crate::ledger::Ledger;
use crate::platform::time;
use crate::ring::log::Log;
use crate::ring::record::Tag;
use crate::status::{Error, PIPELINE_ERR_NOT_FOUND, Result};

/// The figures of a pipeline; `pipeline_metrics_t` documents each.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // the names are those of the C structs, and documented there
pub struct Metrics {
    pub ledger: Ledger,
    pub batches: u64,
    pub retries: u64,
    pub bad_results: u64,
    pub writer_restarts: u64,
    pub writers_target: u64,
    pub writers_live: u64,
    pub writers_stuck: u64,
    pub rings: u64,
    pub rings_retired: u64,
    pub backlog_bytes: u64,
    pub oldest_age_ns: u64,
    pub bytes_captured: u64,
    pub bytes_stored: u64,
    pub latency: Percentiles,
    pub uptime_ns: u64,
    pub capture_rate: f64,
    pub store_rate: f64,
    pub scaling: Scaling,
    pub circuit: u64,
    pub circuit_openings: u64,
    pub circuit_probes: u64,
    pub panics: u64,
    pub clock: Clock,
}

/// The figures of a writer; `pipeline_writer_metrics_t` documents each.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the names are those of the C structs, and documented there
pub struct WriterMetrics {
    pub writer_id: u32,
    pub state: u32,
    pub thread_id: u32,
    pub attempts: u64,
    pub events: u64,
    pub bytes: u64,
    pub retries: u64,
    pub call_ns: u64,
    pub in_call_ns: u64,
    pub restarts: u64,
    pub bad_results: u64,
    pub panics: u64,
}

/// `pipeline_writer_metrics_t.state`: looking for work.
pub const PIPELINE_WRITER_SEARCHING: u32 = 0;
/// `pipeline_writer_metrics_t.state`: asleep until there is work.
pub const PIPELINE_WRITER_ASLEEP: u32 = 1;
/// `pipeline_writer_metrics_t.state`: in a call of the storage.
pub const PIPELINE_WRITER_IN_CALL: u32 = 2;
/// `pipeline_writer_metrics_t.state`: opening, or waiting to try that again.
pub const PIPELINE_WRITER_OPENING: u32 = 3;

impl Pool {
    /// The account as of now.
    pub fn ledger(&self) -> Ledger {
        let st = self.lock();
        self.draw_up(&st)
    }

    fn draw_up(&self, st: &State) -> Ledger {
        let stopped = st.life == Life::Stopped;
        let mut ledger = Ledger::draw_up(&st.settled, self.rings.counted(), &self.front().refused, stopped);
        if stopped {
            // What waits for an attempt that nobody will make.
            let waits = |b: &&Batch| matches!(b.place, Place::Ready | Place::BackOff);
            let batches = st.batches.iter().flatten().map(Box::as_ref);
            let left: u64 = batches.filter(waits).map(Batch::unsettled).sum();
            ledger.in_flight -= left;
            ledger.left += left;
        }
        ledger
    }

    /// All figures.
    pub fn metrics(&self) -> Metrics {
        let mut st = self.lock();
        let ledger = self.draw_up(&st);
        let now = time::now_ns();
        let (capture_rate, store_rate) = rates(&mut st, now, &ledger);
        let (rings, rings_retired) = self.rings.in_use();
        Metrics {
            batches: st.settled_batches,
            retries: st.retries,
            bad_results: st.faults.sum.bad_results,
            writer_restarts: st.faults.sum.restarts,
            writers_target: st.target.into(),
            writers_live: st.live().into(),
            writers_stuck: st.stuck(now).count() as u64,
            // Not counted: the shared ring, and the one for the library's own events.
            rings: rings.saturating_sub(2) as u64,
            rings_retired: rings_retired as u64,
            backlog_bytes: self
                .rings
                .iter()
                .filter_map(|r| r.log())
                .map(|l| l.head().saturating_sub(l.released()))
                .sum(),
            oldest_age_ns: self.oldest_of(Log::oldest).map_or(0, |t| now.saturating_sub(t)),
            bytes_captured: ledger.bytes_captured,
            bytes_stored: st.settled.bytes_stored,
            latency: st.latency.percentiles(),
            uptime_ns: (now - self.started_ns).max(1),
            capture_rate,
            store_rate,
            scaling: Scaling {
                autoscaling: st.config.autoscales(),
                at_ns: st.scaler.told.at_ns.saturating_sub(self.started_ns),
                ..st.scaler.told
            },
            circuit: circuit_number(&st.breaker).into(),
            circuit_openings: st.breaker.openings(),
            circuit_probes: st.breaker.probes(),
            panics: st.faults.sum.panics,
            clock: self.clock_in_use(),
            ledger,
        }
    }

    /// When the oldest event was captured that waits, as far as it can be looked at; `look` finds that of one ring.
    pub(super) fn oldest_of(&self, look: impl Fn(&Log) -> Option<(Tag, u64)>) -> Option<u64> {
        let mut times = self.clock.times();
        self.rings
            .iter()
            .filter(|r| !r.is_meta())
            .filter_map(|r| look(r.log()?))
            .filter(|(tag, _)| tag.flags() & PIPELINE_EVENT_OWN_TIME == 0)
            .map(|(tag, at)| times.of(tag, at).max(self.started_ns))
            .min()
    }

    /// The figures of one writer.
    pub fn writer_metrics(&self, index: u32) -> Result<WriterMetrics> {
        let st = self.lock();
        let now = time::now_ns();
        let live = st.live();
        let w = st.writers.iter().filter(|w| !w.leaving).nth(index as usize).ok_or_else(|| {
            Error::new(
                PIPELINE_ERR_NOT_FOUND,
                format!("index: below {live} allowed (writers_live), {index} given"),
            )
        })?;
        let (state, in_call_ns) = match w.doing {
            Doing::Searching => (PIPELINE_WRITER_SEARCHING, 0),
            Doing::Asleep => (PIPELINE_WRITER_ASLEEP, 0),
            Doing::Calling(since) => (PIPELINE_WRITER_IN_CALL, now.saturating_sub(since).max(1)),
            Doing::Opening(_) => (PIPELINE_WRITER_OPENING, 0),
        };
        let record = st.faults.record(w.id);
        Ok(WriterMetrics {
            writer_id: w.id,
            state,
            thread_id: w.tid,
            attempts: w.attempts,
            events: w.events,
            bytes: w.bytes,
            retries: w.retries,
            call_ns: w.call_ns,
            in_call_ns,
            restarts: record.restarts,
            bad_results: record.bad_results,
            panics: record.panics,
        })
    }
}

/// Events per second since a reading that is one to a few seconds old.
fn rates(st: &mut State, now: u64, ledger: &Ledger) -> (f64, f64) {
    const SECOND: u64 = 1_000_000_000;
    if now.saturating_sub(st.rate_marks[1].0) >= SECOND {
        st.rate_marks[0] = st.rate_marks[1];
        st.rate_marks[1] = (now, ledger.captured, ledger.stored);
    }
    let (since, captured, stored) = st.rate_marks[0];
    let seconds = (now.saturating_sub(since)).max(1) as f64 / SECOND as f64;
    (
        // A reading may count a drop in motion as captured for a moment: never below the one before.
        ledger.captured.saturating_sub(captured) as f64 / seconds,
        ledger.stored.saturating_sub(stored) as f64 / seconds,
    )
}
